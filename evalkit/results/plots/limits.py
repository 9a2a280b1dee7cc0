"""Limits of a model: how languages and groups of prompts differ from what they are compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.report.document import Listing
from evalkit.report.literal import literal
from evalkit.report.numbers import counted, places
from evalkit.results.limits.limit import NO_DIFFERENCE, Limit, OfModel, amount, listed
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
    if "who" not in {quantity.key for column in table.columns for quantity in column}:
        return None
    every = [row.cell for row in table.rows if math.isfinite(row.cell.get("difference_low", math.nan))]
    shown = list(dict.fromkeys(str(cell["who"]) for cell in every))[:MOST]
    if not shown:
        return None
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
    together = [q.label for column in table.columns for q in column if q.key == "units"]
    units = f" prompts of {span(int(cell['units']) for cell in found.values())} {together[0]}" if together else ""
    text = (
        f"n = {ns}{units}; {model.about}. Bars: intervals that hold all at once with {percent(model.level)} "
        "confidence; those of hollow marks, by themselves."
    )

    def draw(width: float) -> Figure:
        return _figure(title, shown, metrics, found, unknown, model, text, width)

    numbers = listing(
        [
            ("who", "group", "word"), ("title", "metric", "word"), ("difference", "difference", "signed"),
            ("interval", "interval", "interval"), ("n", "n", "count"), *(("units", name, "count") for name in together),
            ("verdict", "verdict", "word"),
        ],
        [{**cell, "places": places(cell["high"] - cell["low"])} for cell in found.values()],
    )  # fmt: skip
    said = _said([row.cell for row in table.rows], shown, other)
    return Plot(f"limits-{limit.name}-{number}", title, said, text, numbers, draw)


def _said(cells: Sequence[Mapping[str, Any]], shown: Sequence[str], other: str) -> str:
    """What is seen: what is judged and what of it is beyond noise, what is not judged, and what is not drawn.

    Args:
        cells: of all differences of the table.
        shown: who is drawn.
    """
    judged = [cell for cell in cells if cell["verdict"]]
    sure = [literal(f"{one['title']} of {one['who']} {one['verdict']}") for one in judged if one["verdict"] in CLAIMED]
    said = f"No difference from {other} is judged"
    if judged:
        said = f"{counted(len(judged), 'difference')} from {other} judged, {len(sure) or 'none'} beyond noise"
    said += f": {'; '.join(sure[:6])}{'; …' if len(sure) > 6 else ''}" if sure else ""
    bare = [cell for cell in cells if not math.isfinite(cell["difference_low"])]
    if few := len(cells) - len(bare) - len(judged):
        said += f". {few:,} {UNJUDGED}"
    if absent := list(dict.fromkeys(cell["who"] for cell in cells if cell["who"] not in shown)):
        said += f". Not drawn: {listed(absent)}"
    if unknown := [f"{cell['title']} of {cell['who']}" for cell in bare if cell["who"] in shown]:
        said += f". No interval: {listed(unknown)}"
    return f"{said}."


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
    figure = drawing.begin(model.random, title, grid.size(width, metrics), [("", marks)], text)
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
