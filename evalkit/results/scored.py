"""One score: a metric's values on one or several sets of clips, with their interval.

The run and whoever reads its record compute scores here, so both get the same digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.settings import Uncertainty
from evalkit.stats.bootstrap import interval, resample
from evalkit.stats.means import mean_interval, ratio
from evalkit.types import Features, Measured

Pair = tuple[Features, Features | None]  # generated clips, and what they are compared with

NO_PAIRS = "no clip has a reference of its own here"  # why a metric that compares clip by clip has no value
NO_INTERVAL = "no interval, where fewer than two clips have a value or all have the same"
NO_RESAMPLES = "no interval: so few clips are usable that many resamples have no value"


@dataclass(frozen=True)
class Scored:
    """A value, its interval (NaN for none), and the number of prompts that it was measured on.

    Attributes:
        measured: the metric's own answer for each sample, a sample being one clip of each prompt.
        values: the value of each sample, of which `value` is the mean.
        spread: standard deviation over prompts of how each, with its clips and its reference, moves the value: of
            their own values for a mean over prompts, else √n times that of the resampled values; NaN where it is not
            known.
    """

    value: float
    low: float
    high: float
    n: int
    note: str
    measured: tuple[Measured, ...] = ()
    values: tuple[float, ...] = ()
    spread: float = math.nan

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


def compared(
    samples: Sequence[Pair], sets: bool, only: Collection[str] | None = None
) -> tuple[list[str], list[Pair], int | None]:
    """Choose what a metric compares: the ids of the clips, each sample's features, and the number of references.

    Args:
        sets: whether it compares two sets of clips of which each is taken, and resampled, by itself. The number of
            references is that of their set then; it is None where each clip stands with its own reference.
        only: the ids of the clips to take; all of a set of references count then as before.
    """
    if not sets or samples[0][1] is None:
        ids = usable_ids(samples, only)
        return ids, [select(pair, ids) for pair in samples] if ids else [], None
    ((ours, theirs),) = samples  # one clip of each name
    assert theirs is not None
    ids = [i for i in ours.ids if only is None or i in only] if theirs.ids else []
    return ids, [(ours.select(ids), theirs)] if ids else [], len(theirs.ids)


def scored(
    name: str,
    ids: Sequence[str],
    measured: Sequence[Measured],
    bounds: tuple[float, float],
    uncertainty: Uncertainty,
    resampled: Callable[[int], np.ndarray] | None = None,
    references: int | None = None,
) -> Scored:
    """Combine what a metric says of each sample of some prompts into one score.

    Several samples are measured each by itself, and their values averaged. So FAD and the like stay
    comparable with numbers of one clip per prompt, which they would not as one larger set. Prompts with all their
    clips are the units of intervals; `n` counts prompts, in the smallest sample where samples differ.

    Args:
        name: of row and metric, for messages.
        ids: the prompts that were measured.
        bounds: between which all values lie.
        resampled: gives the resampled values of a sample by its number, where they are kept somewhere.
        references: how many there are, where they are a set by itself.

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
    if len(ids) > 1 and all(m.parts for m in measured):
        parts = np.array([[m.parts[i] for i in measured[0].parts] for m in measured])
        spread = float(np.std(ratio(parts[..., 0], parts[..., 1])[1], ddof=1))
        if uncertainty.resamples:
            low, high = mean_interval(parts[..., 0], parts[..., 1], uncertainty.level, bounds)
            notes = _with(notes, NO_INTERVAL) if math.isnan(low) else notes
    elif uncertainty.resamples and len(ids) > 1 and all(functions):
        # the draws are a function of the number of prompts, so they are the same for all samples
        of = len(ids), references, uncertainty.resamples, uncertainty.seed
        values = [
            resampled(i) if resampled is not None else resample(function, *of)  # type: ignore[arg-type]
            for i, function in enumerate(functions)
        ]
        drawn = np.mean(values, axis=0)
        fewest = min(len(ids), references or len(ids))
        if fewest > 1:
            low, high = interval(value, drawn, uncertainty.level, fewest, bounds)
        if references is None and not math.isnan(low):  # else no reference is left out with a clip
            spread = float(np.std(drawn[np.isfinite(drawn)])) * math.sqrt(len(ids))
        notes = _with(notes, NO_RESAMPLES) if math.isnan(low) else notes
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
    )


def _with(notes: Sequence[str], more: str) -> list[str]:
    return ["\n".join(filter(None, [note, more])) for note in notes]
