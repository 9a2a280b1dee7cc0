"""Paired differences against scipy's, published worked examples, and exact enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from evalkit.stats.estimate import Estimate, student
from evalkit.stats.means import mean_interval
from evalkit.stats.paired import cliffs_delta, magnitude, mcnemar, mean_difference, share_difference, with_runs

Bounds = tuple[float, float]
ANY = (-math.inf, math.inf)


def difference(baseline: object, candidate: object, bounds: Bounds = ANY) -> Estimate:
    """Of one value per clip, (clips,) or (sets, clips)."""
    before, after = (np.atleast_2d(np.asarray(values, float)) for values in (baseline, candidate))
    return mean_difference((before, np.ones_like(before)), (after, np.ones_like(after)), bounds)


def test_symmetric_differences_have_students_paired_interval_and_p() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 10)
    before = rng.lognormal(0, 1, 20)
    after = before + 0.4 + np.concatenate([noise, -noise])  # no skewness, so that Hall's is Student's
    theirs = scipy.stats.ttest_rel(after, before)
    ours = difference(before, after)
    assert ours.value == pytest.approx((after - before).mean(), rel=1e-12)
    assert ours.error == pytest.approx(scipy.stats.sem(after - before), rel=1e-12) and ours.df == 19
    for level in (0.5, 0.95, 0.999):
        assert ours.interval(level) == pytest.approx(tuple(theirs.confidence_interval(level)), rel=1e-6)
    assert ours.p() == pytest.approx(theirs.pvalue, rel=1e-6)
    assert ours.p_above(0) == pytest.approx(
        scipy.stats.ttest_rel(after, before, alternative="greater").pvalue, rel=1e-6
    )


@pytest.mark.parametrize("kind", ["lognormal", "normal"])
def test_beside_a_constant_side_it_is_the_interval_of_a_mean(kind: str) -> None:
    rng = np.random.default_rng(1)
    values = {"lognormal": rng.lognormal(0, 1, (2, 25)), "normal": rng.normal(0, 1, (2, 25))}[kind]
    for level in (0.8, 0.95):
        expected = np.array(mean_interval(values, np.ones_like(values), level))
        assert difference(np.zeros(25), values).interval(level) == pytest.approx(tuple(expected), rel=1e-9)
        assert difference(values, np.full((3, 25), 2.0)).interval(level) == pytest.approx(tuple(2 - expected[::-1]))


def test_nothing_discordant_has_the_upper_bound_of_the_score_test() -> None:
    """z²/(n + z²), which the score equation is for no discordant pair."""
    for n in (10, 50, 1000):
        squared = scipy.stats.norm.ppf(0.975) ** 2
        bound = squared / (n + squared)
        assert share_difference(0, 0, n).interval(0.95) == pytest.approx((-bound, bound), abs=1e-9)
    assert share_difference(0, 0, 50).interval(0.95)[1] == pytest.approx(0.071, abs=5e-4)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 5), (1, 1), (3, 11), (20, 4), (6, 6)])
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    expected = scipy.stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c) == mcnemar(c, b) == pytest.approx(expected, rel=1e-9)


def test_cliffs_delta_counts_all_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 30), rng.integers(2, 12, 41)  # with ties
    assert cliffs_delta(a, b) == pytest.approx(np.sign(a[:, None] - b[None]).mean(), abs=1e-12)
    assert cliffs_delta(b, a) == pytest.approx(-cliffs_delta(a, b), abs=1e-12)
    assert cliffs_delta(np.ones(3), np.zeros(4)) == 1 and cliffs_delta(np.ones(3), np.ones(4)) == 0
    assert math.isnan(cliffs_delta(np.ones(3), np.array([])))


def test_effects_have_the_names_of_romano_and_others() -> None:
    named = {0.0: "negligible", 0.146: "negligible", 0.147: "small", 0.32: "small", 0.33: "medium", 0.474: "large"}
    for delta, name in named.items():
        assert magnitude(delta) == magnitude(-delta) == name


def test_several_results_without_variance_over_prompts_are_a_two_sample_t() -> None:
    baseline, candidate = [1.0, 1.4, 1.1], [1.9, 1.5]
    estimate = with_runs(student(np.mean(candidate) - np.mean(baseline), 0.0, 30), baseline, candidate)
    theirs = scipy.stats.ttest_ind(candidate, baseline)
    assert estimate.interval(0.95) == pytest.approx(tuple(theirs.confidence_interval(0.95)), rel=1e-6)
    assert estimate.p() == pytest.approx(theirs.pvalue, rel=1e-6) and estimate.df == 3
    one = student(0.3, 0.1, 20)
    assert with_runs(one, [1.0], [1.3]) is one
