"""Which metric notices what: the least strength of each degradation that each metric sees, as a map."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.report.literal import literal
from evalkit.report.numbers import counted
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import BAD, BAD_SOFT, QUIET, STEPS, UNJUDGED, WARNED, Mark, words
from evalkit.results.plots.plot import PHONE, Plot, percent, span
from evalkit.results.sensitivity import Probed, Sensitivity
from evalkit.results.sensitivity_text import (
    MARKS,
    THIN,
    UNEVEN,
    Answer,
    Answers,
    answers,
    blind_to,
    matrix,
    rest,
    strengths,
    units,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GROUPS = {
    "trained": "Trained weights",
    "none": "No weights",
    "random": "Random weights: real ones differ",
}
TITLE = "What metrics notice"

# inches
NAMES = 2.1  # beside rows
HIGH, TALL = 0.3, 0.46  # of a row, and of one that has its name above
GROUP = 0.3  # of a heading, with the gap before it
STRENGTH = 0.2  # of a line of the strengths that were measured
UNITS = 0.32  # of what these are shares of, below them
LEAST = 0.62  # of a column whose title is not turned
CHARACTER = 0.068  # of the type of cells and of titles

NAME = 28  # characters of a line of a name, of which there are two
DARK = 3  # steps from here on have bright type


@dataclass(frozen=True)
class Line:
    """A row of the map, or a heading between rows.

    Attributes:
        top, high: where it lies, in inches from the top.
        metric: None for a heading.
        heading: of a group; empty for a row.
    """

    top: float
    high: float
    metric: Probed | None = None
    heading: str = ""
    warned: bool = False


def plot(table: Sensitivity, name: str = "sensitivity") -> Plot | None:
    """Draw all metrics of a table; None where it has none, or no degradation."""
    if not table.metrics or not table.degradations:
        return None
    found = answers(table)
    names = {metric.name for metric in table.metrics}
    own = [response for response in table.responses if response.metric.name in names]
    every = [strength for response in own for strength in response.strengths]
    levels = {one.level for one in every}
    chance = f"; by chance alone about one strength in {2 / (1 - min(levels)):.0f} is" if levels else ""
    caption = (
        f"n = {span(one.n for one in every if one.n)}. A strength is seen where the paired "
        f"{', '.join(map(percent, sorted(levels)))} interval of the difference from clean clips leaves out 0 on the "
        f"side of worse{chance}. Each cell has the least strength from which on all are seen, in a stronger colour the "
        "weaker it is among those that were measured. Empty: not measured."
    )
    if any(one.thin for one in found.values()):
        caption += f" {MARKS['thin']}"

    def draw(width: float) -> Figure:
        return _figure(table, found, caption, width)

    return Plot(name, TITLE, said(table, found), caption, matrix(table), draw)


def said(table: Sensitivity, found: Answers) -> str:
    """What is seen at first sight: how much is noticed, and what most metrics are blind to."""
    judged = [one.state for one in found.values() if one.state not in ("absent", "unjudged")]
    seen = sum(state in ("seen", "partly") for state in judged)
    missed = {
        name: sum(name in blind_to(found, metric.name) for metric in table.metrics) for name in table.degradations
    }
    most = max(missed, key=lambda name: missed[name])
    text = (
        f"{counted(len(table.metrics), 'metric')} and {counted(len(table.degradations), 'degradation')}: "
        f"{seen:,} of {counted(len(judged), 'pair')} noticed"
    )
    return f"{text}. What most are blind to: {literal(most)} ({missed[most]})." if missed[most] else f"{text}."


def _lines(table: Sensitivity, narrow: bool) -> list[Line]:
    """All rows by what their networks computed with, each group under its heading."""
    found: list[Line] = []
    at = 0.0
    for weights, heading in GROUPS.items():
        own = [metric for metric in table.metrics if metric.weights == weights]
        if own:
            found.append(Line(at, GROUP, heading=heading, warned=weights == "random"))
            at += GROUP
        for metric in own:
            high = TALL if narrow else HIGH
            found.append(Line(at, high, metric, warned=weights == "random"))
            at += high
    return found


def _figure(table: Sensitivity, found: Answers, caption: str, width: float) -> Figure:
    narrow = width < PHONE
    lines = _lines(table, narrow)
    beside = 0.1 if narrow else NAMES + 0.2
    wide = (width - beside - 0.2) / len(table.degradations)
    turned = wide < LEAST
    titles = [words(name, 30) if turned else _wrapped(words(name, 60), wide) for name in table.degradations]
    above = max(map(len, titles)) * CHARACTER if turned else 0.15 * max(title.count("\n") + 1 for title in titles)
    bottom = lines[-1].top + lines[-1].high
    depths = {name: len(each) for name, each in strengths(table).items()}
    below = 0.0 if narrow else GROUP + STRENGTH * max(depths.values()) + UNITS
    size = (width, above + bottom + below + 0.25)
    figure = drawing.begin([], TITLE, size, [("", _marks(found.values(), narrow))], caption)
    axes = figure.subplots()
    axes.set(xlim=(-0.5, len(table.degradations) - 0.5), ylim=(bottom + below, 0.0))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(titles)), titles, rotation=90 if turned else 0, va="bottom")
    axes.set_yticks([])
    for line in lines:
        _line(axes, line, narrow)
        if line.metric is None:
            continue
        for column, name in enumerate(table.degradations):
            one = found[line.metric.name, name]
            gid = f"{one.state}-{line.metric.name}-{column}"
            _cell(axes, one, depths[name], (column, line), narrow, gid)
    if not narrow:
        _strengths(axes, table, bottom + GROUP, STRENGTH * max(depths.values()), wide)
    return figure


def _wrapped(text: str, wide: float) -> str:
    """Break a text so that it is about so wide, in inches."""
    return "\n".join(textwrap.wrap(text, max(6, int(wide / CHARACTER)), break_long_words=False))


def _line(axes: Axes, line: Line, narrow: bool) -> None:
    """Write a heading, or the name of a row; rows of random weights lie on a ground of their own."""
    from matplotlib.patches import Rectangle

    if line.warned:
        count = axes.get_xlim()[1] + 0.5
        axes.add_patch(Rectangle((-0.5, line.top), count, line.high, facecolor=WARNED, linewidth=0, zorder=0))
    if line.metric is None:
        box = {"bbox": {"boxstyle": "square,pad=0.25", "facecolor": WARNED, "edgecolor": "black", "linewidth": 1.0}}
        _beside(axes, line.heading, line.top + line.high - 0.1, narrow, fontsize=8.5, fontweight="bold",
                gid="heading", **(box if line.warned else {}))  # fmt: skip
        return
    title = literal(line.metric.title)
    if narrow:
        _beside(axes, words(title, 44), line.top + 0.13, narrow, fontsize=8.5, gid="name")
        return
    wrapped = textwrap.wrap(title, NAME, max_lines=2, placeholder="…")
    small = len(wrapped) > 1
    _beside(axes, "\n".join(words(one, NAME + 2) for one in wrapped), line.top + line.high / 2, narrow,
            fontsize=8 if small else 9, linespacing=1.0, gid="name")  # fmt: skip


def _beside(axes: Axes, text: str, y: float, narrow: bool, **looks: Any) -> None:
    """Write something left of the cells, or above them in a narrow figure."""
    axes.annotate(text, (0, y), (2 if narrow else -72 * NAMES, 0), ("axes fraction", "data"), "offset points",
                  ha="left", va="center", annotation_clip=False, **looks)  # fmt: skip


def _cell(axes: Axes, one: Answer, depth: int, place: tuple[int, Line], narrow: bool, gid: str) -> None:
    """Draw what a metric says of a degradation."""
    from matplotlib.patches import Polygon, Rectangle

    if one.state == "absent":
        return
    column, line = place
    low, high = line.top + (0.24 if narrow else 0.02), line.top + line.high - 0.02
    step = None if one.step is None else _step(one.step, depth)
    face, edge, thick = "none", UNJUDGED, 0.8
    if one.state in ("seen", "partly"):
        face, edge, thick = STEPS[step or 0], "none", 0.0
    if one.better:
        edge, thick = BAD, 1.6
        face = BAD_SOFT if one.state == "better" else face
    left, right = column - 0.47, column + 0.47
    axes.add_patch(Rectangle((left, low), right - left, high - low, facecolor=face, edgecolor=edge, linewidth=thick,
                             zorder=2, gid=gid))  # fmt: skip
    if one.better:
        corner = ((right - (0.3 if narrow else 0.15), low), (right, low), (right, low + (high - low) * 0.4))
        axes.add_patch(Polygon(corner, facecolor=BAD, edgecolor=BAD, linewidth=thick, zorder=3, gid="better"))
    middle = (low + high) / 2
    if one.state == "blind":
        axes.plot(column, middle, marker="x", ms=5, color=QUIET, mew=1.3, ls="none", zorder=3)
        return
    text = one.text if step is None else f"{(one.step or 0) + 1 if narrow else one.at}{THIN if one.thin else ''}"
    text = f"({text})" if one.state == "partly" else text
    looks: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4, "fontsize": 7.8,
             "color": "black" if step is None or one.state == "better" else _ink(step)}  # fmt: skip
    axes.text(column, middle, words(text), **looks)
    if one.uneven:
        axes.text(right - (0.17 if narrow else 0.08), high - 0.05, UNEVEN, gid="uneven", **looks)


def _ink(step: int) -> str:
    """The colour of type upon a step."""
    return "white" if step >= DARK else "black"


def _step(step: int, depth: int) -> int:
    """Which of `STEPS` a strength has: the last for the least of them, the first for the greatest."""
    return len(STEPS) - 1 if depth < 2 else round((len(STEPS) - 1) * (1 - step / (depth - 1)))


def _strengths(axes: Axes, table: Sensitivity, top: float, high: float, wide: float) -> None:
    """Write which strengths were measured, the weakest above, in the colours that stand for them.

    Args:
        top, high: where they lie, in inches from the top.
        wide: a column, in inches.
    """
    from matplotlib.patches import Rectangle

    _beside(axes, "Strengths that were measured", top - 0.1, False, fontsize=8.5, fontweight="bold", gid="heading")
    own = units(table)
    every = strengths(table)
    for column, name in enumerate(table.degradations):
        each = every[name]
        part = high / len(each)
        for number, text in enumerate(each):
            step, y = _step(number, len(each)), top + part * number
            axes.add_patch(Rectangle((column - 0.47, y), 0.94, part, facecolor=STEPS[step], linewidth=0, zorder=2))
            axes.text(column, y + part / 2, words(text), ha="center", va="center", zorder=4, fontsize=7.8,
                      color=_ink(step), gid="strength")  # fmt: skip
        if more := rest(own[name]):
            axes.text(column, top + high + 0.05, _wrapped(words(more), wide), ha="center", va="top", fontsize=7.8,
                      color=QUIET)  # fmt: skip
    if high > STRENGTH:
        _beside(axes, "the weakest", top + STRENGTH / 2, False, fontsize=8.5, gid="name")
        _beside(axes, "the strongest", top + high - STRENGTH / 2, False, fontsize=8.5, gid="name")


def _marks(answers: Iterable[Answer], narrow: bool) -> list[Mark]:
    """The legend of what is there; narrow cells have no room for more than the number of a strength."""
    every = list(answers)
    states = {one.state for one in every}
    seen = "sees it from there on" + (", 1 is the weakest" if narrow else "")
    found = [Mark(seen, "s", STEPS[2], STEPS[2], 7)] if states & {"seen", "partly"} else []
    found += [Mark("blind", "x", QUIET, QUIET, 5.5)] if "blind" in states else []
    if any(one.better for one in every):
        found.append(Mark("calls some strength better", "s", BAD_SOFT, BAD, 7))
    if any(one.uneven for one in every if one.step is not None):
        found.append(Mark("goes back and forth", r"$\sim$", "black", "black", 7))
    found += [Mark("(…) not at the greatest", "s", STEPS[1], STEPS[1], 7)] if "partly" in states else []
    found += [Mark("no interval", "$?$", "black", "black", 6)] if "unjudged" in states else []
    return found
