"""Which of many may be the best: literal computations, error rates where the truth is known, and what is not known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from scipy.optimize import brentq
from scipy.special import stdtrit

from evalkit.stats.best import dominated, multipliers, not_worse, on_front, shares_not_worse
from evalkit.stats.means import skewed_interval, standard_error

LEVEL = 0.95


def measured(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of candidates, (K,), and their influences, from the values of prompts, (K, prompts)."""
    means = values.mean(axis=1)
    return means, values - means[:, None]


def test_draws_of_an_error_are_students_with_the_standard_error() -> None:
    _, (influence, *_) = measured(np.random.default_rng(0).lognormal(0, 1, (1, 12)))
    drawn = multipliers(12, 200_000, 0) @ influence / standard_error(influence)
    for share in (0.025, 0.2, 0.5, 0.975):
        assert np.quantile(drawn, share) == pytest.approx(scipy.stats.t(11).ppf(share), abs=0.03)


def test_draws_depend_on_the_seed_and_take_no_error_from_what_moves_all_groups_alike() -> None:
    np.testing.assert_array_equal(multipliers(5, 10, 1), multipliers(5, 10, 1))
    assert not np.array_equal(multipliers(5, 10, 1), multipliers(5, 10, 2))
    np.testing.assert_allclose(multipliers(5, 10, 1) @ np.full(5, 3.0), 0, atol=1e-12)


def test_of_two_the_p_value_is_that_of_the_paired_t_test_to_one_side() -> None:
    values = np.random.default_rng(1).standard_normal((2, 30)) + np.array([[0.0], [0.3]])
    drawn = multipliers(30, 100_000, 0)
    chosen, p = not_worse(*measured(values), drawn, LEVEL, lower_is_better=True)
    expected = scipy.stats.ttest_rel(values[1], values[0], alternative="greater").pvalue
    assert p.tolist() == [1.0, pytest.approx(expected, abs=0.005)]
    assert chosen.tolist() == [True, bool(p[1] > 0.05)]


def test_the_p_value_of_many_is_that_of_the_largest_difference_in_standard_errors_among_draws() -> None:
    """By loops, as the docstring says it."""

    def standard_errors(value: float, influence: np.ndarray) -> float:
        """The quantile of Student's t at which the interval of a mean of skewed values reaches 0."""
        if value <= 0:
            return 0.0
        tail = brentq(lambda tail: skewed_interval(value, influence, tail)[0], 1e-9, 0.6, xtol=1e-14)
        return float(stdtrit(len(influence) - 1, 1 - tail))

    values = np.random.default_rng(2).standard_normal((4, 20)) + np.array([0.0, 0.2, 0.5, 0.9])[:, None]
    values[1] += np.where(np.arange(20) < 3, 0.8, 0.0)
    estimates, influences = measured(values)
    drawn = multipliers(20, 500, 0)
    _, p = not_worse(estimates, influences, drawn, LEVEL, lower_is_better=True)
    for i in range(1, 4):
        errors = {j: standard_error(influences[i] - influences[j]) for j in range(4) if j != i}
        observed = max(standard_errors(estimates[i] - estimates[j], influences[i] - influences[j]) for j in errors)
        largest = [max((influences[i] - influences[j]) @ row / error for j, error in errors.items()) for row in drawn]
        reached = sum(max(0.0, one) >= observed for one in largest)
        assert p[i] == pytest.approx((1 + reached) / 501)
    assert p[0] == 1.0


def test_where_higher_is_better_it_is_the_same_turned_around() -> None:
    estimates, influences = measured(np.random.default_rng(3).standard_normal((5, 40)))
    drawn = multipliers(40, 1000, 0)
    lower = not_worse(estimates, influences, drawn, LEVEL, lower_is_better=True)
    higher = not_worse(-estimates, -influences, drawn, LEVEL, lower_is_better=False)
    np.testing.assert_array_equal(lower[0], higher[0])
    np.testing.assert_allclose(lower[1], higher[1])


