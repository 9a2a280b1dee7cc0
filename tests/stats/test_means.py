"""Intervals of means and shares against scipy's and the formula turned round, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from evalkit.stats.means import mean_interval


def of(values: object, level: float = 0.95, bounds: tuple[float, float] = (-math.inf, math.inf)) -> tuple[float, float]:
    """The interval of one value per clip, (clips,) or (samples, clips)."""
    sums = np.atleast_2d(np.asarray(values, float))
    return mean_interval(sums, np.ones_like(sums), level, bounds)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("hits", [0, 1, 6, 11, 12])
def test_a_share_of_clips_has_clopper_and_pearsons_interval(hits: int, level: float) -> None:
    theirs = scipy.stats.binomtest(hits, 12).proportion_ci(level, "exact")
    values = np.arange(12) < hits
    assert of(values, level, (0, 1)) == pytest.approx(tuple(theirs), abs=1e-9)
    # the unit makes no difference: percent, or decibels of which all clips have the least or the most
    assert of(100 * values, level, (0, 100)) == pytest.approx(tuple(100 * np.array(theirs)), abs=1e-7)
    assert of(160.0 * values - 80, level, (-80, 80)) == pytest.approx(tuple(160 * np.array(theirs) - 80), abs=1e-7)


@pytest.mark.parametrize("n", [2, 5, 12, 30, 100])
def test_a_shares_interval_holds_every_share_at_least_as_often_as_it_says(n: int) -> None:
    """Exact, from the binomial distribution."""
    bounds = np.array([of(np.arange(n) < hits, bounds=(0, 1)) for hits in range(n + 1)])
    for truth in np.linspace(0.001, 0.999, 333):
        holds = (bounds[:, 0] <= truth) & (truth <= bounds[:, 1])
        assert scipy.stats.binom.pmf(np.arange(n + 1), n, truth)[holds].sum() >= 0.95


def test_clips_of_a_prompt_count_as_one_if_they_are_all_alike_and_as_many_if_they_are_not() -> None:
    once = np.arange(30) < 6
    assert of([once] * 4, bounds=(0, 1)) == pytest.approx(of(once, bounds=(0, 1)), rel=1e-9)
    for hits in (0, 1):  # a share of which nothing is seen: as if all were alike
        assert of(np.full((4, 30), hits), bounds=(0, 1)) == of(np.full(30, hits), bounds=(0, 1))
    # each prompt has one hit of five: less alike than chance would have it
    spread = np.arange(5)[:, None] == np.arange(30) % 5
    theirs = scipy.stats.binomtest(30, 150).proportion_ci(0.95, "exact")
    assert of(spread, bounds=(0, 1)) == pytest.approx(tuple(theirs), rel=1e-9)


@pytest.mark.parametrize(("alike", "share", "least"), [(0.3, 0.1, 0.93), (0.8, 0.1, 0.93), (0.8, 0.3, 0.94)])
def test_shares_of_several_clips_per_prompt_hold_the_truth(alike: float, share: float, least: float) -> None:
    """As clips of one prompt are alike, with a beta-binomial; all as independent clips would hold it 70 to 88 times."""
    rng = np.random.default_rng(0)
    held, trials = 0, 1000
    for _ in range(trials):
        own = rng.beta(share * (1 - alike) / alike, (1 - share) * (1 - alike) / alike, 30)
        low, high = of(rng.random((4, 30)) < own, bounds=(0, 1))
        held += low <= share <= high
    assert held / trials > least - 3 * math.sqrt(0.0475 / trials)


def test_values_that_are_all_the_same_say_only_how_rare_others_are() -> None:
    rare = 1 - 0.025 ** (1 / 12)  # as of a share of 0 in 12
    assert of([0.3] * 12, bounds=(-1, 1)) == pytest.approx((0.3 - rare * 1.3, 0.3 + rare * 0.7))
    frames = mean_interval(np.zeros((1, 12)), np.full((1, 12), 79.0), 0.95, (0, 1))  # no frame of any clip
    assert frames == pytest.approx((0, rare))
    samples = np.stack([np.full(12, 0.2), np.full(12, 0.4)])  # which differ, while prompts do not
    assert of(samples, bounds=(-1, 1)) == pytest.approx(of([0.3] * 12, bounds=(-1, 1)))
    for bounds in ((0, math.inf), (-math.inf, math.inf)):
        assert np.isnan(of([0.0] * 12, bounds=bounds)).all()


def test_symmetric_values_have_students_interval() -> None:
    for values in ([1.0, 2.0], [-3, -1, 0, 1, 3], np.linspace(0, 1, 50)):
        theirs = scipy.stats.t.interval(0.9, len(values) - 1, np.mean(values), scipy.stats.sem(values))
        assert of(values, 0.9) == pytest.approx(theirs, rel=1e-9)


def test_skewed_values_have_halls_interval_where_it_is_wider() -> None:
    values = np.random.default_rng(2).lognormal(0, 1, 25)
    low, high = of(values)
    student = scipy.stats.t.interval(0.95, 24, values.mean(), scipy.stats.sem(values))
    assert low == pytest.approx(student[0], rel=1e-9) and high > student[1]
    # Hall's g of the t statistic at the upper end, with n in the place of n - 1, is Student's quantile
    t, skewness, n = (values.mean() - high) / scipy.stats.sem(values), scipy.stats.skew(values), len(values)
    g = t + skewness / 3 * t**2 / n**0.5 + skewness**2 / 27 * t**3 / n + skewness / 6 / n**0.5
    assert g == pytest.approx(-scipy.stats.t.ppf(0.975, 24), rel=1e-9)
    assert of(-values) == pytest.approx((-high, -low), rel=1e-12)
    assert of(values, bounds=(0, high - 0.1))[1] == high - 0.1


def test_items_count_and_prompts_are_the_units() -> None:
    """Against the delta method written out, for clips of unequal numbers of items in two samples."""
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 9, (2, 40)).astype(float)
    sums = counts * rng.normal(3, 1, 40) + rng.normal(0, 1, (2, 40))
    ratios = sums.sum(axis=1) / counts.sum(axis=1)
    influence = ((sums - ratios[:, None] * counts) / counts.mean(axis=1, keepdims=True)).mean(axis=0)
    error = influence.std(ddof=1) / math.sqrt(40)
    low, high = mean_interval(sums, counts, 0.95)
    t = scipy.stats.t.ppf(0.975, 39)
    assert low <= ratios.mean() - t * error * (1 - 1e-9) and ratios.mean() + t * error * (1 - 1e-9) <= high
    assert high - low < 2.3 * t * error
    # prompts without items are not there
    more = np.concatenate([np.zeros((2, 7)), sums], axis=1), np.concatenate([np.zeros((2, 7)), counts], axis=1)
    assert mean_interval(*more, 0.95) == (low, high)
    assert np.isnan(mean_interval(sums[:, :1], counts[:, :1], 0.95)).all()


@pytest.mark.parametrize(
    ("kind", "n", "least"),
    [
        ("normal", 12, 0.95),
        ("lognormal", 12, 0.91),
        ("lognormal", 30, 0.925),
        ("lognormal", 100, 0.94),
        ("bounded", 12, 0.94),
    ],
)
def test_coverage_of_means(kind: str, n: int, least: float) -> None:
    """docs/uncertainty.md has more. Percentiles of resamples hold the lognormal mean 0.86, 0.89 and 0.92 times."""
    rng, trials = np.random.default_rng(0), 2000
    values, truth = {
        "normal": (rng.normal(0.3, 0.1, (trials, n)), 0.3),
        "lognormal": (rng.lognormal(0, 1, (trials, n)), math.exp(0.5)),
        "bounded": (rng.beta(9, 0.5, (trials, n)), 9 / 9.5),
    }[kind]
    bounds = np.array([of(row) for row in values])
    held = ((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean()
    assert held > least - 3 * math.sqrt(0.0475 / trials)
    assert held < 0.98
