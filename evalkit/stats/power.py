"""What a comparison of so many prompts can see, and how likely it shows that nothing has become worse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv, ndtr, ndtri, stdtrit  # of scipy.stats, which takes a second to import

from evalkit.stats.estimate import Estimate, student
from evalkit.stats.paired import EDGE, beyond_score, share_difference

MOST = 10**8  # prompts, above which no number of them is said to be enough
GRID = 1000  # quantiles of a standard error that an expectation over it is taken at
DRAWS = 10_000  # samples that a probability of shares is counted in; its error is at most half a percent


@dataclass(frozen=True)
class Noise:
    """How much a difference of two sides varies, from which its error at any number of prompts follows.

    Attributes:
        variance: of the difference, times the number of prompts; of shares, the share of prompts on which the sides
            differ. NaN where it is not known.
        df: the most degrees of freedom of the difference's error: of n prompts there are n - 1 at most.
        share: whether it is a difference of shares, with Tango's interval; else it is taken for normal.
    """

    variance: float
    df: float = math.inf
    share: bool = False

    def estimate(self, n: int) -> Estimate:
        """The difference that is expected of n prompts where nothing has changed."""
        if self.share:
            return share_difference(n * self.variance / 2, n * self.variance / 2, n)
        # an error of 0 says that the prompts at hand are alike, and nothing of others
        return student(0.0, math.sqrt(self.variance / n) or math.nan, min(self.df, n - 1))

    def pass_probability(self, n: int, margin: float, level: float, both: bool = False) -> float:
        """Compute how likely n prompts show that the damage is at most a margin, where nothing has changed.

        That is how likely the interval's upper bound is at most the margin: under Student's model by an integral over
        the error's distribution, of shares by drawing samples, always the same ones.

        Args:
            margin: at least 0.
            level: of the two-sided interval, such as 0.95.
            both: whether a change either way is a damage, so that the lower bound must be at least -margin too.
        """
        if n < 2 or math.isnan(self.variance):
            return math.nan
        tail = (1 - level) / 2
        if self.share:
            drawn = np.random.default_rng(0).multinomial(n, self._cells(), DRAWS).T
            limit, quantile = min(margin, 1 - EDGE), float(ndtri(tail))
            shown = beyond_score(limit, quantile, drawn[0], drawn[1], n) <= 0
            if both:
                shown &= beyond_score(limit, quantile, drawn[1], drawn[0], n) <= 0
            return float(shown.mean())
        if not self.variance:
            return math.nan
        df = min(self.df, n - 1)
        quantiles = (np.arange(GRID) + 0.5) / GRID
        errors = np.sqrt(gammaincinv(df / 2, quantiles) * 2 / df) if math.isfinite(df) else np.ones(1)
        room = margin / math.sqrt(self.variance / n) - float(stdtrit(df, 1 - tail)) * errors
        return float((np.maximum(0, 2 * ndtr(room) - 1) if both else ndtr(room)).mean())

    def needed(self, margin: float, level: float, power: float, both: bool = False) -> float:
        """Compute the least number of prompts with which `pass_probability` is at least `power`.

        Infinite where none is enough, as for a margin of 0; NaN where the noise is not known.
        """
        if math.isnan(self.pass_probability(2, margin, level, both)):
            return math.nan
        return _least(lambda n: self.pass_probability(n, margin, level, both) >= power)

    def _cells(self) -> list[float]:
        """The probabilities that a prompt differs one way, the other way, and not at all."""
        return [self.variance / 2, self.variance / 2, 1 - self.variance]


def noise_of(estimate: Estimate, n: int) -> Noise:
    """The noise that a measured difference on n prompts tells of."""
    if math.isinf(estimate.df):
        # the sides differ on as many prompts whether the difference is 0 or not
        return Noise(min(1.0, n * estimate.error**2 + estimate.value**2), share=True)
    return Noise(n * estimate.error**2, estimate.df if estimate.df < n - 1 else math.inf)


def _least(enough: Callable[[int], bool]) -> float:
    """The least number of prompts, from 2, that is enough; it is found by halving."""
    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST:
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)
