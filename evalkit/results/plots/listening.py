"""What people said of systems, each with its interval: a rating, or a strength from choices between two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from evalkit.report.document import Listing
from evalkit.report.literal import literal
from evalkit.results.listening_record import ListeningRecord
from evalkit.results.listening_text import AXES, PLACES, best_first, called
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import COLOURS, QUIET, Mark
from evalkit.results.plots.plot import Metric, Plot, brief, extremes, listing, percent, span
from evalkit.results.plots.rows import Rows, bar, head, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {  # marker, face and colour by role
    "system": ("o", COLOURS[0], COLOURS[0]),
    "reference": ("D", "white", COLOURS[2]),
    "control": ("s", "white", QUIET),
}
ROLES = {"system": "system", "reference": "hidden reference", "control": "hidden bad control"}


def plot(listening: ListeningRecord, name: str = "ratings") -> Plot | None:
    """Draw what every system was rated, the best first; None where there is no rating.

    Args:
        name: of the plot, unique on a page.
    """
    rows = [row for row in best_first(listening) if math.isfinite(row["value"])]
    if not rows:
        return None
    axis = AXES.get(listening.axis, listening.axis)
    metric = Metric(name, "Rating" if listening.method == "rating" else "Strength (log)", True, False)
    bars = any(math.isfinite(row["low"]) for row in rows)
    what = f"{span(row['n'] for row in rows)} {'ratings' if listening.method == 'rating' else 'choices'}"
    text = (
        f"n = {what} of each, by {listening.raters_kept:,} raters on {len(listening.prompts):,} prompts of "
        f"{literal(listening.dataset)}. "
        + (
            f"Bars: {percent(listening.level)} intervals over raters and prompts."
            if bars
            else "There are no intervals."
        )
    )
    heard = [row for row in rows if row["role"] == "system"] or rows
    said = (
        f"{axis[:1].upper()}{axis[1:]} as people heard it: "
        f"{extremes([(row['system'], row['value']) for row in heard], True)}, higher is better."
    )
    title = called(listening)

    def draw(width: float) -> Figure:
        grid = Rows([row["system"] for row in rows], width, 1)
        figure = drawing.begin([], title, grid.size(width, [metric]), [("", _marks(rows))], text)
        (axes,) = grid.axes(figure)
        _panel(axes, rows, grid)
        head(axes, metric, grid.wide(width))
        return figure

    return Plot(name, title, said, text, _numbers(listening, rows), draw)


def _marks(rows: list[dict[str, Any]]) -> list[Mark]:
    marks = []
    for role, (marker, face, colour) in LOOKS.items():
        if any(row["role"] == role for row in rows):
            marks.append(Mark(ROLES[role], marker, face, colour, line="-", colour=colour))
    return marks


def _panel(axes: Axes, rows: list[dict[str, Any]], grid: Rows) -> None:
    scale(axes, [value for row in rows for value in (row["value"], row["low"], row["high"])], open_ended=False)
    for number, row in enumerate(rows):
        bar(axes, row, grid.at(number), LOOKS[row["role"]], str(number))
    grid.values(axes, [brief(row["value"]) for row in rows])


def _numbers(listening: ListeningRecord, rows: list[dict[str, Any]]) -> Listing:
    value = "rating" if listening.method == "rating" else "strength"
    return listing(
        [
            ("system", "system", "word"), ("is", "is", "word"), ("value", value, "number"),
            ("interval", "interval", "interval"), ("n", "n", "count"),
        ],
        [{**row, "is": ROLES[row["role"]], "places": PLACES[listening.method]} for row in rows],
    )  # fmt: skip
