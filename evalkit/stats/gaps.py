"""Gaps between two groups of prompts of one model: what is a mean, and what depends on how many prompts there are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evalkit.stats import clusters
from evalkit.stats.estimate import Estimate
from evalkit.stats.means import mean_interval, ratio

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

    Its bounds are those of `evalkit.stats.means.mean_interval`.

    Args:
        sums, counts: of the items of each clip, (samples, prompts); each sample has items, and each prompt.
        which: the unit of each prompt, (prompts,), below `number`.
        bounds: between which all values lie.
    """
    present = np.unique(which)
    units = len(present)
    of_units = clusters.totals(counts, which)
    value, influence = ratio(clusters.totals(sums, which), of_units)
    if units > 1:
        influence = clusters.without_leverage(influence, clusters.weights(of_units))
    of_all = np.zeros(number)
    of_all[present] = influence / math.sqrt(units * (units - 1)) if units > 1 else math.nan

    def ends(tail: float) -> tuple[float, float]:
        return mean_interval(sums, counts, 1 - 2 * tail, bounds, which if units < len(which) else None)

    return Mean(value, of_all, units, ends)


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
    """How far a bound is, from how far those of both groups are; NaN where one of these is not known."""
    square = one**2 + other**2 - 2 * shared * one * other
    return math.sqrt(square) if square > 0 or math.isnan(square) else 0.0


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
