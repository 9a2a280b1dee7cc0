"""FAD of fewer and fewer clips, and what it comes to for infinitely many, from the stored features alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.results.clusters import of_record
from evalkit.results.recompute import pairs_of, rebuilt
from evalkit.results.record import MetricInfo, Record
from evalkit.results.scored import Pair, selected, usable_ids
from evalkit.stats.frechet import effective_sample_size

KIND, INFINITY = "fad", "fad_infinity"  # of metrics
PARTS = (1, 2, 3, 4)  # subsets are of n/k clips: the sizes that FAD∞ extrapolates from
SUBSETS = 4  # of each size, at most
FEWEST = 12  # clips of which an extrapolation is made at all, and of the independent windows each dimension needs:
WORTH = 2  # as `evalkit.metrics.fad_inf` has it
LEAST = 3  # clips in a subset
WORK = 2e9  # cubed dimensions, of all distances of one figure: a few seconds
WINDOW = 1 / 18  # of these, that a window costs for each of its squared dimensions


@dataclass(frozen=True)
class Sizes:
    """FAD of one row at several numbers of clips.

    Attributes:
        n: the number of clips of each subset, (subsets,), the greatest first.
        values: their FADs, (subsets,).
        curve: coefficients of the parabola in 1/n through their means, the highest power first; None where there are
            too few clips for one.
        infinity: FAD∞ with its bounds as it was measured, NaN for those that are not known; None where it was not.
    """

    metric: str
    row: str
    n: np.ndarray
    values: np.ndarray
    curve: np.ndarray | None
    infinity: tuple[float, float, float] | None

    def at(self, inverse: np.ndarray) -> np.ndarray:
        """What the curve is at some 1/n."""
        assert self.curve is not None
        found: np.ndarray = np.polyval(self.curve, inverse)
        return found


def fads(record: Record) -> list[str]:
    """The names of the metrics of a record that are FADs."""
    return [name for name, info in record.metrics.items() if info.definition.get("kind") == KIND]


def subsets(pairs: Sequence[Sequence[Pair]], metrics: int) -> int:
    """How many subsets of each size there is time for; 0 for none at all.

    Args:
        pairs: of each row one for each of a prompt's clips.
        metrics: how many share the time.
    """
    for number in range(SUBSETS, 0, -1):
        if sum(_work(pair, number) for row in pairs for pair in row) * metrics <= WORK:
            return number
    return 0


def _work(pair: Pair, number: int) -> float:
    """What the distances of all clips, and of some subsets of each size, cost."""
    sets = [[values for values in side.values if len(values)] for side in pair if side is not None]
    width = next((float(values.shape[1]) for values in sets[0]), 0.0)
    windows = sum(len(values) for clips in sets for values in clips)
    whole = 1 + number * sum(1 / k for k in PARTS[1:])  # how often all windows are read
    return width**3 * (1 + number * (len(PARTS) - 1)) + WINDOW * windows * width**2 * whole


def pairs(record: Record, row: str, metric: str) -> list[Pair] | None:
    """The features of a row, if its FAD can be taken of fewer clips: each with its reference, and enough of them."""
    if record.rows[row].sets:
        return None
    try:
        found = pairs_of(record, row, metric)
    except EvalkitError:
        return None
    return found if len(usable_ids(found)) >= LEAST * 2 else None


def measured(record: Record, row: str, metric: str, found: Sequence[Pair], number: int) -> Sizes | None:
    """Measure FAD of all clips of a row, and of subsets that lie within each other; None where it has no value.

    Args:
        found: the row's features.
        number: of subsets of each size.
    """
    compute, clusters = rebuilt(record.metrics[metric]), of_record(record).of_metric(record.metrics[metric])
    units: dict[str, list[str]] = {}
    for i in sorted(usable_ids(found)):  # so that the same are drawn in whatever order they are stored
        units.setdefault(clusters.unit(i), []).append(i)
    members = list(units.values())
    rng = np.random.default_rng(0)
    sizes, values = [], []
    orders = [rng.permutation(len(members)) for _ in range(number)]
    for k in PARTS:
        size = len(members) // k
        if size < LEAST:
            break
        for order in orders[: 1 if k == 1 else number]:
            own = [i for place in np.sort(order[:size]) for i in members[place]]
            try:
                value = float(np.mean([compute(*pair).value for pair in selected(found, own, clusters)]))
            except EvalkitError:  # clips shorter than a window
                continue
            if math.isfinite(value):
                sizes.append(len(own))
                values.append(value)
    if len(set(sizes)) < 2:
        return None
    n, fad = np.array(sizes), np.array(values)
    return Sizes(metric, row, n, fad, _curve(n, fad, found), _infinity(record, row, metric))


def _curve(n: np.ndarray, values: np.ndarray, found: Sequence[Pair]) -> np.ndarray | None:
    """A parabola in 1/n, as FAD∞ takes it, where there are enough clips for one."""
    sizes = np.unique(n)
    if len(sizes) < len(PARTS) or n.max() < FEWEST:
        return None
    for side in found[0]:
        clips = [frames for frames in (side.values if side is not None else ()) if len(frames)]
        if not clips or effective_sample_size(clips) < WORTH * clips[0].shape[1]:
            return None
    means = np.array([values[n == size].mean() for size in sizes])
    return np.polyfit(1 / sizes, means, 2)


def _infinity(record: Record, row: str, metric: str) -> tuple[float, float, float] | None:
    """The FAD∞ of the same features, where the record has one."""
    own = record.metrics[metric]
    for name, info in record.metrics.items():
        if info.definition.get("kind") == INFINITY and _same(info, own):
            scores = record.scores[(record.scores["model"] == row) & (record.scores["metric"] == name)]
            for value, low, high in scores[["value", "low", "high"]].itertuples(index=False, name=None):
                if math.isfinite(value):
                    return float(value), float(low), float(high)
    return None


def _same(one: MetricInfo, other: MetricInfo) -> bool:
    """Whether two metrics compare the same features, fitted alike."""
    alike = one.definition.get("ddof", 1) == other.definition.get("ddof", 1)
    return alike and (one.encoder, one.reference_encoder) == (other.encoder, other.reference_encoder)
