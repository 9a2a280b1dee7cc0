"""One metric at all points of a sweep: what differs from the default and the best, and which may be the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.results import pairing
from evalkit.results.joint import GROUPS, Joint, jointly
from evalkit.results.pairing import Side
from evalkit.stats import best

OTHER_GROUPS = 20  # of prompts, of metrics that are no objective: some compute anew without each group


@dataclass(frozen=True, eq=False)
class Field:
    """The points of a sweep that can be compared with each other.

    Attributes:
        sides: by number, those that were measured on all prompts.
        ids: the prompts that all of these share.
        default: number of the point where no option is swept; None where it is not one of these.
        dropped: by number, those that left a race, and the prompts of each.
        reasons: why other points are not compared, by number.
        remarks: what a reader must know of this.
    """

    sides: Mapping[int, Side]
    ids: Sequence[str]
    default: int | None
    dropped: Mapping[int, tuple[Side, Sequence[str]]] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Draws:
    """Level of intervals, number of draws that all points share, and their seed."""

    level: float
    number: int
    seed: int


@dataclass(frozen=True, eq=False)
class AtPoints:
    """A metric at the points that can be compared in it.

    Attributes:
        numbers: of the points, in the order of `joint`'s sides.
        notes: why other points are not compared, by number.
    """

    numbers: Sequence[int]
    joint: Joint | None
    notes: Mapping[int, str]

    def best(self, higher_is_better: bool | None, default: int | None) -> int | None:
        """Number of the point with the best value; of equal ones the default, or else the first. None is best alone."""
        if self.joint is None or higher_is_better is None or len(self.numbers) < 2:
            return None
        values = self.joint.estimates
        tied = np.flatnonzero(values == (values.max() if higher_is_better else values.min()))
        numbers = [self.numbers[i] for i in tied]
        return default if default in numbers else numbers[0]


@dataclass(frozen=True, eq=False)
class Compared:
    """A metric at all points.

    Attributes:
        best: number of the point with the best value; None where there is none.
        rows: by number of the point, what it has beside its own value, by the columns of
            `evalkit.results.sweep_record.SCORES`.
    """

    measured: AtPoints
    best: int | None
    rows: Mapping[int, Mapping[str, Any]]

    def of(self, number: int) -> Mapping[str, Any]:
        """What is said of a point."""
        return self.rows.get(number) or {**NOTHING, "note": self.measured.notes.get(number, "")}


NOTHING: Mapping[str, Any] = {
    **dict.fromkeys(["to_default", "to_default_low", "to_default_high", "to_default_p"], math.nan),
    **dict.fromkeys(["to_best", "to_best_low", "to_best_high", "p_best"], math.nan),
    "best": False, "among_best": pd.NA, "note": "",
}  # fmt: skip


def measured(
    sides: Mapping[int, Side], metric: str, ids: Sequence[str], groups: int = GROUPS, allow: Sequence[str] = ()
) -> AtPoints:
    """Measure a metric at those points that have it and compute it as the first of them does.

    Args:
        sides: by number; the first is the one with which all are compared.
        groups: of prompts.
    """
    having = {number: side for number, side in sides.items() if metric in side.record.metrics}
    if not having or not ids:
        return AtPoints([], None, {})
    first = next(iter(having.values()))
    why = {number: pairing.incomparable([first, side], metric) for number, side in having.items() if side is not first}
    notes = {number: "; ".join(said) for number, said in why.items() if said}
    alike = {number: side for number, side in having.items() if number not in notes}
    numbers = list(alike)
    try:
        joint = jointly(list(alike.values()), metric, ids, groups, allow)
    except EvalkitError as error:
        return AtPoints([], None, {**notes, **dict.fromkeys(numbers, str(error))})
    notes |= {numbers[place]: said for place, said in joint.failures.items()}
    return AtPoints([numbers[place] for place in joint.places], joint, notes)


def compare(
    field: Field, metric: str, higher_is_better: bool | None, objective: bool, draws: Draws, allow: Sequence[str]
) -> Compared:
    """Compare all points in a metric.

    Args:
        higher_is_better: None where neither is; then no point is the best.
        objective: whether it is one by which points are judged.
        allow: packages outside evalkit whose metrics may be imported.
    """
    groups = GROUPS if objective else OTHER_GROUPS
    found = measured(field.sides, metric, field.ids, groups, allow)
    top = found.best(higher_is_better, field.default)
    rows = _rows(found, field.default, top, draws.level)
    if found.joint is not None and higher_is_better is not None and len(found.numbers) > 1:  # none is best alone
        chosen = _among_best(found.joint, not higher_is_better, draws)
        for number, (among, p) in zip(found.numbers, chosen, strict=True):
            rows[number] |= {"best": number == top, "among_best": among, "p_best": p}
    for numbers, ids in _alike(field.dropped).items():
        others = {n: field.sides[n] for n in dict.fromkeys([field.default, top]) if n is not None}
        some = measured({**others, **{n: field.dropped[n][0] for n in numbers}}, metric, ids, groups, allow)
        own = _rows(some, field.default, top, draws.level)
        rows |= {n: own[n] for n in numbers if n in own}
        found = AtPoints(found.numbers, found.joint, {**found.notes, **{n: some.notes.get(n, "") for n in numbers}})
    return Compared(found, top, rows)


def _alike(dropped: Mapping[int, tuple[Side, Sequence[str]]]) -> dict[tuple[int, ...], Sequence[str]]:
    """The points that were dropped, together with those that have the same prompts."""
    numbers: dict[tuple[str, ...], list[int]] = {}
    for number, (_, ids) in dropped.items():
        numbers.setdefault(tuple(ids), []).append(number)
    return {tuple(of): ids for ids, of in numbers.items()}


def _rows(found: AtPoints, default: int | None, top: int | None, level: float) -> dict[int, dict[str, Any]]:
    """The differences of points from the default and the best."""
    joint = found.joint
    if joint is None:
        return {}
    rows = {}
    for k, number in enumerate(found.numbers):
        row, notes = dict(NOTHING), []
        for other, name in ((default, "to_default"), (top, "to_best")):
            if other is None or other == number or other not in found.numbers:
                continue
            estimate, note = joint.difference(found.numbers.index(other), k)
            low, high = estimate.interval(level)
            row |= {name: estimate.value, f"{name}_low": low, f"{name}_high": high}
            if other == default:
                row["to_default_p"] = estimate.p()
            notes.append(note)
        rows[number] = {**row, "note": "\n".join(filter(None, dict.fromkeys(notes)))}
    return rows


def _among_best(joint: Joint, lower_is_better: bool, draws: Draws) -> list[tuple[Any, float]]:
    """Whether each point is not worse than the best beyond noise, and a p-value of that; NA where it is not known."""
    groups = joint.influences.shape[1]
    if joint.shares is not None:
        chosen, p = best.shares_not_worse(joint.shares, draws.level, lower_is_better, joint.numbers)
    elif groups < 2:
        chosen, p = np.zeros(len(joint.sides), bool), np.full(len(joint.sides), math.nan)
    else:
        drawn = best.multipliers(groups, draws.number, draws.seed)
        chosen, p = best.not_worse(joint.estimates, joint.influences, drawn, draws.level, lower_is_better)
    return [(pd.NA if math.isnan(p) else bool(is_one), float(p)) for is_one, p in zip(chosen, p, strict=True)]


def front(found: Sequence[tuple[AtPoints, bool]], draws: Draws) -> dict[int, float]:
    """The probability of each point of being on the Pareto front of some metrics, by its number.

    Args:
        found: metrics, and whether higher is better.

    Points are those that have a value of all of them, and of which it is known how that moves.
    """
    joints = [(one, one.joint, higher) for one, higher in found if one.joint is not None]
    if not found or len(joints) < len(found):
        return {}
    numbers = [
        number
        for number in joints[0][0].numbers
        if all(
            number in one.numbers and np.isfinite(joint.influences[one.numbers.index(number)]).all()
            for one, joint, _ in joints
        )
    ]
    if len(numbers) < 2:
        return {}
    places = [[one.numbers.index(number) for number in numbers] for one, _, _ in joints]
    estimates = np.array([joint.estimates[own] for (_, joint, _), own in zip(joints, places, strict=True)])
    influences = np.array([joint.influences[own] for (_, joint, _), own in zip(joints, places, strict=True)])
    drawn = best.multipliers(influences.shape[2], draws.number, draws.seed)
    shares = best.on_front(estimates, influences, drawn, np.array([not higher for _, _, higher in joints]))
    return dict(zip(numbers, map(float, shares), strict=True))
