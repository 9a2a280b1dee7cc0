"""Paired differences against scipy's, published worked examples, and how often their intervals hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from scipy.special import gammaln, xlogy

from evalkit.stats.estimate import Estimate, student
from evalkit.stats.means import mean_interval
from evalkit.stats.paired import cliffs_delta, magnitude, mcnemar, mean_difference, share_difference, with_runs

Bounds = tuple[float, float]
ANY = (-math.inf, math.inf)
Z = float(scipy.stats.norm.ppf(0.975))


def difference(baseline: object, candidate: object, bounds: Bounds = ANY) -> Estimate:
    """Of one value per clip, (clips,) or (sets, clips)."""
    before, after = (np.atleast_2d(np.asarray(values, float)) for values in (baseline, candidate))
    return mean_difference((before, np.ones_like(before)), (after, np.ones_like(after)), bounds)


def missed(intervals: list[Bounds], truth: float) -> tuple[float, float]:
    """How often the truth lies above the upper bound, and below the lower."""
    low, high = np.array(intervals).T
    return float((truth > high).mean()), float((truth < low).mean())


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
    one_sided = scipy.stats.ttest_rel(after, before, alternative="greater").pvalue
    assert ours.p_above(0) == pytest.approx(one_sided, rel=1e-6)


@pytest.mark.parametrize("kind", ["lognormal", "normal"])
def test_of_one_clip_each_it_is_the_interval_of_the_mean_of_differences(kind: str) -> None:
    rng = np.random.default_rng(1)
    before = rng.lognormal(0, 1, 25)
    after = before + {"lognormal": rng.lognormal(0, 1, 25), "normal": rng.normal(0, 1, 25)}[kind]
    differences, ones = (after - before)[None], np.ones((1, 25))
    for level in (0.8, 0.95):
        assert difference(before, after).interval(level) == pytest.approx(mean_interval(differences, ones, level))
        # and differences of bounded values are bounded by their range
        low, high = difference(before, after, (0, 1)).interval(level)
        assert (low, high) == pytest.approx(mean_interval(differences, ones, level, (-1, 1)))


@pytest.mark.parametrize("kind", ["lognormal", "normal"])
def test_beside_a_constant_side_it_is_the_interval_of_a_mean(kind: str) -> None:
    rng = np.random.default_rng(1)
    values = {"lognormal": rng.lognormal(0, 1, (2, 25)), "normal": rng.normal(0, 1, (2, 25))}[kind]
    for level in (0.8, 0.95):
        low, high = mean_interval(values, np.ones_like(values), level)
        assert difference(np.zeros(25), values).interval(level) == pytest.approx((low, high), rel=1e-9)
        assert difference(values, np.full((3, 25), 2.0)).interval(level) == pytest.approx((2 - high, 2 - low))


def test_items_count_prompts_are_the_units_and_sides_may_have_unlike_numbers_of_sets() -> None:
    """Against the delta method written out."""
    rng = np.random.default_rng(1)
    own = rng.normal(3, 1, 40)
    sides = []
    for sets in (2, 3):
        counts = rng.integers(0, 9, (sets, 40)).astype(float)
        sides.append((counts * own + rng.normal(0, 1, (sets, 40)) * (counts > 0), counts))
    moved = np.zeros(40)
    values = []
    for sign, (sums, counts) in zip((-1, 1), sides, strict=True):
        ratios = sums.sum(axis=1) / counts.sum(axis=1)
        values.append(ratios.mean())
        moved += sign * ((sums - ratios[:, None] * counts) / counts.mean(axis=1, keepdims=True)).mean(axis=0)
    estimate = mean_difference(*sides)
    assert estimate.value == pytest.approx(values[1] - values[0], rel=1e-12)
    assert estimate.error == pytest.approx(moved.std(ddof=1) / math.sqrt(40), rel=1e-12) and estimate.df == 39
    # prompts without items on either side are not there; one that has some on one side is
    before, after = (tuple(np.concatenate([np.zeros((len(x), 7)), x], axis=1) for x in side) for side in sides)
    assert mean_difference(before, after).interval(0.9) == pytest.approx(estimate.interval(0.9), rel=1e-12)
    before[0][0, 0] = before[1][0, 0] = 3.0
    assert mean_difference(before, after).df == 40


def test_differences_that_are_all_the_same_say_only_how_rare_others_are() -> None:
    before = np.random.default_rng(0).uniform(-1, 0.8, 12)
    rare = 1 - 0.025 ** (1 / 12)
    estimate = difference(before, before + 0.1, (-1, 1))
    assert estimate.interval(0.95) == pytest.approx((0.1 - rare * 2.1, 0.1 + rare * 1.9), rel=1e-9)
    assert estimate.error == 0 and estimate.p() > 0.5
    assert difference(before, before, (-1, 1)).p() == 1
    for bounds in (ANY, (-1, math.inf)):
        unbounded = difference(before, before + 0.1, bounds)
        assert unbounded.value == pytest.approx(0.1) and np.isnan([*unbounded.interval(0.95), unbounded.p()]).all()


def test_too_few_prompts_have_no_interval() -> None:
    one = difference([0.2], [0.5], (0, 1))
    assert one.value == pytest.approx(0.3) and np.isnan([one.error, *one.interval(0.95), one.p()]).all()
    empty = mean_difference((np.zeros((2, 3)), np.array([[1.0, 1, 1], [0, 0, 0]])), (np.ones((1, 3)), np.ones((1, 3))))
    assert np.isnan([empty.value, *empty.interval(0.95)]).all()
    nothing = mean_difference((np.zeros((1, 3)), np.zeros((1, 3))), (np.zeros((1, 3)), np.zeros((1, 3))))
    assert math.isnan(nothing.value)


def coverage_of_means(kind: str, n: int, trials: int) -> tuple[float, float]:
    """How often the mean difference lies above, and below, the interval: of prompts that differ much more."""
    rng, intervals = np.random.default_rng(n), []
    for _ in range(trials):
        prompts = rng.lognormal(0, 1, n)
        change = {"normal": rng.normal(0.5, 1.4, n), "lognormal": rng.lognormal(0, 1, n)}[kind]
        intervals.append(difference(prompts, prompts + change).interval(0.95))
    return missed(intervals, {"normal": 0.5, "lognormal": math.exp(0.5)}[kind])


COVERED = {  # at least, in all; Student's alone holds the lognormal mean 0.85, 0.88 and 0.91 times
    ("normal", 12): 0.95,
    ("lognormal", 12): 0.91,
    ("lognormal", 30): 0.93,
    ("lognormal", 100): 0.94,
}


@pytest.mark.parametrize(("kind", "n"), COVERED)
def test_coverage_of_mean_differences(kind: str, n: int) -> None:
    above, below = coverage_of_means(kind, n, 1000)
    assert 1 - above - below > COVERED[kind, n] - 3 * math.sqrt(0.0475 / 1000)
    assert above + below > 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n"), COVERED)
def test_coverage_of_mean_differences_more_exactly(kind: str, n: int) -> None:
    above, below = coverage_of_means(kind, n, 20000)
    assert 1 - above - below > COVERED[kind, n] - 3 * math.sqrt(0.0475 / 20000)
    assert below < 0.03  # the side on which few large values are not missed


# Tango's interval as published. Fagerland, Lydersen and Laake 2014, "Recommended tests and confidence intervals for
# paired binomial proportions": Bentur et al. 2009 (ratesci gives the same bounds), Cavo et al. 2012 (as the R package
# contingencytables has them). The last is of R's PropCIs, scoreci.mp(25, 28, 618), at 90 %.
@pytest.mark.parametrize(
    ("candidate_only", "baseline_only", "n", "level", "low", "high", "digits"),
    [
        (1, 7, 21, 0.95, -0.517, -0.026, 3),
        (6, 16, 161, 0.95, -0.1240, -0.0054, 4),
        (28, 25, 618, 0.90, -0.0148, 0.0247, 4),
    ],
)
def test_shares_have_the_published_bounds(
    candidate_only: int, baseline_only: int, n: int, level: float, low: float, high: float, digits: int
) -> None:
    found = share_difference(candidate_only, baseline_only, n).interval(level)
    assert found == pytest.approx((low, high), abs=0.51 * 10**-digits)
    other = share_difference(baseline_only, candidate_only, n).interval(level)
    assert other == pytest.approx((-found[1], -found[0]), abs=1e-9)


def test_nothing_discordant_has_the_upper_bound_of_the_score_test() -> None:
    """z²/(n + z²), which the score equation is for no discordant pair."""
    for n in (10, 50, 1000):
        bound = Z**2 / (n + Z**2)
        assert share_difference(0, 0, n).interval(0.95) == pytest.approx((-bound, bound), abs=1e-9)
    assert share_difference(0, 0, 50).interval(0.95)[1] == pytest.approx(0.071, abs=5e-4)
    assert share_difference(0, 0, 50).p() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("b", "c", "n"), [(3, 1, 20), (0, 6, 30), (9, 9, 25), (2.5, 0.75, 40), (1, 0, 500)])
def test_a_shares_bounds_are_where_the_score_of_the_most_likely_shares_is_the_quantile(
    b: float, c: float, n: int
) -> None:
    """The likelihood is maximised by search, for each difference."""
    estimate = share_difference(b, c, n)
    for bound, quantile in zip(estimate.interval(0.95), (Z, -Z), strict=True):

        def unlikely(only: float, bound: float = bound) -> float:
            return -float(xlogy(b, only + bound) + xlogy(c, only) + xlogy(n - b - c, 1 - 2 * only - bound))

        span = (max(0.0, -bound), (1 - bound) / 2)
        only = scipy.optimize.minimize_scalar(unlikely, bounds=span, method="bounded", options={"xatol": 1e-12}).x
        score = (b - c - n * bound) / math.sqrt(n * (2 * only + bound * (1 - bound)))
        assert score == pytest.approx(quantile, abs=1e-3)
    # at no difference, the score is McNemar's
    assert estimate.p() == pytest.approx(2 * scipy.stats.norm.sf(abs(b - c) / math.sqrt(b + c)), rel=1e-6)


def test_all_discordant_the_same_way_is_the_greatest_difference() -> None:
    low, high = share_difference(14, 0, 14).interval(0.95)
    # the score interval of a single share, Wilson's, as a pair is one or the other
    wilson = scipy.stats.binomtest(14, 14).proportion_ci(0.95, "wilson")
    assert high == 1 and low == pytest.approx(2 * wilson.low - 1, abs=1e-9)
    assert share_difference(0, 14, 14).interval(0.95) == pytest.approx((-1, -low), abs=1e-9)


def outcomes(n: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All numbers of discordant pairs, up to `most`, with the logarithm of in how many ways, and their intervals."""
    b, c = np.array([(b, c) for b in range(most + 1) for c in range(most + 1 - b)]).T
    ways = gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(n - b - c + 1)
    intervals = [share_difference(*one, n).interval(0.95) for one in zip(b.tolist(), c.tolist(), strict=True)]
    return b, c, ways, np.array(intervals)


