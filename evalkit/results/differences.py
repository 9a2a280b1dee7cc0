"""How one metric differs between a baseline and a candidate, of all prompts or of some."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.metrics import Metric
from evalkit.results import reweighted
from evalkit.results.clusters import ONE_CLUSTER, Clusters
from evalkit.results.reweighted import measure, without
from evalkit.results.scored import Pair, selected
from evalkit.stats import jackknife, paired, permutation
from evalkit.stats.estimate import Estimate, student
from evalkit.types import Measured

NO_SUBSET = "no interval: too few prompts are left where some are left out ({why})"
NO_OTHERS = "no interval: of a single prompt nothing is known of others"
ALL_SAME = "no interval: all prompts differ by the same"
CORRECTED = "jackknife, corrected for bias"
TOGETHER = "jackknife of both sides as parts of one set"
BY_CLUSTER = ", by cluster"
SWAPPED = "swaps of whole clusters"
IDENTICAL = "none: identical clips"
LEFT_OUT_OF_PARTS = 20  # groups of prompts: each costs a value, and there are many parts
ROUNDING = 1e-12  # a share of a value that is nothing but rounding
NOTHING_MOVES = "no interval: the difference is the same whichever prompts are left out"


@dataclass(frozen=True, eq=False)
class Difference:
    """What is known of a metric's difference on some prompts.

    Attributes:
        baseline, candidate: the value of either side on these prompts.
        n: number of prompts.
        estimate: of the difference.
        method: how its interval was computed.
        swapped: the difference as it is, and then after each swap of the sides within prompts; empty where that cannot
            be computed.
        p, test: of no difference, and by which test.
        note: why there is no interval; empty where there is one.
        unbiased: the baseline's value without the bias that few prompts give it, of which relative margins are shares.
        parts: whether parts of the prompts can be compared by swaps too.
        scaled: gives the difference of the candidate's value from so many times the baseline's; None for same clips.
        clusters: how many clusters the prompts belong to; 0 where each stands by itself.
    """

    baseline: float
    candidate: float
    n: int
    estimate: Estimate
    method: str
    swapped: np.ndarray
    p: float
    test: str
    note: str
    unbiased: float
    parts: bool = True
    scaled: Callable[[float], Estimate] | None = None
    clusters: int = 0

    @property
    def units(self) -> int:
        """How many independent units there are: clusters, or prompts that stand by themselves."""
        return self.clusters or self.n


@dataclass(frozen=True, eq=False)
class Sums:
    """Each clip's sum and count, of which an additive metric's value is made.

    Attributes:
        ids: the prompts that have a value in all sets.
        left_out: number of the compared prompts that have one in some sets only.
        baseline, candidate: sums and counts of the items of each clip, each (sets, prompts). All counts are positive.
        results: how many of the sets are of each result of the baseline, and of the candidate.
        bounds: between which all values lie.
        identical: whether both sides have the same clips.
        clusters: which of the prompts belong together.
    """

    ids: Sequence[str]
    left_out: int
    baseline: paired.Parts
    candidate: paired.Parts
    results: tuple[Sequence[int], Sequence[int]]
    bounds: tuple[float, float]
    identical: bool
    clusters: Clusters = field(default_factory=Clusters)

    @property
    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """Each prompt's value on either side, averaged over sets, (prompts,)."""
        before, after = ((sums / counts).mean(axis=0) for sums, counts in (self.baseline, self.candidate))
        return before, after

    def of(self, chosen: np.ndarray, swaps: np.ndarray) -> Difference:
        """Compute the difference on some of the prompts.

        Args:
            chosen: numbers of the prompts, (n,), at least one.
            swaps: in which of these prompts the sides change places, (1 + swaps, n), 0 or 1; the first row is all 0.
                Prompts of a cluster change places together.
        """
        which = self.clusters.numbers(self.ids[i] for i in chosen)
        sides = [(sums[:, chosen], counts[:, chosen]) for sums, counts in (self.baseline, self.candidate)]
        n = len(chosen)
        values = [sums.sum(axis=1) / counts.sum(axis=1) for sums, counts in sides]
        before, after = (float(np.mean(side)) for side in values)
        found = Difference(before, after, n, student(0.0, 0.0, n - 1), IDENTICAL, np.empty(0), 1.0, "none", "", before)
        found = replace(found, clusters=_count(which))
        if self.identical and math.isclose(before, after):
            return found
        discordant = self._discordant(sides)
        note = ""
        if discordant is not None and which is None:
            more, fewer = (float(one.sum()) for one in discordant)
            estimate, method = paired.share_difference(more, fewer, n), "Tango's score interval of paired shares"
        else:
            if discordant is not None and which is not None:
                estimate = paired.clustered_share_difference(*discordant, which)
                method = "Tango's score interval of paired shares, of their effective number"
            else:
                estimate = paired.mean_difference(sides[0], sides[1], self.bounds, which)
                method = "paired means, Student's t and Hall's"
            if math.isnan(estimate.bounds(0.025)[0]):
                note = ALL_SAME if found.units > 1 else NO_OTHERS if which is None else ONE_CLUSTER
            method += "" if which is None else BY_CLUSTER
        (sums, counts), other = sides
        found = replace(
            found,
            estimate=estimate,
            method=method,
            note=note,
            scaled=lambda times: paired.mean_difference((times * sums, counts), other, clusters=which),
        )
        if _several(self.results):
            return _over_results(found, values, self.results, self.bounds)
        swapped = _swapped_ratio(sides[0], sides[1], swaps)
        if discordant is not None and which is None and all(len(sums) == 1 for sums, _ in sides):
            more, fewer = (float(one.sum()) for one in discordant)
            return replace(found, swapped=swapped, p=paired.mcnemar(more, fewer), test="McNemar's exact")
        test = "swaps" if which is None else SWAPPED
        return replace(found, swapped=swapped, p=permutation.p_value(swapped[0], swapped[1:]), test=test)

    def _discordant(self, sides: Sequence[paired.Parts]) -> tuple[np.ndarray, np.ndarray] | None:
        """Whether each prompt has something on the candidate's, or the baseline's, side alone; None for no share."""
        if self.bounds != (0.0, 1.0):
            return None
        if not all((counts == 1).all() and np.isin(sums, (0, 1)).all() for sums, counts in sides):
            return None
        before, after = (sums.mean(axis=0) for sums, _ in sides)
        return after * (1 - before), before * (1 - after)


