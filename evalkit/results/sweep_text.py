"""What is said of a sweep: the document that every form of it is made from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from evalkit.report.document import ARROWS_SAID, Column, Document, Item, Listing, Quantity, Row, Table
from evalkit.report.numbers import ARROWS, absent, counted, interval, places, signed
from evalkit.results.summary import records, warning
from evalkit.results.sweep_record import Objective, Parameter, SweepRecord

GUARDS = {"silence_share": "silent %", "clipped_clips": "clipped %"}  # metrics that each point shows, and their columns
AMONG = "●"  # behind the value of a point that may be the best
SHOWN = 20  # points in the listing of an objective, the best first
NAMED = 12  # points that a sentence names
LONGEST = 16  # characters of a value in a column
WHY = {"ok": "", "failed": "failed: ", "dropped": "dropped: "}
Cells = Mapping[tuple[int, str], Mapping[str, Any]]  # by point and metric


def shown(value: Any) -> str:
    """Write an option's value as a command line has it."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def document(sweep: SweepRecord) -> Document[Listing]:
    """Say everything about a sweep: its points, differences from the default and the best, and the winner again."""
    scores: Cells = {(row["point"], row["metric"]): row for row in records(sweep.scores)}
    points = records(sweep.points)
    over = ", ".join(one.name for one in sweep.parameters)
    return Document(
        title=f"{sweep.name}: {sweep.model}, {over}",
        heading=f"{sweep.name}: {len(points):,} points of {over}; {sweep.dataset}, subset {sweep.subset}: "
        f"{counted(sweep.prompts, 'prompt')}, protocol {sweep.protocol}",
        table=_points(sweep, points, scores),
        warning=" ".join(filter(None, [warning(list(sweep.random)), *sweep.warnings])),
        reasons=list(_findings(sweep, points, scores)),
        notes=_notes(sweep, points, scores),
        intervals=_intervals(sweep),
        more=[
            *_confirmed(sweep),
            *(_objective(sweep, one, points, scores) for one in sweep.objectives),
            *_race(sweep),
            *_metrics(sweep, points, scores),
        ],
        provenance=_provenance(sweep),
        plain=_plain(sweep),
    )


def _called(points: Sequence[Mapping[str, Any]], point: int) -> str:
    """A point by its number and name."""
    return f"point {point} ({next(row['name'] for row in points if row['point'] == point)})"


def _findings(sweep: SweepRecord, points: Sequence[Mapping[str, Any]], scores: Cells) -> Iterator[str]:
    """What the sweep has found: the best point, which others may be it, and what a fresh seed says of it."""
    if sweep.winner is None or not sweep.objectives:
        known = any(not absent(row["value"]) for row in scores.values())
        yield (
            "No two points can be compared, so none is said to be the best: see the notes."
            if known
            else "No point has a value of what points are judged by."
        )
        return
    first = sweep.objectives[0]
    yield f"Best {first.title}: {_called(points, sweep.winner)}."
    for one in sweep.objectives:
        yield from _may_be_best(one, sweep, points, scores)
    yield _verdict(sweep, first)


def _may_be_best(
    one: Objective, sweep: SweepRecord, points: Sequence[Mapping[str, Any]], scores: Cells
) -> Iterator[str]:
    """Say which points are not worse than the best beyond noise."""
    of = {n: scores[n, one.metric]["among_best"] for n in _numbers(points) if (n, one.metric) in scores}
    known = [n for n, among in of.items() if not absent(among)]
    chosen = [n for n in known if of[n]]
    if not known:
        return
    among = f"{len(chosen):,} of {counted(len(known), 'point')}"
    named = ", ".join(map(str, chosen[:NAMED])) + (", …" if len(chosen) > NAMED else "")
    if len(chosen) == len(known) > 1:
        yield f"{one.title}: no point is worse than the best beyond noise; more prompts may tell them apart."
    elif len(chosen) > 1:
        yield f"{one.title}: not worse than the best beyond noise: {among} ({named})."
    elif len(known) > 1:
        yield f"{one.title}: every other point that was compared is worse than point {chosen[0]} beyond noise."


