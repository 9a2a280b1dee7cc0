"""Limits of a model: how languages and groups of prompts differ from what they are compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.report.document import Listing
from evalkit.report.literal import literal
from evalkit.report.numbers import places
from evalkit.results.limits.limit import NO_DIFFERENCE, Limit, OfModel, amount
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import BAD, COLOURS, GOOD, QUIET, Mark
from evalkit.results.plots.plot import Metric, Plot, listing, percent, span
from evalkit.results.plots.rows import Rows, bar, head, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 16  # rows in a figure
LOOKS: Mapping[str, tuple[str, str]] = {
    "worse": ("X", BAD), "better": ("P", GOOD), "higher": ("^", COLOURS[0]), "lower": ("v", COLOURS[0]),
    NO_DIFFERENCE: ("o", QUIET),
}  # fmt: skip
CLAIMED = ("worse", "better", "higher", "lower")
UNJUDGED = "too few to judge"


def plots(models: Sequence[OfModel]) -> Iterator[tuple[str, Plot]]:
    """Draw the limits of some models that are differences, each with the name of the limit."""
    for model in models:
        of = f"-{models.index(model) + 1}" if len(models) > 1 else ""
        for limit in model.limits:
            for number, table in enumerate(limit.tables, 1):
                if isinstance(table, Listing) and (plot := _plot(model, limit, table, f"{number}{of}")) is not None:
                    yield limit.name, plot


def _plot(model: OfModel, limit: Limit, table: Listing, number: str) -> Plot | None:
    """Draw the differences of a table, a panel for each metric; None for a table without."""
    every = [row.cell for row in table.rows if math.isfinite(row.cell.get("difference_low", math.nan))]
    names = list(dict.fromkeys(str(cell["who"]) for cell in every))
    if "who" not in {quantity.key for column in table.columns for quantity in column} or not names:
        return None
    shown = names[:MOST]
    found = {(cell["title"], cell["who"]): _drawn(cell) for cell in every if cell["who"] in shown}
    metrics = [
        Metric(title, literal(title), next(cell["higher"] for cell in every if cell["title"] == title))
        for title in dict.fromkeys(cell["title"] for cell in every)
    ]
    unknown = {
        str(cell["who"]): float(cell["unknown"]) for cell in every if math.isfinite(cell.get("unknown", math.nan))
    }
    other = next(q.label for column in table.columns for q in column if q.key == "other")
    title = f"{table.title}: differences from {other}"
    ns = span(int(cell["n"]) for cell in found.values())
    text = (
        f"n = {ns}; {model.about}. Bars: intervals that hold all at once with {percent(model.level)} confidence; those "
        "of hollow marks, by themselves."
    )

    def draw(width: float) -> Figure:
        return _figure(title, shown, metrics, found, unknown, model, text, width)

    verdicts = (f"{one['title']} of {one['who']} {one['verdict']}" for one in every if one["verdict"] in CLAIMED)
    sure = list(verdicts)
    said = f"{len(every):,} differences from {other}, {len(sure) or 'none'} of them beyond noise"
    said += f": {'; '.join(sure[:6])}" if sure else ""
    numbers = listing(
        [
            ("who", "group", "word"), ("title", "metric", "word"), ("difference", "difference", "signed"),
            ("interval", "interval", "interval"), ("n", "n", "count"), ("verdict", "verdict", "word"),
        ],
        [{**cell, "places": places(cell["high"] - cell["low"])} for cell in found.values()],
    )  # fmt: skip
    return Plot(f"limits-{limit.name}-{number}", title, literal(f"{said}."), text, numbers, draw)


def _drawn(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {**cell, "low": cell["difference_low"], "high": cell["difference_high"]}


def _figure(
    title: str,
    names: Sequence[str],
    metrics: Sequence[Metric],
    found: Mapping[tuple[str, str], Mapping[str, Any]],
    unknown: Mapping[str, float],
    model: OfModel,
    text: str,
    width: float,
) -> Figure:
    grid = Rows(names, width, len(metrics) + bool(unknown))
    there = {str(cell["verdict"]) for cell in found.values()}
    marks = [Mark(said, marker, colour, colour, 6.5) for said, (marker, colour) in LOOKS.items() if said in there]
    marks += [Mark(UNJUDGED, "o", "white", QUIET, 6)] if "" in there else []
    figure = drawing.begin(model.random, title, grid.size(width), [("", marks)], text)
    panels = grid.axes(figure)
    for axes, metric in zip(panels, metrics, strict=False):
        own = [found.get((metric.name, name)) for name in names]
        scale(axes, [0.0, *(cell[key] for cell in own if cell for key in ("difference", "low", "high"))], (), False)
        grid.line(axes, 0, color="black", lw=0.9, zorder=2, gid="zero")
        for number, cell in enumerate(own):
            if cell is not None:
                marker, colour = LOOKS.get(cell["verdict"], ("o", QUIET))
                bar(axes, cell, grid.at(number), (marker, colour if cell["verdict"] else "white", colour), str(number),
                    "difference")  # fmt: skip
        head(axes, metric, grid.wide(width))
    if unknown:
        _unknown(panels[len(metrics)], [unknown.get(name, math.nan) for name in names], grid, width)
    return figure


def _unknown(axes: Axes, shares: Sequence[float], grid: Rows, width: float) -> None:
    """Draw the share of unknown text beside: whether what differs can be read at all."""
    scale(axes, [0.0, *(100 * share for share in shares if math.isfinite(share)), 1.0], (), False)
    for number, share in enumerate(shares):
        if math.isfinite(share):
            axes.barh(grid.at(number), 100 * share, height=0.45 if not grid.narrow else 0.3, color=COLOURS[5], zorder=3,
                      gid=f"unknown-{number}")  # fmt: skip
    head(axes, Metric("unknown", "Unknown text (%)", None), grid.wide(width))
    grid.values(axes, ["" if math.isnan(share) else amount(share, True) for share in shares])
