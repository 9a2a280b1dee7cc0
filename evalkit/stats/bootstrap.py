"""Confidence intervals from resampling prompts, for what is no mean: see `evalkit.stats.means`.

A resample draws prompts with replacement, each with all that belongs to it (its clip of every model,
its reference, its caption), so one set of draws serves all metrics, and every model that has the same
usable clips. Of prompts that belong together, clusters are drawn, each with all of its prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import ndtri, stdtrit  # the quantiles of scipy.stats, which takes a second to import

DRAWN = 2**25  # draws that are in memory at once, of either side


def draws(clips: int, resamples: int, seed: int, side: int = 0) -> np.ndarray:
    """Count how often each resample draws each clip: (resamples, clips), float64; each row sums to `clips`.

    Another `side` has other draws, for references that are resampled by themselves.
    """
    (counts,) = draws_in_blocks(clips, resamples, seed, side, resamples)
    return counts


def draws_in_blocks(clips: int, resamples: int, seed: int, side: int, size: int) -> Iterator[np.ndarray]:
    """Draw as `draws` does, `size` resamples at a time; each block is overwritten by the next one."""
    rng = np.random.default_rng([seed, clips, side] if side else [seed, clips])
    counts = np.empty((min(size, resamples), clips))
    for start in range(0, resamples, size):
        block = counts[: resamples - start]
        for row in block:
            row[:] = np.bincount(rng.integers(clips, size=clips), minlength=clips)
        yield block


def resample(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    clips: int,
    references: int | None,
    resamples: int,
    seed: int,
    clusters: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Give a metric's value on each resample, (resamples,), from so many draws at a time that memory does not grow.

    Args:
        function: gives values from how often each clip of either side is drawn, as `evalkit.types.Measured.resampled`.
        references: how many there are, where they are a set that is resampled by itself; None where each clip's own
            is drawn with it.
        clusters: the number of each clip's and of each reference's, (clips,) and (references,), where some are drawn
            together; None where each clip is drawn by itself.
    """
    size = max(1, DRAWN // max(clips, references or 0))
    number = clips if clusters is None else int(clusters[0].max()) + 1
    ours, values = draws_in_blocks(number, resamples, seed, 0, size), []
    theirs = None if references is None else draws_in_blocks(references, resamples, seed, 1, size)
    for block in ours:
        if clusters is not None:
            of_clips = block[:, clusters[0]]
            drawn = function(of_clips, of_clips if clusters[1] is clusters[0] else block[:, clusters[1]])
        else:
            drawn = function(block, next(theirs) if theirs else block)
        values.append(np.array(drawn, np.float64, ndmin=1))  # a copy: it may be a part of the block
    return np.concatenate(values)


def interval(
    value: float,
    resampled: np.ndarray,
    level: float,
    clips: float,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, float]:
    """Compute a bootstrap interval: the central share `level` of resampled values, centred on `value` and widened.

    A plug-in distance such as FAD is larger on a resample than on the sample, because a resample has fewer
    different clips; moving the percentile interval (Efron and Tibshirani 1993, chapter 13) takes this bias out, so
    that it is about the value that other clips of the same number would give. Resamples without a value (NaN) are
    left out; bounds are NaN where more than a tenth have none.

    Percentiles are narrow at few clips, by √(n/(n-1)) and the ratio of Student's to the normal
    quantile (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 3): hence the widening.
    The interval ends at `bounds`, between which all values lie. Of prompts that belong together, `clips` is the
    number of clusters.
    """
    tail = (1 - level) / 2
    known = resampled[np.isfinite(resampled)]
    if len(known) < 0.9 * len(resampled):
        return math.nan, math.nan
    low, high = np.quantile(known, [tail, 1 - tail]) - known.mean()
    wider = math.sqrt(clips / (clips - 1)) * stdtrit(clips - 1, 1 - tail) / ndtri(1 - tail)
    return max(bounds[0], float(value + wider * low)), min(bounds[1], float(value + wider * high))
