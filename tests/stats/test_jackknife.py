"""The jackknife against the textbook's formulas and where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.stats.jackknife import corrected, groups


def test_groups_depend_on_the_ids_and_not_on_their_order() -> None:
    ids = [f"clip{k}" for k in range(53)]
    which = dict(zip(ids, groups(ids, 10, seed=0).tolist(), strict=True))
    assert sorted(np.bincount(list(which.values()))) == [5] * 7 + [6] * 3
    shuffled = np.random.default_rng(0).permutation(ids).tolist()
    assert dict(zip(shuffled, groups(shuffled, 10, seed=0).tolist(), strict=True)) == which
    assert dict(zip(ids, groups(ids, 10, seed=1).tolist(), strict=True)) != which
    for number in (53, 80):
        assert sorted(groups(ids, number, seed=0)) == list(range(53))
    twice = groups([*ids, *ids], 10, seed=0)
    np.testing.assert_array_equal(twice[:53], twice[53:])


def test_leaving_out_one_each_takes_the_bias_of_the_plugged_in_variance_out() -> None:
    """Efron and Tibshirani 1993, section 10.5: the jackknife turns the n in the variance into n - 1."""
    x = np.random.default_rng(0).lognormal(0, 1, 30)
    estimate = corrected(x.var(), np.array([np.delete(x, k).var() for k in range(30)]), np.ones(30))
    assert estimate.value == pytest.approx(x.var(ddof=1), rel=1e-12) and estimate.df == 29


def test_of_a_mean_it_is_the_standard_error() -> None:
    x = np.random.default_rng(0).lognormal(0, 1, 30)
    estimate = corrected(x.mean(), np.array([np.delete(x, k).mean() for k in range(30)]), np.ones(30))
    assert (estimate.value, estimate.error) == pytest.approx((x.mean(), x.std(ddof=1) / 30**0.5), rel=1e-12)
    assert np.isnan(corrected(1.0, np.array([1.0, np.nan]), np.ones(2)).interval(0.95)).all()
    assert np.isnan(corrected(1.0, np.array([1.0]), np.ones(1)).p())
