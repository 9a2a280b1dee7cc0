"""Metrics of whole sets, such as FAD, of two groups of prompts at the same number of prompts.

FAD falls with the number of clips, so that a small group looks worse than all others by its size alone. The larger
side is subsampled to the smaller one's size, many times, and its values are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.metrics import Metric
from evalkit.results.clusters import Clusters
from evalkit.results.material import with_frames
from evalkit.results.reweighted import measure, without
from evalkit.results.scored import Pair, selected
from evalkit.stats import jackknife
from evalkit.stats.estimate import Estimate, student
from evalkit.stats.gaps import subsamples

DRAWS = 60  # subsamples of the larger side
GROUPS = 25  # of units, which are left out together in the jackknife
DIMENSIONS = 256  # of features at most: a distance of more takes too long to be computed some hundred times
NEAR = 0.95  # share of the smaller side's prompts that subsamples have at least, on average
EVEN = 1.25  # times as many prompts per unit as the other side a side has at most
SEED = 0
UNEVEN = "prompts belong together in larger clusters here than elsewhere, so that equally many say unlike much"
TOO_LARGE = "its prompts belong together in so large clusters that not as many prompts can be drawn from the others"


@dataclass(frozen=True, eq=False)
class Equal:
    """A gap at equal n.

    Attributes:
        value, other: of the group and of the rest, at the same number of prompts.
        n: that number, of the smaller side.
        estimate: of the gap; its error is that of either side by the jackknife, and of drawing so few subsamples.
        influence: how each unit moves it, (units,); NaN where that is not known.
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
    metric: Metric, pairs: Sequence[Pair], group: Sequence[str], rest: Sequence[str], units: Mapping[str, int],
    clusters: Clusters,
) -> Equal:  # fmt: skip
    """Estimate by how much a group's value exceeds the rest's, both at the smaller side's number of prompts.

    Args:
        pairs: features of each sample, of a metric that gives values of weighted clips.
        group, rest: prompts of either side, of which all have features.
        units: of each prompt of the record, from 0.
        clusters: of the record, for this metric.

    Raises EvalkitError where a side has no value, where clusters are larger on one side than on the other, and where as
    many prompts cannot be drawn.
    """
    small, large = sorted((list(group), list(rest)), key=len)
    together = [len(side) / len({units[i] for i in side}) for side in (small, large)]
    if max(together) > EVEN * min(together):  # FAD falls with what is independent among clips, not with their number
        raise EvalkitError(UNEVEN)
    weights = subsamples(np.array([units[i] for i in large]), len(small), DRAWS, SEED)
    if weights.sum() < NEAR * len(small) * DRAWS:
        raise EvalkitError(TOO_LARGE)
    names = {f"{unit:012}": unit for unit in sorted({units[i] for i in [*small, *large]})}
    parts = dict(zip(names.values(), jackknife.groups(list(names), GROUPS, SEED).tolist(), strict=True))
    both = [*small, *large]
    of_small = _Side(metric, pairs, small, both, units, parts, clusters)
    of_large = _Side(metric, pairs, large, both, units, parts, clusters)
    drawn = of_large.values(weights)
    known = drawn[np.isfinite(drawn)]
    if len(known) < NEAR * DRAWS:
        raise EvalkitError(f"{metric.title} has no value of many subsamples")
    moved, moved_other = of_small.moved(), of_large.moved()
    apart, noise = moved - moved_other, float(known.var(ddof=1)) / len(known)
    squares = np.array([float((side**2).sum()) for side in (moved, moved_other)])
    numbers = np.array([max(1, np.count_nonzero(side) - 1) for side in (moved, moved_other)])
    df = float(squares.sum() ** 2 / (squares**2 / numbers).sum()) if squares.sum() > 0 else math.nan
    values, sign = (of_small.value, float(known.mean())), 1.0
    if len(group) > len(rest):
        values, sign = values[::-1], -1.0
    sizes = np.bincount(list(parts.values()), minlength=GROUPS)
    influence = np.zeros(max(units.values()) + 1)
    for unit, part in parts.items():
        influence[unit] = sign * apart[part] / math.sqrt(sizes[part])
    error = math.sqrt(float((apart**2).sum()) + noise)
    return Equal(values[0], values[1], len(small), student(values[0] - values[1], error, df), influence)


class _Side:
    """A side's value, and its values on parts of its prompts; means over samples.

    Args:
        ids: of its prompts.
        both: of the prompts of both sides, of which some metrics measure a side as a part.
        parts: which part of all units each unit is in.
        The others are those of `gap`.
    """

    def __init__(
        self, metric: Metric, pairs: Sequence[Pair], ids: Sequence[str], both: Sequence[str], units: Mapping[str, int],
        parts: Mapping[int, int], clusters: Clusters,
    ):  # fmt: skip
        self.metric, self.clusters = metric, clusters
        self.which = np.array([parts[units[i]] for i in ids])
        self.clustered = clusters.numbers(ids) is not None
        self._measure(pairs, ids, ids)
        self.value = float(np.mean([one.value for one in self.measured]))
        if all(one.together for one in self.measured):
            self._measure(pairs, both, ids)
            self.value = float(self.values(np.ones((1, len(ids))))[0])

    def _measure(self, pairs: Sequence[Pair], prompts: Sequence[str], ids: Sequence[str]) -> None:
        """Measure some prompts, among which the side's are."""
        self.pairs = selected(pairs, prompts, self.clusters)
        self.measured = [measure(self.metric, pair) for pair in self.pairs]
        number = {i: place for place, i in enumerate(prompts)}
        self.of, self.places = len(number), [number[i] for i in ids]

    def values(self, keep: np.ndarray) -> np.ndarray:
        """The value of some prompts, (K,), from which they are, (K, prompts)."""
        within = np.zeros((len(keep), self.of))
        within[:, self.places] = keep
        both = zip(self.pairs, self.measured, strict=True)
        found: np.ndarray = np.mean([without(self.metric, pair, one, within) for pair, one in both], axis=0)
        return found

    def moved(self) -> np.ndarray:
        """How each part of the units moves the value, (GROUPS,): the sum of squares is its variance."""
        present, place = np.unique(self.which, return_inverse=True)
        number, moved = len(present), np.full(GROUPS, math.nan)
        if number > 1:
            rests = self.values((place != np.arange(number)[:, None]).astype(np.float64))
            sizes = np.bincount(place).astype(np.float64)
            _, influence = jackknife.influences(self.value, rests, sizes, self.clustered)
            moved[:] = 0.0
            moved[present] = influence / math.sqrt(number * (number - 1))
        return moved
