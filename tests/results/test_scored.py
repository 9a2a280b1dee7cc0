"""One score: how its interval is chosen."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from evalkit.metrics import mean_over_items
from evalkit.metrics.clipping import ClippedClips, DCOffset
from evalkit.results.scored import NO_INTERVAL, NO_RESAMPLES, scored
from evalkit.settings import Uncertainty
from evalkit.types import Measured

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
