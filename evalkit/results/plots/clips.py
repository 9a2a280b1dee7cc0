"""How the values of single clips are spread, by metric and row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.report.document import Listing
from evalkit.report.literal import literal
from evalkit.report.numbers import places
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import COLOURS, QUIET, Mark
from evalkit.results.plots.plot import Metric, Plot, Shown, brief, caption, listing, metrics, random, short
from evalkit.results.plots.rows import Rows, head, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS = 120  # prompts of which each has a dot; of more there is a shape
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS, SMOOTH = 48, (1.0, 2.0, 3.0, 2.0, 1.0)
HALF = 0.36  # of a row: how far a shape, or dots, reach up and down
FLAT = 0.2  # the same where names are above rows
SAID = 4  # metrics that the sentence names


def plot(rows: Sequence[Shown], more: str = "") -> Plot | None:
    """Draw the values of single prompts, models first; None where no metric has values that differ.

    Args:
        more: a sentence for the caption.
    """
    ordered = sorted(rows, key=lambda one: one.calibration)
    found: dict[str, dict[int, np.ndarray]] = {}
    known = metrics(ordered)
    for metric in known:
        values = {number: _values(one, metric.name) for number, one in enumerate(ordered)}
        values = {number: own for number, own in values.items() if len(own)}
        # of shares, such as of clips that are silent, a bar says all
        if values and len(np.unique(np.concatenate(list(values.values())))) > 2:
            found[metric.name] = values
    if not found:
        return None
    drawn = [metric for metric in known if metric.name in found]
    every = [own for values in found.values() for own in values.values()]
    shapes = {len(own) > DOTS for own in every}
    text = caption(
        ordered, map(len, every),
        "Thick bar: half of the prompts; thin: 90 %; line: the median; diamond: the value of the whole row, which is a "
        "mean over prompts or their parts. Right: medians.",
        "Dots: prompts." if False in shapes else "",
        f"Shape{f', of more than {DOTS}' if False in shapes else ''}: how many prompts have which value."
        if True in shapes
        else "",
        "Dotted: medians of calibration rows." if any(one.calibration for one in ordered) else "", more,
    )  # fmt: skip

    def draw(width: float) -> Figure:
        return _figure(ordered, drawn, found, text, width)

    return Plot(
        "clips", "Values of single prompts", _said(ordered, drawn, found), text, _numbers(ordered, drawn, found), draw
    )


def _values(one: Shown, metric: str) -> np.ndarray:
    values = one.per_prompt(metric).to_numpy(dtype=float)
    return np.sort(values[np.isfinite(values)])


def _said(rows: Sequence[Shown], drawn: Sequence[Metric], found: Mapping[str, Mapping[int, np.ndarray]]) -> str:
    parts = []
    for metric in drawn[:SAID]:
        number, values = next(iter(found[metric.name].items()))
        low, half, high = (float(end) for end in np.quantile(values, (0.05, 0.5, 0.95)))
        parts.append(
            f"{metric.title} of {literal(rows[number].name)}: median {brief(half)}, 90 % between {brief(low)} and "
            f"{brief(high)}"
        )
    return f"How values differ from prompt to prompt. {'; '.join(parts)}."


def _numbers(rows: Sequence[Shown], drawn: Sequence[Metric], found: Mapping[str, Mapping[int, np.ndarray]]) -> Listing:
    lines: list[dict[str, Any]] = []
    for metric in drawn:
        for number, values in found[metric.name].items():
            one = rows[number]
            quantiles = np.quantile(values, SHARES)
            lines.append(
                {
                    "metric": metric.column, "row": one.name + (" (calibration)" if one.calibration else ""),
                    "n": len(values), "least": values[0], "most": values[-1],
                    **{f"q{share}": value for share, value in zip(SHARES, quantiles, strict=True)},
                    "places": places(float(quantiles[-1] - quantiles[0])),
                }
            )  # fmt: skip
    names = {0.05: "5 %", 0.25: "25 %", 0.5: "median", 0.75: "75 %", 0.95: "95 %"}
    return listing(
        [
            ("metric", "metric", "word"), ("row", "row", "word"), ("n", "n", "count"), ("least", "least", "number"),
            *((f"q{share}", names[share], "number") for share in SHARES), ("most", "greatest", "number"),
        ],
        lines,
    )  # fmt: skip


def _figure(
    rows: Sequence[Shown],
    drawn: Sequence[Metric],
    found: Mapping[str, Mapping[int, np.ndarray]],
    text: str,
    width: float,
) -> Figure:
    first = next((number for number, one in enumerate(rows) if one.calibration), len(rows))
    grid = Rows([one.name for one in rows], width, len(drawn), [first] if 0 < first < len(rows) else [])
    dataset = short([rows[0].record.prompts_info.dataset], 40)[0]
    marks = [Mark("models", "o", COLOURS[0], COLOURS[0])] if first else []
    if first < len(rows):
        marks.append(Mark("calibration rows", "o", QUIET, QUIET))
    marks.append(Mark("value of the row", "D", "white", "black", 5.5))
    figure = drawing.begin(
        random(rows), f"{dataset}: values of single prompts", grid.size(width, drawn), [("", marks)], text
    )
    for axes, metric in zip(grid.axes(figure), drawn, strict=True):
        _panel(axes, rows, metric, found[metric.name], grid)
        head(axes, metric, grid.wide(width))
    return figure


def _panel(axes: Axes, rows: Sequence[Shown], metric: Metric, found: Mapping[int, np.ndarray], grid: Rows) -> None:
    ends: tuple[list[float], list[float]] = ([], [])
    for number, values in found.items():
        ends[rows[number].calibration].extend((values[0], values[-1]))
        ends[rows[number].calibration].append(rows[number].scores[metric.name]["value"])
    low, high = scale(axes, *ends, open_ended=False)
    half = FLAT if grid.narrow else HALF
    for number, values in found.items():
        one, y = rows[number], grid.at(number)
        colour = QUIET if one.calibration else COLOURS[0]
        if len(values) > DOTS:
            _shape(axes, values, y, half, colour, number)
        else:
            # aside by a fixed sequence that fills the row evenly
            aside = half * (2 * ((np.arange(len(values)) * 0.6180339887) % 1) - 1)
            axes.plot(values, y + aside, ls="none", marker="o", ms=3, mfc=colour, mec="none", alpha=0.45, zorder=3,
                      gid=f"dots-{number}")  # fmt: skip
        quantiles = np.quantile(values, SHARES)
        axes.plot(quantiles[[0, -1]], [y, y], color=colour, lw=1.0, zorder=4, gid=f"most-{number}")
        axes.plot(quantiles[[1, -2]], [y, y], color=colour, lw=4.5, solid_capstyle="butt", alpha=0.75, zorder=4,
                  gid=f"half-{number}")  # fmt: skip
        axes.plot([quantiles[2]] * 2, [y - half * 0.8, y + half * 0.8], color=colour, lw=1.8, zorder=5,
                  gid=f"median-{number}")  # fmt: skip
        value = one.scores[metric.name]["value"]
        if math.isfinite(value) and low <= value <= high:
            axes.plot(value, y, marker="D", ms=5, mfc="white", mec="black", mew=1.1, ls="none", zorder=6,
                      gid=f"value-{number}")  # fmt: skip
        if one.calibration and low <= quantiles[2] <= high:
            grid.line(axes, quantiles[2], color=QUIET, lw=0.9, ls=(0, (1, 2)), zorder=1, gid=f"calibration-{number}")
    medians = (f"{brief(float(np.median(found[n])))}" if n in found else "–" for n in range(len(rows)))
    grid.values(axes, list(medians))


def _shape(axes: Axes, values: np.ndarray, y: float, half: float, colour: str, number: int) -> None:
    """Draw how many values are where, as a shape that is even above and below."""
    counts, edges = np.histogram(values, BINS)
    dense = np.convolve(counts, np.array(SMOOTH) / sum(SMOOTH), mode="same")
    middle = (edges[:-1] + edges[1:]) / 2
    reach = half * dense / dense.max()
    axes.fill_between(middle, y - reach, y + reach, facecolor=colour, alpha=0.28, linewidth=0, zorder=2,
                      gid=f"shape-{number}")  # fmt: skip
