"""Whether a value is, within a tolerance, the published one: closed forms, and simulations of seeds and of prompts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from evalkit.stats.equivalence import decide, missing_error, over_seeds, seeds_needed
from evalkit.stats.estimate import student


def test_bounds_of_seeds_are_students_of_the_mean_and_the_published_seed_together() -> None:
    ours = np.array([4.80, 4.95, 4.91])
    estimate = over_seeds(ours.mean() - 4.88, ours.std(ddof=1), 3)
    error = ours.std(ddof=1) * math.sqrt(1 / 3 + 1)
    t = scipy.stats.t(2).ppf(0.975)
    assert estimate.interval(0.95) == pytest.approx((ours.mean() - 4.88 - t * error, ours.mean() - 4.88 + t * error))
    assert estimate.error == pytest.approx(error) and estimate.df == 2


def test_a_published_value_of_as_many_seeds_is_compared_as_welchs_equal_variances_are() -> None:
    """The t-test of two samples of the same variance, of which one alone is known."""
    estimate = over_seeds(0.1, 0.2, 5, published_seeds=5)
    assert estimate.error == pytest.approx(0.2 * math.sqrt(2 / 5))


def test_a_known_error_is_added_in_quadrature_at_each_bound() -> None:
    low, high = over_seeds(0.0, 0.2, 4, other_error=0.3).interval(0.95)
    half = math.hypot(scipy.stats.t(3).ppf(0.975) * 0.2 * math.sqrt(1.25), 1.959963985 * 0.3)
    assert (low, high) == pytest.approx((-half, half), rel=1e-6)


@pytest.mark.parametrize(
    ("sd", "seeds", "other"), [(math.nan, 1, 0.0), (0.1, 1, 0.0), (math.nan, 3, 0.0), (0.1, 3, math.nan)]
)
def test_without_noise_that_is_known_nothing_is_decided(sd: float, seeds: int, other: float) -> None:
    estimate = over_seeds(0.0, sd, seeds, other_error=other)
    assert all(map(math.isnan, estimate.interval(0.95)))
    assert decide(estimate, 1e9, 0.0, 0.95) == "undecided"


@pytest.mark.parametrize(
    ("value", "error", "rounding", "decision"),
    [
        (0.0, 0.01, 0.0, "within"),
        (0.5, 0.01, 0.0, "above"),
        (-0.5, 0.01, 0.0, "below"),
        (0.0, 0.2, 0.0, "undecided"),
        (0.1, 0.01, 0.0, "undecided"),
        (0.07, 0.01, 0.0, "within"),
        (0.07, 0.01, 0.02, "undecided"),  # rounding may have hidden that it lies outside
        (0.13, 0.01, 0.0, "above"),
        (0.13, 0.01, 0.02, "undecided"),  # or inside
        (0.1, 0.0, 0.0, "within"),
    ],
)
def test_a_difference_is_decided_by_where_its_whole_interval_lies(
    value: float, error: float, rounding: float, decision: str
) -> None:
    assert decide(student(value, error, math.inf), 0.1, rounding, 0.95) == decision


def test_the_level_is_that_of_two_one_sided_tests() -> None:
    """TOST: within at a level of 0.95 where both one-sided p-values are below 0.025."""
    for value in np.linspace(0.0, 0.1, 21):
        estimate = student(float(value), 0.02, 9)
        p = max(estimate.p_below(0.1), estimate.p_above(-0.1))
        assert (decide(estimate, 0.1, 0.0, 0.95) == "within") == (p <= 0.025)


@pytest.mark.parametrize(("truth", "wrong"), [(0.3, "within"), (0.3, "above"), (-0.3, "within"), (-0.3, "below")])
def test_at_the_edge_of_the_tolerance_a_claim_is_wrong_in_one_of_forty_cases(truth: float, wrong: str) -> None:
    rng, trials, found = np.random.default_rng(0), 3000, 0
    for _ in range(trials):
        ours, published = rng.normal(truth, 0.03, 10), rng.normal(0, 0.03)
        estimate = over_seeds(ours.mean() - published, ours.std(ddof=1), 10)
        found += decide(estimate, 0.3, 0.0, 0.95) == wrong
    assert abs(found / trials - 0.025) < 3 * math.sqrt(0.025 * 0.975 / trials)


def test_as_many_seeds_as_are_said_to_be_needed_decide_and_one_less_does_not() -> None:
    for difference, tolerance in ((0.02, 0.15), (0.0, 0.12), (0.4, 0.15)):
        needed = seeds_needed(difference, 0.05, tolerance, 0.005, 0.95)
        assert needed is not None and needed > 2
        for seeds, decided in ((needed, True), (needed - 1, False)):
            estimate = over_seeds(difference, 0.05, seeds)
            assert (decide(estimate, tolerance, 0.005, 0.95) != "undecided") == decided


def test_no_number_of_seeds_decides_what_the_published_seed_leaves_open() -> None:
    # its own noise alone is 1.96 × 0.1, whatever ours is
    assert seeds_needed(0.0, 0.1, 0.19, 0.0, 0.95) is None
    assert seeds_needed(0.0, 0.1, 0.25, 0.0, 0.95) is not None
    assert seeds_needed(0.0, 0.0, 0.1, 0.11, 0.95) is None  # rounding is coarser than the tolerance
    assert seeds_needed(0.1, 0.001, 0.1, 0.0, 0.95) is None  # at the very edge
    assert seeds_needed(0.0, math.nan, 1.0, 0.0, 0.95) is None
    assert seeds_needed(0.0, 0.1, 0.19, 0.0, 0.95, published_seeds=10) is not None


def test_the_error_of_missing_prompts_is_that_of_two_random_parts_of_the_same_prompts() -> None:
    rng = np.random.default_rng(1)
    values = rng.lognormal(0, 1, 300)
    parts = [(rng.permutation(values)[:240].mean(), rng.permutation(values)[:270].mean()) for _ in range(20_000)]
    found = np.std([one - other for one, other in parts])
    assert missing_error(values.std(ddof=1), 240, 270, 300) == pytest.approx(found, rel=0.02)


def test_where_no_prompt_is_missing_there_is_no_such_error() -> None:
    assert missing_error(3.0, 300, 300, 300) == 0
    assert missing_error(3.0, 300, 270, 300) == pytest.approx(3 * math.sqrt(1 / 270 - 1 / 300))
    assert math.isnan(missing_error(math.nan, 240, 300, 300))
