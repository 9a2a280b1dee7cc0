"""Tests by swaps, and corrections for many, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.stats.permutation import holm, max_t, p_value, swaps


def test_swaps_are_coins_and_depend_on_the_seed_alone() -> None:
    drawn = swaps(200, 2000, seed=3)
    assert drawn.shape == (2000, 200) and drawn.dtype == bool
    assert drawn.mean(axis=0) == pytest.approx(np.full(200, 0.5), abs=0.06)
    np.testing.assert_array_equal(drawn[:10], swaps(200, 10, seed=3))
    assert (drawn != swaps(200, 2000, seed=4)).any()


def test_p_counts_swaps_as_far_from_zero() -> None:
    swapped = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.5])
    assert p_value(2.0, swapped) == p_value(-2.0, swapped) == 0.6
    assert p_value(2.0 * (1 + 1e-14), swapped) == 0.6  # of equal ones, rounding does not decide
    assert p_value(9.0, swapped) == 0.1 and p_value(0.0, swapped) == 1.0
    assert p_value(9.0, np.append(swapped[1:], np.nan)) == 0.2
    assert np.isnan(p_value(np.nan, swapped))


def test_max_t_is_what_westfall_and_young_define() -> None:
    rng = np.random.default_rng(0)
    observed, swapped = rng.normal(0, 2, 7), rng.standard_normal((99, 7))
    order, least = np.argsort(-abs(observed)), 0.0
    adjusted = max_t(observed, swapped)
    for rank, k in enumerate(order):
        exceed = sum(max(abs(row[j]) for j in order[rank:]) >= abs(observed[k]) for row in swapped)
        least = max(least, (1 + exceed) / 100)
        assert adjusted[k] == pytest.approx(least)
    with_unknown = max_t(np.append(observed, np.nan), np.column_stack([swapped, np.full(99, 50.0)]))
    np.testing.assert_array_equal(with_unknown, np.append(adjusted, np.nan))
    assert max_t(np.array([]), np.empty((9, 0))).shape == (0,)


def test_holm_multiplies_by_the_number_that_is_left() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005])), [0.03, 0.06, np.nan, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]
