"""Whether a value that was measured over several sampling seeds is, within a tolerance, one that was published."""

from __future__ import annotations

import math
from typing import Literal

from scipy.special import ndtri, stdtrit  # the quantiles of scipy.stats, which takes a second to import

from evalkit.stats.estimate import Estimate, student

Decision = Literal["within", "above", "below", "undecided"]
MOST_SEEDS = 1000  # more are not looked for


def over_seeds(
    difference: float, sd: float, seeds: int, published_seeds: int = 1, other_error: float = 0.0
) -> Estimate:
    """Estimate by how much the mean over sampling seeds differs from a published value, given the prompts.

    Both are made of the same prompts and references, so that what varies is the noise of sampling: that of the mean of
    our seeds, and that of the published value, which is of few seeds itself and as noisy as ours. Where a known error
    is added, Student's distance of the bound and the normal one are added in quadrature (Zou and Donner 2008,
    "Construction of confidence limits about effect measures: a general approach"). Satterthwaite's degrees of freedom
    would be many where three seeds happen to lie close together, and leave the truth out in 3.9 % instead of 2.5 %.

    Args:
        difference: mean over our seeds - published.
        sd: standard deviation of the values of our seeds; NaN for one seed.
        seeds, published_seeds: how many seeds either value is the mean of, at least 1.
        other_error: a known standard error to be added in quadrature, as of prompts that one of the two was not
            measured on.

    Bounds are NaN for one seed, and where an error is not known.
    """
    if seeds < 2 or math.isnan(sd) or math.isnan(other_error):
        return student(difference, math.nan, math.nan)
    of_seeds = sd * math.sqrt(1 / seeds + 1 / published_seeds)

    def bounds(tail: float) -> tuple[float, float]:
        t = float(stdtrit(seeds - 1, 1 - tail))
        half = math.copysign(math.hypot(t * of_seeds, float(ndtri(1 - tail)) * other_error), t)
        return difference - half, difference + half

    return Estimate(difference, math.hypot(of_seeds, other_error), seeds - 1, bounds)


def decide(estimate: Estimate, tolerance: float, rounding: float, level: float) -> Decision:
    """Decide by two one-sided tests whether a difference lies within a tolerance, or beyond it.

    Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach": "within" where the
    whole interval, widened by what rounding may have changed, lies inside of the tolerance, "above" or "below" where
    all of it lies outside. Each of these claims is wrong in at most (1 - level) / 2 of cases, at the very edge of the
    tolerance.

    Args:
        tolerance: that a difference may have in either direction.
        rounding: by how much the published value may differ from what was rounded to it.
        level: of the two-sided interval, such as 0.95.
    """
    low, high = estimate.interval(level)
    low, high = low - rounding, high + rounding
    if -tolerance <= low and high <= tolerance:
        return "within"
    return "above" if low > tolerance else "below" if high < -tolerance else "undecided"


def seeds_needed(
    difference: float,
    sd: float,
    tolerance: float,
    rounding: float,
    level: float,
    published_seeds: int = 1,
    other_error: float = 0.0,
) -> int | None:
    """Find how many seeds would decide, were the difference and the noise as they are; None where no number would."""
    for seeds in range(2, MOST_SEEDS + 1):
        estimate = over_seeds(difference, sd, seeds, published_seeds, other_error)
        if decide(estimate, tolerance, rounding, level) != "undecided":
            return seeds
    return None


def missing_error(spread: float, used: int, published: int, total: int) -> float:
    """Compute the standard error between values of two random parts of the same prompts.

    By simple random sampling without replacement (Cochran 1977, "Sampling Techniques", section 2.6): which prompts
    either value was not measured on is not known, or not the same.

    Args:
        spread: standard deviation over prompts of how each moves the value, as that of each prompt's own value for a
            mean.
        used, published: number of prompts that either value is of, at most `total`.
    """
    return spread * math.sqrt((1 / used - 1 / total) + (1 / published - 1 / total))
