"""What a metric's difference is computed from, gathered from the records of both sides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.results import recompute
from evalkit.results.clusters import of_record, together
from evalkit.results.differences import Sets, Sums
from evalkit.results.pairing import Side, identical
from evalkit.results.scored import NO_PAIRS, Pair, usable_ids

NO_PROMPT = "no prompt has a value on both sides"


def material(
    baseline: Sequence[Side],
    candidate: Sequence[Side],
    metric: str,
    ids: Sequence[str],
    groups: tuple[int, int],
    allow: Sequence[str] = (),
) -> Sums | Sets:
    """Gather what a metric's difference is computed from.

    Args:
        ids: the compared prompts; those of which a side has no value are left out.
        groups: of prompts that are left out together in the jackknife: how many, and the seed.
        allow: packages outside evalkit whose metrics may be imported.

    Raises EvalkitError where a side has no value, and for a metric that cannot be computed again.
    """
    sides = [*baseline, *candidate]
    info = baseline[0].record.metrics[metric]
    if info.clip_by_clip and (unpaired := [side.row for side in sides if not side.info.paired]):
        raise EvalkitError(f"{unpaired[0]}: {NO_PAIRS}")
    clusters = together([of_record(side.record) for side in sides]).of_metric(info)
    if info.additive:
        low, high = info.bounds
        common, some, arrays = common_parts([parts_of(side, metric, ids) for side in sides], ids)
        before, after = (np.concatenate(own, axis=1) for own in (arrays[: len(baseline)], arrays[len(baseline) :]))
        results = [array.shape[1] for array in arrays]
        return Sums(
            ids=common,
            left_out=some - len(common),
            baseline=(before[0], before[1]),
            candidate=(after[0], after[1]),
            results=(results[: len(baseline)], results[len(baseline) :]),
            identical=identical(baseline, candidate, common),
            bounds=(-math.inf if low is None else low, math.inf if high is None else high),
            clusters=clusters,
        )
    made = recompute.rebuilt(info, allow)
    pairs = [recompute.pairs_of(side.record, side.row, metric) for side in sides]
    each = [with_frames(pair) for result in pairs for pair in result]
    common, known = ([i for i in ids if which(i in usable for usable in each)] for which in (all, any))
    if not common:
        raise EvalkitError(NO_PROMPT)
    before_pairs, after_pairs = pairs[: len(baseline)], pairs[len(baseline) :]
    return Sets(
        ids=common,
        left_out=len(known) - len(common),
        metric=made,
        baseline=[pair for result in before_pairs for pair in result],
        candidate=[pair for result in after_pairs for pair in result],
        results=(list(map(len, before_pairs)), list(map(len, after_pairs))),
        identical=identical(baseline, candidate, common),
        groups=groups,
        clusters=clusters,
    )


def with_frames(pair: Pair) -> set[str]:
    """The ids of which neither side is too short for a single frame."""
    empty = {
        i for one in pair if one is not None for i, value in zip(one.ids, one.values, strict=True) if not len(value)
    }
    return set(usable_ids([pair])) - empty


def parts_of(side: Side, metric: str, ids: Sequence[str]) -> list[Mapping[str, tuple[float, float]]]:
    """The sum and count of items of each clip, by its prompt, of each set of clips.

    Raises EvalkitError where there are none, and for a sum that is not finite.
    """
    _, measured = recompute.measure(side.record, side.row, metric, ids)
    for one in measured:
        for i, (total, _) in one.parts.items():
            if not math.isfinite(total):
                raise EvalkitError(f"{side.row}: {metric} of the prompt '{i}' is {total}")
    return [one.parts for one in measured]


def common_parts(
    parts: Sequence[Sequence[Mapping[str, tuple[float, float]]]], ids: Sequence[str]
) -> tuple[list[str], int, list[np.ndarray]]:
    """The prompts that have items in all sets, how many have in some, and each result's sums and counts of the former.

    Sums and counts are (2, sets, prompts). Raises EvalkitError where no prompt has items in all sets.
    """
    every = [one for sets in parts for one in sets]
    present = {i: [i in one and one[i][1] > 0 for one in every] for i in ids}
    common, some = ([i for i in ids if which(present[i])] for which in (all, any))
    if not common:
        raise EvalkitError(NO_PROMPT)
    return (
        common,
        len(some),
        [np.array([[one[i] for i in common] for one in sets]).transpose(2, 0, 1) for sets in parts],
    )
