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
from evalkit.results.comparison_record import ComparisonRecord
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import BAD, COLOURS, GOOD, MARKERS, QUIET, Mark, words
from evalkit.results.plots.plot import Metric, Plot, Shown, brief, caption, level, listing, metrics, percent, random
from evalkit.results.plots.rows import Rows, head, scale
from evalkit.results.summary import records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
    own = [one.record.slices[one.record.slices["model"] == one.row].assign(model=one.name) for one in models]
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
    scores = {(str(row["metric"]), str(row["group"]), str(row["model"])): row for row in records(slices)}
    small = models[0].record.small_slice
    said = [f"Bars: {level(models)}." if slices["low"].notna().any() else "", f"Hollow: fewer than {small:,} clips."]
    said.append(f"The {MOST} largest of {len(sizes):,} groups." if len(sizes) > MOST else "")
    said.append("FAD and the like depend on the number of clips: compare groups of like size.")
    said.append(first)
    text = caption(models, (int(sizes[group]) for group in groups), *said)
    own = [score for (metric, group, _), score in scores.items() if group in groups and metric]

    def draw(width: float) -> Figure:
        return _figure(kind, groups, [int(sizes[group]) for group in groups], drawn, models, scores, text, width)

    name = "slices-" + ("".join(c if c.isascii() and c.isalnum() else "-" for c in kind.lower()).strip("-") or "other")
    return Plot(
        name, f"Groups of prompts: {literal(kind.replace('_', ' '))}", _said(groups, drawn, models[0], scores), text,
        _numbers(drawn, own), draw,
    )  # fmt: skip


def _said(groups: Sequence[str], drawn: Sequence[Metric], one: Shown, scores: Mapping[Any, Any]) -> str:
    parts = []
    for metric in drawn[:4]:
        values = {group: scores[key]["value"] for group in groups if (key := (metric.name, group, one.name)) in scores}
        if values:
            low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
            parts.append(
                f"{metric.title} from {brief(values[low])} ({literal(low)}) to {brief(values[high])} ({literal(high)})"
            )
    return f"{literal(one.name)} by group: {'; '.join(parts)}."


def _numbers(drawn: Sequence[Metric], scores: Sequence[Mapping[str, Any]]) -> Listing:
    titles = {metric.name: metric.column for metric in drawn}
    return listing(
        [
            ("metric", "metric", "word"), ("group", "group", "word"), ("row", "row", "word"),
            ("value", "measured", "number"), ("interval", "interval", "interval"), ("n", "n", "count"),
            ("about", "", "word"),
        ],
        [
            {
                **score, "metric": titles[score["metric"]], "row": score["model"],
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
    scores: Mapping[tuple[str, str, str], Mapping[str, Any]],
    text: str,
    width: float,
) -> Figure:
    grid = Rows(groups, width, len(drawn), marks=[f"({n:,})" for n in sizes])
    marks = [Mark(words(one.name, 30), MARKERS[number], COLOURS[number], COLOURS[number], 6)
             for number, one in enumerate(models)]  # fmt: skip
    figure = drawing.begin(
        random(models), f"Groups of prompts: {words(kind.replace('_', ' '), 40)}", grid.size(width), [("", marks)], text
    )
    for axes, metric in zip(grid.axes(figure), drawn, strict=True):
        own = [scores.get((metric.name, group, one.name)) for group in groups for one in models]
        scale(axes, [score[key] for score in own if score for key in ("value", "low", "high")], (), metric.open_ended)
        for row, group in enumerate(groups):
            for number, one in enumerate(models):
                score = scores.get((metric.name, group, one.name))
                if score:
                    y = grid.at(row) + SPREAD * ((number + 0.5) / len(models) - 0.5) * (0.6 if grid.narrow else 1)
                    _value(axes, score, y, MARKERS[number], COLOURS[number], f"{row}-{number}")
        head(axes, metric, grid.wide(width))
        if len(models) == 1:
            grid.values(axes, [brief(score["value"]) if score else "–" for score in own])
    return figure


def _value(axes: Axes, score: Mapping[str, Any], y: float, marker: str, colour: str, name: str) -> None:
    if math.isfinite(score["low"]):
        axes.plot([score["low"], score["high"]], [y, y], color=colour, lw=1.3, zorder=3, gid=f"interval-{name}")
    axes.plot(score["value"], y, marker=marker, ms=5, mec=colour, mew=1.3, mfc="white" if score["small"] else colour,
              ls="none", zorder=5, gid=f"value-{name}")  # fmt: skip


def of_comparison(comparison: ComparisonRecord) -> Plot | None:
    """Draw in which groups a candidate differs most surely from its baseline; None where groups were not compared."""
    slices = comparison.slices[comparison.slices["difference"].notna()]
    if slices.empty:
        return None
    order = slices.sort_values(["p_adjusted", "p"], kind="stable")
    keys = list(dict.fromkeys(zip(order["slice"], order["group"], strict=True)))
    groups = keys[:MOST]
    rows = [row for row in records(order) if (row["slice"], row["group"]) in groups]
    directions = dict(zip(comparison.metrics["metric"], comparison.metrics["direction"], strict=True))
    better = {"lower": False, "higher": True}
    titles = dict(zip(slices["metric"], slices["title"], strict=True))
    drawn = [
        Metric(str(name), literal(titles[name]), better.get(directions.get(name, "")))
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
    said = f"{len(sure):,} differences between groups and the baseline are beyond noise"
    said += f": {literal('; '.join(sure[:4]))}" if sure else ""
    counts = [int(row["n"]) for row in rows]
    text = (
        f"n = {min(counts):,} to {max(counts):,} in a group; "
        + literal(f"{comparison.dataset}, subset {comparison.subset}, protocol {comparison.protocol}")
        + f". Difference: candidate − baseline. Bars: {percent(comparison.gate['level'])} intervals over prompts. "
        "Right: p of no difference, adjusted over all groups and metrics."
        + (f" The {MOST} of {len(keys):,} groups that differ most surely." if len(keys) > MOST else "")
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
    figure = drawing.begin(comparison.random, "Differences by group of prompts", grid.size(width), [("", marks)], text)
    for axes, metric in zip(grid.axes(figure), drawn, strict=True):
        own = [found.get((metric.name, *group)) for group in groups]
        scale(axes, [0.0, *(row[key] for row in own if row for key in ("difference", "low", "high"))], (), False)
        grid.line(axes, 0, color="black", lw=0.9, zorder=2, gid="zero")
        for number, row in enumerate(own):
            if row is None:
                continue
            y, (marker, colour) = grid.at(number), CHANGES.get(row["change"], ("o", QUIET))
            if math.isfinite(row["low"]):
                axes.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.5, zorder=3, gid=f"interval-{number}")
            axes.plot(row["difference"], y, marker=marker, ms=6, mec=colour, mew=1.3, ls="none", zorder=5,
                      mfc=colour if row["change"] else "white", gid=f"value-{number}")  # fmt: skip
        head(axes, metric, grid.wide(width))
        adjusted = [math.nan if row is None else row["p_adjusted"] for row in own]
        grid.values(axes, [p_value(p) if math.isfinite(p) else "" for p in adjusted])
    return figure
