"""What plots have in common: how values and metrics are written, colours, marks, title and caption.

Nothing here needs pyplot, so that no figure stays open and no setting of the caller's own plots is changed.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evalkit.report.numbers import ARROWS
from evalkit.results.sweep_record import Parameter, Status, SweepRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart; markers and lines differ as well, for print in gray.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES: Sequence[Any] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)))
MAP = "cividis_r"  # dark is high; its brightness rises evenly, whichever colours are seen
QUIET = "#777777"
UNJUDGED = "#dddddd"
GOOD, BAD, WARN = "#14703f", "#b3261e", "#855300"  # of verdicts, which have marks of their own as well
BAD_SOFT, GOOD_SOFT = "#fbe7e4", "#e2f3e8"  # regions
WARNED = "#fff1c2"  # behind what random weights have measured
STEPS = ("#d5e5f4", "#a3cbe6", "#62a5d3", "#2170b5", "#08366f")  # from little to much, each of which a page replaces
ON_BRIGHT, ON_DARK = "#010101", "#fefefe"  # upon colours of a map, which no theme changes

STYLE = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text that can be searched and read aloud
    "svg.hashsalt": "evalkit",  # else ids, and so the files, differ from one process to the next
}

# inches
LINE = 0.19
HEADING = 0.08  # of a character of a legend's heading
MARGIN = 0.12

# marks of points without a value, on the axis
ABSENT: Mapping[Status, tuple[Any, str]] = {
    "failed": ("x", "failed"),
    "dropped": (7, "dropped from the race"),
    "ok": ("+", "no value"),
}


@dataclass(frozen=True)
class Mark:
    """An entry of a legend: what a marker looks like, and what it says."""

    said: str
    marker: Any = "o"
    face: str = "none"
    edge: str = "black"
    size: float = 6
    line: Any = "none"
    colour: str = "black"


@dataclass(frozen=True)
class Spot:
    """A point of a sweep as a metric sees it.

    Attributes:
        value: None where there is none that is finite and of all prompts.
        bars: by how much the interval lies below and above the value; None where there is none.
        among: whether it is not worse than the best; None where that is not said.
    """

    point: int
    options: Mapping[str, Any]
    status: Status
    n: int
    front: float
    value: float | None
    bars: tuple[float, float] | None
    best: bool
    among: bool | None

    def ends(self) -> tuple[float, float]:
        """The least and the greatest number that is drawn of it; NaN without a value."""
        value = math.nan if self.value is None else self.value
        below, above = self.bars or (0.0, 0.0)
        return value - below, value + above


@contextmanager
def style() -> Iterator[None]:
    """Draw as evalkit does, whatever the user's own settings of matplotlib are."""
    import matplotlib.style

    with matplotlib.style.context(STYLE, after_reset=True):
        yield


def words(value: Any, most: int = 28) -> str:
    """Write an option's value, or another text, so that matplotlib takes none of it for mathematics or commands."""
    if value is None or isinstance(value, (bool, list, tuple, dict)):
        said = json.dumps(value, ensure_ascii=False, default=str)
    elif isinstance(value, float):
        said = f"{value:.6g}"
    else:
        said = str(value)
    said = "".join(character if character.isprintable() else "�" for character in said)
    said = said if len(said) <= most else said[: most - 1] + "…"
    return said.replace("$", r"\$") or "''"


def directions(sweep: SweepRecord) -> dict[str, bool | None]:
    """Find whether higher values of each metric are better, those of objectives first; None where neither is."""
    known = sweep.scores.drop_duplicates("metric").set_index("metric")["higher_is_better"]
    order = dict.fromkeys([*(one.metric for one in sweep.objectives if one.metric in known.index), *known.index])
    return {str(metric): None if pd.isna(known[metric]) else bool(known[metric]) for metric in order}


def same(sweep: SweepRecord) -> dict[str, float]:
    """Find the metrics whose one value all points share that were measured, of which there are two at least.

    None of them is an objective, and some metric is always left to be drawn.
    """
    measured = set(sweep.points.loc[sweep.points["status"] == "ok", "point"])
    found: dict[str, float] = {}
    for metric, own in sweep.scores[sweep.scores["point"].isin(measured)].groupby("metric", sort=False):
        values = own["value"].to_numpy()
        if len(measured) > 1 and set(own["point"]) == measured and np.isfinite(values).all() and np.ptp(values) == 0:
            found[str(metric)] = float(values[0])
    for objective in sweep.objectives:
        found.pop(objective.metric, None)
    return found if directions(sweep).keys() - found.keys() else {}


