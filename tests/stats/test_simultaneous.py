"""Intervals that hold for many differences at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from evalkit.stats import simultaneous
from evalkit.stats.estimate import student


def test_of_one_difference_nothing_is_adjusted() -> None:
    drawn = simultaneous.largest(np.ones((1, 5)))
    assert simultaneous.tail(0.95, drawn) == pytest.approx(0.025, abs=0.002)
    assert simultaneous.adjusted([0.3, 0.01], drawn) == pytest.approx([0.3, 0.01], abs=0.01)


def test_independent_differences_need_sidaks_tail_and_the_same_difference_twice_needs_none() -> None:
    apart, alike = simultaneous.largest(np.eye(10)), simultaneous.largest(np.ones((10, 7)))
    assert simultaneous.tail(0.95, apart) == pytest.approx((1 - 0.95 ** (1 / 10)) / 2, rel=0.1)
    assert simultaneous.tail(0.95, alike) == pytest.approx(0.025, abs=0.002)


def test_what_nothing_moves_counts_as_a_difference_of_its_own() -> None:
    drawn = simultaneous.largest(np.array([[1.0, -1.0], [0.0, 0.0]]))
    assert simultaneous.tail(0.95, drawn) == pytest.approx((1 - 0.95**0.5) / 2, rel=0.1)


def test_an_interval_leaves_out_0_where_the_adjusted_p_is_small() -> None:
    rng = np.random.default_rng(0)
    influences = rng.normal(size=(6, 40))
    drawn = simultaneous.largest(influences)
    estimates = [student(value, 0.1, 1e6) for value in (0.0, 0.1, 0.2, 0.26, 0.3, 0.5)]
    bounds = simultaneous.intervals(estimates, 0.95, drawn)
    ps = simultaneous.adjusted([one.p() for one in estimates], drawn)
    assert [low > 0 for low, _ in bounds] == [p < 0.05 for p in ps] and 0 < sum(p < 0.05 for p in ps) < 6
    assert all(p >= 2 * norm.sf(one.value / 0.1) - 0.01 for p, one in zip(ps, estimates, strict=True))


def test_a_p_value_that_is_not_known_stays_unknown() -> None:
    assert np.isnan(simultaneous.adjusted([float("nan")], simultaneous.largest(np.eye(2)))[0])
