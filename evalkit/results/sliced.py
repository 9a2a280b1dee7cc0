"""In which groups of prompts a candidate differs from its baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.progress import progress
from evalkit.results.compared import Compared, changes, failed, judged
from evalkit.results.comparison_record import SLICES
from evalkit.results.differences import Difference, Sets
from evalkit.results.frames import prompts_of
from evalkit.results.gate import Gate
from evalkit.results.pairing import Side
from evalkit.slices import Group, groups, standard
from evalkit.stats import permutation
from evalkit.stats.clusters import count

LEAST = 50  # prompts of which metrics of sets are compared: of fewer, FAD tells mostly that they are few
FEW = f"fewer than {LEAST} prompts are too few for a metric of sets"
FEW_CLUSTERS = f"fewer than {LEAST} clusters of prompts are too few for a metric of sets"


@dataclass(frozen=True)
class _Sliced:
    """A metric in a group; without a difference, for the `reason`."""

    group: Group
    metric: Compared
    gated: bool
    difference: Difference | None = None
    reason: str = ""


def rows(
    compared: Sequence[Compared], sides: Sequence[Side], ids: Sequence[str], swaps: np.ndarray, gate: Gate
) -> list[dict[str, Any]]:
    """Compare the metrics in groups of prompts, with columns as `evalkit.results.comparison_record.SLICES` has them.

    Which of them differ is told by p-values that are adjusted over all groups and metrics: by the maximum of the
    differences over their standard deviations, in the same swaps for all; of several results of a side by Holm's
    method. Metrics of sets are compared in groups of `LEAST` prompts, or clusters, or more, if they say how clips move
    them; gated groups have a row whatever they hold, and others none where they hold all prompts. Of one whose
    interval holds 0 it is not said that it has changed: intervals are not of swaps, and may say less than p.

    Args:
        compared: the metrics, on all prompts.
        ids: the compared prompts.
        swaps: in which of them the sides change places, (1 + swaps, prompts); the first row is all 0.
    """
    wanted = {(one.name, group.casefold()) for one in compared if one.limit for group in one.limit.slices}
    named = [group for one in compared if one.limit for group in one.limit.slices]
    prompts = sides[0].record.prompts
    chosen = prompts_of(prompts[prompts["id"].isin(ids)])
    found: list[_Sliced] = []
    every = groups(chosen, standard([*gate.slices, *named]), missing_ok=True)
    with progress("slices", len(every), "groups") as advance:
        for group in every:
            inside = np.array([i in group.ids for i in ids])
            own_swaps = swaps[:, inside]
            for one in compared:
                gated = (one.name, f"{group.kind}:{group.name}".casefold()) in wanted
                if inside.all() and not gated:  # all prompts, of which the metrics' own rows tell
                    continue
                made = _sliced(one, group, [i for i, found in zip(ids, inside, strict=True) if found], own_swaps, gated)
                found += [made] if made.difference or gated else []
            advance(1)
    small = sides[0].record.small_slice
    adjusted = _adjusted([one.difference for one in found])
    return [_row(one, float(p), gate, small) for one, p in zip(found, adjusted, strict=True)]


def _sliced(one: Compared, group: Group, ids: Sequence[str], swaps: np.ndarray, gated: bool) -> _Sliced:
    """A metric in a group, if it can be compared there.

    Args:
        ids, swaps: of the prompts of the group.
    """
    if one.material is None or one.difference is None:
        return _Sliced(group, one, gated, reason=one.reason)
    if isinstance(one.material, Sets):
        if not gated and not one.difference.parts:
            return _Sliced(group, one, gated)
        clusters = one.material.clusters.numbers(ids)
        if count(len(ids), clusters) < LEAST:
            return _Sliced(group, one, gated, reason=FEW if clusters is None else FEW_CLUSTERS)
    numbers = {i: number for number, i in enumerate(one.material.ids)}
    known = np.array([i in numbers for i in ids])
    own = np.array([numbers[i] for i in ids if i in numbers], int)
    if len(own) < 2:
        return _Sliced(group, one, gated, reason=f"{len(own)} of its prompts have a value")
    try:
        own_swaps = swaps if known.all() else swaps[:, known]
        if isinstance(one.material, Sets):
            return _Sliced(group, one, gated, one.material.of(own, own_swaps, part=True))
        return _Sliced(group, one, gated, one.material.of(own, own_swaps))
    except EvalkitError as error:
        return _Sliced(group, one, gated, reason=str(error))
    except Exception as error:  # a metric may be anybody's code
        return _Sliced(group, one, gated, reason=failed(one.name, error))


def _adjusted(found: Sequence[Difference | None]) -> np.ndarray:
    """The p-values adjusted over all groups and metrics; NaN where there is no difference."""
    result = np.full(len(found), np.nan)
    swapped = {i: _standardised(one.swapped) for i, one in enumerate(found) if one and len(one.swapped)}
    others = {i: one.p for i, one in enumerate(found) if one and not len(one.swapped)}
    if swapped:
        statistics = np.column_stack(list(swapped.values()))
        result[list(swapped)] = permutation.max_t(statistics[0], statistics[1:])
    if others:
        result[list(others)] = permutation.holm(np.array(list(others.values())))
    return np.minimum(1.0, 2 * result) if swapped and others else result  # two families of tests


def _standardised(swapped: np.ndarray) -> np.ndarray:
    """Differences over their standard deviation in swaps, whose mean is 0; so groups of unlike sizes are comparable."""
    spread = math.sqrt(float((swapped[1:] ** 2).mean()))
    return swapped / spread if spread else swapped


def _row(one: _Sliced, p_adjusted: float, gate: Gate, small: int) -> dict[str, Any]:
    row: dict[str, Any] = {name: math.nan if kind == "float64" else "" for name, kind in SLICES.items()}
    row |= {"slice": one.group.kind, "group": one.group.name, "metric": one.metric.name, "title": one.metric.title}
    row |= {"n": 0, "gated": one.gated}
    difference = one.difference
    if difference is None:
        verdict = "INSUFFICIENT_EVIDENCE" if one.metric.difference else "MISSING"
        return row | {"verdict": verdict, "reason": one.reason}
    low, high = difference.estimate.interval(gate.level)
    row |= {
        "baseline": difference.baseline,
        "candidate": difference.candidate,
        "difference": difference.estimate.value,
        "low": low,
        "high": high,
        "n": difference.n,
        "p": difference.p,
        "p_adjusted": p_adjusted,
        "change": "" if p_adjusted >= 1 - gate.level or low <= 0 <= high else _change(one, difference),
        "note": "; ".join(filter(None, [difference.note, _few(difference, small)])),
    }
    if one.gated:
        said = judged(one.metric, difference, gate)
        row |= {key: value for key, value in said.items() if key in SLICES}
    return row


def _few(difference: Difference, small: int) -> str:
    if difference.units >= small:
        return ""
    return "few clusters of prompts" if difference.clusters else "few prompts"


def _change(one: _Sliced, difference: Difference) -> str:
    """Which way a significant difference goes."""
    return changes(one.metric.direction)[difference.candidate < difference.baseline]
