"""Collapse to silence: how often, when and for how long, and how guidance and temperature change it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.report.document import Column, Item, Listing, Quantity, Row, Table
from evalkit.report.literal import literal
from evalkit.report.numbers import places
from evalkit.results.limits.limit import (
    LEAST,
    NO_DIFFERENCE,
    Claim,
    Difference,
    Limit,
    all_at_once,
    claims,
    few,
    listed,
    percent,
    stands_out,
)
from evalkit.results.limits.material import ByPrompt, Model, paired_by_unit
from evalkit.results.sweep import Sweep
from evalkit.results.sweep_text import shown

SHARE, START, LENGTH = "silence_share", "silence_start", "silence_length"  # kinds of metrics
GUIDANCE, TEMPERATURE = "sampling.guidance_scale", "sampling.temperature"  # rows and columns, where both are swept
TITLE = "Collapse to silence"


def silence(model: Model) -> Limit | None:
    """Say how many clips collapse to silence; None where that was not measured."""
    sums = model.of_kind(SHARE)
    if sums is None:
        return None
    cell = {"what": "clips", **_cell(model, sums)}
    said = f"{_collapsing(model, sums)}."
    return Limit(
        "silence",
        TITLE,
        [said],
        [Listing(_columns([cell], model.unit), [Item(cell, cell)], title="Silence")],
        _notes(model),
    )


def swept(sweep: Sweep, points: Mapping[int, Model]) -> Limit | None:
    """Say how points of a sweep differ from the default in how many clips collapse; None where that is not known.

    Args:
        points: those that were measured on all prompts, by number, the default among them.
    """
    sums = {number: found for number, model in points.items() if (found := model.of_kind(SHARE)) is not None}
    if sweep.default is None or sweep.default not in sums:
        return None
    base, names = sweep.default, dict(zip(sweep.points["point"], map(str, sweep.points["name"]), strict=True))
    others = [number for number in sums if number != base]
    made = [_difference(names[number], points[number], sums[number], sums[base]) for number in others]
    judged = dict(zip(others, claims(made, sweep.level), strict=True))
    said = [f"At the default ({literal(names[base])}) {_collapsing(points[base], sums[base])}.", *_of_points(judged)]
    rows = [_row(names[n], n == base, points[n], one, judged.get(n)) for n, one in sums.items()]
    intro = f"Differences are from the default, paired by {points[base].unit}. "
    intro += all_at_once([*judged.values()], sweep.level)
    tables: list[Table | Listing] = [
        Listing(
            _columns([row.cell for row in rows], points[base].unit, True), rows, title="Silence by point", intro=intro
        )
    ]
    if (grid := _grid(sweep, sums, judged)) is not None:
        tables.insert(0, grid)
    return Limit("silence", TITLE, said, tables, _notes(points[base]))


def of_sweep(sweep: Sweep) -> tuple[dict[int, Model], list[str]]:
    """The points of a sweep that were measured on all prompts, by number, and why others are not among them."""
    found, notes = {}, []
    for number, row in zip(sweep.points["point"], sweep.points.to_dict("records"), strict=True):
        why = row["reason"] or row["status"]
        if row["status"] == "ok":
            try:
                found[int(number)] = Model(sweep.result(int(number)), str(row["row"]))
                continue
            except EvalkitError as error:
                why = str(error)
        notes.append(literal(f"Left out is the point {row['name']}: {why}."))
    return found, notes


def _collapsing(model: Model, sums: ByPrompt) -> str:
    """How many clips of a model collapse, in words."""
    cell = _cell(model, sums)
    said = percent(cell["share"], cell["share_low"], cell["share_high"])
    text = f"{said} of the clips of {model.counted(sums)}"
    text += f", {model.seconds} long, collapse to silence" if model.seconds else " collapse to silence"
    if math.isnan(cell["start"]):
        return text
    return f"{text}, on average after {cell['start']:.1f} s and for {cell['length']:.1f} s till their end"


def _cell(model: Model, sums: ByPrompt) -> dict[str, Any]:
    """The share of clips that collapse, and when those do and for how long on average, in seconds."""
    low, high = sums.mean.ends((1 - model.level) / 2)
    cell = {"share": sums.value, "share_low": low, "share_high": high}
    cell |= {"n": len(sums.ids), "units": sums.mean.units}
    cell |= {"start": math.nan, "length": math.nan, "start_places": 1, "length_places": 1}
    lengths, starts = model.of_kind(LENGTH), model.of_kind(START)
    if lengths is not None and starts is not None and lengths.ids == starts.ids:
        silent = lengths.sums > 0
        if silent.any():
            cell |= {"start": float(starts.sums[silent].mean()), "length": float(lengths.sums[silent].mean())}
    return cell


def _difference(name: str, model: Model, own: ByPrompt, base: ByPrompt) -> Difference:
    """A point beside the default, paired by prompt; prompts that belong together are one unit."""
    estimate, influence, units = paired_by_unit(base, own)
    metric = model.metric(SHARE) or ""
    return Difference(
        who=name, metric=metric, title=model.titles[metric], higher_is_better=False, n=len(own.ids), of=len(base.ids),
        units=units, of_units=units, value=own.value, other=base.value, estimate=estimate, influence=influence,
        share=True, note=few(model.unit) if units < LEAST else "",
    )  # fmt: skip


def _of_points(judged: Mapping[int, Claim]) -> Iterator[str]:
    told = False
    for word, verdict in (("More", "worse"), ("Fewer", "better")):
        own = sorted((one for one in judged.values() if one.verdict == verdict), key=lambda one: -abs(one.value))
        if own:
            told = True
            yield f"{word} do at {listed([f'{one.difference.who} (by {one.said()})' for one in own], 6)}."
    same = [one for one in judged.values() if one.verdict == NO_DIFFERENCE]
    if same:
        last = max(same, key=lambda one: one.worst)
        where = f"the {'others' if told else 'other points'}" if len(same) > 1 else literal(last.difference.who)
        who = f" ({literal(last.difference.who)})" if stands_out(last, same) else ""
        yield f"No difference from the default was seen at {where}, at most {last.amount(last.worst)} more{who}."


def _columns(cells: Sequence[Mapping[str, Any]], unit: str, points: bool = False) -> list[list[Quantity]]:
    columns = [
        [Quantity("what", "point" if points else "what", "word")],
        [Quantity("share", "collapsed", "number"), Quantity("share", "interval", "interval")],
        [Quantity("start", "silent from (s)", "number"), Quantity("length", "silence (s)", "number")],
        [Quantity("n", "n", "count")],
    ]
    if any(cell["units"] != cell["n"] for cell in cells):
        columns.append([Quantity("units", f"{unit}s", "count")])
    if points:
        difference = [
            Quantity("difference", "difference", "signed"),
            Quantity("difference", "its interval", "interval"),
        ]
        columns[1:1] = [[Quantity("verdict", "beside the default", "verdict")]]
        columns[3:3] = [difference]
        columns.append([Quantity("note", "note", "word")])
    return columns


def _row(name: str, default: bool, model: Model, sums: ByPrompt, claim: Claim | None) -> Item:
    cell = {"what": f"{name} (default)" if default else name, **_cell(model, sums)}
    if claim is not None:
        cell |= {
            "note": claim.difference.note,
            "verdict": claim.verdict,
            "difference": claim.value,
            "difference_low": claim.low,
        }
        cell |= {"difference_high": claim.high, "difference_places": places(claim.high - claim.low)}
    return Item(cell, cell)


def _grid(sweep: Sweep, sums: Mapping[int, ByPrompt], judged: Mapping[int, Claim]) -> Table | None:
    """Shares over guidance and temperature, where the sweep has both; None else."""
    if {GUIDANCE, TEMPERATURE} - {one.key for one in sweep.parameters}:
        return None
    given = dict(zip(sweep.points["point"], sweep.points["options"], strict=True))
    others = {one.key: one.default for one in sweep.parameters if one.key not in (GUIDANCE, TEMPERATURE)}
    cells: dict[float, dict[float, dict[str, Any]]] = {}
    for number, one in sums.items():
        if any(given[number].get(key) != default for key, default in others.items()):
            continue  # it would stand in the cell of another
        low, high = one.mean.ends((1 - sweep.level) / 2)
        said = judged[number].verdict if number in judged else "default"
        cell = {"value": one.value, "low": low, "high": high, "n": len(one.ids), "verdict": said}
        guidance, temperature = (float(given[number][key]) for key in (GUIDANCE, TEMPERATURE))
        cells.setdefault(guidance, {})[temperature] = cell
    columns = [Column(f"{t}", f"temperature {shown(t)}") for t in sorted({t for row in cells.values() for t in row})]
    rows = [
        Row({"guidance": f"guidance {shown(guidance)}"}, {f"{t}": cell for t, cell in cells[guidance].items()})
        for guidance in sorted(cells)
    ]
    return Table(
        columns, rows, title="Share of clips that collapse to silence",
        intro="By guidance scale and temperature, with what is seen beside the default.",
    )  # fmt: skip


def _notes(model: Model) -> Sequence[str]:
    definition = model.record.metrics[model.metric(SHARE) or ""].definition
    if "threshold" not in definition or "shortest" not in definition:
        return []
    shortest, threshold = definition["shortest"], definition["threshold"]
    return [f"A clip collapses if its last {shortest:g} s or more are below {threshold:g} dB of full scale."]
