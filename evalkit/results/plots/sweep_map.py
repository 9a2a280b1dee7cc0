"""Two parameters of a sweep against each other, each metric a map of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.report import numbers
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import Spot, words
from evalkit.results.plots.plot import percent
from evalkit.results.sweep_record import SweepRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 12  # values of a parameter
FULL = 0.5  # of the cells, which must have a point at least: else a map is mostly empty
SAME = (0.93, 0.93, 0.93, 1.0)  # cells of a metric that is the same everywhere
INTERVAL = 104.0  # characters times points of type that a cell has room for
HATCHES = {"failed": ("xxxx", "failed"), "dropped": ("....", "dropped"), "ok": ("----", "no value")}


def figures(sweep: SweepRecord, number: int) -> Iterator[tuple[list[str], Figure]]:
    """Draw all metrics over the two parameters of a sweep, if it has two and most combinations; with their names.

    Args:
        number: of metrics in a figure.
    """
    if len(sweep.parameters) != 2:
        return
    cells = _cells(sweep)
    across, up = _names(sweep)
    if min(len(across), len(up)) < 2 or max(len(across), len(up)) > MOST or len(cells) < FULL * len(across) * len(up):
        return
    metrics = list(drawing.differing(sweep).items())
    for first in range(0, len(metrics), number):
        own = dict(metrics[first : first + number])
        yield list(own), _figure(sweep, cells, own)


def _names(sweep: SweepRecord) -> tuple[list[str], list[str]]:
    """The values of both parameters in order, the one with more of them across."""
    found = []
    for one in _ordered(sweep):
        given = [options.get(one.key) for options in sweep.points["options"]]
        found.append(list(dict.fromkeys(words(value, 14) for value in [*one.values, *given])))
    return found[0], found[1]


def _ordered(sweep: SweepRecord) -> Sequence[Any]:
    return sorted(sweep.parameters, key=lambda one: -len(one.values))


def _cells(sweep: SweepRecord) -> dict[tuple[str, str], int]:
    """The point of each cell that has one; the later one where it has several."""
    across, up = _ordered(sweep)
    given = drawing.given_options(sweep)
    return {(words(o.get(across.key), 14), words(o.get(up.key), 14)): point for point, o in given.items()}


def _figure(sweep: SweepRecord, cells: Mapping[tuple[str, str], int], metrics: Mapping[str, bool | None]) -> Figure:
    across, up = _names(sweep)
    spots = {metric: drawing.spots(sweep, metric) for metric in metrics}
    columns = min(len(metrics), 3 if len(across) <= 4 else 2 if len(across) <= 8 else 1)
    rows = -(-len(metrics) // columns)
    wide, high = max(3.4, 0.98 * len(across) + 1.0), max(1.7, 0.52 * len(up) + 1.1)
    size = (max(6.8, wide * columns), high * rows)
    figure = drawing.begin(
        sweep.random,
        f"{words(sweep.name, 60)}: {words(_ordered(sweep)[0].name)} and {words(_ordered(sweep)[1].name)}",
        size,
        [],
        drawing.caption(sweep, _said(sweep, spots, len(cells) < len(across) * len(up))),
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (metric, higher) in zip(grid.flat, metrics.items(), strict=False):
        _panel(axes, sweep, spots[metric], cells, higher)
        axes.set_title(drawing.label(sweep, metric, higher, 60 if columns == 1 else 44), fontsize=9)
    drawing.hide_unused(list(grid.flat), len(metrics))
    return figure


def _said(sweep: SweepRecord, spots: Mapping[str, Sequence[Spot]], gaps: bool) -> str:
    """What the caption says of frames, type and hatches."""
    said = ["Darker is better, or higher where neither is better."]
    said.append("Framed: the best; bold: not worse than the best beyond noise, by paired differences.")
    if sweep.default is not None:
        said.append("Dashed frame: the default.")
    if any(spot.bars for own in spots.values() for spot in own):
        said.append(f"In brackets: the {percent(sweep.level)} interval of each point alone.")
    if gaps:
        said.append("Empty: no such point.")
    return " ".join([*said, *drawing.said_of_same(sweep)])


def _panel(
    axes: Axes,
    sweep: SweepRecord,
    spots: Sequence[Spot],
    cells: Mapping[tuple[str, str], int],
    higher: bool | None,
) -> None:
    """Draw a metric's cells."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    across, up = _names(sweep)
    known = [spot.value for spot in spots if spot.value is not None]
    norm = Normalize(min(known), max(known)) if known and min(known) < max(known) else None
    # dark is better, or higher where neither is
    colours = colormaps["cividis" if higher is False else drawing.MAP]
    places = numbers.places(max(known) - min(known)) if norm else numbers.PLACES
    by_number = {spot.point: spot for spot in spots}
    axes.grid(False)
    axes.set_facecolor("#f4f4f4")
    for (column, row), point in cells.items():
        x, y, spot = across.index(column), up.index(row), by_number[point]
        ink = drawing.ON_BRIGHT if spot.value is not None else "black"
        if spot.value is None:
            hatch, said = HATCHES[spot.status]
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="white", edgecolor="#999999", hatch=hatch,
                                     linewidth=0, gid=f"{spot.status}-{point}"))  # fmt: skip
            said += f"\nn = {spot.n:,}" if spot.status == "dropped" else ""
            axes.text(x, y, said, ha="center", va="center", fontsize=7.5,
                      bbox={"boxstyle": "square,pad=0.2", "facecolor": "white", "edgecolor": "none"})  # fmt: skip
        else:
            colour = colours(0.08 + 0.84 * float(norm(spot.value))) if norm else SAME
            ink = drawing.ON_DARK if _dark(colour) else drawing.ON_BRIGHT
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, linewidth=0, gid=f"point-{point}"))
            axes.text(x, y + (0.12 if spot.bars else 0), numbers.number(spot.value, places), ha="center", va="center",
                      color=ink, fontsize=9, fontweight="bold" if spot.among else "normal")  # fmt: skip
            if spot.bars:
                interval = numbers.interval(*spot.ends(), places=places)
                axes.text(x, y - 0.22, interval, ha="center", va="center", color=ink,
                          fontsize=min(7.5, INTERVAL / len(interval)))  # fmt: skip
        if spot.best:
            # black between white, which is seen on dark and on light
            for ink_of_frame, thick in ((drawing.ON_DARK, 4.0), (drawing.ON_BRIGHT, 1.8)):
                axes.add_patch(Rectangle((x - 0.465, y - 0.44), 0.93, 0.88, fill=False, edgecolor=ink_of_frame,
                                         linewidth=thick, gid="best", zorder=5))  # fmt: skip
        if point == sweep.default:
            axes.add_patch(Rectangle((x - 0.425, y - 0.38), 0.85, 0.76, fill=False, linestyle=(0, (3, 2)),
                                     edgecolor=ink, linewidth=1.2, gid="default", zorder=6))  # fmt: skip
    axes.set(xlim=(-0.5, len(across) - 0.5), ylim=(-0.5, len(up) - 0.5))
    turned = max(map(len, across)) > 8
    axes.set_xticks(range(len(across)), across, rotation=25 if turned else 0, ha="right" if turned else "center",
                    rotation_mode="anchor" if turned else None)  # fmt: skip
    axes.set_yticks(range(len(up)), up)
    axes.tick_params(length=0)
    first, second = _ordered(sweep)
    axes.set(xlabel=words(first.name, 40), ylabel=words(second.name, 40))
    axes.spines[:].set_visible(False)


def _dark(colour: tuple[float, float, float, float]) -> bool:
    """Whether white is read better on a colour than black (relative luminance of WCAG 2)."""
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179
