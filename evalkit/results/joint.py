"""One metric of several sides on the same prompts: values, how groups of prompts move them, and paired differences."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.metrics import Metric
from evalkit.results import recompute
from evalkit.results.clusters import ONE_CLUSTER, Clusters, of_record, together
from evalkit.results.compared import failed
from evalkit.results.differences import (
    NO_OTHERS,
    Sums,
    jackknifed_difference,
)
from evalkit.results.evidence import Evidence
from evalkit.results.material import NO_PROMPT, common_parts, parts_of, with_frames
from evalkit.results.pairing import Side, identical
from evalkit.results.reweighted import as_parts, measure, without
from evalkit.results.scored import NO_PAIRS, Pair, selected
from evalkit.stats import jackknife
from evalkit.stats.clusters import totals, weights, without_leverage
from evalkit.stats.estimate import Estimate, student
from evalkit.stats.means import ratio
from evalkit.types import Measured

T = TypeVar("T")

GROUPS = 100  # of prompts, by which all metrics of a sweep are moved
SEED = 0  # of the groups


def jointly(
    sides: Sequence[Side], metric: str, ids: Sequence[str], groups: int = GROUPS, allow: Sequence[str] = ()
) -> Joint:
    """Measure a metric of several sides on the prompts that all of them can use.

    Args:
        ids: the prompts; those of which a side has no value are left out at all sides.
        groups: of prompts: how many, at most as many as prompts, or clusters of these. They depend on `ids` alone, so
            that all metrics on the same prompts have the same.
        allow: packages outside evalkit whose metrics may be imported.

    A side that has no value is none of those of `Joint`. Raises EvalkitError where no side has one.
    """
    names = sorted(ids)
    clusters = together([of_record(side.record) for side in sides])
    units = [clusters.unit(i) for i in names]
    which = jackknife.groups(units, min(groups, len(set(units))), SEED)
    group_of = dict(zip(names, (int(group) for group in which), strict=True))
    info = next(side.record.metrics[metric] for side in sides if metric in side.record.metrics)
    low, high = info.bounds
    bounds = -math.inf if low is None else low, math.inf if high is None else high
    own = clusters.of_metric(info)
    if info.additive:
        return _additive(sides, metric, names, group_of, bounds, own)
    return _of_sets(sides, metric, names, group_of, bounds, recompute.rebuilt(info, allow), own)


@dataclass(frozen=True, eq=False)
class Joint(ABC):
    """A metric of several sides on the prompts of which all have a value.

    Attributes:
        sides: those that have a value.
        places: of each of these among those that were given.
        ids: the prompts.
        left_out: number of prompts of which some sides have a value, and others not.
        failures: why the others have none, by their places.
        estimates: of each of the sides, corrected for bias where the metric has one, (K,).
        influences: how the same groups of prompts move them, (K, groups), of mean 0 over groups, so that
            `evalkit.stats.means.standard_error` is that of the estimate; NaN where that is not known.
        corrected: whether the metric has a value for infinitely many clips, to which estimates are corrected.
        together: whether estimates are of all sides as parts of one set, and not of each by itself.
        clusters: which prompts belong together, as the metric takes them.
    """

    sides: Sequence[Side]
    places: Sequence[int]
    ids: Sequence[str]
    left_out: int
    failures: Mapping[int, str]
    estimates: np.ndarray
    influences: np.ndarray
    corrected: bool
    together: bool
    clusters: Clusters

    def difference(self, baseline: int, candidate: int) -> tuple[Estimate, str]:
        """Estimate by how much one of the sides exceeds another, and say why there is no interval, if there is none.

        As `evalkit compare` estimates it; a metric whose sides are measured as parts of one set, of all sides here.

        Args:
            baseline, candidate: numbers among `sides`.
        """
        estimate, note = self._difference(baseline, candidate)
        nothing = not estimate.value and not np.any(self.influences[baseline] - self.influences[candidate])
        if nothing and identical([self.sides[baseline]], [self.sides[candidate]], self.ids):
            return student(0.0, 0.0, len(self.ids) - 1), ""
        return estimate, note

    @property
    def shares(self) -> np.ndarray | None:
        """Whether each prompt has something, (K, prompts), or its share of several clips; None for other metrics."""
        return None

    @property
    def numbers(self) -> np.ndarray | None:
        """The number of each prompt's cluster, (prompts,); None where each prompt stands by itself."""
        return self.clusters.numbers(self.ids)

    @abstractmethod
    def _difference(self, baseline: int, candidate: int) -> tuple[Estimate, str]: ...


