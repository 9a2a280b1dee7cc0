"""The jackknife against the textbook's formulas, and where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalkit.stats.frechet import resampled_frechet_distances
from evalkit.stats.jackknife import corrected, difference, groups


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


def test_groups_have_nothing_to_do_with_the_order_of_the_names() -> None:
    """Prompts of one kind often have names that lie together: they are to be in all groups."""
    ids = [f"{k:04d}" for k in range(1000)]
    first = np.bincount(groups(ids, 10, seed=0)[:500], minlength=10)
    assert first.min() > 30 and first.max() < 70


def test_leaving_out_one_each_takes_the_bias_of_the_plugged_in_variance_out() -> None:
    """Efron and Tibshirani 1993, section 10.5: the jackknife turns the n in the variance into n - 1."""
    x = np.random.default_rng(0).lognormal(0, 1, 30)
    without = np.array([np.delete(x, k).var() for k in range(30)])
    estimate = corrected(x.var(), without, np.ones(30))
    assert estimate.value == pytest.approx(x.var(ddof=1), rel=1e-12) and estimate.df == 29
    # equations 10.8 and 11.5 as they stand there
    assert estimate.value == pytest.approx(x.var() - 29 * (without.mean() - x.var()), rel=1e-12)
    assert estimate.error == pytest.approx(math.sqrt(29 / 30 * ((without - without.mean()) ** 2).sum()), rel=1e-12)


def test_of_a_mean_it_is_the_standard_error() -> None:
    x = np.random.default_rng(0).lognormal(0, 1, 30)
    estimate = corrected(x.mean(), np.array([np.delete(x, k).mean() for k in range(30)]), np.ones(30))
    assert (estimate.value, estimate.error) == pytest.approx((x.mean(), x.std(ddof=1) / 30**0.5), rel=1e-12)


def test_groups_of_unlike_sizes_are_weighed_as_busing_and_others_do() -> None:
    """Their equations one group after the other, of a value that is no mean."""
    x = np.random.default_rng(0).lognormal(0, 1, 23)
    which = groups([str(k) for k in range(23)], 6, seed=0)
    sizes = np.bincount(which)
    whole, without = x.std(), np.array([x[which != k].std() for k in range(6)])
    value = 6 * whole
    for size, rest in zip(sizes.tolist(), without, strict=True):
        value -= (1 - size / 23) * rest
    variance = 0.0
    for size, rest in zip(sizes.tolist(), without, strict=True):
        h = 23 / size
        pseudo = h * whole - (h - 1) * rest
        variance += (pseudo - value) ** 2 / (h - 1) / 6
    estimate = corrected(whole, without, sizes)
    assert (estimate.value, estimate.error, estimate.df) == pytest.approx((value, math.sqrt(variance), 5), rel=1e-12)


def test_a_bias_of_one_over_n_goes_whatever_the_sizes() -> None:
    sizes = np.array([1.0, 4, 2, 7])
    without = 5 + 3 / (14 - sizes)
    assert corrected(5 + 3 / 14, without, sizes).value == pytest.approx(5, rel=1e-12)


def test_without_a_value_for_each_group_there_is_none() -> None:
    for estimate in (
        corrected(1.0, np.array([1.0, np.nan]), np.ones(2)),
        corrected(np.nan, np.array([1.0, 2.0]), np.ones(2)),
        corrected(1.0, np.array([1.0]), np.ones(1)),
    ):
        assert np.isnan([estimate.value, estimate.error, *estimate.interval(0.95), estimate.p()]).all()


def test_a_corrected_difference_of_fads_is_that_of_the_populations() -> None:
    """Two sides as far from the references, one in mean, one in spread: plain FADs differ by the bias alone.

    Prompts are left out of both sides and the references together.
    """
    n, d, trials = 60, 8, 300
    rng = np.random.default_rng(0)
    which = groups([str(k) for k in range(n)], 20, seed=0)
    weights = np.vstack([np.ones(n), which != np.arange(20)[:, None]]).astype(float)
    plain, values, held = [], [], 0
    for _ in range(trials):
        prompts = rng.standard_normal((n, 1, d))

        def clips(mean: float, spread: float, prompts: np.ndarray = prompts) -> list[np.ndarray]:
            own, frames = rng.standard_normal((n, 1, d)), rng.standard_normal((n, 4, d))
            return list(mean + spread * (0.3**0.5 * prompts + 0.3**0.5 * own + 0.4**0.5 * frames))

        reference = clips(0, 1)
        baseline, candidate = (  # d·0.3² and d·(1 - 0.7)²
            resampled_frechet_distances(side, reference, weights, weights) for side in (clips(0.3, 1), clips(0, 0.7))
        )
        difference = candidate - baseline
        estimate = corrected(difference[0], difference[1:], np.bincount(which))
        plain.append(difference[0])
        values.append(estimate.value)
        low, high = estimate.interval(0.95)
        held += low <= 0 <= high
    error = np.std(values) / math.sqrt(trials)
    assert abs(np.mean(values)) < 3 * error and abs(np.mean(plain)) > 4 * error
    assert 0.95 - 3 * math.sqrt(0.0475 / trials) < held / trials < 0.995


def test_a_difference_is_wider_by_what_its_correction_may_leave() -> None:
    rng = np.random.default_rng(3)
    sizes = np.array([3.0, 2.0, 2.0, 3.0])
    values, without = np.array([5.0, 4.0]), np.array([5.2, 4.3])[:, None] + 0.1 * rng.standard_normal((2, 4))
    estimate, each = difference(values, without, sizes)
    plain = corrected(-1.0, without[1] - without[0], sizes)
    assert [e == corrected(v, w, sizes).value for e, v, w in zip(each, values, without, strict=True)] == [
        True, True,
    ]  # fmt: skip
    left = abs(plain.value + 1) * max(abs(each[0] - 5) / 5, abs(each[1] - 4) / 4)
    assert left > 0.01
    low, high = plain.interval(0.95)
    assert estimate.interval(0.95) == pytest.approx((low - left, high + left))
    assert (estimate.value, estimate.error, estimate.df) == (plain.value, plain.error, plain.df)


def test_no_more_is_left_than_was_corrected() -> None:
    estimate, _ = difference(np.array([0.0, 1.0]), np.array([[0.1, 0.2], [1.1, 1.3]]), np.ones(2))
    plain = corrected(1.0, np.array([1.0, 1.1]), np.ones(2))
    assert estimate.interval(0.5)[1] - plain.interval(0.5)[1] == pytest.approx(abs(1 - plain.value))