def differing(sweep: SweepRecord) -> dict[str, bool | None]:
    """The metrics that have panels, with their directions: those that are not the same at all points."""
    left_out = same(sweep)
    return {metric: higher for metric, higher in directions(sweep).items() if metric not in left_out}


def said_of_same(sweep: SweepRecord) -> list[str]:
    """What a caption says of the metrics that have no panel; nothing where all have one."""
    titles = sweep.scores.drop_duplicates("metric").set_index("metric")["title"]
    said = ", ".join(f"{words(titles[metric], 80)} {value:.4g}" for metric, value in same(sweep).items())
    return [f"The same at all points: {said}."] if said else []


def label(sweep: SweepRecord, metric: str, higher: bool | None, wide: int = 34) -> str:
    """Name a metric's axis, with an arrow to where it is better."""
    title = str(sweep.scores.loc[sweep.scores["metric"] == metric, "title"].iloc[0])
    if higher is None:
        return textwrap.fill(words(title, 80), wide)
    said = f"{ARROWS[higher]} {'higher' if higher else 'lower'} is better"
    title = words(title, 80)
    return f"{title} {said}" if len(title) + len(said) < wide else f"{textwrap.fill(title, wide)}\n{said}"


def given_options(sweep: SweepRecord) -> dict[int, Mapping[str, Any]]:
    """The options of each point, by its number."""
    return {int(point): given for point, given in zip(sweep.points["point"], sweep.points["options"], strict=True)}


def options(sweep: SweepRecord, number: int, only: Sequence[Parameter] | None = None) -> str:
    """Write the options of a point, or some of them."""
    given = given_options(sweep)[number]
    parameters = sweep.parameters if only is None else only
    return ", ".join(f"{words(one.name)}={words(given.get(one.key))}" for one in parameters)


def spots(sweep: SweepRecord, metric: str) -> list[Spot]:
    """All points in order, with what a metric says of them.

    Only values of points that were measured on all prompts are there: those of fewer prompts cannot be compared.
    """
    scores = sweep.scores[sweep.scores["metric"] == metric].set_index("point")
    differ = scores["value"].nunique() > 1  # where all are the same, none is the best
    found = []
    for row in sweep.points.to_dict("records"):
        score = scores.loc[row["point"]].to_dict() if row["status"] == "ok" and row["point"] in scores.index else {}
        value, low, high = (float(score.get(name, math.nan)) for name in ("value", "low", "high"))
        among = score.get("among_best")
        found.append(
            Spot(
                point=int(row["point"]),
                options=row["options"],
                status=row["status"],
                n=int(row["n"]),
                front=float(row["front"]),
                value=value if math.isfinite(value) else None,
                bars=(max(0.0, value - low), max(0.0, high - value)) if math.isfinite(high - low) else None,
                best=differ and bool(score.get("best", False)),
                among=None if pd.isna(among) else bool(among),
            )
        )
    return found


def caption(sweep: SweepRecord, *more: str) -> str:
    """Say of how many prompts the values are, and what else a reader must know."""
    scored = sweep.scores[sweep.scores["point"].isin(sweep.points.loc[sweep.points["status"] == "ok", "point"])]
    numbers = [int(n) for n in (scored["n"].min(), scored["n"].max()) if not pd.isna(n)] or [0]
    n = f"{numbers[0]:,}" if numbers[0] == numbers[-1] else f"{numbers[0]:,} to {numbers[-1]:,}"
    prompts = f"{sweep.prompts:,} prompt{'' if sweep.prompts == 1 else 's'} of {words(sweep.dataset)}"
    where = f"{prompts}, subset {words(sweep.subset)}, protocol {words(sweep.protocol)}, model {words(sweep.model, 60)}"
    return " ".join([f"n = {n}; {where}.", *more])


