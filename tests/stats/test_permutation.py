"""Tests by swaps, and corrections for many, against their definitions and by how often they err."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from evalkit.stats.frechet import resampled_frechet_distances
from evalkit.stats.permutation import holm, max_t, moved, p_value, swaps


def test_swaps_are_coins_and_depend_on_the_seed_alone() -> None:
    drawn = swaps(200, 2000, seed=3)
    assert drawn.shape == (2000, 200) and drawn.dtype == bool
    assert drawn.mean(axis=0) == pytest.approx(np.full(200, 0.5), abs=0.06)
    assert drawn.sum(axis=1).var() == pytest.approx(50, rel=0.15)  # binomial: prompts are independent
    np.testing.assert_array_equal(drawn[:10], swaps(200, 10, seed=3))  # more swaps continue the same ones
    assert (drawn != swaps(200, 2000, seed=4)).any()


def test_swaps_are_the_generator_s_numbers_row_by_row_and_move_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = swaps(30, 17, seed=3)
    np.testing.assert_array_equal(drawn, np.random.default_rng([3, 30]).random((17, 30)) < 0.5)
    values = np.random.default_rng(0).standard_normal(30)
    expected = [values[row].sum() for row in drawn]
    np.testing.assert_allclose(moved(drawn, values), expected, rtol=1e-12)
    monkeypatch.setattr("evalkit.stats.permutation.NUMBERS", 70)  # blocks of two
    np.testing.assert_allclose(moved(drawn, values), expected, rtol=1e-12)
    assert moved(drawn[:0], values).shape == (0,)


def test_p_counts_swaps_as_far_from_zero() -> None:
    swapped = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.5])
    assert p_value(2.0, swapped) == p_value(-2.0, swapped) == 0.6
    assert p_value(2.0 * (1 + 1e-14), swapped) == 0.6  # of equal ones, rounding does not decide
    assert p_value(9.0, swapped) == 0.1 and p_value(0.0, swapped) == 1.0
    assert p_value(9.0, np.append(swapped[1:], np.nan)) == 0.2
    assert np.isnan(p_value(np.nan, swapped))


def test_of_few_prompts_p_is_that_of_all_swaps() -> None:
    """Against scipy's exact permutation test of paired samples."""
    before, after = np.random.default_rng(0).normal(0, 1, (2, 8)) + np.array([[0.0], [0.7]])
    theirs = scipy.stats.permutation_test(
        (after, before), lambda a, b, axis: (a - b).mean(axis), permutation_type="samples", vectorized=True
    )
    signs = 1 - 2.0 * swaps(8, 20000, seed=0)
    p = p_value((after - before).mean(), signs @ (after - before) / 8)
    assert p == pytest.approx(theirs.pvalue, abs=4 * math.sqrt(theirs.pvalue / 20000))


def test_where_nothing_differs_p_is_as_small_as_it_says() -> None:
    """(1 + k) / (1 + swaps) is exact: in a share α of samples it is at most α, for α a multiple of 1/40."""
    rng, trials = np.random.default_rng(0), 4000
    ps = np.empty(trials)
    for trial in range(trials):
        differences = rng.lognormal(0, 1, 15) - rng.lognormal(0, 1, 15)
        signs = 1 - 2.0 * swaps(15, 39, seed=trial)
        ps[trial] = p_value(differences.mean(), signs @ differences / 15)
    for share in (0.025, 0.05, 0.25, 0.5):
        assert (ps <= share + 1e-9).mean() == pytest.approx(share, abs=3.5 * math.sqrt(share * (1 - share) / trials))


def test_fads_of_both_sides_swapped_within_prompts_are_as_far_apart_as_by_chance() -> None:
    """Clips of both sides in one list, and weights that choose one of each prompt, as a comparison does it."""
    rng, trials, n = np.random.default_rng(0), 200, 25
    found = 0
    for trial in range(trials):
        prompts = rng.standard_normal((n, 1, 4))
        reference, baseline, candidate = (
            list(prompts + shift + rng.standard_normal((n, 3, 4))) for shift in (0.0, 0.5, 0.5)
        )
        swapped = np.vstack([np.zeros(n, bool), swaps(n, 39, seed=trial)])
        chosen = np.hstack([~swapped, swapped]).astype(float)  # what stands as the baseline; the rest is the candidate
        weights = np.vstack([chosen, 1 - chosen])
        fads = resampled_frechet_distances(baseline + candidate, reference, weights, np.ones((len(weights), n)))
        difference = fads[40:] - fads[:40]
        found += p_value(difference[0], difference[1:]) <= 0.1
    assert found / trials == pytest.approx(0.1, abs=3 * math.sqrt(0.09 / trials))


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
    # of one, and of several that are one and the same, nothing is corrected
    alone = p_value(observed[0], swapped[:, 0])
    np.testing.assert_array_equal(max_t(np.repeat(observed[:1], 5), np.repeat(swapped[:, :1], 5, axis=1)), [alone] * 5)


def test_max_t_errs_once_in_twenty_families_and_finds_what_is_there() -> None:
    """Of ten hypotheses that hang together nine are true: any of these rejected is an error."""
    rng, trials = np.random.default_rng(0), 600
    errors = found = uncorrected = 0
    for trial in range(trials):
        differences = 0.6 * rng.standard_normal((25, 1)) + 0.8 * rng.standard_normal((25, 10))
        differences[:, 4] += 1.0
        signs = np.vstack([np.ones(25), 1 - 2.0 * swaps(25, 99, seed=trial)])
        statistics = signs @ differences / np.sqrt((differences**2).sum(axis=0))
        rejected = max_t(statistics[0], statistics[1:]) <= 0.05
        found += rejected[4]
        errors += bool(np.delete(rejected, 4).any())
        uncorrected += any(p_value(statistics[0, k], statistics[1:, k]) <= 0.05 for k in range(4))
    assert errors / trials < 0.05 + 3 * math.sqrt(0.0475 / trials) and found / trials > 0.9
    assert errors / trials > 0.02 and uncorrected / trials > 0.09  # so that a correction is needed, and not too strong


def test_holm_has_the_adjusted_values_of_pingouins_documentation() -> None:
    """The example of pingouin.holm; like there, NaN stays and does not count."""
    found = holm(np.array([0.50, 0.003, 0.32, np.nan, 0.054, 0.0003]))
    np.testing.assert_allclose(found, [0.64, 0.012, 0.64, np.nan, 0.162, 0.0015], rtol=1e-12)


def test_holm_multiplies_by_the_number_that_is_left() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]
    assert holm(np.array([0.2])).tolist() == [0.2] and holm(np.array([])).shape == (0,)
