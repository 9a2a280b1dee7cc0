"""Rank correlations of few items: against scipy and closed forms, and intervals that hold what they say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import kendalltau, somersd, spearmanr

from evalkit.stats import rank_agreement as ranks
from evalkit.stats.correlation import coefficients as weighted
from evalkit.stats.correlation import concordance, pairs_within


@pytest.mark.parametrize("ties", [3, 100])
def test_coefficients_are_those_of_scipy(ties: int) -> None:
    rng = np.random.default_rng(ties)
    x, y = rng.integers(0, ties, (2, 12)).astype(float)
    rho, tau, d = ranks.coefficients(x, y)
    assert rho == pytest.approx(spearmanr(x, y)[0]) and tau == pytest.approx(kendalltau(x, y)[0])
    assert d == pytest.approx(somersd(y, x).statistic)  # of x given y: pairs that y sets apart are what is counted
    many = ranks.coefficients(x, rng.permuted(np.tile(y, (5, 1)), axis=1))
    assert many.shape == (5, 3) and np.isfinite(many).all()


def test_the_weighted_coefficients_of_one_group_are_the_same() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, (2, 15)).astype(float)
    pairs, once = pairs_within(np.zeros(15, int)), np.ones(15)
    _, rho, tau = weighted(x, y, once, np.zeros(15, int), pairs)
    assert ranks.coefficients(x, y) == pytest.approx([rho, tau, concordance(x, y, once, pairs)])
    # an item that does not count is as good as absent, whatever it is
    once[3], x[3] = 0.0, math.nan
    kept = np.arange(15) != 3
    assert concordance(x, y, once, pairs) == pytest.approx(ranks.coefficients(x[kept], y[kept])[2])


def test_pairs_that_are_equal_in_x_count_half_and_those_in_y_not_at_all() -> None:
    x, y = np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 2.0])
    # 1-2 equal in x: half; 1-3 alike: one; 2-3 equal in y: not counted
    assert ranks.accuracy(float(ranks.coefficients(x, y)[2])) == pytest.approx(1.5 / 2)
    assert np.isnan(ranks.coefficients(np.ones(4), np.arange(4.0))).all()


def test_p_is_exact_for_few_items() -> None:
    x = np.arange(5.0)
    assert ranks.p_values(x, x, 0) == pytest.approx(2 / math.factorial(5))
    y = np.array([1.0, 0.0, 2.0, 3.0, 4.0])
    all_of_them = [kendalltau(x, order)[0] for order in itertools.permutations(y)]
    expected = np.mean([abs(tau) >= kendalltau(x, y)[0] - 1e-9 for tau in all_of_them])
    assert ranks.p_values(x, y, 0)[1] == pytest.approx(expected)
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(60, 2, 9))
    found = [ranks.p_values(x, y, 0)[1] for x, y in drawn]
    assert 0.3 < np.mean(found) < 0.7 and min(found) > 0


def interval(x: np.ndarray, y: np.ndarray, level: float = 0.95) -> list[tuple[float, float]]:
    p = ranks.p_values(x, y, 0)
    return [one.interval(level) for one in ranks.estimates(x, y, np.zeros(3), p)]


def test_of_five_in_the_same_order_the_interval_says_no_more_than_which_sign() -> None:
    x = np.arange(5.0)
    assert interval(x, x) == [(0.0, 1.0)] * 3 and interval(x, -x) == [(-1.0, 0.0)] * 3
    low, high = interval(x, np.array([1.0, 0.0, 2.0, 3.0, 4.0]))[1]
    assert low < -0.7 and high > 0.95


def test_intervals_narrow_with_items_and_widen_with_other_variance() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    y = x + rng.normal(size=60)
    widths = [high - low for n in (10, 20, 60) for low, high in [interval(x[:n], y[:n])[1]]]
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2]
    p, wider = np.ones(3), np.full(3, 0.1)
    narrow, wide = (ranks.estimates(x, y, more, p)[0].interval(0.95) for more in (np.zeros(3), wider))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_intervals_hold_the_truth() -> None:
    rng, held, n = np.random.default_rng(5), np.zeros(2), 12
    true = 6 / np.pi * np.arcsin(0.8 / 2), 2 / np.pi * np.arcsin(0.8)
    for _ in range(150):
        x = rng.normal(size=n)
        y = 0.8 * x + 0.6 * rng.normal(size=n)
        found = ranks.estimates(x, y, np.zeros(3), np.ones(3))
        held += [low <= t <= high for t, (low, high) in zip(true, (e.interval(0.95) for e in found[:2]), strict=True)]
    assert (held >= 0.94 * 150).all()


def test_the_error_that_two_correlations_share_is_that_of_simulations() -> None:
    rng = np.random.default_rng(0)
    a, b, c = 0.6, 0.5, 0.7
    root = np.linalg.cholesky(np.array([[1, c, a], [c, 1, b], [a, b, 1]]))
    drawn = rng.normal(size=(1500, 200, 3)) @ root.T
    drawn -= drawn.mean(axis=1, keepdims=True)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    first, second = ((drawn[..., k] * drawn[..., 2]).sum(axis=1) for k in (0, 1))
    assert ranks.shared(a, b, c) == pytest.approx(np.corrcoef(first, second)[0, 1], abs=0.06)
    assert ranks.shared(0.5, 0.5, 1.0) == pytest.approx(1.0) and ranks.shared(1.0, 0.5, 0.5) == 0.0


def test_a_better_metric_is_told_from_a_worse_one_and_none_from_its_twin() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=30)
    good, bad, twin = y + rng.normal(0, 0.3, 30), rng.normal(size=30), y + rng.normal(0, 0.3, 30)
    p = np.ones(3)
    first, second, third = (ranks.estimates(x, y, np.zeros(3), p)[1] for x in (good, bad, twin))
    found = ranks.difference(first, second, ranks.correlation_of_errors(good, bad, y))
    assert found.interval(0.95)[0] > 0 and found.p() < 0.05
    twins = ranks.difference(first, third, ranks.correlation_of_errors(good, twin, y))
    low, high = twins.interval(0.95)
    assert low < 0 < high and twins.p() > 0.05


def panels(items: int, common: float, own: float, draws: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Values of items, and what panels say of them, which weigh another quality as they like, and with noise."""
    rng = np.random.default_rng(items)
    x, other = rng.normal(size=(2, items))
    weight = rng.normal(0, common, (draws, 1))
    return x, x + 0.5 * other + weight * other + rng.normal(0, own, (draws, items))