def begin(
    random: Sequence[str],
    title: str,
    size: tuple[float, float],
    legends: Sequence[tuple[str, Sequence[Mark]]],
    said: str,
) -> Figure:
    """Make a figure with title, a warning of random weights, legends and caption around room for panels.

    Args:
        random: networks and models with random weights.
        size: of the room for panels, in inches.
        legends: of each its heading and its entries.
        said: the caption.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width, room = size
    lines = textwrap.wrap(said, int((width - 2 * MARGIN) / 0.056))
    warning = ""
    if random:
        names = words(", ".join(random), 200)
        warning = f"Random weights: {names}. The numbers mean nothing outside this plot."
    warned = textwrap.wrap(warning, int((width - 4 * MARGIN) / 0.085))
    blocks = [(heading, marks, _columns(heading, marks, width)) for heading, marks in legends if marks]
    tall = [LINE * -(-len(marks) // columns) + 0.06 for _, marks, columns in blocks]
    top = 0.38 + (LINE * len(warned) + 0.16 if warned else 0) + sum(tall) + 0.06
    bottom = LINE * 0.85 * len(lines) + 2 * MARGIN
    height = top + room + bottom
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    rectangle = (0.005, bottom / height, 0.99, room / height)
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=rectangle, w_pad=0.06, h_pad=0.05, wspace=0.03, hspace=0.03))

    left, y = MARGIN / width, height - MARGIN
    figure.text(left, y / height, title, ha="left", va="top", fontsize=11, fontweight="bold", gid="title")
    y -= 0.30
    if warned:
        figure.text(
            2 * left, (y - 0.06) / height, "\n".join(warned), ha="left", va="top", fontsize=9, fontweight="bold",
            bbox={"boxstyle": "square,pad=0.35", "facecolor": WARNED, "edgecolor": "black", "linewidth": 1.2},
        )  # fmt: skip
        y -= LINE * len(warned) + 0.16
    for (heading, marks, columns), high in zip(blocks, tall, strict=True):
        _legend(figure, heading, marks, columns, (left, y / height))
        y -= high
    figure.text(
        left, MARGIN / height, "\n".join(lines), ha="left", va="bottom", fontsize=7.5, color="#444444",
        linespacing=1.25, gid="caption",
    )  # fmt: skip
    return figure


def _columns(heading: str, marks: Sequence[Mark], width: float) -> int:
    """In how many columns the entries of a legend fit beside its heading; columns are filled one by one."""
    room = width - 2 * MARGIN - HEADING * len(heading)
    for columns in range(len(marks), 1, -1):
        rows = -(-len(marks) // columns)
        wide = [max(len(mark.said) for mark in marks[i : i + rows]) for i in range(0, len(marks), rows)]
        if sum(0.62 + (0.072 if width > 5 else 0.078) * characters for characters in wide) <= room:
            return columns
    return 1


def _legend(figure: Figure, heading: str, marks: Sequence[Mark], columns: int, corner: tuple[float, float]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker=m.marker, mfc=m.face, mec=m.edge, ms=m.size, ls=m.line, color=m.colour) for m in marks
    ]
    left, top = corner
    if heading:
        high = 0.045 / figure.get_figheight()
        figure.text(left, top - high, heading, ha="left", va="top", fontsize=8.5, fontweight="bold")
        left += (HEADING * len(heading) + 0.05) / figure.get_figwidth()
    figure.legend(
        handles, [mark.said for mark in marks], loc="upper left", bbox_to_anchor=(left, top), ncols=columns,
        fontsize=8.5, borderpad=0, borderaxespad=0.2, columnspacing=1.4, handletextpad=0.5, labelspacing=0.35,
        handlelength=2.2,
    )  # fmt: skip


def span(spots: Iterable[Spot], below: float = 0.06) -> tuple[float, float]:
    """Limits of an axis around values and bars, with room; `below` is the share of it that stays free under them."""
    ends = [end for spot in spots if spot.value is not None for end in spot.ends()]
    if not ends:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    wide = (high - low) or abs(high) or 1.0
    return low - below * wide, high + 0.06 * wide


def hide_unused(axes: Sequence[Axes], used: int) -> None:
    """Take away the panels of a grid that nothing is drawn in."""
    for panel in axes[used:]:
        panel.set_axis_off()
