"""Named rows, one below the other, that panels side by side share."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.report.numbers import ARROWS
from evalkit.results.plots.drawing import LINE, QUIET, words
from evalkit.results.plots.plot import PHONE, Metric, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = "#f3f3f3"  # behind every second row
HIGH, TALL = 0.27, 0.44  # inches of a row, and of one that has its name above
APART = 0.7  # of a row: the gap before rows that stand apart
PANEL = 2.15  # inches of a panel at least, beside others
CHARACTER = 0.078  # inches
SAID = 0.6  # inches beside a panel
MOST = 30  # characters of a name beside a row
LOGARITHMIC = 30.0  # the greatest value over the least, from which an axis is logarithmic
FAR = 4.0  # times the range of models that rows apart may stretch an axis to


def arranged(panels: int, width: float, least: float, beside: float = 0.0) -> tuple[int, int]:
    """In how many lines and columns panels are; in a narrow figure one is below the other.

    Args:
        width: of the figure, in inches.
        least: how wide a panel is at least.
        beside: what is left of them.
    """
    fit = 1 if width < PHONE else max(1, int((width - beside) / least))
    lines = math.ceil(panels / fit)
    return lines, math.ceil(panels / lines)


class Rows:
    """Where rows lie, and how panels with them are laid out.

    Args:
        names: of the rows, from the top.
        width: of the figure, in inches.
        panels: how many there are.
        breaks: numbers of the rows that a gap is before.
        marks: behind names, such as a number of prompts.
    """

    def __init__(
        self,
        names: Sequence[str],
        width: float,
        panels: int,
        breaks: Collection[int] = (),
        marks: Sequence[str] = (),
    ):
        self.narrow = width < PHONE
        most = int((width - 0.3) / CHARACTER) if self.narrow else MOST
        behind = [f" {mark}" if mark else "" for mark in marks or [""] * len(names)]
        longest = max(map(len, behind), default=0)
        self.names = [name + mark for name, mark in zip(short(names, most - longest), behind, strict=True)]
        self.places: list[float] = []
        at = 0.0
        for number in range(len(names)):
            at += APART if number in breaks else 0.0
            self.places.append(at)
            at += 1
        self.bottom = at - 0.5
        self.beside = 0.1 if self.narrow else CHARACTER * max(map(len, self.names), default=0) + 0.2
        self.lines, self.columns = arranged(panels, width, PANEL, self.beside)
        self.panels = panels
        self.high = TALL if self.narrow else HIGH

    def size(self, width: float, metrics: Sequence[Metric] = ()) -> tuple[float, float]:
        """The room that all panels need, in inches, with titles of two lines where a metric's is too long for one."""
        long = any(len(metric.title) > fitting(self.wide(width)) for metric in metrics)
        return width, self.lines * ((self.bottom + 0.5) * self.high + 0.82 + LINE * long) + 0.1

    def wide(self, width: float) -> float:
        """How wide a panel is, about, in inches."""
        return (width - self.beside) / self.columns - SAID

    def axes(self, figure: Figure) -> list[Axes]:
        """Make the panels, each with the rows."""
        grid = figure.subplots(self.lines, self.columns, squeeze=False)
        found = list(grid.flat)
        for number, panel in enumerate(found):
            if number >= self.panels:
                panel.set_axis_off()
                continue
            self._dress(panel, first=number % self.columns == 0)
        return found[: self.panels]

    def _dress(self, axes: Axes, first: bool) -> None:
        axes.set_ylim(self.bottom, -0.5)
        axes.grid(False, axis="y")
        for number, place in enumerate(self.places):
            if number % 2 == 0:
                axes.axhspan(place - 0.5, place + 0.5, facecolor=BAND, linewidth=0, zorder=0)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        if self.narrow:
            axes.set_yticks([])
            for name, place in zip(self.names, self.places, strict=True):
                axes.text(0, place - 0.24, f" {name}", transform=axes.get_yaxis_transform(), ha="left", va="center",
                          fontsize=8.5, gid="name")  # fmt: skip
        else:
            axes.set_yticks(self.places, self.names if first else [""] * len(self.names))

    def at(self, number: int) -> float:
        """Where a row is drawn: below its name, where that is above."""
        return self.places[number] + (0.18 if self.narrow else 0.0)

    def line(self, axes: Axes, x: float, **looks: Any) -> None:
        """Draw an upright line through all rows, but not through names."""
        if not self.narrow:
            axes.axvline(x, **looks)
            return
        ends = [(self.at(number) - 0.2, self.at(number) + 0.2) for number in range(len(self.places))]
        along = [y for low, high in ends for y in (low, high, math.nan)]
        axes.plot([x] * len(along), along, **looks)

    def values(self, axes: Axes, said: Sequence[str]) -> None:
        """Write something right of each row."""
        for number, text in enumerate(said):
            axes.text(1.02, self.at(number), text, transform=axes.get_yaxis_transform(), ha="left", va="center",
                      fontsize=8, color=QUIET, gid="said")  # fmt: skip