def _verdict(sweep: SweepRecord, first: Objective) -> str:
    """Say whether the winner is better than the default, which a fresh seed alone can tell."""
    if sweep.default is None:
        return "No point is the default, so nothing is said of being better than it."
    if sweep.winner == sweep.default:
        return "The default is the best point."
    found = [row for row in records(sweep.confirmed) if row["metric"] == first.metric]
    if not found:
        return (
            "Whether it is better than the default is open: it was not measured again on a fresh seed, and the best of "
            "several looks better than it is."
        )
    (row,) = found
    digits = places(row["high"] - row["low"])
    numbers = f"{first.title} {signed(row['difference'], digits)} {interval(row['low'], row['high'], places=digits)}"
    seed = f"on a fresh seed ({sweep.fresh_seed})"
    if absent(row["difference"]):
        return f"Whether it is better than the default is open: it has no value {seed}."
    if row["verdict"] == "better":
        return f"Better than the default on these prompts, confirmed {seed}: {numbers}."
    if row["verdict"] == "worse":
        return f"Worse than the default {seed}: {numbers}."
    return f"Not told apart from the default {seed}: {numbers}."


def _numbers(points: Sequence[Mapping[str, Any]]) -> list[int]:
    return [row["point"] for row in points]


def _points(sweep: SweepRecord, points: Sequence[Mapping[str, Any]], scores: Cells) -> Listing:
    """One row per point."""
    digits = {one.metric: _places(sweep, one.metric) for one in sweep.objectives}
    guarded = [guard for guard in GUARDS if any(row[guard] > 0 for row in points)]
    rows = []
    for row in points:
        cell = {**_known(sweep, row), "front": row["front"]}
        cell |= {f"guard {guard}": 100 * row[guard] for guard in guarded}
        cell |= {f"guard {guard}_places": 1 for guard in guarded}
        for one in sweep.objectives:
            score = scores.get((row["point"], one.metric))
            if score is None or row["status"] != "ok":  # values of fewer prompts do not stand beside those of all
                continue
            among = not absent(score["among_best"]) and score["among_best"]
            cell |= {one.metric: score["value"], f"{one.metric}_places": digits[one.metric]}
            cell[f"{one.metric}_mark"] = f" {AMONG}" if among else "  "
        rows.append(Item(cell, _wide(sweep, row, scores)))
    said = [ARROWS_SAID] if sweep.objectives else []
    if any(cell.cell.get(f"{one.metric}_mark") == f" {AMONG}" for one in sweep.objectives for cell in rows):
        said.append(f"{AMONG} not worse than the best of its column beyond noise, of all points at once.")
    return Listing(
        columns=[
            *_names(sweep),
            *([Quantity(one.metric, str(_head(one)), "number")] for one in sweep.objectives),
            [_front(sweep)],
            [Quantity(f"guard {guard}", GUARDS[guard], "number") for guard in guarded],
        ],
        rows=rows,
        notes=said,
    )


def _front(sweep: SweepRecord) -> Quantity:
    """How likely a point is on the front, which of one objective is the best point alone."""
    if len(sweep.objectives) > 1:
        return Quantity(
            "front", "Pareto", "share", "the probability of being on the Pareto front, a share of draws over prompts"
        )
    return Quantity(
        "front", "P(best)", "share", "the probability that no other is better, a share of draws over prompts"
    )


def _head(one: Objective) -> Column:
    return Column(one.metric, one.title, ARROWS[one.higher_is_better])


def _names(sweep: SweepRecord) -> list[list[Quantity]]:
    """The columns that say which point a row is of."""
    options = [Quantity(f"option {one.key}", one.name, "word") for one in sweep.parameters]
    return [[Quantity("number", "#", "word")], options]


def _known(sweep: SweepRecord, row: Mapping[str, Any]) -> dict[str, Any]:
    """A point's number, in what it is not like others, and its options."""
    of = {
        "default": row["default"],
        "best": row["point"] == sweep.winner,
        "failed": row["status"] == "failed",
        "dropped": row["status"] == "dropped",
    }
    said = ", ".join(name for name, is_so in of.items() if is_so)
    options = {f"option {one.key}": _short(one, row["options"].get(one.key)) for one in sweep.parameters}
    return {"number": f"{row['point']} {said}".strip(), **options}


