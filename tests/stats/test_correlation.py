"""Correlations against SciPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from evalkit.stats.correlation import coefficients, fisher, pairs_within, perfect


def values(n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 8, n).astype(float)
    return x, x + rng.integers(0, 8, n)


def scipys(x: np.ndarray, y: np.ndarray) -> list[float]:
    return [float(one(x, y)[0]) for one in (stats.pearsonr, stats.spearmanr, stats.kendalltau)]


def test_of_one_group_they_are_scipys_each_item_as_often_as_it_counts() -> None:
    x, y = values()
    group = np.zeros(40, int)
    found = coefficients(x, y, np.ones(40), group, pairs_within(group))
    assert found == pytest.approx(scipys(x, y), abs=1e-9)
    weights = np.random.default_rng(1).integers(0, 4, 40)
    often = coefficients(x, y, weights.astype(float), group, pairs_within(group))
    assert often == pytest.approx(scipys(np.repeat(x, weights), np.repeat(y, weights)), abs=1e-9)


def test_within_groups_what_groups_have_in_common_says_nothing() -> None:
    x, y = values()
    groups = np.arange(40) // 4
    pairs = pairs_within(groups)
    assert pairs.shape == (2, 60) and (groups[pairs[0]] == groups[pairs[1]]).all()
    found = coefficients(x, y, np.ones(40), groups, pairs)
    shifted = coefficients(x + 100.0 * groups, y - 1000.0 * groups, np.ones(40), groups, pairs)
    assert shifted == pytest.approx(found, abs=1e-8)
    ranks = [np.concatenate([stats.rankdata(v[groups == g]) - 2.5 for g in range(10)]) for v in (x, y)]
    centred = [v - np.repeat(v.reshape(10, 4).mean(axis=1), 4) for v in (x, y)]
    assert found[:2] == pytest.approx([np.corrcoef(*centred)[0, 1], np.corrcoef(*ranks)[0, 1]], abs=1e-9)
    signs = np.sign(x[pairs[0]] - x[pairs[1]]), np.sign(y[pairs[0]] - y[pairs[1]])
    assert found[2] == pytest.approx((signs[0] @ signs[1]) / math.sqrt((signs[0] ** 2).sum() * (signs[1] ** 2).sum()))


def test_a_group_that_counts_twice_is_two_groups() -> None:
    x, y = values()
    groups = np.arange(40) // 4
    weights = np.where(groups < 3, 2.0, np.where(groups < 5, 0.0, 1.0))
    found = coefficients(x, y, weights, groups, pairs_within(groups))
    chosen = np.concatenate([np.flatnonzero(groups == g) for g in (0, 1, 2, 0, 1, 2, 5, 6, 7, 8, 9)])
    again = np.arange(44) // 4
    assert found == pytest.approx(coefficients(x[chosen], y[chosen], np.ones(44), again, pairs_within(again)), abs=1e-9)


def test_nothing_is_said_where_either_is_all_the_same_and_what_has_no_value_is_left_out() -> None:
    x, y = values()
    group = np.zeros(40, int)
    pairs = pairs_within(group)
    assert np.isnan(coefficients(np.full(40, 0.1), y, np.ones(40), group, pairs)).all()
    assert np.isnan(coefficients(x, y, np.zeros(40), group, pairs)).all()
    gone = x.copy()
    gone[:5] = math.nan
    assert coefficients(gone, y, np.ones(40), group, pairs) == pytest.approx(scipys(x[5:], y[5:]), abs=1e-9)
    assert math.isnan(coefficients(x, y, np.ones(40), group, None)[2])


def test_fishers_z_of_rank_coefficients_ends_where_groups_cannot_tell_it_from_1() -> None:
    assert np.isfinite(fisher(np.array([1.0, -1.0, 1.0]), 12)).all()
    assert fisher(np.full((2, 3), 0.5), 12) == pytest.approx(np.full((2, 3), math.atanh(0.5)))
    of_all = np.array([0.99, 1.0, -1.0])
    assert np.tanh(fisher(of_all, 10)) == pytest.approx([0.99, 0.95, -0.95])
    # of groups of two, it is the logit of a share that agrees but for a quarter of a group
    assert 2 * fisher(of_all, 10)[1] == pytest.approx(math.log(9.75 / 0.25))
    assert list(perfect(np.array([0.99, -0.9, 0.89]), 10)) == [False, True, False]
    assert list(perfect(np.array([1.0, math.nan, 1.0]), 10)) == [True, False, True]
