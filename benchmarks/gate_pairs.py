"""Clip-wise values of a baseline and a candidate over the same prompts, drawn from known distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evalkit.results.gate import Direction
from evalkit.stats.paired import Parts

PROMPT = 0.5  # correlation of two clips of a prompt
ALIKE = {"other": PROMPT, "shared": 0.9}  # the same of two models, by the noise they play from
RARELY = 0.05  # share of prompts that get worse where the others do not
AGREE = {"other": 0.3, "shared": 0.8}  # correlation of whether two models' clips of a prompt have a fault


@dataclass(frozen=True)
class Kind:
    """A kind of clip-wise values.

    Attributes:
        value: of a clip, from a standard normal number.
        metric: that has such values; its margins in the gate that ships are tried.
        margin: by how much they may be worse.
        mean: of these values, where those of a worse model are larger in proportion; None where by an equal amount.
        clips: per prompt.
        segments: the most that a clip has, at least one, and the more the larger its value.
    """

    value: Callable[[np.ndarray], np.ndarray]
    metric: str
    margin: float
    mean: float | None = None
    direction: Direction = "lower"
    clips: int = 1
    segments: int = 1


def log_normal(sigma: float, segments: int = 1) -> Kind:
    """Positive values, a few of them large, that may be a tenth worse."""
    mean = math.exp(sigma**2 / 2)
    return Kind(lambda z: np.exp(sigma * z), "kld", mean / 10, mean if segments == 1 else None, segments=segments)


KINDS = {
    "normal (CLAP score)": Kind(lambda z: 0.3 + 0.1 * z, "clap_score", 0.02, direction="higher"),
    "normal, 4 clips a prompt": Kind(lambda z: 0.3 + 0.1 * z, "clap_score", 0.02, direction="higher", clips=4),
    "log-normal, σ = 0.5 (KLD)": log_normal(0.5),
    "log-normal, σ = 1": log_normal(1),
    "log-normal, σ = 0.5, 1 to 6 segments a clip": log_normal(0.5, segments=6),
}
CHANGES = ("same", "all worse", "few much worse")


def values(rng: np.random.Generator, kind: Kind, n: int, noise: str, change: str) -> tuple[Parts, Parts]:
    """Draw sums and counts, each (clips, n), of a baseline and of a candidate that is worse by the margin."""
    prompt, alike = rng.standard_normal(n), ALIKE[noise]
    played = rng.standard_normal((kind.clips, n))
    common = math.sqrt(PROMPT) * prompt + math.sqrt(alike - PROMPT) * played
    counts = np.ones((kind.clips, n)) * np.clip(np.ceil((prompt + 2) / 4 * kind.segments), 1, kind.segments)
    sides = [kind.value(common + math.sqrt(1 - alike) * rng.standard_normal((kind.clips, n))) for _ in range(2)]
    sign = 1 if kind.direction == "lower" else -1
    if change == "few much worse":
        sides[1] = sides[1] + sign * np.where(rng.random(n) < RARELY, kind.margin / RARELY, 0.0)
    elif change == "all worse":
        sides[1] = sides[1] * (1 + kind.margin / kind.mean) if kind.mean else sides[1] + sign * kind.margin
    return (sides[0] * counts, counts), (sides[1] * counts, counts)


def faults(rng: np.random.Generator, n: int, noise: str, rate: float, damage: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw which prompts' clips have a fault, such as silence, on either side, (n,) bool each.

    The baseline's have it at a rate, the candidate's at one that is larger by `damage`, between 0 and 1 less the rate.
    """
    before = rng.random(n) < rate
    both = rate * (rate + AGREE[noise] * (1 - rate))  # as many keep it as would if nothing had changed
    return before, rng.random(n) < np.where(before, both / rate, (rate + damage - both) / (1 - rate))