@pytest.mark.parametrize(("number", "prompts"), [(3, 20), (10, 60)])
def test_the_truly_best_is_left_out_as_seldom_as_is_said_where_all_are_equal(number: int, prompts: int) -> None:
    rng, trials, out = np.random.default_rng(4), 600, 0
    drawn = multipliers(prompts, 500, 0)
    spreads = np.linspace(0.3, 2.0, number)[:, None]
    for _ in range(trials):
        values = rng.standard_normal((1, prompts)) + spreads * rng.standard_normal((number, prompts))
        out += not not_worse(*measured(values), drawn, LEVEL, lower_is_better=True)[0][0]
    # three standard deviations of a count of 5 % above it
    assert out / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert out > 0


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_the_best_is_left_out_as_seldom_where_others_have_a_rare_fault(lower_is_better: bool) -> None:
    """All are equal, but the first is always so, and the others are better but for a twentieth of the prompts."""
    rng, trials, out = np.random.default_rng(5), 600, 0
    sign = 1.0 if lower_is_better else -1.0
    drawn = multipliers(200, 500, 0)
    for _ in range(trials):
        values = 0.3 * rng.standard_normal((6, 200))
        values[1:] += np.where(rng.random((5, 200)) < 0.05, 4.0, 0.0) - 0.2
        out += not not_worse(*measured(sign * values), drawn, LEVEL, lower_is_better)[0][0]
    assert out / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_one_that_is_clearly_worse_is_left_out_and_does_not_widen_the_others() -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_normal((1, 200)) + 0.3 * rng.standard_normal((4, 200)) + np.array([0, 0.01, 2, 3])[:, None]
    chosen, p = not_worse(*measured(values), multipliers(200, 2000, 0), LEVEL, lower_is_better=True)
    assert chosen.tolist() == [True, True, False, False]
    assert p[2:].tolist() == [1 / 2001] * 2


def test_equal_candidates_are_all_chosen_whatever_the_rounding() -> None:
    values = np.random.default_rng(6).standard_normal((1, 50))
    estimates, influences = measured(np.repeat(values, 3, axis=0))
    estimates = estimates * (1 + 1e-15 * np.arange(3))
    chosen, p = not_worse(estimates, influences, multipliers(50, 200, 0), LEVEL, lower_is_better=True)
    assert chosen.all() and (p == 1).all()
    front = on_front(estimates[None], influences[None], multipliers(50, 200, 0), np.array([True]))
    assert (front == 1).all()


def test_nothing_is_claimed_of_what_differs_by_the_same_in_all_groups() -> None:
    values = np.random.default_rng(7).standard_normal((1, 50)) + np.array([[0.0], [1.0]])
    estimates, influences = measured(values)
    drawn = multipliers(50, 200, 0)
    assert not_worse(estimates, influences, drawn, LEVEL, lower_is_better=True)[0].all()
    assert dominated(estimates[None], influences[None], drawn, LEVEL, np.array([True]), np.zeros(1)).tolist() == [
        -1,
        -1,
    ]


def test_candidates_without_a_value_are_unknown_and_change_nothing_for_the_others() -> None:
    values = np.random.default_rng(8).standard_normal((4, 50)) + np.array([0, 0.1, 0.2, 2])[:, None]
    estimates, influences = measured(values)
    drawn = multipliers(50, 500, 0)
    more, moved = np.insert(estimates, 1, math.nan), np.insert(influences, 1, math.nan, axis=0)
    chosen, p = not_worse(more, moved, drawn, LEVEL, lower_is_better=True)
    known = [0, 2, 3, 4]
    expected = not_worse(estimates, influences, drawn, LEVEL, lower_is_better=True)
    np.testing.assert_array_equal(chosen[known], expected[0])
    np.testing.assert_allclose(p[known], expected[1])
    assert math.isnan(p[1]) and not chosen[1]
    lower = np.array([True])
    beaten = dominated(more[None], moved[None], drawn, LEVEL, lower, np.zeros(1))
    assert beaten[4] in known and beaten[1] == -1
    front = on_front(more[None], moved[None], drawn, lower)
    assert math.isnan(front[1]) and front[known].sum() == pytest.approx(1)
    nobody = not_worse(np.full(2, math.nan), np.full((2, 50), math.nan), drawn, LEVEL, lower_is_better=True)
    assert not nobody[0].any() and np.isnan(nobody[1]).all()


def test_shares_of_few_prompts_are_told_apart_by_mcnemars_exact_test() -> None:
    has = np.zeros((3, 40))
    has[1, :5], has[2, :12] = 1, 1
    chosen, p = shares_not_worse(has, LEVEL, lower_is_better=True)
    expected = [scipy.stats.binomtest(k, k, 0.5, alternative="greater").pvalue for k in (5, 12)]
    assert p.tolist() == [1.0, pytest.approx(2 * expected[0]), pytest.approx(2 * expected[1])]
    assert chosen.tolist() == [True, True, False]
    turned = shares_not_worse(1 - has, LEVEL, lower_is_better=False)
    np.testing.assert_allclose(turned[1], p)
    assert shares_not_worse(has[:1], LEVEL, lower_is_better=True)[1].tolist() == [1.0]


def test_shares_of_several_clips_give_no_more_than_their_pairs() -> None:
    has = np.array([[0.5] * 20, [0.5] * 20])
    assert shares_not_worse(has, LEVEL, lower_is_better=True)[1].tolist() == [1.0, 1.0]