@dataclass(frozen=True, eq=False)
class Sets:
    """The features that a metric of sets compares.

    Attributes:
        ids, left_out: as in `Sums`.
        baseline, candidate: one pair for each set of clips.
        results: how many of the sets are of each result of the baseline, and of the candidate.
        groups: which prompts are left out together: how many groups, and the seed.
        identical: whether both sides have the same clips.
        clusters: which of the prompts belong together, as the metric takes them.
    """

    ids: Sequence[str]
    left_out: int
    metric: Metric
    baseline: Sequence[Pair]
    candidate: Sequence[Pair]
    results: tuple[Sequence[int], Sequence[int]]
    groups: tuple[int, int]
    identical: bool
    clusters: Clusters = field(default_factory=Clusters)

    def of(self, chosen: np.ndarray, swaps: np.ndarray, part: bool = False) -> Difference:
        """As `Sums.of`, of all prompts; or of a `part` of them, as of one of many groups.

        Of a part, swaps are computed to first order, from how each clip moves the value of both sides' clips together,
        which is a test as exact as the other (it is a function of the clips that swaps leave as it is), and prompts are
        left out in `LEFT_OUT_OF_PARTS` at most. Raises EvalkitError where a side has no value on these prompts.
        """
        ids, n = [self.ids[i] for i in chosen], len(chosen)
        pairs = [selected(side, ids, self.clusters) for side in (self.baseline, self.candidate)]
        measured = [[measure(self.metric, pair) for pair in side] for side in pairs]
        before, after = (float(np.mean([one.value for one in side])) for side in measured)
        moving = all(one.influence is not None for side in measured for one in side)
        found = Difference(
            before, after, n, student(0.0, 0.0, n - 1), IDENTICAL, np.empty(0), 1.0, "none", "", before, moving
        )  # fmt: skip
        clusters = self.clusters.numbers(ids)
        found = replace(found, clusters=_count(clusters))
        if self.identical and math.isclose(before, after):
            return found
        number, seed = self.groups
        units = [self.clusters.unit(i) for i in ids]
        which = jackknife.groups(units, min(number, LEFT_OUT_OF_PARTS) if part else number, seed)
        found, values = self._jackknife(found, which, pairs, measured)
        if _several(self.results):
            return _over_results(found, values, self.results, self.metric.bounds)
        if len(pairs[0]) == len(pairs[1]) and (moving if part else _subsets(measured)):
            change = reweighted.moved if part else reweighted.swapped
            swapped = change(self.metric, pairs, swaps)
            test = "swaps" if clusters is None else SWAPPED
            test += ", to first order" if part else ""
            return replace(found, swapped=swapped, p=permutation.p_value(swapped[0], swapped[1:]), test=test)
        return replace(found, p=found.estimate.p(), test="jackknife t")

    def _jackknife(
        self,
        found: Difference,
        which: np.ndarray,
        pairs: Sequence[Sequence[Pair]],
        measured: Sequence[Sequence[Measured]],
    ) -> tuple[Difference, list[np.ndarray]]:
        """Complete a difference with its estimate, how that was computed, or why there is none; and the sets' values.

        Args:
            which: group each prompt is left out with.
        """
        sizes = np.bincount(which).astype(np.float64)
        each = [np.array([one.value for one in side]) for side in measured]
        together = all(one.together for side in measured for one in side)
        # others than functions of how clips are distributed have no value for infinitely many to be corrected to
        corrected = _subsets(measured) and not together
        method = TOGETHER if together else CORRECTED if corrected else "jackknife"
        found = replace(
            found,
            estimate=student(found.candidate - found.baseline, math.nan, math.nan),
            method=f"{method}, {len(sizes):,} groups of {'whole clusters' if found.clusters else 'prompts'}",
        )
        if len(sizes) < 2:
            return replace(found, note=ONE_CLUSTER if found.clusters else NO_OTHERS), each
        keep = (which != np.arange(len(sizes))[:, None]).astype(np.float64)
        try:
            if together:
                values, rests = reweighted.as_parts(self.metric, [*pairs[0], *pairs[1]], keep)
                each, sets = np.split(values, [len(pairs[0])]), np.split(rests, [len(pairs[0])])
            else:
                sets = [
                    np.array([without(self.metric, pair, one, keep) for pair, one in zip(*side, strict=True)])
                    for side in zip(pairs, measured, strict=True)
                ]
        except EvalkitError as error:
            return replace(found, note=NO_SUBSET.format(why=error)), each
        means, rests = (np.array([np.mean(side, axis=0) for side in both]) for both in (each, sets))
        jackknifed = jackknifed_difference(
            means, rests, sizes, corrected, self.metric.bounds, clustered=found.clusters > 0
        )
        if isinstance(jackknifed, str):
            return replace(found, note=jackknifed), each
        estimate, unbiased, scaled = jackknifed
        return replace(found, estimate=estimate, unbiased=unbiased, scaled=scaled), each