@dataclass(frozen=True, eq=False)
class _Additive(Joint):
    """Of sums over clips.

    Attributes:
        parts: sums and counts of each of the sides, (2, sets, prompts).
        bounds: between which all values lie.
    """

    parts: Sequence[np.ndarray]
    bounds: tuple[float, float]

    @property
    def shares(self) -> np.ndarray | None:
        alike = all((counts == 1).all() and np.isin(sums, (0, 1)).all() for sums, counts in self.parts)
        if self.bounds != (0.0, 1.0) or not alike:
            return None
        return np.array([sums.mean(axis=0) for sums, _ in self.parts])

    def _difference(self, baseline: int, candidate: int) -> tuple[Estimate, str]:
        before, after = self.parts[baseline], self.parts[candidate]
        sums = Sums(
            self.ids, 0, (before[0], before[1]), (after[0], after[1]), ([before.shape[1]], [after.shape[1]]),
            self.bounds, identical=False, clusters=self.clusters,
        )  # fmt: skip
        found = sums.of(np.arange(len(self.ids)), np.zeros((1, len(self.ids))))
        return found.estimate, found.note


@dataclass(frozen=True, eq=False)
class _OfSets(Joint):
    """Of values of whole sets.

    Attributes:
        values: as they are, (K,).
        rests: without each group of prompts, (K, groups).
        sizes: number of prompts in each group.
        bounds: between which all values lie.
    """

    values: np.ndarray
    rests: np.ndarray
    sizes: np.ndarray
    bounds: tuple[float, float]

    def _difference(self, baseline: int, candidate: int) -> tuple[Estimate, str]:
        both = [baseline, candidate]
        unknown = student(float(np.diff(self.values[both])[0]), math.nan, math.nan)
        if len(self.sizes) < 2:
            return unknown, NO_OTHERS if self.numbers is None else ONE_CLUSTER
        found = jackknifed_difference(
            self.values[both], self.rests[both], self.sizes, self.corrected, self.bounds, self.numbers is not None
        )
        return (unknown, found) if isinstance(found, str) else (found[0], "")


def _additive(
    sides: Sequence[Side],
    metric: str,
    ids: Sequence[str],
    group_of: Mapping[str, int],
    bounds: tuple[float, float],
    clusters: Clusters,
) -> Joint:
    parts, failures = _read(sides, lambda side: parts_of(side, metric, ids))
    if not parts:
        raise EvalkitError(next(iter(failures.values())))
    common, some, arrays = common_parts(list(parts.values()), ids)
    which = np.array([group_of[i] for i in common])
    found = [ratio(sums, counts) for sums, counts in arrays]
    present = np.unique(which)
    # a group counts as often as it has prompts: the sum over groups is that over prompts
    sums_of_groups = [np.bincount(which, influence)[present] * len(present) / len(which) for _, influence in found]
    if clusters.numbers(common) is not None and len(present) > 1:
        of_items = [weights(totals(counts, which)) for _, counts in arrays]
        sums_of_groups = [without_leverage(*both) for both in zip(sums_of_groups, of_items, strict=True)]
    number = len({*group_of.values()})
    return _Additive(
        sides=[sides[place] for place in parts],
        places=list(parts),
        ids=common,
        left_out=some - len(common),
        failures=failures,
        estimates=np.array([value for value, _ in found]),
        influences=np.array([_of_all_groups(moved, present, number) for moved in sums_of_groups]),
        corrected=False,
        together=False,
        clusters=clusters,
        parts=arrays,
        bounds=bounds,
    )


