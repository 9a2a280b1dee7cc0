"""One score: how its interval is chosen."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from evalkit.encoders.levels import Levels
from evalkit.metrics import mean_over_items
from evalkit.metrics.clipping import ClippedClips, DCOffset
from evalkit.metrics.fad import FAD
from evalkit.results.scored import NO_INTERVAL, NO_RESAMPLES, scored
from evalkit.settings import Uncertainty
from evalkit.types import Features, Measured

IDS = [str(i) for i in range(12)]


def zeros() -> Measured:
    return mean_over_items(IDS, [np.zeros(1)] * 12)


def test_no_clip_of_twelve_is_not_certainly_none_of_all() -> None:
    score = scored("m: clipped_clips", IDS, [zeros()], ClippedClips.bounds, Uncertainty())
    assert (score.value, score.low, score.note) == (0, 0, "") and score.high == pytest.approx(0.2646, abs=1e-4)
    samples = scored("m: clipped_clips", IDS, [zeros()] * 4, ClippedClips.bounds, Uncertainty())
    assert samples.high == score.high


def test_the_clips_of_a_prompt_belong_together_in_whatever_order_a_metric_gives_them() -> None:
    one, two = (mean_over_items(IDS, [np.full(1, i + shift) for i in range(12)]) for shift in (0.0, 0.1))
    turned = dataclasses.replace(two, parts=dict(reversed(two.parts.items())))
    same, other = (scored("m: x", IDS, [one, second], (0, math.inf), Uncertainty()) for second in (two, turned))
    assert (same.low, same.high) == (other.low, other.high)


def test_where_nothing_is_known_of_other_values_there_is_no_interval_and_a_note() -> None:
    score = scored("m: dc_offset", IDS, [zeros()], DCOffset.bounds, Uncertainty())
    assert score.value == 0 and math.isnan(score.low) and math.isnan(score.high) and score.note == NO_INTERVAL


def test_a_mean_has_an_interval_that_needs_no_draws() -> None:
    items = [np.array([float(i), 2.0 * i]) for i in range(12)]
    one, two = (
        scored("m: x", IDS, [mean_over_items(IDS, items)], (0, math.inf), Uncertainty(seed=seed, resamples=100 + seed))
        for seed in (0, 1)
    )
    assert (one.low, one.high) == (two.low, two.high) and one.low < one.value < one.high
    without = scored("m: x", IDS, [mean_over_items(IDS, items)], (0, math.inf), Uncertainty(resamples=0))
    assert math.isnan(without.low) and without.note == ""


def test_where_resamples_have_no_value_there_is_no_interval_and_a_note() -> None:
    def resampled(weights: np.ndarray, _: np.ndarray) -> np.ndarray:
        return np.where(weights[:, 0] > 0, 1.0, math.nan)  # of twelve clips one alone has windows

    score = scored("m: fad", IDS, [Measured(1.0, n=1, resampled=resampled)], (0, math.inf), Uncertainty())
    assert score.value == 1 and math.isnan(score.low) and score.note == NO_RESAMPLES


def test_the_spread_over_seeds_is_that_of_their_values() -> None:
    seeds = [mean_over_items(IDS, [np.full(1, i + shift) for i in range(12)]) for shift in (0.0, 1.0, 5.0)]
    score = scored("m: x", IDS, seeds, (0, math.inf), Uncertainty())
    assert score.values == (5.5, 6.5, 10.5) and score.value == 7.5
    assert score.seed_sd == pytest.approx(np.std([0, 1, 5], ddof=1))
    alone = scored("m: x", IDS, seeds[:1], (0, math.inf), Uncertainty())
    assert math.isnan(alone.seed_sd) and alone.values == (5.5,)


@pytest.mark.parametrize("resamples", [0, 1000])
def test_the_spread_of_a_mean_is_that_of_the_prompts_own_means(resamples: int) -> None:
    values = np.random.default_rng(0).normal(size=(3, 12))
    seeds = [mean_over_items(IDS, list(own[:, None])) for own in values]
    score = scored("m: x", IDS, seeds, (-math.inf, math.inf), Uncertainty(resamples=resamples))
    assert score.spread == pytest.approx(np.std(values.mean(axis=0), ddof=1))


def test_the_spread_of_a_distance_is_that_of_random_parts_of_the_prompts() -> None:
    """Each prompt that is left out takes its clip and its reference along: both move the distance."""
    rng = np.random.default_rng(0)
    ids = tuple(map(str, range(200)))
    sides = [
        Features(ids, tuple((rng.normal(shift, 1, 4) + rng.normal(size=(5, 4))).astype(np.float32) for _ in ids))
        for shift in (0.5, 0.0)
    ]
    fad = FAD(Levels())
    score = scored("m: fad", ids, [fad(*sides)], (0, math.inf), Uncertainty())
    parts = [rng.choice(ids, 150, replace=False) for _ in range(400)]
    values = [fad(*(side.select(part) for side in sides)).value for part in parts]
    assert score.spread == pytest.approx(np.std(values) / math.sqrt(1 / 150 - 1 / 200), rel=0.15)
    assert math.isnan(scored("m: fad", ids, [fad(*sides)], (0, math.inf), Uncertainty(resamples=0)).spread)