def _short(parameter: Parameter, value: Any) -> str:
    """An option's value for a narrow column: of paths the last parts where these are not alike, and no long text."""
    texts = {shown(one) for one in parameter.values}
    text = shown(value)
    last = {PurePath(one).name for one in texts}
    if isinstance(value, str) and len(last) == len(texts):
        text = PurePath(value).name or text
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2 - 1]}…{text[-LONGEST // 2 :]}"


def _places(sweep: SweepRecord, metric: str) -> int:
    """How many decimals show differences of a metric."""
    own = sweep.scores[sweep.scores["metric"] == metric]
    widths = own["to_default_high"] - own["to_default_low"]
    return places(float(widths.median()) if widths.notna().any() else math.nan)


def _own_places(row: Mapping[str, Any]) -> int:
    """How many decimals show the narrowest interval of a point's score."""
    return places(*(row[f"{of}high"] - row[f"{of}low"] for of in ("", "to_default_", "to_best_")), least=0)


def _objective(sweep: SweepRecord, one: Objective, points: Sequence[Mapping[str, Any]], scores: Cells) -> Listing:
    """One objective at each point, the best first, and then those that left the race."""
    named = {row["point"]: row for row in points}
    whole = {n: row["status"] == "ok" for n, row in named.items()}
    own = [scores[n, one.metric] for n in named if (n, one.metric) in scores]
    own = [row for row in own if not absent(row["value"])]
    sign = -1 if one.higher_is_better else 1
    behind = {row["point"]: 0.0 if absent(row["to_best"]) else sign * row["to_best"] for row in own}
    own.sort(
        key=lambda row: (not whole[row["point"]], not row["best"] and absent(row["to_best"]), behind[row["point"]])
    )
    hidden = dict.fromkeys(["value", "low", "high"], math.nan)  # those of fewer prompts
    return Listing(
        columns=[
            _names(sweep)[0],
            [Quantity("value", "value", "number"), Quantity("interval", "interval", "interval")],
            [Quantity("to_default", "− default", "signed"), Quantity("to_default", "interval", "interval")],
            [Quantity("to_best", "− best", "signed"), Quantity("to_best", "interval", "interval")],
        ],
        rows=[
            Item(
                {
                    **row,
                    **({} if whole[row["point"]] else hidden),
                    **_known(sweep, named[row["point"]]),
                    "places": _own_places(row),
                },
                row,
            )
            for row in own[:SHOWN]
        ],
        title=str(_head(one)),
        intro=f"The first {SHOWN:,} of {len(own):,} points." if len(own) > SHOWN else "",
    )


def _confirmed(sweep: SweepRecord) -> Iterator[Listing]:
    """The winner and the default on a fresh seed."""
    if sweep.confirmed.empty:
        return
    arrows = {one.metric: ARROWS[one.higher_is_better] for one in sweep.objectives}
    yield Listing(
        columns=[
            [Quantity("name", "metric", "word")],
            [Quantity("default", "default", "number"), Quantity("winner", "best point", "number")],
            [Quantity("difference", "difference", "signed"), Quantity("interval", "interval", "interval")],
            [Quantity("p", "p", "p"), Quantity("n", "n", "count")],
            [Quantity("verdict", "verdict", "verdict")],
        ],
        rows=[
            Item(
                {
                    **row,
                    "name": Column(row["metric"], row["title"], arrows.get(row["metric"], "")),
                    "places": places(row["high"] - row["low"]),
                },
                row,
            )
            for row in records(sweep.confirmed)
        ],
        title="The best point again",
        intro=f"Both were measured again with seed {sweep.fresh_seed}, which had no part in choosing the point. The "
        "prompts are the same: of others this says nothing. Each metric is judged by itself.",
    )


def _race(sweep: SweepRecord) -> Iterator[Listing]:
    """The rungs of a race."""
    if sweep.rungs.empty:
        return
    yield Listing(
        columns=[
            [Quantity("prompts", "prompts", "count")],
            [Quantity("points", "points", "count")],
            [Quantity("dropped", "dropped", "count")],
            [Quantity("clips", "clips needed", "count")],
        ],
        rows=[Item(row, row) for row in records(sweep.rungs)],
        title="Race",
        intro="A point was dropped where another beat it beyond noise in "
        + ("all of " if len(sweep.objectives) > 1 else "")
        + ", ".join(f"{one.title}{f' by {one.margin:g}' if one.margin else ''}" for one in sweep.objectives)
        + " on the same prompts.",
    )


def _metrics(sweep: SweepRecord, points: Sequence[Mapping[str, Any]], scores: Cells) -> Iterator[Table]:
    """All metrics at all points, for forms that have room."""
    if not scores:
        return
    titles = {metric: score["title"] for (_, metric), score in scores.items()}
    arrows = {
        metric: ARROWS[None if absent(score["higher_is_better"]) else score["higher_is_better"]]
        for (_, metric), score in scores.items()
    }
    yield Table(
        columns=[Column(metric, title, arrows[metric]) for metric, title in titles.items()],
        rows=[
            Row(
                {"point": f"{row['point']}: {row['name']}"},
                {
                    metric: {key: scores[row["point"], metric][key] for key in ("value", "low", "high", "n")}
                    for metric in titles
                    if (row["point"], metric) in scores
                },
            )
            for row in points
            if row["status"] != "failed"
        ],
        show_n=True,
        title="All metrics",
    )


def _wide(sweep: SweepRecord, row: Mapping[str, Any], scores: Cells) -> dict[str, Any]:
    """A point with all of its numbers, for plain forms: parameters by their keys, then each metric's columns."""
    known = {key: row[key] for key in ("point", "name", "default", "status", "reason", "n", "front")}
    record = {"point": known.pop("point")} | {key: _plain_value(value) for key, value in row["options"].items()} | known
    record["best"] = row["point"] == sweep.winner
    for metric in dict.fromkeys(sweep.scores["metric"]):
        score = scores.get((row["point"], metric), {})
        for key in sweep.scores.columns:
            if key not in ("point", "metric", "title", "higher_is_better"):
                record[metric if key == "value" else f"{metric}_{key}"] = score.get(key)
    return record | {"row": row["row"], "path": row["path"], "sha256": row["sha256"]}


def _plain_value(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) else shown(value)


def _notes(sweep: SweepRecord, points: Sequence[Mapping[str, Any]], scores: Cells) -> list[str]:
    """Say what a reader of the table must know, each thing once."""
    why: dict[str, list[int]] = {}
    for row in points:
        if row["reason"]:
            why.setdefault(WHY[row["status"]] + row["reason"], []).append(row["point"])
    lines = [f"{_numbered(numbers)}: {reason}" for reason, numbers in why.items()]
    said: dict[str, dict[str, list[int]]] = {}
    reasons = {row["point"]: row["reason"] for row in points}
    judged = [one.metric for one in sweep.objectives]
    for (point, metric), score in scores.items():
        for line in score["note"].splitlines():
            if metric in judged and line not in reasons[point]:
                said.setdefault(line, {}).setdefault(score["title"], []).append(point)
    for line, titles in said.items():
        for title, numbers in titles.items():
            lines.append(f"{title}, {_numbered(numbers)}: {line}")
    if not any(row[name] > 0 for row in points for name in GUARDS):
        guarded = [row for row in points if not any(absent(row[name]) for name in GUARDS)]
        lines += ["no clip is silent or clipped at any point"] if guarded else []
    lines.append(_intervals(sweep))
    if len(sweep.objectives) > 1 and any(not absent(row["front"]) for row in points):
        names = ", ".join(one.title for one in sweep.objectives)
        lines.append(f"Pareto front: of {names}; {sweep.draws:,} draws that all points share")
    return [*lines, *sweep.remarks]


def _numbered(numbers: Sequence[int]) -> str:
    which = ", ".join(map(str, numbers[:NAMED])) + (", …" if len(numbers) > NAMED else "")
    return f"point{'' if len(numbers) == 1 else 's'} {which}"


def _intervals(sweep: SweepRecord) -> str:
    said = f"intervals: {sweep.level:.3g} confidence, over prompts, of differences paired by prompt, each by itself"
    dropped = (sweep.points["status"] == "dropped").any()
    return said + ("; those of dropped points are of the prompts on which they were dropped" if dropped else "")


def _provenance(sweep: SweepRecord) -> dict[str, str]:
    made = sweep.provenance
    facts = {
        "search": ", ".join([sweep.search, *(f"{key} {shown(value)}" for key, value in sweep.search_facts.items())])
    }
    if made:
        facts |= {
            "evalkit": str(made["packages"]["evalkit"]),
            "commit": f"{made['commit'] or 'unknown'}{', with local changes' if made['dirty'] else ''}",
            "device": f"{made['device']} ({made['device_name']}), {made['dtype']}",
        }
    if sweep.plots:
        facts["plots"] = ", ".join(f"plots/{name}.png" for name in sweep.plots)
    return facts


def _plain(sweep: SweepRecord) -> dict[str, Any]:
    """What machines may want beside the points and the notes, as a JSON-like value."""
    return {
        "schema": sweep.schema,
        "name": sweep.name,
        "search": {"kind": sweep.search, **sweep.search_facts},
        "dataset": sweep.dataset,
        "subset": sweep.subset,
        "protocol": sweep.protocol,
        "prompts": sweep.prompts,
        "model": sweep.model,
        "random_weights": sweep.random,
        "parameters": [dataclasses.asdict(one) for one in sweep.parameters],
        "objectives": [dataclasses.asdict(one) for one in sweep.objectives],
        "level": sweep.level,
        "draws": sweep.draws,
        "seed": sweep.seed,
        "default": sweep.default,
        "winner": sweep.winner,
        "fresh_seed": sweep.fresh_seed,
        "confirmed": records(sweep.confirmed),
        "rungs": records(sweep.rungs),
        "scores": records(sweep.scores),
        "plots": sweep.plots,
    }