def _of_sets(
    sides: Sequence[Side],
    metric: str,
    ids: Sequence[str],
    group_of: Mapping[str, int],
    bounds: tuple[float, float],
    compute: Metric,
    clusters: Clusters,
) -> Joint:
    usable, failures = _read(sides, lambda side: [with_frames(pair) for pair in _pairs(side, metric)])
    common, some = ([i for i in ids if of(i in one for own in usable.values() for one in own)] for of in (all, any))
    if usable and not common:
        raise EvalkitError(NO_PROMPT)
    which = np.array([group_of[i] for i in common])
    present, which = np.unique(which, return_inverse=True)
    sizes = np.bincount(which).astype(np.float64)
    keep = (which != np.arange(len(sizes))[:, None]).astype(np.float64)
    found: dict[int, _Value] = {}
    for place in usable:
        try:
            found[place] = _value(compute, selected(_pairs(sides[place], metric), common, clusters), keep)
        except EvalkitError as error:
            failures[place] = str(error)
        except Exception as error:  # a metric may be anybody's code
            failures[place] = failed(metric, error)
    if not found:
        raise EvalkitError(next(iter(failures.values())))
    together = all(one.together for one in found.values())
    corrected = all(one.subsets for one in found.values()) and not together
    if together and len(found) > 1:
        pairs = [selected(_pairs(sides[place], metric), common, clusters) for place in found]
        values, rests = _as_parts(compute, pairs, keep)
    else:
        values, rests = (
            np.array(part) for part in zip(*((one.value, one.rests) for one in found.values()), strict=True)
        )
    number, clustered = len({*group_of.values()}), clusters.numbers(common) is not None
    estimates, influences = values.copy(), np.full((len(values), number), math.nan)
    for k, (value, rest) in enumerate(zip(values, rests, strict=True)):
        if len(sizes) > 1 and np.isfinite(rest).all():
            estimate, moved = jackknife.influences(float(value), rest, sizes, clustered)
            estimates[k] = estimate if corrected else value
            influences[k] = _of_all_groups(moved, present, number)
    return _OfSets(
        sides=[sides[place] for place in found],
        places=list(found),
        ids=common,
        left_out=len(some) - len(common),
        failures=failures,
        estimates=estimates,
        influences=influences,
        values=values,
        rests=rests,
        sizes=sizes,
        corrected=corrected,
        together=together,
        clusters=clusters,
        bounds=bounds,
    )


def _read(sides: Sequence[Side], read: Callable[[Side], T]) -> tuple[dict[int, T], dict[int, str]]:
    """What is read of each side, by its place, and why of the others nothing can be."""
    found: dict[int, T] = {}
    failures: dict[int, str] = {}
    for place, side in enumerate(sides):
        try:
            found[place] = read(side)
        except EvalkitError as error:
            failures[place] = str(error)
    return found, failures


def _pairs(side: Side, metric: str) -> list[Pair]:
    """The features that a metric compares, which the record does not keep in memory: there may be many points."""
    kept = side.record.evidence
    record = dataclasses.replace(side.record, evidence=Evidence(kept.index, kept.folder))
    pairs = recompute.pairs_of(record, side.row, metric)
    if side.record.metrics[metric].clip_by_clip and not side.info.paired:
        raise EvalkitError(f"{side.row}: {NO_PAIRS}")
    return pairs


@dataclass(frozen=True, eq=False)
class _Value:
    """A metric's value of a side, and without each group of prompts, (groups,): means over sets of clips.

    Attributes:
        subsets: whether weights of 0 and 1 give the latter.
        together: whether sides are compared as parts of one set.
    """

    value: float
    rests: np.ndarray
    subsets: bool
    together: bool


def _value(compute: Metric, pairs: Sequence[Pair], keep: np.ndarray) -> _Value:
    """Measure a side. Raises EvalkitError where there is no value."""
    measured = [measure(compute, pair) for pair in pairs]
    return _Value(
        float(np.mean([one.value for one in measured])),
        _rests(compute, pairs, measured, keep),
        subsets=all(one.of_subsets is not None for one in measured),
        together=all(one.together for one in measured),
    )


def _as_parts(compute: Metric, sides: Sequence[Sequence[Pair]], keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As the values and rests of `_Value`, of all sides as parts of one set, (K,) and (K, groups)."""
    each = as_parts(compute, [pair for side in sides for pair in side], keep)
    ends = np.cumsum([len(side) for side in sides])[:-1]
    values, rests = (np.array([of_side.mean(axis=0) for of_side in np.split(part, ends)]) for part in each)
    return values, rests


def _rests(compute: Metric, pairs: Sequence[Pair], measured: Sequence[Measured], keep: np.ndarray) -> np.ndarray:
    """The mean over sets without each group of prompts, (groups,); NaN where too few prompts are left."""
    if len(keep) < 2:
        return np.full(len(keep), math.nan)
    try:
        found: np.ndarray = np.mean(
            [without(compute, pair, one, keep) for pair, one in zip(pairs, measured, strict=True)], axis=0
        )
    except EvalkitError:
        return np.full(len(keep), math.nan)
    return found


def _of_all_groups(moved: np.ndarray, present: np.ndarray, number: int) -> np.ndarray:
    """Influences of some of the groups as those of all: others move nothing, and the standard error is the same.

    Args:
        moved: influences of the groups that have prompts with a value, (len(present),).
        present: which groups these are.
        number: of all groups.
    """
    some = len(present)
    found = np.full(number, math.nan)
    if some > 1:
        found[:] = 0.0
        found[present] = moved * math.sqrt(number * (number - 1) / (some * (some - 1)))
    return found
