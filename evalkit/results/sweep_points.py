"""The points of a sweep beside each other: how each differs from the default and the best, and which may be best."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.progress import progress
from evalkit.results import pairing
from evalkit.results.alike import prompts_differ, references_differ
from evalkit.results.clusters import of_record, together
from evalkit.results.frames import typed
from evalkit.results.pairing import Side
from evalkit.results.record import MetricInfo
from evalkit.results.summary import records, unique_titles
from evalkit.results.sweep import Sweep
from evalkit.results.sweep_record import CONFIRMED, POINTS, RUNGS, SCORES, Objective, Parameter, Status
from evalkit.results.sweep_scores import Compared, Draws, Field, compare, front, measured
from evalkit.results.sweep_text import GUARDS, shown
from evalkit.stats.clusters import count

MAY_DIFFER = ("given", "sampling", "dtype", "engine")  # where that is swept, it is what makes the difference
UNTOLD = "not told apart"


@dataclass(frozen=True)
class Point:
    """What was measured at one point.

    Attributes:
        options: the value of each parameter, by its key.
        side: the point's result; None where it failed.
        status, reason: as `evalkit.results.sweep_record.SweepRecord.points` has them.
        n: number of prompts that it was measured on; 0 for those of the result.
    """

    options: Mapping[str, Any]
    side: Side | None
    status: Status = "ok"
    reason: str = ""
    n: int = 0


@dataclass(frozen=True)
class Rung:
    """One rung of a race: its number of prompts, of points measured, of those dropped after it, and of clips needed."""

    prompts: int
    points: int
    dropped: int
    clips: int


def joint(
    sides: Sequence[Side], metric: str, ids: Sequence[str], allow: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Measure a metric of several points on the prompts that all share.

    Args:
        sides: of the points; the first is the one that others must be comparable with.
        ids: the prompts; at least one.
        allow: packages outside evalkit whose metrics may be imported.

    Returns estimates corrected for bias, (K,), and how the same groups of prompts move them, (K, groups), as
    `evalkit.stats.best` takes them. NaN of a point without a value, and of one that cannot be compared. Raises
    EvalkitError where none has a value.
    """
    first = sides[0]
    alike = {k: side for k, side in enumerate(sides) if side is first or not _incomparable(first, side, whole=False)}
    found = measured(alike, metric, ids, allow=allow)
    if found.joint is None:
        raise EvalkitError(next(iter(found.notes.values()), f"{metric} was not measured"))
    groups = found.joint.influences.shape[1]
    estimates, influences = np.full(len(sides), math.nan), np.full((len(sides), groups), math.nan)
    estimates[list(found.numbers)], influences[list(found.numbers)] = found.joint.estimates, found.joint.influences
    return estimates, influences


def best_point(
    points: Sequence[Point], objective: Objective, default: int | None = None, allow: Sequence[str] = ()
) -> int | None:
    """Find the number of the point with the best value of an objective, from 1; None where none has a value.

    Points are compared on the prompts that all share, corrected for bias where the metric has one. Of equal ones it is
    the default, or else the first.

    Args:
        default: number of the point where no option is swept.
    """
    field = _field(points, default)
    found = measured(field.sides, objective.metric, field.ids, allow=allow)
    return found.best(objective.higher_is_better, field.default)