def jackknifed_difference(
    values: np.ndarray,
    rests: np.ndarray,
    sizes: np.ndarray,
    corrected: bool,
    bounds: tuple[float, float],
    clustered: bool = False,
) -> tuple[Estimate, float, Callable[[float], Estimate]] | str:
    """Estimate the difference of two values of sets, or say why there is no interval.

    Args:
        values: the baseline's and the candidate's, (2,).
        rests: the same without each group of prompts, (2, groups).
        sizes: number of prompts in each group.
        corrected: whether the metric has a value for infinitely many clips that the difference is corrected to.
        bounds: between which all values lie.
        clustered: whether groups are of whole clusters.

    Returns the estimate, the baseline's value without its bias, and `Difference.scaled`.
    """
    if not np.isfinite(rests).all():
        return NO_SUBSET.format(why="a set without a value")
    estimate, unbiased = jackknife.difference(values, rests, sizes, clustered)
    if only_rounding(estimate.error, rests, bounds):
        return NOTHING_MOVES

    def scaled(times: float) -> Estimate:
        factors = np.array([times, 1.0])
        one, _ = jackknife.difference(factors * values, factors[:, None] * rests, sizes, clustered)
        return one if corrected else student(values[1] - times * values[0], one.error, one.df)

    lowest, highest = bounds
    of_baseline = min(max(float(unbiased[0]), lowest), highest) if corrected else float(values[0])
    return _within(scaled(1.0), bounds), of_baseline, scaled


