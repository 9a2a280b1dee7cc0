"""An estimated difference, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.special import stdtrit  # the quantiles of scipy.stats, which takes a second to import

SMALLEST = 1e-12  # tail below which none is told from another


@dataclass(frozen=True)
class Estimate:
    """A difference between two sides, with bounds for any confidence.

    Attributes:
        value: the difference, candidate - baseline.
        error: its standard error; 0 where nothing varies, NaN where it is not known.
        df: degrees of freedom of the error.
        bounds: gives lower and upper bound from the tail that either leaves out, such as 0.025; NaN where there are
            none. The smaller the tail, the farther they are apart; above 0.5 the lower is the higher one.
    """

    value: float
    error: float
    df: float
    bounds: Callable[[float], tuple[float, float]]

    def interval(self, level: float) -> tuple[float, float]:
        """Compute the two-sided interval of a confidence such as 0.95."""
        return self.bounds((1 - level) / 2)

    def p_above(self, limit: float) -> float:
        """Compute the one-sided p-value of the difference being at most `limit`: the tail whose lower bound it is."""
        return _tail(lambda tail: self.bounds(tail)[0] - limit)

    def p_below(self, limit: float) -> float:
        """Compute the one-sided p-value of the difference being at least `limit`: the tail whose upper bound it is."""
        return _tail(lambda tail: limit - self.bounds(tail)[1])

    def p(self) -> float:
        """Compute the two-sided p-value of no difference."""
        one_sided = min(self.p_above(0.0), self.p_below(0.0))  # both are NaN or neither is
        return one_sided if math.isnan(one_sided) else min(1.0, 2 * one_sided)

    def detectable(self, level: float, power: float) -> float:
        """Compute the smallest true difference that an interval tells from 0 with some power, such as 0.8.

        From the farther bound of this interval, which is as wide as those of other samples of the same size.
        """
        low, high = self.interval(level)
        times = float(stdtrit(self.df, power) / stdtrit(self.df, (1 + level) / 2))
        return max(self.value - low, high - self.value) * (1 + times)


def student(value: float, error: float, df: float) -> Estimate:
    """Make an estimate whose bounds are Student's t."""

    def bounds(tail: float) -> tuple[float, float]:
        if not error > 0:
            return (value, value) if error == 0 else (math.nan, math.nan)
        t = float(stdtrit(df, 1 - tail))
        return value - t * error, value + t * error

    return Estimate(value, error, df, bounds)


def _tail(beyond: Callable[[float], float]) -> float:
    """The tail at which a bound reaches a limit: above it `beyond` is positive."""
    if math.isnan(beyond(0.5)):
        return math.nan
    if beyond(SMALLEST) > 0:
        return SMALLEST
    if beyond(1 - SMALLEST) <= 0:
        return 1.0
    from scipy.optimize import brentq  # here, because it takes as long to import as pandas

    return float(brentq(beyond, SMALLEST, 1 - SMALLEST, xtol=1e-10))
