"""What an estimate says of its bounds: p-values are the tails at which they reach a limit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from evalkit.stats.estimate import Estimate, student
from evalkit.stats.paired import mean_difference, share_difference


def skewed() -> Estimate:
    values = np.random.default_rng(0).lognormal(0, 1, (1, 25)) - 1
    return mean_difference((np.zeros((1, 25)), np.ones((1, 25))), (values, np.ones((1, 25))))


ESTIMATES = [student(0.4, 0.3, 7), student(-2.0, 0.1, 30), skewed(), share_difference(7, 2, 40)]


def test_students_estimate_has_the_p_values_of_the_t_test() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, 15)
    estimate = student(values.mean(), scipy.stats.sem(values), 14)
    for limit in (-0.4, 0.0, 0.5):
        for p, side in ((estimate.p_above(limit), "greater"), (estimate.p_below(limit), "less")):
            assert p == pytest.approx(scipy.stats.ttest_1samp(values, limit, alternative=side).pvalue, abs=1e-9)
    assert estimate.p() == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, abs=1e-9)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_a_bound_lies_at_the_limit_at_the_tail_that_is_its_p(estimate: Estimate) -> None:
    for limit in (-0.3, 0.05, 0.3):
        above, below = estimate.p_above(limit), estimate.p_below(limit)
        for p, bound in ((above, 0), (below, 1)):
            if 1e-9 < p < 1 - 1e-9:
                assert estimate.bounds(p)[bound] == pytest.approx(limit, abs=1e-6)
        # which is what decides: a bound lies beyond a limit if and only if its p is below the tail
        low, high = estimate.bounds(0.025)
        assert (low > limit) == (above < 0.025) and (high < limit) == (below < 0.025)
    tails = np.logspace(-9, math.log10(0.9), 60)
    lows, highs = np.transpose([estimate.bounds(tail) for tail in tails])
    assert (np.diff(lows) >= 0).all() and (np.diff(highs) <= 0).all()


def test_what_does_not_vary_is_known_and_no_difference_has_a_p_of_one() -> None:
    nothing = student(0.0, 0.0, 20)
    assert nothing.interval(0.95) == (0, 0) and nothing.p() == nothing.p_above(0.0) == nothing.p_below(0.0) == 1
    assert nothing.p_above(-0.1) < 1e-9 and nothing.p_above(0.1) == 1 and nothing.detectable(0.95, 0.8) == 0
    something = student(0.2, 0.0, 20)
    assert something.p() < 1e-9 and something.p_above(0.2) == 1


def test_what_is_not_known_has_no_p_and_no_detectable_difference() -> None:
    for unknown in (student(0.3, math.nan, 5), student(math.nan, math.nan, math.nan)):
        found = [*unknown.interval(0.95), unknown.p(), unknown.p_above(0), unknown.p_below(0)]
        assert np.isnan([*found, unknown.detectable(0.95, 0.8)]).all()


@pytest.mark.parametrize(("df", "level", "power"), [(49, 0.95, 0.8), (12, 0.9, 0.9), (400, 0.95, 0.5)])
def test_the_detectable_difference_is_detected_with_that_power(df: int, level: float, power: float) -> None:
    """Against the noncentral t distribution, which the sum of two quantiles approximates."""
    ratio = student(0.1, 0.02, df).detectable(level, power) / 0.02
    assert scipy.stats.nct.sf(scipy.stats.t.ppf((1 + level) / 2, df), df, ratio) == pytest.approx(power, abs=0.015)


def test_where_nothing_is_seen_to_vary_a_difference_is_detected_only_beyond_the_bounds() -> None:
    assert share_difference(0, 0, 50).detectable(0.95, 0.8) > share_difference(0, 0, 50).interval(0.95)[1] > 0.07
