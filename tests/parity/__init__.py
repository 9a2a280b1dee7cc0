"""evalkit against the original implementations, on the same seeded random weights and the same audio."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evalkit.assets import Asset
from evalkit.store.cache import Cache

SEED = 7


@dataclass(frozen=True)
class Comparison:
    """One case of one stage: how far evalkit is from an original, and how far it may be."""

    stage: str
    original: str
    case: str
    error: float
    tolerance: float
    measure: str


RECORDED: list[Comparison] = []  # what `pytest tests/parity --parity-table` writes to docs/parity.md


def within(stage: str, original: str, case: str, error: float, tolerance: float, measure: str = "relative") -> None:
    """Assert that an error is at most its tolerance, and keep both for the table in docs/parity.md.

    Args:
        stage: what is compared, such as "VGGish: embeddings"; a row of the table.
        original: with what, such as "torchvggish 0.2, window by window".
        case: the clip, rate or matrix; the table says only how many there are.
        error: the largest difference in this case; NaN fails.
        measure: what the error is: "relative" (to the largest value), "absolute", or a unit.
    """
    comparison = Comparison(stage, original, case, float(error), tolerance, measure)
    RECORDED.append(comparison)
    assert comparison.error <= tolerance, (
        f"{stage}, {case}: differs from {original} by {error:.2e} ({measure}), more than {tolerance:g}"
    )


@functools.cache
def folder() -> Path:
    """A folder for checkpoints that the modules of one test run share; they take seconds to make."""
    path = Path(tempfile.mkdtemp(prefix="evalkit-parity-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def cache() -> Cache:
    return Cache(folder() / "cache")


def random_asset(name: str, seed: int = SEED) -> Asset:
    return Asset(name=name, random_seed=seed)


def noise(rate: int, seconds: float, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(3).normal(0, level, round(rate * seconds)).astype(np.float32)


def sine(rate: int, seconds: float, hertz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def silence(rate: int, seconds: float) -> np.ndarray:
    return np.zeros(round(rate * seconds), np.float32)


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(ours - theirs).max(initial=0.0) / max(1e-30, np.abs(theirs).max(initial=0.0)))