def test_one_is_beaten_only_where_another_is_better_in_every_metric_by_more_than_the_margin() -> None:
    rng = np.random.default_rng(9)
    noise = rng.standard_normal((2, 1, 300)) + 0.2 * rng.standard_normal((2, 4, 300))
    truth = np.array([[0.0, 1.0, 1.0, 0.3], [0.0, -1.0, 1.0, 0.3]])  # the second is worse in one, better in the other
    estimates = np.array([measured(v + t[:, None])[0] for v, t in zip(noise, truth, strict=True)])
    influences = np.array([measured(v)[1] for v in noise])
    drawn, lower = multipliers(300, 1000, 0), np.array([True, True])
    assert dominated(estimates, influences, drawn, LEVEL, lower, np.zeros(2)).tolist() == [-1, -1, 0, 0]
    assert dominated(estimates, influences, drawn, LEVEL, lower, np.array([0.5, 0.5])).tolist() == [-1, -1, 0, -1]
    signs = np.array([1.0, -1.0])[:, None]
    turned = dominated(
        signs * estimates, signs[..., None] * influences, drawn, LEVEL, np.array([True, False]), np.zeros(2)
    )
    assert turned.tolist() == [-1, -1, 0, 0]


def test_one_that_none_beats_is_seldom_found_beaten() -> None:
    """The worst case: each other is better by far in one metric, and equal in another."""
    rng, trials, wrong = np.random.default_rng(10), 500, 0
    truth = np.array([[5.0, 0.0, 0.0, 5.0, 5.0], [5.0, 5.0, 5.0, 0.0, 0.0]])
    drawn, lower = multipliers(40, 400, 0), np.array([True, True])
    for _ in range(trials):
        values = rng.standard_normal((2, 5, 40)) + truth[:, :, None]
        estimates, influences = (np.array(part) for part in zip(*map(measured, values), strict=True))
        wrong += dominated(estimates, influences, drawn, LEVEL, lower, np.zeros(2))[0] >= 0
    assert 0 < wrong / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_the_share_of_draws_on_the_front_is_counted_as_a_loop_counts_it() -> None:
    values = np.random.default_rng(11).standard_normal((3, 4, 25))
    estimates, influences = (np.array(part) for part in zip(*map(measured, values), strict=True))
    drawn, lower = multipliers(25, 200, 0), np.array([True, False, True])
    found = on_front(estimates, influences, drawn, lower)
    signs, counts = np.where(lower, 1, -1), np.zeros(4)
    for row in drawn:
        at = signs[:, None] * (estimates + influences @ row)
        for i in range(4):
            others = [j for j in range(4) if j != i]
            counts[i] += not any((at[:, j] <= at[:, i]).all() and (at[:, j] < at[:, i]).any() for j in others)
    np.testing.assert_allclose(found, counts / 200)


def test_of_two_in_one_metric_the_share_on_the_front_is_that_of_being_better() -> None:
    values = np.random.default_rng(12).standard_normal((2, 60)) + np.array([[0.0], [0.1]])
    estimates, influences = measured(values)
    share = on_front(estimates[None], influences[None], multipliers(60, 100_000, 0), np.array([True]))
    t = scipy.stats.ttest_rel(values[1], values[0], alternative="greater").pvalue
    assert share.tolist() == [pytest.approx(1 - t, abs=0.005), pytest.approx(t, abs=0.005)]


def test_clear_trade_offs_are_all_on_the_front_and_what_they_beat_is_not() -> None:
    truth = np.array([[0.0, 10.0, 20.0, 15.0], [20.0, 10.0, 0.0, 15.0]])
    values = np.random.default_rng(13).standard_normal((2, 4, 100)) + truth[:, :, None]
    estimates, influences = (np.array(part) for part in zip(*map(measured, values), strict=True))
    front = on_front(estimates, influences, multipliers(100, 300, 0), np.array([True, True]))
    assert front.tolist() == [1, 1, 1, 0]


def test_nothing_depends_on_the_order_of_candidates() -> None:
    estimates, influences = measured(np.random.default_rng(14).standard_normal((5, 30)) * [[1], [2], [1], [3], [1]])
    drawn = multipliers(30, 300, 0)
    _, p = not_worse(estimates, influences, drawn, LEVEL, lower_is_better=True)
    for order in itertools.islice(itertools.permutations(range(5)), 0, 120, 17):
        moved = list(order)
        found = not_worse(estimates[moved], influences[moved], drawn, LEVEL, lower_is_better=True)[1]
        np.testing.assert_allclose(found, p[moved])
