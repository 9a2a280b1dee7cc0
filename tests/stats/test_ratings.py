"""Means and differences of ratings, and how sure they are, against other packages and simulated raters."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest

from evalkit.stats import crossed
from evalkit.stats.ratings import contrasts, effects, means


def rated(
    rng: np.random.Generator,
    systems: int = 3,
    raters: int = 12,
    prompts: int = 15,
    size: int = 0,
    spreads: tuple[float, float, float, float, float] = (10, 4, 6, 5, 8),
    mu: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of ratings with effects of raters, raters × systems, prompts, prompts × systems, and noise."""
    of_rater, of_both, of_prompt, of_clip, noise = spreads
    values = (np.zeros(systems) if mu is None else mu)[:, None, None] + 50
    values = values + rng.normal(0, of_rater, (1, raters, 1)) + rng.normal(0, of_both, (systems, raters, 1))
    values = values + rng.normal(0, of_prompt, (1, 1, prompts)) + rng.normal(0, of_clip, (systems, 1, prompts))
    values = values + rng.normal(0, noise, (systems, raters, prompts))
    counts = np.ones(values.shape)
    if size:
        order = rng.random(values.shape).argsort(axis=0)
        counts = (order < size).astype(float)
    return values * counts, counts


def once(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.ones((1, counts.shape[1])), np.ones((1, counts.shape[2]))


def test_means_are_those_of_all_ratings_as_often_as_their_rater_and_prompt_were_drawn() -> None:
    rng = np.random.default_rng(0)
    sums, counts = rated(rng, size=2)
    raters, prompts = rng.integers(0, 3, (2, 12)), rng.integers(0, 3, (2, 15))
    found = means(sums, counts)(raters.astype(float), prompts.astype(float))
    for draw in range(2):
        for s in range(3):
            values = [
                sums[s, r, p]
                for r in np.repeat(range(12), raters[draw])
                for p in np.repeat(range(15), prompts[draw])
                if counts[s, r, p]
            ]
            assert found[draw, s] == pytest.approx(np.mean(values), rel=1e-12)


def test_a_system_that_nobody_rated_has_no_mean() -> None:
    sums, counts = rated(np.random.default_rng(0))
    counts[1] = sums[1] = 0
    value = means(sums, counts)(*once(counts))[0]
    assert math.isnan(value[1]) and np.isfinite(value[[0, 2]]).all()


def test_differences_of_complete_pages_are_means_of_paired_differences() -> None:
    sums, counts = rated(np.random.default_rng(1))
    found = contrasts(effects(sums, counts), [(0, 1), (2, 0)])(*once(counts))[0]
    assert found == pytest.approx([(sums[0] - sums[1]).mean(), (sums[2] - sums[0]).mean()], rel=1e-9)


def test_differences_of_incomplete_pages_are_those_of_least_squares_with_an_effect_of_each_page() -> None:
    rng = np.random.default_rng(2)
    sums, counts = rated(rng, systems=4, raters=5, prompts=6, size=2)
    sums[:, 0, 0] += 500  # a page far from the others, which cancels
    sums *= counts > 0
    rows = [(s, r * 6 + p, sums[s, r, p]) for s, r, p in np.argwhere(counts > 0)]
    design = np.zeros((len(rows), 4 + 30))
    for k, (s, page, _) in enumerate(rows):
        design[k, s] = design[k, 4 + page] = 1
    solved = np.linalg.lstsq(design, np.array([y for *_, y in rows]), rcond=None)[0][:4]
    found = effects(sums, counts)(*once(counts))[0]
    assert found == pytest.approx(solved - solved.mean(), abs=1e-8)


def test_systems_that_no_page_joins_have_no_difference() -> None:
    sums, counts = rated(np.random.default_rng(3), systems=4)
    counts[:2, :, :7] = counts[2:, :, 7:] = 0
    assert np.isnan(effects(sums * counts, counts)(*once(counts))).all()
    alone = np.zeros_like(counts)
    alone[0] = 1
    assert np.isnan(effects(sums * alone, alone)(*once(alone))).all()


def test_errors_of_complete_ratings_are_those_of_a_mixed_model_with_crossed_effects() -> None:
    import statsmodels.formula.api as smf

    sums, _ = rated(np.random.default_rng(4), systems=1, raters=24, prompts=30, spreads=(8, 0, 6, 0, 8))
    values = sums[0]
    frame = pd.DataFrame(
        [(r, p, values[r, p]) for r in range(24) for p in range(30)], columns=["rater", "prompt", "rating"]
    ).assign(all=1)
    parts = {"rater": "0 + C(rater)", "prompt": "0 + C(prompt)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = smf.mixedlm("rating ~ 1", frame, groups="all", vc_formula=parts, re_formula="0").fit()
    (found,) = crossed.estimates(means(sums, np.ones_like(sums)), crossed.draws(24, 30, 4000, 0))
    assert found.value == pytest.approx(float(fitted.params["Intercept"]), rel=1e-6)
    assert found.error == pytest.approx(float(fitted.bse["Intercept"]), rel=0.12)


@pytest.mark.parametrize(("raters", "prompts", "above"), [(40, 60, 1.0), (8, 12, 1.15)])
def test_errors_are_those_of_the_analysis_of_variance_and_larger_where_raters_are_few(
    raters: int, prompts: int, above: float
) -> None:
    sums, counts = rated(np.random.default_rng(5), systems=1, raters=raters, prompts=prompts)
    values = sums[0]
    of_raters = values.mean(axis=1).var(ddof=1) / raters
    of_prompts = values.mean(axis=0).var(ddof=1) / prompts
    left = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    noise = (left**2).sum() / (raters - 1) / (prompts - 1) / values.size
    (found,) = crossed.estimates(means(sums, counts), crossed.draws(raters, prompts, 5000, 0))
    assert found.error**2 == pytest.approx(above * (of_raters + of_prompts - noise), rel=0.1)
    satterthwaite = (of_raters + of_prompts) ** 2 / (of_raters**2 / (raters - 1) + of_prompts**2 / (prompts - 1))
    assert found.df == pytest.approx(satterthwaite if raters >= 10 else raters - 1, rel=0.1)


@pytest.mark.parametrize("size", [0, 2])
def test_intervals_cover_as_often_as_they_say(size: int) -> None:
    mu, rng, hits, trials = np.array([0.0, 0.0, 6.0]), np.random.default_rng(6), np.zeros(2), 120
    for trial in range(trials):
        sums, counts = rated(rng, raters=6, prompts=20, size=size, mu=mu)
        drawn = crossed.draws(6, 20, 300, trial)
        of_means = crossed.estimates(means(sums, counts), drawn)
        (gap,) = crossed.estimates(contrasts(effects(sums, counts), [(2, 0)]), drawn)
        hits[0] += np.mean([low <= 50 + m <= high for m, (low, high) in
                            zip(mu, (one.interval(0.95) for one in of_means), strict=True)])  # fmt: skip
        low, high = gap.interval(0.95)
        hits[1] += low <= 6 <= high
    assert (hits / trials >= 0.9).all(), hits / trials  # 0.95 less 2.5 standard errors; docs/listening.md has the rest


def test_a_bootstrap_of_ratings_alone_would_not() -> None:
    """What the two-way bootstrap is for: five raters with biases, whose ratings look like hundreds."""
    sums, counts = rated(np.random.default_rng(7), systems=1, raters=5, prompts=40, spreads=(12, 0, 0, 0, 5))
    (found,) = crossed.estimates(means(sums, counts), crossed.draws(5, 40, 500, 0))
    naive = sums.std() / math.sqrt(sums.size)
    assert found.error > 4 * naive and found.df < 6


def test_one_rater_or_one_prompt_says_nothing_of_others() -> None:
    for raters, prompts in ((1, 20), (20, 1)):
        sums, counts = rated(np.random.default_rng(8), raters=raters, prompts=prompts)
        found = crossed.estimates(means(sums, counts), crossed.draws(raters, prompts, 200, 0))
        assert all(math.isfinite(one.value) and math.isnan(one.error) for one in found)
        assert all(map(math.isnan, found[0].interval(0.95))) and math.isnan(found[0].p())


def test_draws_are_the_same_again_and_each_has_as_many_raters_and_prompts() -> None:
    one, other = crossed.draws(5, 9, 50, 3), crossed.draws(5, 9, 50, 3)
    assert (one.raters == other.raters).all() and (one.prompts == other.prompts).all()
    assert (one.raters.sum(axis=1) == 5).all() and (one.prompts.sum(axis=1) == 9).all()
    assert (one.raters != crossed.draws(5, 9, 50, 4).raters).any()


def test_no_error_is_given_where_too_few_draws_have_a_value() -> None:
    sums, counts = rated(np.random.default_rng(9), raters=6, prompts=6)
    counts[2] = 0
    counts[2, 0, 0] = 1  # one rating alone, which most draws do not have
    found = crossed.estimates(means(sums * counts, counts), crossed.draws(6, 6, 300, 0))
    assert math.isnan(found[2].error) and math.isfinite(found[2].value) and math.isfinite(found[0].error)
