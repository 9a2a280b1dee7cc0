"""Rates corrected for a detector's errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalkit.stats.prevalence import Rate, corrected


def test_the_value_is_rogan_and_gladen_s() -> None:
    found = corrected(Rate(0.2, 500), Rate(0.8, 300), Rate(0.95, 300), 0.95)
    assert found.value == pytest.approx((0.2 - 0.05) / 0.75)
    assert found.low < found.value < found.high


def test_what_false_alarms_explain_is_nothing() -> None:
    found = corrected(Rate(0.04, 100), Rate(0.8, 100), Rate(0.95, 100), 0.95)
    assert found.value == 0.0 == found.low < found.high < 0.15


def test_each_uncertainty_makes_it_wider() -> None:
    sure = corrected(Rate(0.2, 1e6), Rate(0.8, 1e6), Rate(0.95, 1e6), 0.95)
    for sizes in ((100, 1e6, 1e6), (1e6, 100, 1e6), (1e6, 1e6, 100)):
        n, voices, others = sizes
        less = corrected(Rate(0.2, n), Rate(0.8, voices), Rate(0.95, others), 0.95)
        assert less.high - less.low > 5 * (sure.high - sure.low)


def test_a_detector_that_tells_nothing_corrects_nothing() -> None:
    for sensitivity, specificity in ((0.5, 0.5), (1.0, 0.0), (0.55, 0.5)):
        assert math.isnan(corrected(Rate(0.3, 100), Rate(sensitivity, 50), Rate(specificity, 50), 0.95).value)


def test_intervals_hold_the_truth() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        found, voices, others = rng.binomial([200, 80, 120], [0.1 * 0.85 + 0.9 * 0.06, 0.85, 0.94])
        one = corrected(Rate(found / 200, 200), Rate(voices / 80, 80), Rate(others / 120, 120), 0.95)
        held += one.low <= 0.1 <= one.high
    assert held >= 276
