"""What the tests of several metrics share: features with known statistics, and what holds of every metric."""

from __future__ import annotations

from typing import Any

import numpy as np

from evalkit.results.scored import scored
from evalkit.settings import Uncertainty
from evalkit.types import Features

ENCODER: Any = None  # metrics only pass it on


def features(clips: list[Any]) -> Features:
    """Clips (frames, dimensions) with ids whose order is not that of the list."""
    ids = tuple(f"{i * 7 % 101:03d}-{i}" for i in range(len(clips)))
    return Features(ids, tuple(np.asarray(clip, dtype=np.float32) for clip in clips))


def gaussian_clips(seed: int, n: int, frames: int, dims: int, shift: float = 0.0, scale: float = 1.0) -> Features:
    """Clips whose frames have a part in common, as those of real clips have."""
    rng = np.random.default_rng(seed)
    return features(
        [
            scale * (0.8 * rng.standard_normal(dims) + 0.6 * rng.standard_normal((frames, dims))) + shift
            for _ in range(n)
        ]
    )


def reordered(one: Features) -> Features:
    return one.select(one.ids[::-1])


def assert_order_does_not_matter(metric: Any, generated: Features, reference: Features | None) -> None:
    first = metric(generated, reference)
    second = metric(reordered(generated), None if reference is None else reordered(reference))
    np.testing.assert_allclose(second.value, first.value, rtol=1e-9, atol=1e-12)
    assert first.per_clip.keys() == second.per_clip.keys()
    for i, value in first.per_clip.items():
        np.testing.assert_allclose(second.per_clip[i], value, rtol=1e-6, atol=1e-9)


def width_of_interval(metric: Any, generated: Features, reference: Features | None) -> float:
    """How wide the 95 % interval is, after a check that the value lies in it."""
    score = scored("it", generated.ids, [metric(generated, reference)], metric.bounds, Uncertainty(resamples=200))
    assert score.low < score.value < score.high
    return score.high - score.low


def repeated(one: Features, times: np.ndarray) -> Features:
    """The set in which each clip stands as often as a resample has drawn it."""
    chosen = np.repeat(np.arange(len(one.ids)), times.astype(int))
    return Features(tuple(f"{one.ids[i]}-{k}" for k, i in enumerate(chosen)), tuple(one.values[i] for i in chosen))
