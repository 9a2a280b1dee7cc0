"""How likely a comparison shows that nothing has become worse, and how many prompts that needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import chi2, nct, norm, t

from evalkit.stats.estimate import student
from evalkit.stats.paired import mean_difference, share_difference
from evalkit.stats.power import Noise, noise_of

TRIALS = 8000
WITHIN = 4.5 * math.sqrt(0.25 / TRIALS)  # errors of a rate in so many trials


def shown(differences: np.ndarray, margin: float, both: bool = False) -> bool:
    """Whether the interval of prompts' differences, (prompts,), lies within a margin."""
    ones = np.ones((1, len(differences)))
    low, high = mean_difference((0 * ones, ones), (differences[None], ones)).interval(0.95)
    return high <= margin and (not both or low >= -margin)


@pytest.mark.parametrize(("n", "df", "margin"), [(10, 9, 1.0), (50, 49, 0.3), (400, 19, 0.15), (1000, 999, 0.1)])
def test_the_probability_is_that_of_the_noncentral_t(n: int, df: int, margin: float) -> None:
    predicted = Noise(1.0, df).pass_probability(n, margin, 0.95)
    assert predicted == pytest.approx(nct.sf(t.ppf(0.975, df), df, margin * math.sqrt(n)), abs=2e-4)


def test_the_probability_of_both_bounds_is_the_integral_over_the_errors_distribution() -> None:
    df, margin, n = 9, 1.0, 10
    ratios = np.linspace(1e-4, 4, 40_001)  # of estimated to true error
    density = chi2.pdf(df * ratios**2, df) * 2 * df * ratios
    inside = np.maximum(0, 2 * norm.cdf(margin * math.sqrt(n) - t.ppf(0.975, df) * ratios) - 1)
    predicted = Noise(1.0, df).pass_probability(n, margin, 0.95, both=True)
    assert predicted == pytest.approx(trapezoid(inside * density, ratios), abs=1e-3)


@pytest.mark.parametrize(("n", "margin", "both"), [(40, 0.4, False), (40, 0.6, True), (200, 0.15, False)])
def test_as_many_comparisons_pass_as_are_predicted(n: int, margin: float, both: bool) -> None:
    rng = np.random.default_rng(n)
    passed = np.mean([shown(rng.normal(size=n), margin, both) for _ in range(TRIALS)])
    # Hall's bounds, where they are wider than Student's, make it a little less
    assert Noise(1.0).pass_probability(n, margin, 0.95, both) - passed == pytest.approx(0.01, abs=0.01 + WITHIN)


@pytest.mark.parametrize("both", [False, True])
def test_the_number_of_prompts_that_is_needed_gives_the_power(both: bool) -> None:
    needed = int(Noise(2.0).needed(0.3, 0.95, 0.8, both))
    rng = np.random.default_rng(1)
    passed = np.mean([shown(rng.normal(0, math.sqrt(2), needed), 0.3, both) for _ in range(TRIALS)])
    assert passed == pytest.approx(0.8, abs=WITHIN)
    assert Noise(2.0).pass_probability(needed - 1, 0.3, 0.95, both) < 0.8


@pytest.mark.parametrize(
    ("n", "differ", "margin", "both"), [(200, 0.005, 0.02, False), (500, 0.02, 0.02, True), (60, 0.3, 0.2, False)]
)
def test_as_many_comparisons_of_shares_pass_as_are_predicted(n: int, differ: float, margin: float, both: bool) -> None:
    drawn = np.random.default_rng(3).multinomial(n, [differ / 2, differ / 2, 1 - differ], TRIALS)
    intervals = {pair: share_difference(*pair, n).interval(0.95) for pair in {(x, y) for x, y, _ in drawn.tolist()}}
    passed = np.mean(
        [intervals[x, y][1] <= margin and (not both or intervals[x, y][0] >= -margin) for x, y, _ in drawn.tolist()]
    )
    assert Noise(differ, share=True).pass_probability(n, margin, 0.95, both) == pytest.approx(passed, abs=WITHIN)


def test_shares_that_never_differ_need_as_many_prompts_as_tango_s_bound_has() -> None:
    # with no discordant pair the upper bound is z² / (n + z²)
    assert Noise(0.0, share=True).needed(0.02, 0.95, 0.8) == math.ceil(norm.ppf(0.975) ** 2 * (1 / 0.02 - 1))
    assert Noise(0.0, share=True).pass_probability(10, 1.5, 0.95) == 1


def test_the_noise_of_a_measured_difference() -> None:
    share = noise_of(share_difference(7, 1, 100), 100)
    assert share.share and share.variance == pytest.approx(0.08)
    mean = noise_of(student(0.3, 0.1, 24), 25)
    assert mean.variance == pytest.approx(0.25) and mean.df == math.inf and not mean.share
    assert mean.estimate(100).error == pytest.approx(0.05) and mean.estimate(100).df == 99
    groups = noise_of(student(0.3, 0.1, 49), 1000)
    assert groups.estimate(100).df == groups.estimate(10_000).df == 49 and groups.estimate(10).df == 9


def test_what_nothing_follows_from() -> None:
    assert Noise(1.0).needed(0.0, 0.95, 0.8) == math.inf
    for nothing in (Noise(0.0), Noise(math.nan)):
        assert math.isnan(nothing.needed(0.1, 0.95, 0.8)) and math.isnan(nothing.pass_probability(50, 0.1, 0.95))
        assert math.isnan(nothing.estimate(50).error)
    assert math.isnan(Noise(1.0).pass_probability(1, 0.1, 0.95))
