"""How much memory statistics take beside the features, which may be views of a file: no copies of all of them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.metrics.clap_retrieval import RetrievalRecall
from evalkit.metrics.density_coverage import DensityCoverage
from evalkit.metrics.fad import FAD
from evalkit.metrics.fad_contribution import FADContribution
from evalkit.metrics.fad_inf import FADInfinity
from evalkit.metrics.inception_score import InceptionScore
from evalkit.metrics.kad import KAD
from evalkit.metrics.precision_recall import PrecisionRecall
from evalkit.results.differences import Sets
from evalkit.results.evidence import Side, Writer
from evalkit.stats import bootstrap, permutation, threads
from evalkit.types import Features
from tests.measuring import ENCODER

FRAMES, DIMENSIONS = 40, 16  # 5 KB of each clip as float64
MOST = 1200  # bytes for each clip: its id, its share of the draws, its own value, the mean of its frames

Use = Callable[[Features, Features], Any]


def peak(use: Use, clips: int) -> int:
    """Bytes that were allocated at most while two sets of so many clips were used."""
    sides = []
    for seed in (0, 1):
        values = np.random.default_rng(seed).random((clips, FRAMES, DIMENSIONS), np.float32)
        values /= values.sum(axis=2, keepdims=True)  # probabilities too
        sides.append(Features(tuple(f"{i:06d}" for i in range(clips)), tuple(values)))
    use(*(side.select(side.ids[:20]) for side in sides))  # imports
    tracemalloc.start()
    use(*sides)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def fad(generated: Features, reference: Features) -> None:
    FAD(ENCODER)(generated, reference)


def influences(generated: Features, reference: Features) -> None:
    influence = FAD(ENCODER)(generated, reference).influence
    assert influence is not None
    influence()


def resamples(generated: Features, reference: Features) -> None:
    resampled = FAD(ENCODER)(generated, reference).resampled
    assert resampled is not None
    bootstrap.resample(resampled, len(generated.ids), len(reference.ids), 300, 0)


def resampled_inception(generated: Features, reference: Features) -> None:
    resampled = InceptionScore(ENCODER, splits=2)(generated, None).resampled
    assert resampled is not None
    bootstrap.resample(resampled, len(generated.ids), None, 30, 0)


def gate(generated: Features, reference: Features) -> None:
    sides = [(generated, reference)], [(reference, reference)]
    n = len(generated.ids)
    sets = Sets(generated.ids, 0, FAD(ENCODER), *sides, ([1], [1]), (4, 0), False)
    swaps = np.concatenate([np.zeros((1, n), bool), permutation.swaps(n, 60, 0)])
    assert len(sets.of(np.arange(n), swaps).swapped) == 61


USES: dict[str, tuple[Use, int]] = {
    "FAD": (fad, 500),
    "FAD: influences": (influences, 500),
    "FAD: resamples": (resamples, 400),
    "FAD: gate": (gate, 200),
    "FAD∞": (lambda one, other: FADInfinity(ENCODER)(one, other), 500),
    "FAD: outliers": (lambda one, other: FADContribution(ENCODER)(one, other), 500),
    "KAD": (lambda one, other: KAD(ENCODER, bandwidth_frames=200)(one, other), 40),
    "inception score": (resampled_inception, 500),
    "precision": (lambda one, other: PrecisionRecall(ENCODER, "precision")(one, other), 500),
    "coverage": (lambda one, other: DensityCoverage(ENCODER, "coverage")(one, other), 500),
    "R@k": (lambda one, other: RetrievalRecall(ENCODER, ENCODER, 5)(one, other), 500),
    "digest": (lambda one, other: one.digest(), 1000),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, so that what is in memory at once is always the same; blocks that the smaller sets fill."""
    monkeypatch.setattr(threads, "cores", lambda: 1)
    monkeypatch.setattr("evalkit.stats.bootstrap.DRAWN", 2**16)
    monkeypatch.setattr("evalkit.results.reweighted.WEIGHTS", 2**14)
    monkeypatch.setattr("evalkit.stats.permutation.NUMBERS", 2**14)
    monkeypatch.setattr("evalkit.stats.neighbours.DISTANCES", 2**15)
    monkeypatch.setattr("evalkit.metrics.clap_retrieval.SIMILARITIES", 2**15)
    monkeypatch.setattr("evalkit.stats.frechet.MANY", 64)
    monkeypatch.setattr("evalkit.stats.divergence.CLIPS", 64)
    monkeypatch.setattr("evalkit.stats.kernel.FRAMES", 160)
    monkeypatch.setattr("evalkit.stats.kernel.TILES", 8)


@pytest.mark.parametrize("name", USES)
def test_memory_does_not_grow_by_copies_of_the_features(name: str) -> None:
    use, clips = USES[name]
    more = peak(use, 3 * clips) - peak(use, clips)
    assert more < MOST * 2 * clips


def test_evidence_is_written_clip_by_clip(tmp_path: Path) -> None:
    def add(generated: Features, reference: Features) -> None:
        writer = Writer(tmp_path)
        writer.add(Side("e", "row", 1, "clips"), generated)
        writer.evidence()

    assert peak(add, 3000) - peak(add, 1000) < MOST * 2000


def test_a_copy_of_the_features_would_be_seen() -> None:
    def copied(generated: Features, reference: Features) -> None:
        np.concatenate(generated.values)

    assert peak(copied, 3000) - peak(copied, 1000) > 2 * MOST * 2000
