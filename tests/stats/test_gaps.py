"""Gaps between groups of prompts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from evalkit.stats.gaps import gap, mean, subsamples
from evalkit.stats.means import mean_interval

REAL = (-math.inf, math.inf)


def of(values: np.ndarray, units: np.ndarray, number: int, bounds: tuple[float, float] = REAL):
    return mean(values[None], np.ones((1, len(values))), units, number, bounds)


def test_a_group_s_own_interval_is_that_of_tables() -> None:
    rng = np.random.default_rng(0)
    for values, bounds in ((rng.normal(size=30), REAL), (np.r_[1.0, np.zeros(19)], (0.0, 1.0))):
        found = of(values, np.arange(len(values)), 50, bounds)
        expected = mean_interval(values[None], np.ones((1, len(values))), 0.95, bounds)
        assert found.ends(0.025) == pytest.approx(expected) and found.value == pytest.approx(values.mean())


def test_errors_are_welch_s_of_groups_apart_and_those_of_pairs_where_units_are_shared() -> None:
    rng = np.random.default_rng(1)
    hard = rng.normal(size=25)
    one, other = hard + 0.2 * rng.normal(size=25), hard + 0.2 * rng.normal(size=25)
    apart, moved = gap(of(one, np.arange(25), 50), of(other, np.arange(25, 50), 50))
    expected = ttest_ind(one, other, equal_var=False)
    assert apart.value / apart.error == pytest.approx(expected.statistic)
    assert apart.error == pytest.approx(np.sqrt((moved**2).sum()))
    together, _ = gap(of(one, np.arange(25), 25), of(other, np.arange(25), 25))
    assert together.value / together.error == pytest.approx(ttest_rel(one, other).statistic)
    low, high = together.interval(0.95)
    assert high - low < 0.5 * (apart.interval(0.95)[1] - apart.interval(0.95)[0])


def test_several_prompts_of_a_unit_count_as_one() -> None:
    rng = np.random.default_rng(2)
    units = np.repeat(np.arange(20), 9)
    values = np.repeat(rng.normal(size=20), 9)
    alone, together = of(values, np.arange(180), 200), of(values, units, 200)
    assert together.units == 20 and np.ptp(together.ends(0.025)) > 2.5 * np.ptp(alone.ends(0.025))


def test_a_group_in_which_nothing_rare_was_seen_may_have_it_all_the_same() -> None:
    none, few = of(np.zeros(15), np.arange(15), 115, (0.0, 1.0)), np.r_[np.ones(4), np.zeros(96)]
    estimate, _ = gap(none, of(few, np.arange(15, 115), 115, (0.0, 1.0)))
    low, high = estimate.interval(0.95)
    assert low < -0.04 < 0.1 < high < 0.25


def test_of_a_group_of_one_unit_nothing_is_known() -> None:
    rng = np.random.default_rng(4)
    rest = of(rng.normal(size=30), np.arange(30) + 1, 31)
    estimate, _ = gap(of(rng.normal(size=5), np.zeros(5, int), 31), rest)
    assert np.isnan(estimate.interval(0.95)).all() and math.isfinite(estimate.value)


def test_p_and_interval_say_the_same() -> None:
    rng = np.random.default_rng(3)
    estimate, _ = gap(of(rng.normal(0.6, 1, 20), np.arange(20), 80), of(rng.normal(size=60), np.arange(20, 80), 80))
    for level in (0.5, 0.9, 0.95, 0.99):
        low, high = estimate.interval(level)
        assert (estimate.p() < 1 - level) == (low > 0 or high < 0)


def test_subsamples_have_the_size_and_whole_units() -> None:
    units = np.repeat(np.arange(30), 3)
    found = subsamples(units, 12, 50, 0)
    assert found.sum(axis=1).tolist() == [12] * 50
    assert all(len({*row[units == unit]}) == 1 for row in found for unit in range(30))
    assert found.mean(axis=0).min() > 0 and np.array_equal(found, subsamples(units, 12, 50, 0))