def test_the_variance_of_panels_is_of_what_moves_all_items_alike() -> None:
    taus = []
    for seed in range(12):  # other items, of which the variance between panels is not noise
        rng = np.random.default_rng(seed)
        x, other = rng.normal(size=(2, 400))
        taus.append([ranks.coefficients(x, x + (0.5 + weight) * other)[1] for weight in (-0.3, 0.0, 0.3)])
    spread = np.var(np.mean(taus, axis=0))
    found = []
    for seed in range(12):
        rng = np.random.default_rng(100 + seed)
        x, other = rng.normal(size=(2, 14))
        drawn = x + (0.5 + rng.choice([-0.3, 0.0, 0.3], (600, 1))) * other
        z = ranks.of_panels(x, drawn)[1]
        found.append(z * (1 - min(ranks.coefficients(x, drawn.mean(axis=0))[1], 1 - 1 / 14) ** 2) ** 2)
    assert np.mean(found) == pytest.approx(spread, rel=0.4)


def test_noise_of_single_items_is_none_of_panels() -> None:
    x, noisy = panels(12, 0.0, 0.5)
    _, moved = panels(12, 0.5, 0.0)
    assert ranks.of_panels(x, noisy)[1] < 0.1 * ranks.of_panels(x, moved)[1]
    noisy[: len(noisy) // 5, 3] = math.nan  # too many panels that say nothing of an item
    assert np.isnan(ranks.of_panels(x, noisy)).all()
    assert (ranks.of_panels(x, np.tile(x, (5, 1))) == 0).all()