@pytest.mark.parametrize(("n", "most"), [(12, 12), (30, 30), (50, 40), (200, 45)])
def test_a_shares_bound_is_beyond_a_margin_as_often_as_it_says(n: int, most: int) -> None:
    """Exact, from the multinomial distribution.

    With something more frequent on the candidate's side by `margin`, the upper bound lies below it in at most 3.1 % of
    samples, a false PASS, and the lower bound above it in up to 5.1 %, where few prompts have the something.
    """
    b, c, ways, bounds = outcomes(n, most)
    for margin in (0.0, 0.01, 0.02, 0.05, 0.1):
        for only in (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
            discordant = 2 * only + margin
            if n * discordant > most / 1.8 and most < n:
                continue  # more discordant pairs than are enumerated
            chance = np.exp(ways + xlogy(b, only + margin) + xlogy(c, only) + xlogy(n - b - c, 1 - discordant))
            assert chance.sum() == pytest.approx(1, abs=1e-3)
            above, below = chance[margin > bounds[:, 1]].sum(), chance[margin < bounds[:, 0]].sum()
            assert above < 0.031 and below < 0.052 and above + below < 0.07


def test_several_clips_of_a_prompt_give_no_narrower_an_interval_than_is_true() -> None:
    rng, intervals, trials = np.random.default_rng(0), [], 600
    for _ in range(trials):
        own = rng.beta(0.3, 2.7, 60)  # clips of a prompt are alike
        before, after = (rng.random((2, 60)) < own).mean(axis=0), (rng.random((3, 60)) < 0.1 + 0.9 * own).mean(axis=0)
        counts = (after * (1 - before)).sum(), (before * (1 - after)).sum()  # shares of pairs of clips
        estimate = share_difference(*counts, 60)
        assert estimate.value == pytest.approx((after - before).mean())
        intervals.append(estimate.interval(0.95))
    above, below = missed(intervals, 0.09)
    assert max(above, below) < 0.025 + 3 * math.sqrt(0.025 / trials)


def test_fractions_lie_between_whole_counts() -> None:
    for counts in ((0.5, 0.0), (3.4, 1.0), (2.0, 0.25)):
        low, high = share_difference(*counts, 40).interval(0.95)
        floor, ceiling = [math.floor(x) for x in counts], [math.ceil(x) for x in counts]
        corners = [
            share_difference(b, c, 40).interval(0.95) for b in (floor[0], ceiling[0]) for c in (floor[1], ceiling[1])
        ]
        lows, highs = zip(*corners, strict=True)
        assert min(lows) < low < max(lows) and min(highs) < high < max(highs)
    assert mcnemar(1, 7) < mcnemar(1.5, 7) < mcnemar(2, 7)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (0, 5), (1, 1), (3, 11), (20, 4), (6, 6), (7, 6), (0, 900)])
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    expected = scipy.stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c) == mcnemar(c, b) == pytest.approx(expected, rel=1e-9)


