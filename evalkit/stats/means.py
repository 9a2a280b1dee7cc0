"""Confidence intervals of means and shares over prompts, from each clip's sum and number of items: nothing is drawn."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaincinv, stdtrit  # the quantiles of scipy.stats, which takes a second to import


def mean_interval(
    sums: np.ndarray, counts: np.ndarray, level: float, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float]:
    """Compute the interval of a mean over the items of all clips, averaged over samples; prompts are the units.

    Three cases, of which docs/uncertainty.md has the measured coverage. Each clip's value is either bound, as of
    a share of clips: Clopper and Pearson's interval. All values are the same: what the mean would be if as many
    clips as the sample may have missed were at a bound. Otherwise the wider, at either end, of Student's t and Hall's
    transformation of it, which takes out the skewness of the values (Hall 1992, "On the Removal of Skewness by
    Transformation").

    Args:
        sums, counts: of the items of each clip, (samples, prompts); a clip may have none.
        level: confidence, such as 0.95.
        bounds: between which all values lie; the interval ends there.

    Returns lower and upper bound; NaN for fewer than two prompts with items, and where all values are the same
    and have no bounds, so that nothing is known of others.
    """
    present = (counts > 0).any(axis=0)
    sums, counts = sums[:, present], counts[:, present]
    prompts = sums.shape[1]
    if prompts < 2 or not counts.any(axis=1).all():
        return math.nan, math.nan
    tail, (lowest, highest) = (1 - level) / 2, bounds
    means = sums.sum(axis=1) / counts.sum(axis=1)
    value = float(means.mean())
    # how each prompt moves the value, to first order, times the number of prompts; its mean is 0
    influence = ((sums - means[:, None] * counts) * (prompts / counts.sum(axis=1))[:, None]).mean(axis=0)
    values = sums[counts > 0] / counts[counts > 0]
    if np.isin(values, bounds).all() and (counts <= 1).all() and math.isfinite(highest - lowest):
        share = (value - lowest) / (highest - lowest)
        deviations = influence / (highest - lowest)
        low, high = share_interval(share, int(counts.sum()), prompts, float((deviations**2).sum()), tail)
        return lowest + (highest - lowest) * low, lowest + (highest - lowest) * high
    spread = float(np.sqrt((influence**2).mean()))
    if spread <= 1e-12 * np.abs(values).max():
        # other values are at most so rare that as many prompts may have none
        same = tail ** (1 / prompts)
        low, high = (same * value + (1 - same) * bound for bound in bounds)
        return (low, high) if math.isfinite(high - low) else (math.nan, math.nan)
    error = spread / math.sqrt(prompts - 1)
    skewness = float((influence**3).mean()) / spread**3
    t = float(stdtrit(prompts - 1, 1 - tail))
    low = value - error * max(t, _hall(t, skewness, prompts))
    high = value - error * min(-t, _hall(-t, skewness, prompts))
    return max(lowest, low), min(highest, high)


def share_interval(share: float, clips: int, prompts: int, squares: float, tail: float) -> tuple[float, float]:
    """Compute Clopper and Pearson's interval of a share of clips, for the effective number of clips.

    Clips of one prompt are alike, so they count for fewer independent ones (Korn and Graubard 1998, "Confidence
    Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data"): at least the
    number of prompts, which is also what counts where the share is 0 or 1 and shows no variance, and at most all clips.

    Args:
        squares: sum of the squares of how far each prompt's clips are from the share.
        tail: share of samples whose interval may lie above, and of those whose may lie below.
    """
    effective = float(prompts)
    if 0 < share < 1:
        t = stdtrit([clips - 1, prompts - 1], 1 - tail)
        variance = squares / (prompts - 1) / prompts
        independent = share * (1 - share) / variance * (t[0] / t[1]) ** 2 if variance else clips
        effective = float(np.clip(independent, prompts, clips))
    hits = share * effective
    low = float(betaincinv(hits, effective - hits + 1, tail)) if share > 0 else 0.0
    high = float(betaincinv(hits + 1, effective - hits, 1 - tail)) if share < 1 else 1.0
    return low, high


def _hall(y: float, skewness: float, n: int) -> float:
    """The t statistic that Hall's transformation takes to y; a cube root, so that it is monotone."""
    if abs(skewness) < 1e-6:
        return y
    root = math.sqrt(n)
    inner = 1 + skewness * (y / root - skewness / (6 * n))
    return 3 * root / skewness * (math.cbrt(inner) - 1)