def bar(
    axes: Axes, score: Mapping[str, Any], y: float, looks: tuple[str, str, str], name: str, value: str = "value"
) -> None:
    """Draw a value with its interval, where it has one.

    Args:
        looks: marker, face and colour.
        name: of the row, which marks are found by.
        value: the value's key.
    """
    marker, face, colour = looks
    if math.isfinite(score["low"]):
        axes.plot([score["low"], score["high"]], [y, y], color=colour, lw=1.6, solid_capstyle="butt", zorder=3,
                  gid=f"interval-{name}")  # fmt: skip
    low, high = axes.get_xlim()
    if low <= score[value] <= high:
        axes.plot(score[value], y, marker=marker, ms=5.5, mfc=face, mec=colour, mew=1.4, zorder=5, ls="none",
                  gid=f"value-{name}")  # fmt: skip
        return
    above = score[value] > high
    axes.plot(0.985 if above else 0.015, y, marker=">" if above else "<", ms=6, mfc=colour, mec=colour,
              transform=axes.get_yaxis_transform(), zorder=5, ls="none", gid=f"beyond-{name}")  # fmt: skip


def fitting(wide: float) -> int:
    """How many characters a line of a title has at most, above a panel that is so wide, in inches."""
    return max(8, int((wide + SAID / 2) / 0.096) - 2)


def head(axes: Axes, metric: Metric, wide: float) -> None:
    """Name a panel by its metric, in two lines at most, and say where better is.

    Args:
        wide: of the panel, in inches.
    """
    most = fitting(wide)
    wrapped = textwrap.wrap(metric.title, most, max_lines=2, placeholder="…")
    title = "\n".join(words(line, most) for line in wrapped)
    axes.set_title(f"{title} {ARROWS[metric.higher_is_better]}".strip(), loc="left", fontsize=9.5, fontweight="bold")
    axes.set_xlabel(metric.better, fontsize=8, color=QUIET)


def scale(
    axes: Axes, values: Sequence[float], others: Sequence[float] = (), open_ended: bool = True
) -> tuple[float, float]:
    """Give an axis its scale and limits, so that values are inside, and others if they are not too far away.

    Args:
        open_ended: whether it may be logarithmic.

    Returns the limits.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    inside = np.array([value for value in values if math.isfinite(value)])
    apart = np.array([value for value in others if math.isfinite(value)])
    every = np.concatenate([inside, apart])
    if not len(every):
        return 0.0, 1.0
    middle = inside if len(inside) else every
    if open_ended and every.min() > 0 and middle.max() / middle.min() > LOGARITHMIC:
        low, high = math.log10(every.min()), math.log10(every.max())
        room = 0.06 * (high - low)
        axes.set_xscale("log")
        axes.set_xlim(10 ** (low - room), 10 ** (high + room))
        decades = high - low
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if decades < 2.2 else (1.0,), numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        low, high = float(middle.min()), float(middle.max())
        wide = (high - low) or abs(high) or 1.0
        least, most = float(every.min()), float(every.max())
        low = least if low - least <= FAR * wide else low
        high = most if most - high <= FAR * wide else high
        wide = (high - low) or abs(high) or 1.0
        axes.set_xlim(low - 0.07 * wide, high + 0.07 * wide)
        ticks(axes, 4)
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))
    axes.tick_params(axis="x", labelsize=8)
    low, high = axes.get_xlim()
    return float(low), float(high)


def ticks(axes: Axes, number: int) -> None:
    """Give a linear axis a few round ticks."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(number, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))
    axes.tick_params(axis="x", labelsize=8)


def value_ticks(axes: Axes) -> None:
    """Give an upright axis a few round ticks, whichever scale it has."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    logarithmic = axes.get_yscale() == "log"
    axes.yaxis.set_major_locator(LogLocator(numticks=5) if logarithmic else MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_tick))
    axes.tick_params(labelsize=8)


def _tick(value: float, _: int | None = None) -> str:
    return f"{value:,.10g}".replace("-", "−") if 1e-4 <= abs(value) < 1e6 or not value else f"{value:.1g}"
