"""Clusters of prompts: against statsmodels, brute force, and what must hold of prompts that are there several times."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api

from evalkit.stats import bootstrap
from evalkit.stats.clusters import (
    count,
    degrees_of_freedom,
    numbered,
    sizes,
    totals,
    without_leverage,
)
from evalkit.stats.frechet import resampled_frechet_distances
from evalkit.stats.means import mean_interval, ratio, standard_error

UNEVEN = np.repeat(np.arange(7), [1, 5, 2, 1, 3, 1, 2])


def test_clusters_are_numbered_as_they_come_and_prompts_alone_have_none() -> None:
    numbers = numbered(["b", "a", "b", "c", "a"])
    assert numbers is not None and numbers.tolist() == [0, 1, 0, 2, 1]
    assert numbered(["b", "a", "c"]) is None and numbered([]) is None
    assert (count(5, numbers), count(5, None)) == (3, 5)


def test_totals_are_those_of_pandas_in_whatever_order_prompts_come() -> None:
    rng = np.random.default_rng(0)
    which, values = rng.permutation(UNEVEN), rng.standard_normal((2, len(UNEVEN)))
    expected = pd.DataFrame(values.T).groupby(which).sum().to_numpy().T
    np.testing.assert_allclose(totals(values, which), expected, rtol=1e-13)
    np.testing.assert_allclose(totals(values, 3 * which + 1), expected, rtol=1e-13)  # some numbers are left out
    assert totals(values, None) is values
    assert sizes(len(which), which).tolist() == [1, 5, 2, 1, 3, 1, 2]


@pytest.mark.parametrize("each", [UNEVEN, np.repeat(np.arange(8), 3)])
def test_the_error_of_a_mean_is_statsmodels_cluster_robust_one_and_bell_and_mccaffreys(each: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal(len(each)) + rng.standard_normal(each.max() + 1)[each]
    ones = np.ones((1, len(each)))
    value, influence = ratio(totals(values[None], each), totals(ones, each))
    fit = statsmodels.api.OLS(values, ones[0]).fit(cov_type="cluster", cov_kwds={"groups": each})
    assert value == pytest.approx(fit.params[0]) and standard_error(influence) == pytest.approx(fit.bse[0], rel=1e-12)

    own = sizes(len(each), each)
    # by brute force: residuals of each cluster times (I - H)^-1/2 of that cluster
    squares = 0.0
    for number in range(len(own)):
        residuals = (values - value)[each == number]
        w, v = np.linalg.eigh(np.eye(len(residuals)) - 1 / len(each))
        squares += float((v @ (v.T @ residuals / np.sqrt(w))).sum() ** 2)
    adjusted = without_leverage(influence, own)
    expected = math.sqrt(squares) / len(each)
    assert math.sqrt((adjusted**2).sum() / len(own) / (len(own) - 1)) == pytest.approx(expected, rel=1e-12)

    shares = own / own.sum()
    way = np.diag(shares / np.sqrt(1 - shares)) @ (np.eye(len(own)) - shares)
    moment = way @ way.T  # the error's square is a form in the clusters' means, with these eigenvalues
    assert degrees_of_freedom(own) == pytest.approx(np.trace(moment) ** 2 / np.trace(moment @ moment), rel=1e-9)


def test_clusters_of_one_size_have_as_many_degrees_of_freedom_as_prompts_would() -> None:
    assert degrees_of_freedom(np.full(9, 4.0)) == pytest.approx(8)
    assert degrees_of_freedom(np.array([50.0, 1, 1, 1, 1, 1])) < 1.2  # one of which the others say nothing


@pytest.mark.parametrize("values", ["normal", "skewed", "items", "share", "none", "same"])
def test_a_mean_of_prompts_that_are_all_there_several_times_has_the_interval_of_each_once(values: str) -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(1, 5, (2, 30)).astype(float) if values == "items" else np.ones((2, 30))
    sums = {
        "normal": rng.standard_normal((2, 30)),
        "skewed": rng.lognormal(0, 1, (2, 30)),
        "items": counts * rng.standard_normal((2, 30)),
        "share": (rng.random((2, 30)) < 0.2).astype(float),
        "none": np.zeros((2, 30)),
        "same": np.full((2, 30), 0.5),
    }[values]
    bounds = (0.0, 1.0) if values in ("share", "none", "same") else (-math.inf, math.inf)
    again = rng.permutation(np.repeat(np.arange(30), 3))
    once = mean_interval(sums, counts, 0.95, bounds)
    thrice = mean_interval(sums[:, again], counts[:, again], 0.95, bounds, again)
    # of clusters it is taken into account that those with more items draw the mean to themselves, and that the variance
    # of a share is an estimate
    assert thrice == pytest.approx(once, rel=0.02 if values in ("share", "items") else 1e-9)
    alone = mean_interval(sums[:, again], counts[:, again], 0.95, bounds)
    assert alone[1] - alone[0] < 0.7 * (once[1] - once[0])


def test_clusters_weigh_what_their_items_weigh() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        items = rng.choice([1.0, 2.0, 20.0], 12)[np.repeat(np.arange(12), 3)]
        values = rng.standard_normal(12)[np.repeat(np.arange(12), 3)]  # the same for all items of a cluster
        low, high = mean_interval((items * values)[None], items[None], 0.95, clusters=np.repeat(np.arange(12), 3))
        held += low <= 0 <= high
    assert held >= 276  # 0.92; 0.8 if clusters weighed as many prompts as they have


def test_a_rare_fault_of_few_clusters_may_be_one_of_larger_ones() -> None:
    which = np.concatenate([np.arange(40), np.repeat(np.arange(40, 60), 9)])
    fault = np.zeros(len(which))
    fault[:3] = 1  # in clusters of one prompt each, which look as if prompts were not alike
    low, high = mean_interval(fault[None], np.ones((1, len(which))), 0.95, (0.0, 1.0), which)
    assert high > 0.06 and low < 3 / 220  # as of 60 clips; of 220 it would end at 0.04
    above = mean_interval(1 - fault[None], np.ones((1, len(which))), 0.95, (0.0, 1.0), which)
    assert above == pytest.approx((1 - high, 1 - low))


def test_prompts_without_items_belong_to_no_cluster() -> None:
    sums = np.random.default_rng(3).standard_normal((1, 15))
    counts = np.ones((1, 15))
    counts[0, 0] = sums[0, 0] = 0  # the only prompt of its cluster
    assert mean_interval(sums, counts, 0.95, clusters=UNEVEN) == mean_interval(
        sums[:, 1:], counts[:, 1:], 0.95, clusters=UNEVEN[1:]
    )
    assert np.isnan(mean_interval(sums, counts, 0.95, clusters=np.zeros(15, int))).all()  # one cluster


def test_resamples_draw_whole_clusters() -> None:
    references = np.array([0, 1, 1, 2, 3, 4, 5, 6])  # of the second cluster there are two
    drawn = bootstrap.draws(7, 40, 5)

    def function(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        np.testing.assert_array_equal(ours, drawn[:, UNEVEN])
        np.testing.assert_array_equal(theirs, drawn[:, references])
        return ours.sum(axis=1)

    values = bootstrap.resample(function, 15, None, 40, 5, (UNEVEN, references))
    np.testing.assert_array_equal(values, drawn @ np.array([1.0, 5, 2, 1, 3, 1, 2]))


def test_a_distance_of_clips_that_are_all_there_several_times_has_the_resamples_of_each_once() -> None:
    rng = np.random.default_rng(4)
    ours, theirs = (rng.standard_normal((20, 6, 3)) + shift for shift in (0.5, 0.0))
    again = np.repeat(np.arange(20), 4)

    def resamples(which: np.ndarray, clusters: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
        def function(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return resampled_frechet_distances(list(ours[which]), list(theirs[which]), a, b, 0)

        return bootstrap.resample(function, len(which), None, 50, 0, clusters)

    np.testing.assert_allclose(resamples(again, (again, again)), resamples(np.arange(20), None), rtol=1e-9)