def test_cliffs_delta_counts_all_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 30), rng.integers(2, 12, 41)  # with ties
    assert cliffs_delta(a, b) == pytest.approx(np.sign(a[:, None] - b[None]).mean(), abs=1e-12)
    assert cliffs_delta(b, a) == pytest.approx(-cliffs_delta(a, b), abs=1e-12)
    u = scipy.stats.mannwhitneyu(a, b).statistic
    assert cliffs_delta(a, b) == pytest.approx(2 * u / (30 * 41) - 1, abs=1e-12)
    assert cliffs_delta(np.ones(3), np.zeros(4)) == 1 and cliffs_delta(np.ones(3), np.ones(4)) == 0
    assert math.isnan(cliffs_delta(np.ones(3), np.array([])))


def test_effects_have_the_names_of_romano_and_others() -> None:
    named = {0.0: "negligible", 0.146: "negligible", 0.147: "small", 0.329: "small", 0.33: "medium", 0.473: "medium"}
    for delta, name in {**named, 0.474: "large", 1.0: "large"}.items():
        assert magnitude(delta) == magnitude(-delta) == name


def test_several_results_without_variance_over_prompts_are_a_two_sample_t() -> None:
    baseline, candidate = [1.0, 1.4, 1.1], [1.9, 1.5]
    estimate = with_runs(student(np.mean(candidate) - np.mean(baseline), 0.0, 30), baseline, candidate)
    theirs = scipy.stats.ttest_ind(candidate, baseline)
    assert estimate.interval(0.95) == pytest.approx(tuple(theirs.confidence_interval(0.95)), rel=1e-6)
    assert estimate.p() == pytest.approx(theirs.pvalue, rel=1e-6) and estimate.df == 3