def only_rounding(error: float, values: np.ndarray, bounds: tuple[float, float]) -> bool:
    """Whether an error of values that lie between bounds, all of which may be 0, is nothing but that of rounding."""
    span = bounds[1] - bounds[0]
    return not error > ROUNDING * max(float(np.abs(values).max()), span if math.isfinite(span) else 0.0)


def _count(clusters: np.ndarray | None) -> int:
    """How many clusters there are; 0 where each prompt stands by itself."""
    return 0 if clusters is None else len(np.unique(clusters))


def _swapped_ratio(before: paired.Parts, after: paired.Parts, swaps: np.ndarray) -> np.ndarray:
    """The difference of the sides' ratios of sums after each swap, (swaps,); of several sets those of their means."""
    (a, a_counts), (b, b_counts) = ((sums.mean(axis=0), counts.mean(axis=0)) for sums, counts in (before, after))
    moved, moved_counts = permutation.moved(swaps, b - a), permutation.moved(swaps, b_counts - a_counts)
    difference: np.ndarray = (b.sum() - moved) / (b_counts.sum() - moved_counts) - (a.sum() + moved) / (
        a_counts.sum() + moved_counts
    )
    return difference


def _several(results: tuple[Sequence[int], Sequence[int]]) -> bool:
    return sum(map(len, results)) > 2


def _over_results(
    difference: Difference,
    values: Sequence[np.ndarray],
    results: tuple[Sequence[int], Sequence[int]],
    bounds: tuple[float, float],
) -> Difference:
    """Add the variance between the results of a side; the p-value is that of the interval.

    Args:
        bounds: between which all values lie.
    """
    own = [
        [float(np.mean(sets)) for sets in np.split(side, np.cumsum(numbers)[:-1])]
        for side, numbers in zip(values, results, strict=True)
    ]
    estimate = _within(paired.with_runs(difference.estimate, own[0], own[1]), bounds)
    method = f"{difference.method}, and the variance between results"
    of_prompts = difference.scaled

    def scaled(times: float) -> Estimate:
        assert of_prompts is not None
        return paired.with_runs(of_prompts(times), [times * value for value in own[0]], own[1])

    return replace(difference, estimate=estimate, p=estimate.p(), test="t", method=method, scaled=of_prompts and scaled)


def _subsets(measured: Sequence[Sequence[Measured]]) -> bool:
    """Whether weights of 0 and 1 give the value of any part of the clips."""
    return all(one.of_subsets is not None for side in measured for one in side)


def _within(estimate: Estimate, bounds: tuple[float, float]) -> Estimate:
    """The estimate with bounds that a difference of values between some others can have."""
    most = bounds[1] - bounds[0]

    def ends(tail: float) -> tuple[float, float]:
        lower, upper = estimate.bounds(tail)
        return max(-most, lower), min(most, upper)

    return replace(estimate, bounds=ends)
