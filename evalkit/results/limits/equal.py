"""Metrics of whole sets, such as FAD, of two groups of prompts at the same number of prompts.

FAD falls with the number of clips, so that a small group looks worse than all others by its size alone. The larger
side is subsampled to the smaller one's size, many times, and its values are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.metrics import Metric
from evalkit.results.differences import measure, without
from evalkit.results.material import with_frames
from evalkit.results.scored import Pair, select
from evalkit.stats import jackknife
from evalkit.stats.estimate import Estimate, student
from evalkit.stats.gaps import subsamples

DRAWS = 60  # subsamples of the larger side
GROUPS = 25  # of units, which are left out together in the jackknife
DIMENSIONS = 256  # of features at most: a distance of more takes too long to be computed some hundred times
SEED = 0


@dataclass(frozen=True, eq=False)
class Equal:
    """A gap at equal n.

    Attributes:
        value, other: of the group and of the rest, at the same number of prompts.
        n: that number, of the smaller side.
        estimate: of the gap; its error is that of either side by the jackknife, and of drawing so few subsamples.
        influence: how each unit moves it, (units,).
    """

    value: float
    other: float
    n: int
    estimate: Estimate
    influence: np.ndarray


def wide(pairs: Sequence[Pair]) -> bool:
    """Whether features have more dimensions than can be compared here."""
    return any(len(value) and value.shape[1] > DIMENSIONS for clips, _ in pairs for value in clips.values[:1])


def usable(pairs: Sequence[Pair]) -> set[str]:
    """The prompts of which every sample has features on both sides."""
    return set.intersection(*(with_frames(pair) for pair in pairs))


def gap(
    metric: Metric,
    pairs: Sequence[Pair],
    group: Sequence[str],
    rest: Sequence[str],
    units: Mapping[str, int],
    number: int,
) -> Equal:
    """Estimate by how much a group's value exceeds the rest's, both at the smaller side's number of prompts.

    Args:
        pairs: features of each sample, of a metric that gives values of weighted clips.
        group, rest: prompts of either side, of which all have features.
        units: of each prompt.
        number: of all units.

    Raises EvalkitError where a side has no value.
    """
    small, large = sorted((list(group), list(rest)), key=len)
    weights = subsamples(np.array([units[i] for i in large]), len(small), DRAWS, SEED)
    named = {f"{unit:012}": unit for unit in {units[i] for i in [*small, *large]}}
    order = sorted(named)
    parts = dict(zip((named[name] for name in order), jackknife.groups(order, GROUPS, SEED), strict=True))
    value, moved = _jackknifed(metric, pairs, small, units, parts)
    _, moved_other = _jackknifed(metric, pairs, large, units, parts)
    drawn = np.zeros(DRAWS)
    for pair in pairs:
        chosen = select(pair, large)
        measured = measure(metric, chosen)
        assert measured.resampled is not None
        drawn += np.asarray(measured.resampled(weights, weights), np.float64) / len(pairs)
    known = drawn[np.isfinite(drawn)]
    other = float(known.mean()) if len(known) else math.nan
    noise = float(known.var(ddof=1)) / len(known) if len(known) > 1 else math.nan
    apart = moved - moved_other
    error = math.sqrt(float((apart**2).sum()) + noise) if np.isfinite(apart).all() else math.nan
    squares = np.array([float((side**2).sum()) for side in (moved, moved_other)])
    numbers = np.array([max(1, np.count_nonzero(side) - 1) for side in (moved, moved_other)])
    df = float(squares.sum() ** 2 / (squares**2 / numbers).sum()) if squares.sum() > 0 else math.nan
    values = (value, other) if len(group) <= len(rest) else (other, value)
    sign = 1.0 if len(group) <= len(rest) else -1.0
    sizes = np.bincount(list(parts.values()), minlength=GROUPS)
    influence = np.zeros(number)
    for unit, part in parts.items():
        influence[unit] = sign * apart[part] / math.sqrt(sizes[part])
    return Equal(values[0], values[1], len(small), student(values[0] - values[1], error, df), influence)


def _jackknifed(
    metric: Metric, pairs: Sequence[Pair], ids: Sequence[str], units: Mapping[str, int], parts: Mapping[int, int]
) -> tuple[float, np.ndarray]:
    """A side's value, and how each part of the units moves it, (GROUPS,): the sum of squares is the variance."""
    which = np.array([parts[units[i]] for i in ids])
    present, place = np.unique(which, return_inverse=True)
    sizes = np.bincount(place).astype(np.float64)
    keep = (place != np.arange(len(present))[:, None]).astype(np.float64)
    value, rests = 0.0, np.zeros(len(present))
    for pair in pairs:
        chosen = select(pair, ids)
        measured = measure(metric, chosen)
        value += measured.value / len(pairs)
        rests += without(metric, chosen, measured, keep) / len(pairs)
    moved = np.full(GROUPS, math.nan) if len(present) < 2 else np.zeros(GROUPS)
    if len(present) > 1:
        _, influence = jackknife.influences(value, rests, sizes)
        moved[present] = influence / math.sqrt(len(present) * (len(present) - 1))
    return value, moved
