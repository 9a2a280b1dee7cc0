"""One score: a metric's values on one or several sets of clips, with their interval.

The run and whoever reads its record compute scores here, so both get the same digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.results.clusters import ONE_CLUSTER, Clusters
from evalkit.settings import Uncertainty
from evalkit.stats import clusters as grouped
from evalkit.stats.bootstrap import interval, resample
from evalkit.stats.means import mean_interval, ratio
from evalkit.types import Features, Measured

Pair = tuple[Features, Features | None]  # generated clips, and what they are compared with

NO_PAIRS = "no clip has a reference of its own here"  # why a metric that compares clip by clip has no value
NO_INTERVAL = "no interval, where fewer than two clips have a value or all have the same"
NO_RESAMPLES = "no interval: so few clips are usable that many resamples have no value"
FEW = 10  # clusters below which it is said that there are few


@dataclass(frozen=True)
class Scored:
    """A value, its interval (NaN for none), and the number of prompts that it was measured on.

    Attributes:
        measured: the metric's own answer for each sample, a sample being one clip of each prompt.
        values: the value of each sample, of which `value` is the mean.
        spread: standard deviation over prompts of how each, with its clips and its reference, moves the value: of
            their own values for a mean over prompts, else √n times that of the resampled values; NaN where it is not
            known.
        clusters: how many clusters the prompts belong to; 0 where each stands by itself.
    """

    value: float
    low: float
    high: float
    n: int
    note: str
    measured: tuple[Measured, ...] = ()
    values: tuple[float, ...] = ()
    spread: float = math.nan
    clusters: int = 0

    @property
    def seed_sd(self) -> float:
        """Standard deviation over samples, whose noise of sampling differs; NaN for fewer than two."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan


def no_score(reason: str) -> Scored:
    """What is said where a metric has no value."""
    return Scored(math.nan, math.nan, math.nan, 0, reason)


def usable_ids(samples: Sequence[Pair], only: Collection[str] | None = None) -> list[str]:
    """The ids that both sides of every sample have, in order; with `only`, those of them."""
    common = set.intersection(*(set(side.ids) for pair in samples for side in pair if side is not None))
    return [i for i in samples[0][0].ids if i in common and (only is None or i in only)]


def select(pair: Pair, ids: Sequence[str]) -> Pair:
    """The features of some ids, on both sides."""
    ours, theirs = pair
    return ours.select(ids), None if theirs is None else theirs.select(ids)


