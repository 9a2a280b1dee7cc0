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
from evalkit.stats.bootstrap import draws, interval
from evalkit.stats.means import mean_interval
from evalkit.types import Features, Measured

Pair = tuple[Features, Features | None]  # generated clips, and what they are compared with

NO_PAIRS = "no clip has a reference of its own here"  # why a metric that compares clip by clip has no value
NO_INTERVAL = "no interval, where fewer than two clips have a value or all have the same"


@dataclass(frozen=True)
class Scored:
    """A value, its interval (NaN for none), and the number of prompts that it was measured on.

    Attributes:
        measured: the metric's own answer for each sample, a sample being one clip of each prompt.
    """

    value: float
    low: float
    high: float
    n: int
    note: str
    measured: tuple[Measured, ...] = ()


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


def scored(
    name: str,
    ids: Sequence[str],
    measured: Sequence[Measured],
    bounds: tuple[float, float],
    uncertainty: Uncertainty,
    resampled: Callable[[int], np.ndarray] | None = None,
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

    Raises EvalkitError where the value is not a finite number.
    """
    value = float(np.mean([m.value for m in measured]))
    if not math.isfinite(value):
        found = [i for m in measured for i, v in m.per_clip.items() if not math.isfinite(v)]
        why = f"so is its value of the prompt '{found[0]}'" if found else "the clips are too short or too few"
        raise EvalkitError(f"{name} is {value}: {why}")
    low = high = math.nan
    notes = [m.note for m in measured]
    functions = [m.resampled for m in measured]
    if uncertainty.resamples and len(ids) > 1 and all(m.parts for m in measured):
        parts = np.array([list(m.parts.values()) for m in measured])
        low, high = mean_interval(parts[..., 0], parts[..., 1], uncertainty.level, bounds)
        if math.isnan(low):
            notes = ["\n".join(filter(None, [note, NO_INTERVAL])) for note in notes]
    elif uncertainty.resamples and len(ids) > 1 and all(functions):
        # the draws are a function of the number of prompts, so they are the same for all samples
        weights = draws(len(ids), uncertainty.resamples, uncertainty.seed) if resampled is None else None
        values = [
            resampled(i) if resampled is not None else function(weights, weights)  # type: ignore[misc,arg-type]
            for i, function in enumerate(functions)
        ]
        low, high = interval(value, np.mean(values, axis=0), uncertainty.level, len(ids), bounds)
    if len(set(notes)) > 1:
        notes = [f"clip {number} of each prompt: {note}" for number, note in enumerate(notes, 1) if note]
    return Scored(value, low, high, min(m.n for m in measured), "\n".join(dict.fromkeys(notes)), tuple(measured))