def test_variances_over_prompts_and_results_add_with_satterthwaites_degrees_of_freedom() -> None:
    """As in Welch's test of two means, of which one here is over prompts, the other over results."""
    rng = np.random.default_rng(0)
    prompts, results = rng.normal(0, 1, 9), rng.normal(0, 2, 4)
    theirs = scipy.stats.ttest_ind(prompts, results, equal_var=False)
    baseline = results - results.mean()
    # one candidate: the variance of its result is that of the baselines', s²(1/4 + 1/1), here as large as s²/4
    over_prompts = student(prompts.mean() - results.mean(), scipy.stats.sem(prompts), 8)
    estimate = with_runs(over_prompts, baseline / math.sqrt(5), [0.0])
    assert estimate.df == pytest.approx(theirs.df, rel=1e-9)
    assert estimate.interval(0.95) == pytest.approx(tuple(theirs.confidence_interval(0.95)), rel=1e-6)


def test_one_result_a_side_or_equal_ones_change_nothing_and_more_never_narrow() -> None:
    one = student(0.3, 0.1, 20)
    assert with_runs(one, [1.0], [1.3]) is one and with_runs(one, [1.0, 1.0], [1.3]) is one
    # a share's bounds, which are wider than its error says
    share = share_difference(1, 0, 50)
    low, high = with_runs(share, [0.0, 0.0], [0.0, 0.04]).interval(0.95)
    assert low <= share.interval(0.95)[0] and high >= share.interval(0.95)[1]
    unknown = with_runs(student(0.3, math.nan, math.nan), [1.0, 1.2], [1.3, 1.4])
    assert np.isnan([*unknown.interval(0.95), unknown.p()]).all()


@pytest.mark.parametrize(("baselines", "candidates"), [(3, 3), (3, 1)])
def test_several_results_hold_the_difference_of_what_they_are_results_of(baselines: int, candidates: int) -> None:
    """Of checkpoints that differ by training; the prompts' interval alone holds it less than 0.8 times."""
    rng, trials = np.random.default_rng(0), 800
    intervals, alone = [], []
    for _ in range(trials):
        prompts = rng.normal(0, 1, 100)
        before, after = (
            prompts + rng.normal(truth, 0.1, (k, 1)) + rng.normal(0, 0.4, (k, 100))
            for truth, k in ((0.0, baselines), (0.2, candidates))
        )
        estimate = difference(before, after)
        alone.append(estimate.interval(0.95))
        intervals.append(with_runs(estimate, before.mean(axis=1), after.mean(axis=1)).interval(0.95))
    assert 1 - sum(missed(intervals, 0.2)) > 0.95 - 3 * math.sqrt(0.0475 / trials) - 0.005
    assert 1 - sum(missed(alone, 0.2)) < 0.8
