"""Every row's value of each metric with its interval, and what was published beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evalkit.report.document import Listing
from evalkit.report.numbers import places
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import COLOURS, QUIET, Mark
from evalkit.results.plots.plot import (
    Metric,
    Plot,
    Shown,
    brief,
    caption,
    extremes,
    level,
    listing,
    metrics,
    random,
    short,
)
from evalkit.results.plots.rows import Rows, bar, head, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Values and intervals"
SAID = 6  # metrics that the sentence names


def plot(rows: Sequence[Shown]) -> Plot | None:
    """Draw all scores of some rows, models first; None where no row has a value."""
    ordered = sorted(rows, key=lambda one: one.calibration)
    drawn = metrics(ordered)
    if not drawn:
        return None
    scores = [score for one in ordered for score in one.scores.values()]
    bars = any(math.isfinite(score["low"]) for score in scores)
    said = [f"Bars: {level(ordered)}." if bars else "There are no intervals."]
    if any(one.calibration for one in ordered) and not all(one.calibration for one in ordered):
        said.append("Calibration rows, below, show what the scale is; an arrow is one beyond the axis.")
    text = caption(ordered, (score["n"] for score in scores), *said)

    def draw(width: float) -> Figure:
        return _figure(ordered, drawn, text, width)

    return Plot("intervals", TITLE, _said(ordered, drawn), text, _numbers(ordered, drawn), draw)


def _said(rows: Sequence[Shown], drawn: Sequence[Metric]) -> str:
    models = [one for one in rows if not one.calibration] or rows
    parts = []
    for metric in drawn[:SAID]:
        values = [(one.name, one.scores[metric.name]["value"]) for one in models if metric.name in one.scores]
        if values:
            better = f", {metric.better}" if len(values) > 1 and metric.better else ""
            parts.append(f"{metric.title} {extremes(values, metric.higher_is_better)}{better}")
    more = f"; and {len(drawn) - SAID:,} more metrics" if len(drawn) > SAID else ""
    return f"Values with intervals of {len(rows):,} row{'s' if len(rows) > 1 else ''}: {'; '.join(parts)}{more}."


def _numbers(rows: Sequence[Shown], drawn: Sequence[Metric]) -> Listing:
    found = []
    for metric in drawn:
        for one in rows:
            if metric.name in one.scores:
                score = one.scores[metric.name]
                found.append(
                    {
                        **score,
                        "metric": metric.column,
                        "row": one.name + (" (calibration)" if one.calibration else ""),
                        "places": places(score["high"] - score["low"]),
                    }
                )
    return listing(
        [
            ("metric", "metric", "word"), ("row", "row", "word"), ("value", "measured", "number"),
            ("interval", "interval", "interval"), ("n", "n", "count"), ("published", "published", "published"),
        ],
        found,
    )  # fmt: skip


def _figure(rows: Sequence[Shown], drawn: Sequence[Metric], text: str, width: float) -> Figure:
    first = next((number for number, one in enumerate(rows) if one.calibration), len(rows))
    grid = Rows([one.name for one in rows], width, len(drawn), [first] if 0 < first < len(rows) else [])
    dataset = short([rows[0].record.prompts_info.dataset], 40)[0]
    figure = drawing.begin(
        random(rows), f"{dataset}: values and intervals", grid.size(width, drawn), [("", _marks(rows))], text
    )
    for axes, metric in zip(grid.axes(figure), drawn, strict=True):
        _panel(axes, rows, metric, grid)
        head(axes, metric, grid.wide(width))
    return figure


def _marks(rows: Sequence[Shown]) -> list[Mark]:
    scores = [score for one in rows for score in one.scores.values()]
    published = {bool(score["comparable"]) for score in scores if math.isfinite(score["published"])}
    marks = []
    if any(not one.calibration for one in rows):
        marks.append(Mark("measured", "o", COLOURS[0], COLOURS[0], line="-", colour=COLOURS[0]))
    if any(one.calibration for one in rows):
        marks.append(Mark("calibration row", "s", "white", QUIET, line="-", colour=QUIET))
    if True in published:
        marks.append(Mark("published", "D", COLOURS[1], COLOURS[1], 5))
    if False in published:
        marks.append(Mark("published, not comparable", "D", "none", COLOURS[1], 5))
    return marks


def _panel(axes: Axes, rows: Sequence[Shown], metric: Metric, grid: Rows) -> None:
    """Draw a metric's values; what lies too far away has an arrow at the edge."""
    inside, apart, said = [], [], []
    for one in rows:
        score = one.scores.get(metric.name)
        if score is None:
            said.append("–")
            continue
        said.append(brief(score["value"]))
        ends = [score["value"], score["low"], score["high"]]
        if one.calibration:
            apart += ends
        else:
            inside += [*ends, score["published"]]
    scale(axes, inside, apart, metric.open_ended)
    for number, one in enumerate(rows):
        score = one.scores.get(metric.name)
        if score is None:
            continue
        y, colour = grid.at(number), QUIET if one.calibration else COLOURS[0]
        if math.isfinite(score["published"]):
            face = COLOURS[1] if score["comparable"] else "none"
            axes.plot(score["published"], y, marker="D", ms=5, mfc=face, mec=COLOURS[1], mew=1.2, zorder=4, ls="none",
                      gid=f"published-{number}")  # fmt: skip
        looks = ("s", "white", colour) if one.calibration else ("o", colour, colour)
        bar(axes, score, y, looks, str(number))
    grid.values(axes, said)
