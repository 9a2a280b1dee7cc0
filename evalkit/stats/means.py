"""Confidence intervals of means and shares over prompts, from each clip's sum and number of items: nothing is drawn."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaincinv, stdtrit  # the quantiles of scipy.stats, which takes a second to import

from evalkit.stats import clusters as grouped

FEWEST = 5  # clusters with something, below which their clips count as one each: their variance is hardly known


def mean_interval(
    sums: np.ndarray,
    counts: np.ndarray,
    level: float,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    clusters: np.ndarray | None = None,
) -> tuple[float, float]:
    """Compute the interval of a mean over the items of all clips, averaged over samples; prompts are the units.

    Where prompts belong together, their clusters are the units instead: of each the sums and counts are added up first,
    whose ratio has the cluster-robust linearised error, with Bell and McCaffrey's correction and degrees of freedom.

    Three cases, of which docs/uncertainty.md has the measured coverage. Each clip's value is either bound, as of
    a share of clips: Clopper and Pearson's interval. All values are the same: what the mean would be if as many
    clips as the sample may have missed were at a bound. Otherwise the wider, at either end, of Student's t and Hall's
    transformation of it, which takes out the skewness of the values (Hall 1992, "On the Removal of Skewness by
    Transformation").

    Args:
        sums, counts: of the items of each clip, (samples, prompts); a clip may have none.
        level: confidence, such as 0.95.
        bounds: between which all values lie; the interval ends there.
        clusters: the number of each prompt's, (prompts,); None where each prompt stands by itself.

    Returns lower and upper bound; NaN for fewer than two clusters with items, and where all values are the same
    and have no bounds, so that nothing is known of others.
    """
    present = (counts > 0).any(axis=0)
    sums, counts = sums[:, present], counts[:, present]
    own = None if clusters is None else clusters[present]
    units = grouped.count(sums.shape[1], own)
    if units < 2 or not counts.any(axis=1).all():
        return math.nan, math.nan
    tail, (lowest, highest) = (1 - level) / 2, bounds
    values, alone = sums[counts > 0] / counts[counts > 0], bool((counts <= 1).all())
    sums, counts = grouped.totals(sums, own), grouped.totals(counts, own)
    value, influence = ratio(sums, counts)
    df = None
    if own is not None:
        weights = grouped.weights(counts)
        influence, df = grouped.without_leverage(influence, weights), grouped.degrees_of_freedom(weights)
    if np.isin(values, bounds).all() and alone and math.isfinite(highest - lowest):
        share = (value - lowest) / (highest - lowest)
        deviations = influence / (highest - lowest)
        clips = int(counts.sum())
        if own is not None and _rare((sums - lowest * counts).sum(axis=0), counts.sum(axis=0) * (highest - lowest)):
            clips = units
        low, high = share_interval(share, clips, units, float((deviations**2).sum()), tail, df)
        return lowest + (highest - lowest) * low, lowest + (highest - lowest) * high
    if same(influence, np.abs(values).max()):
        low, high = unseen_interval(value, units, tail, bounds)
        return (low, high) if math.isfinite(high - low) else (math.nan, math.nan)
    low, high = skewed_interval(value, influence, tail, df)
    return max(lowest, low), min(highest, high)


def _rare(hits: np.ndarray, most: np.ndarray) -> bool:
    """Whether too few clusters have, or lack, something to tell how alike their clips are: hits (clusters,) of most."""
    return min(int((hits > 0).sum()), int((hits < most).sum())) < FEWEST


def ratio(sums: np.ndarray, counts: np.ndarray) -> tuple[float, np.ndarray]:
    """Compute the mean over items, averaged over samples, and how each prompt moves it to first order, (prompts,).

    The influences are multiplied by the number of prompts, so that they are each prompt's difference from the mean
    where each clip has one item. Their mean is 0.

    Args:
        sums, counts: of the items of each clip, (samples, prompts); each sample has items.
    """
    totals = counts.sum(axis=1)
    means = sums.sum(axis=1) / totals
    influence = ((sums - means[:, None] * counts) * (counts.shape[1] / totals)[:, None]).mean(axis=0)
    return float(means.mean()), influence


def same(influence: np.ndarray, scale: float) -> bool:
    """Whether influences (prompts,) are nothing but rounding of values as large as `scale`."""
    return bool(np.sqrt((influence**2).mean()) <= 1e-12 * scale)


def unseen_interval(value: float, prompts: int, tail: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """Compute what a mean may be whose sample has one value alone: others are so rare that no prompt has any.

    The mean if as many prompts as the sample may have missed, a share of 1 - tail^(1/prompts), were at a bound.
    """
    seen = tail ** (1 / prompts)
    low, high = (seen * value + (1 - seen) * bound for bound in bounds)
    return low, high


def skewed_interval(value: float, influence: np.ndarray, tail: float, df: float | None = None) -> tuple[float, float]:
    """Compute the wider, at either end, of Student's t interval and Hall's (1992), which takes out skewness.

    Args:
        influence: of each prompt, (prompts,), of mean 0 and not all the same.
        tail: share of samples whose interval may lie above, and of those whose may lie below.
        df: degrees of freedom of the error; None for one less than there are prompts.
    """
    prompts = len(influence)
    error = standard_error(influence)
    skewness = float((influence**3).mean()) / float(np.sqrt((influence**2).mean())) ** 3
    t = float(stdtrit(prompts - 1 if df is None else df, 1 - tail))
    low = value - error * max(t, _hall(t, skewness, prompts))
    high = value - error * min(-t, _hall(-t, skewness, prompts))
    return low, high


def standard_error(influence: np.ndarray) -> float:
    """The standard error of a mean whose prompts have these influences, (prompts,), of mean 0."""
    return float(np.sqrt((influence**2).mean())) / math.sqrt(len(influence) - 1)


def share_interval(
    share: float,
    clips: int,
    prompts: int,
    squares: float,
    tail: float,
    df: float | None = None,
) -> tuple[float, float]:
    """Compute Clopper and Pearson's interval of a share of clips, for the effective number of clips.

    Clips of one prompt are alike, so they count for fewer independent ones (Korn and Graubard 1998, "Confidence
    Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data"): at least the
    number of prompts, which is also what counts where the share is 0 or 1 and shows no variance, and at most all clips.
    The same is true of the clips of one cluster, if prompts belong together; but as large clusters may be unlike small
    ones, they may then count for fewer than there are clusters. They count for no more where fewer than `FEWEST`
    clusters have, or lack, what the share is of.

    Args:
        prompts: or clusters, if prompts belong together.
        squares: sum of the squares of how far each prompt's clips are from the share.
        tail: share of samples whose interval may lie above, and of those whose may lie below.
        df: degrees of freedom of the variance, of clusters of prompts; None for prompts that stand by themselves.
    """
    effective = float(prompts)
    if 0 < share < 1:
        t = stdtrit([clips - 1, prompts - 1 if df is None else df], 1 - tail)
        variance = squares / (prompts - 1) / prompts
        independent = share * (1 - share) / variance * (t[0] / t[1]) ** 2 if variance else clips
        effective = float(np.clip(independent, prompts if df is None else 1, clips))
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