@dataclass(frozen=True)
class Chosen:
    """What a metric compares.

    Attributes:
        ids: of the clips; none where there is nothing to compare.
        pairs: each sample's features. Where references are distinct, there are fewer of them than of clips.
        references: how many there are, where they are a set that is resampled by itself; None where each clip's own is
            resampled with it.
        clusters: of these prompts.
    """

    ids: list[str]
    pairs: list[Pair]
    references: int | None
    clusters: Clusters = field(default_factory=Clusters)

    @property
    def drawn(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The number of the cluster of each clip, and of each reference; None where each clip is drawn by itself."""
        if self.references is not None or not self.pairs:
            return None
        clips, (_, theirs) = self.clusters.numbers(self.ids), self.pairs[0]
        if clips is None:
            return None
        if theirs is None or len(theirs.ids) == len(self.ids):
            return clips, clips
        number = dict(zip(self.ids, clips, strict=True))
        return clips, np.array([number[i] for i in theirs.ids])


def compared(
    samples: Sequence[Pair], sets: bool, only: Collection[str] | None = None, clusters: Clusters | None = None
) -> Chosen:
    """Choose what a metric compares.

    Args:
        sets: whether it compares two sets of clips of which each is taken, and resampled, by itself.
        only: the ids of the clips to take; all of a set of references count then as before.
        clusters: of the prompts, as the metric takes them; None where each prompt stands by itself.
    """
    own = clusters or Clusters()
    if not sets or samples[0][1] is None:
        ids = usable_ids(samples, only)
        return Chosen(ids, selected(samples, ids, own) if ids else [], None, own)
    ((ours, theirs),) = samples  # one clip of each name
    assert theirs is not None
    ids = [i for i in ours.ids if only is None or i in only] if theirs.ids else []
    return Chosen(ids, [(ours.select(ids), theirs)] if ids else [], len(theirs.ids))


def selected(samples: Sequence[Pair], ids: Sequence[str], clusters: Clusters) -> list[Pair]:
    """The features of some ids in every sample; where references are distinct, each of these once."""
    pairs = [select(pair, ids) for pair in samples]
    if not clusters.distinct or pairs[0][1] is None:
        return pairs
    first = clusters.references(pairs[0][1])
    if len(first) == len(ids):
        return pairs
    return [(ours, None if theirs is None else theirs.select(first)) for ours, theirs in pairs]


def scored(
    name: str,
    ids: Sequence[str],
    measured: Sequence[Measured],
    bounds: tuple[float, float],
    uncertainty: Uncertainty,
    resampled: Callable[[int], np.ndarray] | None = None,
    chosen: Chosen | None = None,
) -> Scored:
    """Combine what a metric says of each sample of some prompts into one score.

    Several samples are measured each by itself, and their values averaged. So FAD and the like stay
    comparable with numbers of one clip per prompt, which they would not as one larger set. Prompts with all their
    clips, or clusters of prompts, are the units of intervals; `n` counts prompts, in the smallest sample where samples
    differ.

    Args:
        name: of row and metric, for messages.
        ids: the prompts that were measured.
        bounds: between which all values lie.
        resampled: gives the resampled values of a sample by its number, where they are kept somewhere.
        chosen: what was compared; None for clips that each stand by themselves, with their own reference.

    Raises EvalkitError where the value is not a finite number.
    """
    value = float(np.mean([m.value for m in measured]))
    if not math.isfinite(value):
        found = [i for m in measured for i, v in m.per_clip.items() if not math.isfinite(v)]
        why = f"so is its value of the prompt '{found[0]}'" if found else "the clips are too short or too few"
        raise EvalkitError(f"{name} is {value}: {why}")
    low = high = spread = math.nan
    notes = [m.note for m in measured]
    functions = [m.resampled for m in measured]
    known = chosen or Chosen(list(ids), [], None)
    references = known.references
    numbers = None if references is not None else known.clusters.numbers(ids)
    units = grouped.count(len(ids), numbers)
    if units > 1 and all(m.parts for m in measured):
        parts = np.array([[m.parts[i] for i in measured[0].parts] for m in measured])
        own = known.clusters.numbers(measured[0].parts)  # they may be those of references
        spread = _spread(parts[..., 0], parts[..., 1], own)
        if uncertainty.resamples:
            low, high = mean_interval(parts[..., 0], parts[..., 1], uncertainty.level, bounds, own)
            notes = _with(notes, NO_INTERVAL) if math.isnan(low) else notes
    elif uncertainty.resamples and units > 1 and all(functions):
        # the draws are a function of the number of prompts, so they are the same for all samples
        of = len(ids), references, uncertainty.resamples, uncertainty.seed, known.drawn
        values = [
            resampled(i) if resampled is not None else resample(function, *of)  # type: ignore[arg-type]
            for i, function in enumerate(functions)
        ]
        drawn = np.mean(values, axis=0)
        fewest = min(units, references or units) if numbers is None else _worth(numbers)
        if fewest > 1:
            low, high = interval(value, drawn, uncertainty.level, fewest, bounds)
        if references is None and not math.isnan(low):  # else no reference is left out with a clip
            spread = float(np.std(drawn[np.isfinite(drawn)])) * math.sqrt(len(ids))
        notes = _with(notes, NO_RESAMPLES) if math.isnan(low) else notes
    if uncertainty.resamples and numbers is not None and (said := _few(numbers)):
        notes = _with(notes, said)
    if len(set(notes)) > 1:
        notes = [f"clip {number} of each prompt: {note}" for number, note in enumerate(notes, 1) if note]
    return Scored(
        value=value,
        low=low,
        high=high,
        n=min(m.n for m in measured),
        note="\n".join(dict.fromkeys(notes)),
        measured=tuple(measured),
        values=tuple(float(m.value) for m in measured),
        spread=spread,
        clusters=0 if numbers is None else units,
    )


def _spread(sums: np.ndarray, counts: np.ndarray, clusters: np.ndarray | None) -> float:
    """The standard deviation over prompts that explains how a mean varies: over clusters, more where they are alike."""
    influence = ratio(grouped.totals(sums, clusters), grouped.totals(counts, clusters))[1]
    return float(np.std(influence, ddof=1)) * math.sqrt(sums.shape[1] / len(influence))


def _worth(clusters: np.ndarray) -> float:
    """How many clusters of equal size tell as much of an error as these do."""
    return grouped.degrees_of_freedom(grouped.sizes(len(clusters), clusters)) + 1


def _few(clusters: np.ndarray) -> str:
    """What is said of few clusters, of which intervals are wide; empty for enough."""
    number = grouped.count(len(clusters), clusters)
    if number < 2:
        return ONE_CLUSTER
    worth = _worth(clusters)
    if worth >= FEW:
        return ""
    unlike = f", of such unlike sizes that they tell as much as {worth:.1f} of one size" if number >= FEW else ""
    return f"the interval is that of {number:,} clusters of prompts, which are few{unlike}"


def _with(notes: Sequence[str], more: str) -> list[str]:
    return ["\n".join(filter(None, [note, more])) for note in notes]
