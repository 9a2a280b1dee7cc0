"""Values by group of prompts, and where a candidate differs from its baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from evalkit.report.document import Listing
from evalkit.report.literal import literal
from evalkit.report.numbers import p_value, places
from evalkit.results.clusters import over
from evalkit.results.comparison_record import ComparisonRecord
from evalkit.results.gate import HIGHER_IS_BETTER
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import BAD, COLOURS, GOOD, MARKERS, QUIET, Mark, words
from evalkit.results.plots.plot import (
    Metric,
    Plot,
    Shown,
    brief,
    caption,
    compared,
    level,
    listing,
    metrics,
    percent,
    random,
    span,
    without,
)
from evalkit.results.plots.rows import Rows, bar, head, scale
from evalkit.results.summary import records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 16  # groups in a figure
MODELS = 4  # side by side in a row
SPREAD = 0.62  # of a row that they take
CHANGES: Mapping[str, tuple[str, str]] = {
    "worse": ("X", BAD), "better": ("P", GOOD), "higher": ("^", COLOURS[0]), "lower": ("v", COLOURS[0]),
}  # fmt: skip


def plots(rows: Sequence[Shown]) -> list[Plot]:
    """Draw the values of the largest groups of the first models, a figure for each kind of groups."""
    every = [one for one in rows if not one.calibration]
    models = every[:MODELS]
    if not models:
        return []
    own = [one.record.slices[one.record.slices["model"] == one.row].assign(model=n) for n, one in enumerate(models)]
    slices = pd.concat(own)
    first = f"The first {MODELS} of {len(every):,} models." if len(every) > MODELS else ""
    found, names = list[Plot](), dict[str, int]()
    for kind, of_kind in slices.groupby("slice", sort=False):
        if plot := _plot(str(kind), of_kind, models, first):
            names[plot.name] = again = names.get(plot.name, 0) + 1  # of names without Latin letters
            found.append(replace(plot, name=f"{plot.name}-{again}") if again > 1 else plot)
    return found


def _plot(kind: str, slices: pd.DataFrame, models: Sequence[Shown], first: str) -> Plot | None:
    slices = slices[slices["value"].notna()]
    sizes = slices.groupby("group", sort=False)["n"].max().sort_values(ascending=False, kind="stable")
    if len(sizes) < 2:
        return None
    groups = [str(name) for name in sizes.index[:MOST]]
    drawn = [metric for metric in metrics(models) if (slices["metric"] == metric.name).any()]
    scores = {(str(row["metric"]), str(row["group"]), int(row["model"])): row for row in records(slices)}
    own = [score for (_, group, _), score in scores.items() if group in groups]
    said = [f"Bars: {level(models)}." if any(math.isfinite(score["low"]) for score in own) else ""]
    said.append(f"Hollow: fewer than {models[0].record.small_slice:,} clips." if any(s["small"] for s in own) else "")
    said.append(f"The {MOST} largest of {len(sizes):,} groups." if len(sizes) > MOST else "")
    said.append("FAD and the like depend on the number of clips: compare groups of like size.")
    said.append(first)
    text = caption(models, (int(sizes[group]) for group in groups), *said)

    def draw(width: float) -> Figure:
        return _figure(kind, groups, [int(sizes[group]) for group in groups], drawn, models, scores, text, width)

    name = "slices-" + ("".join(c if c.isascii() and c.isalnum() else "-" for c in kind.lower()).strip("-") or "other")
    return Plot(
        name, f"Groups of prompts: {literal(kind.replace('_', ' '))}", _said(groups, drawn, models[0].name, scores),
        text, _numbers(drawn, models, own), draw,
    )  # fmt: skip


def _said(groups: Sequence[str], drawn: Sequence[Metric], first: str, scores: Mapping[Any, Any]) -> str:
    parts = []
    for metric in drawn[:4]:
        values = {group: scores[key]["value"] for group in groups if (key := (metric.name, group, 0)) in scores}
        if values:
            low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
            parts.append(
                f"{metric.title} from {brief(values[low])} ({literal(low)}) to {brief(values[high])} ({literal(high)})"
            )
    return f"{literal(first)} by group: {'; '.join(parts)}."


def _numbers(drawn: Sequence[Metric], models: Sequence[Shown], scores: Sequence[Mapping[str, Any]]) -> Listing:
    titles = {metric.name: metric.column for metric in drawn}
    return listing(
        [
            ("metric", "metric", "word"), ("group", "group", "word"), ("row", "row", "word"),
            ("value", "measured", "number"), ("interval", "interval", "interval"), ("n", "n", "count"),
            ("about", "", "word"),
        ],
        [
            {
                **score, "metric": titles[score["metric"]], "row": models[score["model"]].name,
                "about": "small" if score["small"] else "", "places": places(score["high"] - score["low"]),
            }
            for score in sorted(scores, key=lambda score: list(titles).index(score["metric"]))
        ],
    )  # fmt: skip


def _figure(
    kind: str,
    groups: Sequence[str],
    sizes: Sequence[int],
    drawn: Sequence[Metric],
    models: Sequence[Shown],
    scores: Mapping[tuple[str, str, int], Mapping[str, Any]],
    text: str,
    width: float,
) -> Figure:
    grid = Rows(groups, width, len(drawn), marks=[f"({n:,})" for n in sizes])
    marks = [Mark(words(one.name, 30), MARKERS[number], COLOURS[number], COLOURS[number], 6)
             for number, one in enumerate(models)]  # fmt: skip
    title = f"Groups of prompts: {words(kind.replace('_', ' '), 40)}"
    figure = drawing.begin(random(models), title, grid.size(width, drawn), [("", marks)], text)
    for axes, metric in zip(grid.axes(figure), drawn, strict=True):
        own = [scores.get((metric.name, group, number)) for group in groups for number in range(len(models))]
        scale(axes, [score[key] for score in own if score for key in ("value", "low", "high")], (), metric.open_ended)
        for row, group in enumerate(groups):
            for number in range(len(models)):
                if score := scores.get((metric.name, group, number)):
                    y = grid.at(row) + SPREAD * ((number + 0.5) / len(models) - 0.5) * (0.6 if grid.narrow else 1)
                    looks = (MARKERS[number], "white" if score["small"] else COLOURS[number], COLOURS[number])
                    bar(axes, score, y, looks, f"{row}-{number}")
        head(axes, metric, grid.wide(width))
        if len(models) == 1:
            grid.values(axes, [brief(score["value"]) if score else "–" for score in own])
    return figure


def of_comparison(comparison: ComparisonRecord) -> Plot | None:
    """Draw in which groups a candidate differs most surely from its baseline; None where groups were not compared."""
    slices = comparison.slices[comparison.slices["difference"].notna()]
    moves = (slices["difference"] != 0) | slices["low"].notna()
    moving = slices.loc[moves, "metric"].unique()
    alike = slices.loc[~slices["metric"].isin(moving), "title"].unique()
    slices = slices[slices["metric"].isin(moving)]
    if slices.empty:
        return None
    order = slices.sort_values(["p_adjusted", "p"], kind="stable")
    keys = list(dict.fromkeys(zip(order["slice"], order["group"], strict=True)))
    groups = keys[:MOST]
    rows = [row for row in records(order) if (row["slice"], row["group"]) in groups]
    directions = dict(zip(comparison.metrics["metric"], comparison.metrics["direction"], strict=True))
    titles = dict(zip(slices["metric"], slices["title"], strict=True))
    drawn = [
        Metric(str(name), literal(titles[name]), HIGHER_IS_BETTER.get(directions.get(name, "same")))
        for name in dict.fromkeys([*comparison.metrics["metric"], *titles])
        if any(row["metric"] == name for row in rows)
    ]
    found = {(str(row["metric"]), row["slice"], row["group"]): row for row in rows}
    sure = sorted(
        {
            f"{row['slice'].replace('_', ' ')} {row['group']}, {row['title']} {row['change']}"
            for row in rows
            if row["change"]
        }
    )
    said = f"{len(sure):,} difference{'s' if len(sure) != 1 else ''} between the sides in a group of prompts "
    said += f"{'are' if len(sure) != 1 else 'is'} beyond noise"
    said += f": {literal('; '.join(sure[:4]))}" if sure else ""
    text = (
        f"n = {span(row['n'] for row in rows)} in a group; {compared(comparison)}. Difference: candidate − baseline. "
        f"Bars: {percent(comparison.gate['level'])} intervals over {over(comparison.clusters)}. "
        "Right: p of no difference, adjusted over all groups and metrics."
        + (f" The {MOST} of {len(keys):,} groups that differ most surely." if len(keys) > MOST else "")
        + without([str(title) for title in alike])
    )

    def draw(width: float) -> Figure:
        return _changes(comparison, groups, drawn, found, text, width)

    numbers = listing(
        [
            ("slice", "of", "word"), ("group", "group", "word"), ("title", "metric", "word"),
            ("difference", "difference", "signed"), ("interval", "interval", "interval"), ("n", "n", "count"),
            ("p_adjusted", "p, adjusted", "p"), ("change", "beyond noise", "word"),
        ],
        [{**row, "places": places(row["high"] - row["low"])} for row in rows],
    )  # fmt: skip
    return Plot("slices", "Differences by group of prompts", f"{said}.", text, numbers, draw)


def _changes(
    comparison: ComparisonRecord,
    groups: Sequence[tuple[str, str]],
    drawn: Sequence[Metric],
    found: Mapping[tuple[str, str, str], Mapping[str, Any]],
    text: str,
    width: float,
) -> Figure:
    grid = Rows([f"{kind.replace('_', ' ')} {name}" for kind, name in groups], width, len(drawn))
    there = dict.fromkeys(str(row["change"]) for row in found.values())
    marks = [Mark(change, CHANGES[change][0], CHANGES[change][1], CHANGES[change][1], 6.5)
             for change in CHANGES if change in there]  # fmt: skip
    if "" in there:
        marks.append(Mark("not beyond noise", "o", "white", QUIET, 6))
    figure = drawing.begin(
        comparison.random, "Differences by group of prompts", grid.size(width, drawn), [("", marks)], text
    )
    for axes, metric in zip(grid.axes(figure), drawn, strict=True):
        own = [found.get((metric.name, *group)) for group in groups]
        scale(axes, [0.0, *(row[key] for row in own if row for key in ("difference", "low", "high"))], (), False)
        grid.line(axes, 0, color="black", lw=0.9, zorder=2, gid="zero")
        for number, row in enumerate(own):
            if row is None:
                continue
            y, (marker, colour) = grid.at(number), CHANGES.get(row["change"], ("o", QUIET))
            bar(axes, row, y, (marker, colour if row["change"] else "white", colour), str(number), "difference")
        head(axes, metric, grid.wide(width))
        adjusted = [math.nan if row is None else row["p_adjusted"] for row in own]
        grid.values(axes, [p_value(p) if math.isfinite(p) else "" for p in adjusted])
    return figure
