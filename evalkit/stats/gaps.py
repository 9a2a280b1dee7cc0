"""Gaps between two groups of prompts of one model: what is a mean, and what depends on how many prompts there are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evalkit.stats.estimate import Estimate
from evalkit.stats.means import ratio, same, share_interval, skewed_interval, unseen_interval

HALF, EDGE = 0.5, 1e-9  # a tail, and how near to it intervals are told

Bounds = tuple[float, float]
Ends = Callable[[float], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean of a group of prompts over the items of all its clips.

    Attributes:
        influence: how each unit moves it, (units of all groups,); 0 for units of which the group has no prompt. The
            root of the sum of squares is the standard error.
        units: how many the group has.
        ends: gives lower and upper bound from the tail that either leaves out; NaN where nothing is known.
    """

    value: float
    influence: np.ndarray
    units: int
    ends: Ends


def mean(sums: np.ndarray, counts: np.ndarray, which: np.ndarray, number: int, bounds: Bounds) -> Mean:
    """Compute the mean of a group, whose prompts may belong together: units are what is drawn.

    Its bounds are those of `evalkit.stats.means.mean_interval` over units: Clopper and Pearson's of a share, for as
    many independent clips as the variance between units says; where all clips have the same value, what as many units
    as the sample may have missed could change; else the wider of Student's t and Hall's.

    Args:
        sums, counts: of the items of each clip, (samples, prompts); each sample has items.
        which: the unit of each prompt, (prompts,), below `number`.
        bounds: between which all values lie.
    """
    value, influence = ratio(sums, counts)
    present = np.unique(which)
    units, own = len(present), np.bincount(which, influence, minlength=number) / len(which)
    larger = math.sqrt(units / (units - 1)) if units > 1 else math.nan
    moved = own[present] * units  # of mean 0, as if each unit were a prompt
    values = sums[counts > 0] / counts[counts > 0]
    share = np.isin(values, bounds).all() and (counts <= 1).all() and math.isfinite(bounds[1] - bounds[0])
    alike = same(moved, max(float(np.abs(values).max()), 1e-300))
    lowest, highest = bounds

    def ends(tail: float) -> tuple[float, float]:
        if units < 2:
            return math.nan, math.nan
        if share:
            wide = highest - lowest
            squares = float(((moved / wide) ** 2).sum())
            low, high = share_interval((value - lowest) / wide, int(counts.sum()), units, squares, tail)
            return lowest + wide * low, lowest + wide * high
        if alike:
            low, high = unseen_interval(value, units, tail, bounds)
            return (low, high) if math.isfinite(high - low) else (math.nan, math.nan)
        low, high = skewed_interval(value, moved, tail)
        return max(lowest, low), min(highest, high)

    return Mean(value, own * larger, units, ends)


def gap(group: Mean, rest: Mean) -> tuple[Estimate, np.ndarray]:
    """Estimate by how much a group's mean exceeds another's, and how each unit moves that, (units of all groups,).

    Bounds are put together from the groups' own (Zou and Donner 2008, "Construction of confidence limits about effect
    measures: A general approach"; of shares as Newcombe 1998, method 10), so that they are right for rare things and
    for groups of unlike sizes. Units that both groups have, such as captions of one recording, make a correlation,
    which is taken into account (Zou 2007, "Toward Using Confidence Intervals to Compare Correlations").
    """
    value, moved = group.value - rest.value, group.influence - rest.influence
    errors = [math.sqrt(float((one.influence**2).sum())) for one in (group, rest)]
    product = errors[0] * errors[1]
    shared = float(group.influence @ rest.influence) / product if product else 0.0

    def bounds(tail: float) -> tuple[float, float]:
        if tail >= HALF:  # where nothing is left between them; above it they change places
            upper, lower = bounds(min(HALF - EDGE, 1 - tail))
            return lower, upper
        (low, high), (other_low, other_high) = group.ends(tail), rest.ends(tail)
        down = _apart(group.value - low, other_high - rest.value, shared)
        up = _apart(high - group.value, rest.value - other_low, shared)
        return value - down, value + up

    df = max(1, min(group.units, rest.units) - 1)
    return Estimate(value, math.sqrt(float((moved**2).sum())), df, bounds), moved


def _apart(one: float, other: float, shared: float) -> float:
    return math.sqrt(max(0.0, one**2 + other**2 - 2 * shared * one * other))


def subsamples(which: np.ndarray, size: int, number: int, seed: int) -> np.ndarray:
    """Draw subsets of about `size` prompts without replacement, (number, prompts), 0 or 1; units stay whole.

    Units are taken in a random order; one that would make the subset larger is left out, and smaller ones may follow.

    Args:
        which: the unit of each prompt, (prompts,).
    """
    _, unit_of = np.unique(which, return_inverse=True)
    sizes = np.bincount(unit_of)
    rng = np.random.default_rng([seed, len(which), size])
    found = np.zeros((number, len(which)))
    for row in found:
        left = size
        for unit in rng.permutation(len(sizes)):
            if sizes[unit] <= left:
                left -= sizes[unit]
                row[unit_of == unit] = 1.0
            if not left:
                break
    return found