def swept(
    points: Sequence[Point],
    *,
    name: str,
    parameters: Sequence[Parameter],
    objectives: Sequence[Objective],
    default: int | None,
    search: str = "grid",
    search_facts: Mapping[str, Any] | None = None,
    confirmed: tuple[Side, Side] | None = None,
    fresh_seed: int | None = None,
    rungs: Sequence[Rung] = (),
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
    config: Mapping[str, Any],
    allow: Sequence[str] = (),
    warnings: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> Sweep:
    """Set the points of a sweep beside each other; their numbers are 1, 2, … in this order.

    Args:
        default: number of the point where no option is swept; None where there is none.
        confirmed: the default's and the winner's results on a fresh seed, in this order.
        rungs: of a race.
        level, draws, seed: of intervals, and of the draws that all points share.
        config: what all points have in common.
        allow: packages outside evalkit whose metrics may be imported.
        Others are fields of `evalkit.results.sweep_record.SweepRecord`.

    Returns the sweep, which is not saved yet.
    """
    field, of_draws = _field(points, default), Draws(level, draws, seed)
    sides = {number: point.side for number, point in enumerate(points, 1) if point.side is not None}
    infos = _metrics(sides.values())
    titles = unique_titles(infos)
    judged = {one.metric: one.higher_is_better for one in objectives}
    compared = {}
    with progress("sweep", len(infos), "metrics") as advance:
        for metric, info in infos.items():
            higher = judged.get(metric, info.higher_is_better)
            compared[metric] = compare(field, metric, higher, metric in judged, of_draws, allow)
            advance(1)
    rows = [
        {
            "point": number,
            "title": titles[metric],
            "higher_is_better": judged.get(metric, infos[metric].higher_is_better),
            **_own(side, metric),
            **_said(compared[metric].of(number), field, number),
        }
        for number, side in sides.items()
        for metric in infos
    ]
    on_front = front([(compared[one].measured, higher) for one, higher in judged.items() if one in compared], of_draws)
    again: list[dict[str, Any]] = []
    more = []
    try:
        again = _confirmed(confirmed, objectives, level, allow)
    except EvalkitError as error:
        more = [f"nothing can be said of the best point on a fresh seed: {error}"]
    first = objectives[0].metric if objectives else ""
    base = next(iter([*field.sides.values(), *sides.values()]), None)
    record = base.record if base else None
    return Sweep(
        name=name,
        search=search,
        search_facts=dict(search_facts or {}),
        parameters=list(parameters),
        objectives=list(objectives),
        level=level,
        draws=draws,
        seed=seed,
        dataset=record.prompts_info.dataset if record else "",
        subset=record.prompts_info.subset if record else "",
        protocol=record.protocol.name if record else "",
        prompts=len(field.ids),
        model=", ".join(dict.fromkeys(side.row for side in sides.values())),
        default=default,
        winner=compared[first].best if first in compared else None,
        fresh_seed=fresh_seed,
        random=pairing.random_networks(list(sides.values())),
        warnings=list(warnings),
        remarks=[*remarks, *more, *field.remarks, *_corrected(objectives, compared)],
        config=config,
        provenance=dict(record.provenance) if record else {},
        points=typed(pd.DataFrame(_points(points, parameters, default, field, on_front), columns=list(POINTS)), POINTS),
        scores=typed(pd.DataFrame(rows, columns=list(SCORES)), SCORES),
        confirmed=typed(pd.DataFrame(again, columns=list(CONFIRMED)), CONFIRMED),
        rungs=typed(pd.DataFrame([dataclasses.asdict(rung) for rung in rungs], columns=list(RUNGS)), RUNGS),
        plots=[],
        path=Path(),
    )


def _corrected(objectives: Sequence[Objective], compared: Mapping[str, Compared]) -> Iterator[str]:
    """Say which differences are not those of the values beside them."""
    joints = [(one.title, compared[one.metric].measured.joint) for one in objectives if one.metric in compared]
    if titles := [title for title, found in joints if found is not None and found.corrected]:
        yield f"{', '.join(titles)}: differences, and which point is the best, are corrected for bias by the jackknife"
    if titles := [title for title, found in joints if found is not None and found.together]:
        yield f"{', '.join(titles)}: differences, and which point is the best, are of all points as parts of one set"


def _metrics(sides: Iterable[Side]) -> dict[str, MetricInfo]:
    """All metrics of some results."""
    infos: dict[str, MetricInfo] = {}
    for side in sides:
        infos.update({name: info for name, info in side.record.metrics.items() if name not in infos})
    return infos


def _field(points: Sequence[Point], default: int | None) -> Field:
    """Find the points that can be compared, and on which prompts: with the default, or else with the first."""
    sides = {n: point.side for n, point in enumerate(points, 1) if point.side is not None}
    whole = [n for n in sides if points[n - 1].status == "ok"]
    if not whole:
        return Field({}, [], None)
    base = default if default in whole else whole[0]
    order = [base, *(n for n in whole if n != base)]
    reasons = {n: _incomparable(sides[base], sides[n], points[n - 1].status == "ok") for n in sides if n != base}
    reasons = {n: f"not compared: {said}" for n, said in reasons.items() if said}
    alike = {n: sides[n] for n in order if n not in reasons}
    remarks = []
    try:
        shared = pairing.paired(list(alike.values()), common_prompts=True)
    except EvalkitError:
        said = "nothing is compared: no prompt has clips that can be used at all points"
        return Field(alike, [], default if default in alike else None, {}, reasons, [said])
    ids = sorted(shared.ids)
    if len(ids) < shared.total:
        lacking = {n: shared.total - len(_usable(side)) for n, side in alike.items()}
        named = ", ".join(f"point {n} ({number:,})" for n, number in lacking.items() if number)
        remarks.append(
            f"differences are of the {len(ids):,} of {shared.total:,} prompts that have clips that can be used at all "
            "points" + (f"; without: {named}" if named else "")
        )
    clusters = together([of_record(side.record) for side in alike.values()]).numbers(ids)
    if clusters is not None:
        said = f"the {len(ids):,} prompts belong to {count(len(ids), clusters):,} clusters, which count as one each"
        remarks.append(f"differences: {said}")
    dropped: dict[int, tuple[Side, Sequence[str]]] = {}
    for n in sides:
        if points[n - 1].status == "dropped" and n not in reasons:
            own = {*_usable(sides[n])}
            dropped[n] = sides[n], [i for i in ids if i in own]
    return Field(alike, ids, default if default in alike else None, dropped, reasons, remarks)


def _usable(side: Side) -> Sequence[str]:
    """The prompts of which every clip can be used."""
    try:
        return pairing.paired([side], common_prompts=True).ids
    except EvalkitError:
        return []


def _incomparable(base: Side, side: Side, whole: bool) -> str:
    """Say why a point cannot be compared with others; empty where it can.

    Args:
        whole: whether it must have the same prompts; else some of them are enough.
    """
    found = [reason.text for reason in pairing.differing([base], [side], MAY_DIFFER)]
    if whole:
        found.append(prompts_differ(base.record, side.record))
    found.append(references_differ(base.record, side.record))
    return "; ".join(filter(None, found))


def _own(side: Side, metric: str) -> dict[str, Any]:
    """A point's value as its own table has it."""
    scores = side.record.scores
    chosen = scores[(scores["model"] == side.row) & (scores["metric"] == metric)]
    unknown = {"metric": metric, "value": math.nan, "low": math.nan, "high": math.nan, "n": 0}
    for row in records(chosen[list(unknown)]):
        return row
    return unknown


def _said(compared: Mapping[str, Any], field: Field, number: int) -> dict[str, Any]:
    """What is said of a point in a metric: where it is not compared, nothing but its value."""
    return {**compared, "note": compared["note"] or field.reasons.get(number, "")}


def _points(
    points: Sequence[Point],
    parameters: Sequence[Parameter],
    default: int | None,
    field: Field,
    on_front: Mapping[int, float],
) -> list[dict[str, Any]]:
    """One row per point, with columns as `evalkit.results.sweep_record.POINTS` has them."""
    rows = []
    for number, point in enumerate(points, 1):
        options = {one.key: point.options.get(one.key, one.default) for one in parameters}
        info = pairing.info(point.side) if point.side is not None else None
        guards = {guard: _own(point.side, guard)["value"] if point.side else math.nan for guard in GUARDS}
        rows.append(
            {
                "point": number,
                "name": ", ".join(f"{one.name}={shown(options[one.key])}" for one in parameters),
                "options": options,
                "default": number == default,
                "status": point.status,
                "reason": "; ".join(filter(None, [point.reason, field.reasons.get(number, "")])),
                "n": point.n or (point.side.record.prompts_info.selected if point.side else 0),
                "front": on_front.get(number, math.nan),
                **guards,
                "row": info.row if info else "",
                "path": info.path if info else "",
                "sha256": info.sha256 if info else "",
            }
        )
    return rows


def _confirmed(
    confirmed: tuple[Side, Side] | None, objectives: Sequence[Objective], level: float, allow: Sequence[str]
) -> list[dict[str, Any]]:
    """One row per objective, with columns as `evalkit.results.sweep_record.CONFIRMED` has them."""
    if confirmed is None:
        return []
    default, winner = confirmed
    ids = sorted(pairing.paired([default, winner], common_prompts=True).ids)
    rows = []
    for one in objectives:
        row: dict[str, Any] = {name: math.nan if kind == "float64" else "" for name, kind in CONFIRMED.items()}
        row |= {"metric": one.metric, "title": one.title, "n": 0, "verdict": UNTOLD}
        found = measured({1: default, 2: winner}, one.metric, ids, allow=allow)
        if found.joint is not None and len(found.numbers) == 2:
            estimate, _ = found.joint.difference(0, 1)
            low, high = estimate.interval(level)
            if low > 0 or high < 0:
                row["verdict"] = "better" if (low > 0) == one.higher_is_better else "worse"
            values = [_own(side, one.metric)["value"] for side in confirmed]
            row |= {"default": values[0], "winner": values[1], "difference": estimate.value, "low": low, "high": high}
            row |= {"p": estimate.p(), "n": len(found.joint.ids)}
        rows.append(row)
    return rows
