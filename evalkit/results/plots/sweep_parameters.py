"""Each metric against one parameter of a sweep, with the other parameters as series or panels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.report.numbers import count
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import ABSENT, COLOURS, LINES, MARKERS, QUIET, UNJUDGED, Mark, Spot, words
from evalkit.results.plots.plot import percent
from evalkit.results.sweep_record import Parameter, SweepRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SERIES = len(COLOURS)
MOST_PANELS = 4  # values of a parameter that has panels of its own
MOST_TICKS = 10  # values that are ticks themselves
TURNED = 0.27  # inches from one turned name to the next
APART = 5.0  # points of type between series
WIDER = 9.0  # between those of categories, which no line joins
MOST_NAMED = 6  # values outside the axis that the caption names
FRAME = 5.0  # points of type that the default's frame is wider than its mark
LOGARITHMIC = 8  # the greatest value over the least, from which an axis may be logarithmic


@dataclass(frozen=True)
class Layout:
    """Which points are drawn alike and side by side, by their number.

    Attributes:
        panel, series: of each point.
        panels, all_series: what they are called, in order; one of "" where there is one alone.
        lines: whether points of a series differ in nothing but the parameter, so that a line joins them.
    """

    panel: Mapping[int, str]
    series: Mapping[int, str]
    panels: Sequence[str]
    all_series: Sequence[str]
    heading: str
    lines: bool


def figures(sweep: SweepRecord, parameter: Parameter, number: int) -> Iterator[tuple[list[str], Figure]]:
    """Draw all metrics against a parameter, a few in each figure, which is given with their names.

    Args:
        number: of metrics in a figure without panels for other parameters.
    """
    layout = _layout(sweep, parameter)
    metrics = list(drawing.differing(sweep).items())
    several = 3 if len(layout.panels) > 1 else number
    for first in range(0, len(metrics), several):
        own = dict(metrics[first : first + several])
        yield list(own), _figure(sweep, parameter, layout, own)


def _figure(sweep: SweepRecord, parameter: Parameter, layout: Layout, metrics: Mapping[str, bool | None]) -> Figure:
    """Draw some metrics: each a panel, or a row of panels."""
    if len(layout.panels) > 1:
        rows, columns = len(metrics), len(layout.panels)
    else:
        columns = 2 if len(metrics) == 4 else min(3, len(metrics))
        rows = -(-len(metrics) // columns)
    wide = {1: 6.8, 2: 4.4, 3: 3.7}.get(columns, 3.2)
    size = (wide * columns, 2.75 * rows + 0.1)
    spots = {metric: drawing.spots(sweep, metric) for metric in metrics}
    scale = _Scale(sweep, parameter, wide - 0.9)
    figure = drawing.begin(
        sweep.random,
        f"{words(sweep.name, 60)}: by {words(parameter.name)}",
        size,
        [(layout.heading, _series_marks(layout, scale.numeric)), ("", _marks(sweep, spots))],
        drawing.caption(sweep, _said(sweep, layout, spots), *scale.outside(), *drawing.said_of_same(sweep)),
    )
    grid = figure.subplots(rows, columns, squeeze=False, sharey="row" if len(layout.panels) > 1 else False)
    places = [(metric, panel) for metric in metrics for panel in layout.panels]
    axes = list(grid.flat)
    for panel, (metric, name) in zip(axes, places, strict=False):
        _panel(figure, panel, sweep, spots[metric], scale, layout, name)
        panel.set_ylim(drawing.span(spots[metric], _room(spots[metric])))
        if name == layout.panels[0]:
            panel.set_ylabel(drawing.label(sweep, metric, metrics[metric]))
        if name and metric == next(iter(metrics)):
            panel.set_title(name, fontsize=9)
        scale.dress(panel)
    drawing.hide_unused(axes, len(places))
    return figure


def _layout(sweep: SweepRecord, parameter: Parameter) -> Layout:
    """Find out how points that differ in other parameters are told apart."""
    others = [one for one in sweep.parameters if one is not parameter]
    numbers = [int(number) for number in sweep.points["point"]]

    def combinations(of: Sequence[Parameter]) -> tuple[dict[int, str], list[str], str]:
        """What each point is called by some parameters, all such names in order, and their heading."""
        order = _sorted(sweep, of)
        if len(of) == 1:
            of_one = {number: words(_given(sweep, number, of[0])) for number in numbers}
            return of_one, [of_one[number] for number in order], words(of[0].name)
        names = {number: drawing.options(sweep, number, of) for number in numbers}
        return names, [names[number] for number in order], ""

    alone = dict.fromkeys(numbers, "")
    if not others:
        return Layout(alone, alone, [""], [""], "", lines=True)
    series, all_series, heading = combinations(others)
    if len(all_series) <= MOST_SERIES:
        return Layout(alone, series, [""], all_series, heading, lines=True)
    for facet in sorted(others, key=lambda one: len(one.values)):
        rest = [one for one in others if one is not facet]
        if not rest or len(facet.values) > MOST_PANELS:
            continue
        series, all_series, heading = combinations(rest)
        if len(all_series) <= MOST_SERIES:
            panel = {number: drawing.options(sweep, number, [facet]) for number in numbers}
            panels = [panel[number] for number in _sorted(sweep, [facet])]
            return Layout(panel, series, panels, all_series, heading, lines=True)
    return Layout(alone, alone, [""], [""], "", lines=False)


def _given(sweep: SweepRecord, number: int, parameter: Parameter) -> Any:
    return drawing.given_options(sweep)[number].get(parameter.key)


def _sorted(sweep: SweepRecord, parameters: Sequence[Parameter]) -> list[int]:
    """Give one point of each combination of some parameters' values, in the order of these."""
    places: dict[tuple[int, ...], int] = {}
    orders = [{words(value): place for place, value in enumerate(one.values)} for one in parameters]
    for number in sweep.points["point"]:
        named = (words(_given(sweep, number, one)) for one in parameters)
        place = tuple(order.setdefault(name, len(order)) for order, name in zip(orders, named, strict=True))
        places.setdefault(place, int(number))
    return [places[place] for place in sorted(places)]


def _series_marks(layout: Layout, lines: bool) -> list[Mark]:
    if len(layout.all_series) < 2:
        return []
    return [
        Mark(name, MARKERS[i], COLOURS[i], COLOURS[i], line=LINES[i] if lines else "none", colour=COLOURS[i])
        for i, name in enumerate(layout.all_series)
    ]


def _marks(sweep: SweepRecord, spots: Mapping[str, Sequence[Spot]]) -> list[Mark]:
    """The legend of marks, of which only those that occur are there."""
    every = [spot for own in spots.values() for spot in own]
    there = [spot for spot in every if spot.value is not None]
    found = []
    if any(spot.best for spot in there):
        found.append(Mark("the best", "*", "black", "black", 10))
    if any(spot.among and not spot.best for spot in there):
        found.append(Mark("not worse than the best beyond noise", "o", QUIET, QUIET))
    if any(spot.among is False for spot in there):
        found.append(Mark("worse than the best", "o", "white", QUIET))
    if any(spot.among is None and not spot.best for spot in there):
        found.append(Mark("not judged", "o", UNJUDGED, QUIET))
    if any(spot.point == sweep.default for spot in there):
        found.append(Mark("default", "s", "none", "black", 11))
    absent = {spot.status for spot in every if spot.value is None}
    return found + [Mark(said, mark, "black") for status, (mark, said) in ABSENT.items() if status in absent]


def _said(sweep: SweepRecord, layout: Layout, spots: Mapping[str, Sequence[Spot]]) -> str:
    """What the caption says of bars and lines."""
    said = []
    if any(spot.bars for own in spots.values() for spot in own):
        said.append(
            f"Bars: {percent(sweep.level)} intervals of each point alone. All points share their prompts, so that "
            "differences are known better than bars suggest: which points are worse than the best is decided by paired "
            "differences."
        )
    else:
        said.append("No intervals are known.")
    if sweep.default is not None:
        said.append("Dotted: the default's value.")
    if not layout.lines:
        said.append("Points differ in other parameters too.")
    return " ".join(said)


def _room(spots: Sequence[Spot]) -> float:
    """The share of an axis that stays free at the foot of a panel, for the marks of points without a value."""
    return 0.2 if any(spot.value is None for spot in spots) else 0.08


def _panel(
    figure: Figure, axes: Axes, sweep: SweepRecord, spots: Sequence[Spot], scale: _Scale, layout: Layout, name: str
) -> None:
    """Draw the points of a panel."""
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    usual = next((spot.value for spot in spots if spot.point == sweep.default), None)
    if usual is not None:
        axes.axhline(usual, color=QUIET, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1, gid="usual")
    here = [spot for spot in spots if layout.panel[spot.point] == name]
    moved = _dodged(here, scale, layout)
    several = len(layout.all_series) > 1
    for number, series in enumerate(layout.all_series):
        colour, marker = COLOURS[number], MARKERS[number]
        line = []
        for spot in (spot for spot in here if layout.series[spot.point] == series):
            shift = ScaledTranslation(moved[spot.point] / 72, 0, figure.dpi_scale_trans)
            at, place = axes.transData + shift, scale.place(spot)
            if spot.value is None:
                foot = blended_transform_factory(axes.transData, axes.transAxes) + shift
                mark, _ = ABSENT[spot.status]
                axes.plot(
                    place, 0.05, marker=mark, color=colour if several else "black", ms=7, mew=1.6, transform=foot,
                    clip_on=False, zorder=4, gid=f"{spot.status}-{spot.point}",
                )  # fmt: skip
                continue
            line.append((place, spot.value, at))
            if spot.bars:
                axes.errorbar(
                    place, spot.value, yerr=[[spot.bars[0]], [spot.bars[1]]], fmt="none", ecolor=colour,
                    elinewidth=1.1, capsize=2.2, capthick=1.1, transform=at, zorder=2,
                )  # fmt: skip
            size = 13 if spot.best else 6
            face = UNJUDGED if spot.among is None and not spot.best else "white" if spot.among is False else colour
            axes.plot(
                place, spot.value, marker="*" if spot.best else marker, ms=size, mfc=face,
                mec="black" if spot.best else colour, mew=0.7 if spot.best else 1.3, transform=at, zorder=5,
                gid=f"point-{spot.point}",
            )  # fmt: skip
            if spot.point == sweep.default:
                around = size + (0 if spot.best else FRAME)  # a star fills less of its size
                axes.plot(
                    place, spot.value, marker="s", ms=around, mfc="none", mec="black", mew=0.9, transform=at, zorder=4,
                    gid="default",
                )  # fmt: skip
        if layout.lines and scale.numeric and len(line) > 1:  # there is nothing between categories
            across, up, along = zip(*sorted(line, key=lambda one: one[0]), strict=True)
            axes.plot(across, up, color=colour, linestyle=LINES[number], linewidth=1.2, transform=along[0], zorder=3)


def _dodged(spots: Sequence[Spot], scale: _Scale, layout: Layout) -> dict[int, float]:
    """By how many points of type each point is moved aside, so that none hides another."""
    apart = APART if scale.numeric else WIDER
    if layout.lines:
        middle, step = (len(layout.all_series) - 1) / 2, min(apart, scale.gap / len(layout.all_series))
        order = {series: number for number, series in enumerate(layout.all_series)}
        return {spot.point: (order[layout.series[spot.point]] - middle) * step for spot in spots}
    together: dict[float, list[int]] = {}
    for spot in spots:
        together.setdefault(scale.place(spot), []).append(spot.point)
    return {
        point: (number - (len(points) - 1) / 2) * min(apart, scale.gap / len(points))
        for points in together.values()
        for number, point in enumerate(points)
    }


class _Scale:
    """Where the values of a parameter lie on its axis.

    Numbers that no point has a score at, such as one so large that all of its points failed, do not stretch the axis:
    outside the others, their marks are at its edge.

    Args:
        wide: of a panel, in inches.
    """

    def __init__(self, sweep: SweepRecord, parameter: Parameter, wide: float) -> None:
        self.parameter, self.wide, self.points = parameter, wide, sweep.points
        given = [options.get(parameter.key) for options in sweep.points["options"]]
        self.numeric = parameter.numeric and all(_is_number(value) for value in given)
        ordered: list[Any] = [*parameter.values, *given]
        if self.numeric:
            every = sorted({float(value) for value in ordered})
            self.scored = _scored(sweep, parameter) or every
            self.ticks = [value for value in every if self.scored[0] <= value <= self.scored[-1]]
            self.names = [f"{value:.4g}" if value % 1 or value >= 1e6 else f"{value:.0f}" for value in self.ticks]
        else:
            self.names = list(dict.fromkeys(words(value, 20) for value in ordered))
            self.scored = self.ticks = [float(place) for place in range(len(self.names))]
        self.kind = _kind(self.scored) if self.numeric else "linear"
        # the smallest distance between two values, in points of type
        parts = self._parts(np.array(self.scored))
        self.gap = 72 * wide * float(np.diff(parts).min()) * 0.8 if len(parts) > 1 else 72 * wide * 0.5

    def place(self, spot: Spot) -> float:
        """Where a point lies."""
        value: Any = spot.options.get(self.parameter.key)
        if not self.numeric:
            return self.ticks[self.names.index(words(value, 20))]
        low, high = self._limits()
        return low if value < self.ticks[0] else high if value > self.ticks[-1] else float(value)

    def outside(self) -> list[str]:
        """Sentences that name the values whose marks are at the edge of a panel."""
        said = []
        for status, (_, what) in ABSENT.items() if self.numeric else ():
            own = self.points.loc[self.points["status"] == status, "options"]
            given = sorted({options[self.parameter.key] for options in own})
            left = [value for value in given if value < self.ticks[0]]
            right = [value for value in given if value > self.ticks[-1]]
            for edge, values in (("left", left), ("right", right)):
                if values:
                    names = [f"{words(self.parameter.name)}={words(value)}" for value in values[:MOST_NAMED]]
                    more = f" and {len(values) - MOST_NAMED:,} more" if len(values) > MOST_NAMED else ""
                    said.append(f"{what.capitalize()}, at the {edge} edge: {', '.join(names)}{more}.")
        return said

    def dress(self, axes: Axes) -> None:
        """Give an axis its scale, limits, ticks and name."""
        from matplotlib.ticker import NullFormatter, NullLocator

        if self.kind != "linear":
            axes.set_xscale(self.kind, **({"linthresh": self._least()} if self.kind == "symlog" else {}))
        axes.set_xlim(*self._limits())
        axes.set_xlabel(words(self.parameter.name, 40) + (" (logarithmic)" if self.kind != "linear" else ""))
        names = self._spaced(self.ticks, self.names) if self.numeric else self._thinned()
        shown, crowded = self.ticks, names.count("") > len(names) / 4
        if self.numeric and (len(self.ticks) > MOST_TICKS or crowded):
            if self.kind == "linear":
                return
            shown, names = self._round_ones()
        turned = not self.numeric and self._crowded()
        axes.set_xticks(shown, names, rotation=25 if turned else 0, ha="right" if turned else "center",
                        rotation_mode="anchor" if turned else None)  # fmt: skip
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())

    def _least(self) -> float:
        return min(value for value in self.scored if value > 0)

    def _moved(self, values: np.ndarray) -> np.ndarray:
        """Values as the scale spaces them."""
        if self.kind == "log":
            return np.log10(values)
        if self.kind == "symlog":
            least = self._least()
            return np.where(values > least, 1 + np.log10(np.maximum(values, least) / least), values / least)
        return values

    def _limits(self) -> tuple[float, float]:
        """Limits of the axis with room for what is moved aside at both ends."""
        low, high = (float(value) for value in self._moved(np.array([self.ticks[0], self.ticks[-1]])))
        room = 0.5 if not self.numeric or high == low else 0.09 * (high - low)
        if self.numeric and high == low:
            room = abs(low) / 2 or 0.5
        low, high = low - room, high + room
        if self.kind == "log":
            return 10**low, 10**high
        if self.kind == "symlog":
            return low * self._least(), self._least() * 10 ** (high - 1)
        return low, high

    def _parts(self, values: np.ndarray) -> np.ndarray:
        """Which share of the axis lies left of each value."""
        low, high = self._moved_limits()
        return (self._moved(values) - low) / (high - low)

    def _moved_limits(self) -> tuple[float, float]:
        low, high = self._limits()
        if self.kind == "symlog":
            return low / self._least(), float(self._moved(np.array([high]))[0])
        moved = self._moved(np.array([low, high]))
        return float(moved[0]), float(moved[1])

    def _spaced(self, ticks: Sequence[float], names: Sequence[str]) -> list[str]:
        """Names of ticks, without those that would run into the one before."""
        free, shown = -math.inf, []
        for part, name in zip(self._parts(np.array(ticks)), names, strict=True):
            half = (0.04 * len(name) + 0.02) / self.wide
            shown.append(name if part - half >= free else "")
            free = part + half if shown[-1] else free
        return shown

    def _thinned(self) -> list[str]:
        """Names of categories; of more than there is room for, every second, third, …"""
        step = math.ceil(len(self.names) * TURNED / self.wide)
        return [name if place % max(step, 1) == 0 else "" for place, name in enumerate(self.names)]

    def _round_ones(self) -> tuple[list[float], list[str]]:
        """Round values on a logarithmic axis and their names, as many as there is room for."""
        low, high = self._limits()
        for factors, step in (((1, 2, 5), 1), *(((1,), step) for step in (1, 2, 3, 5, 10, 20, 50, 100))):
            shown = _decades(max(low, self._least() / 1.5), high, factors, step)
            shown = [0.0, *shown] if low <= 0 else shown
            names = [f"{value:g}" if value < 1 or value >= 1e6 else count(value) for value in shown]
            if all(self._spaced(shown, names)):
                break
        return shown, names

    def _crowded(self) -> bool:
        return sum(0.075 * len(name) + 0.1 for name in self.names) > self.wide


def _scored(sweep: SweepRecord, parameter: Parameter) -> list[float]:
    """The numbers of a parameter, in order, at which some point has a value of some metric."""
    measured = set(sweep.points.loc[sweep.points["status"] == "ok", "point"])
    has_value = np.isfinite(sweep.scores["value"]) & sweep.scores["point"].isin(measured)
    numbers = set(sweep.scores.loc[has_value, "point"])
    return sorted({float(_given(sweep, int(number), parameter)) for number in numbers})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)


def _kind(values: Sequence[float]) -> str:
    """Choose a logarithmic axis for values that it spaces more evenly, such as 10, 50, 250; zero may be among them."""
    positive = [value for value in values if value > 0]
    if len(positive) < 3 or values[0] < 0 or positive[-1] / positive[0] < LOGARITHMIC:
        return "linear"

    def uneven(numbers: np.ndarray) -> float:
        gaps = np.diff(numbers)
        return float(np.std(gaps / gaps.mean()))

    if uneven(np.log10(positive)) >= uneven(np.array(positive)):
        return "linear"
    return "log" if len(positive) == len(values) else "symlog"


def _decades(low: float, high: float, factors: Sequence[int], step: int) -> list[float]:
    """Round values between two that are positive: factors times every power of ten, or every second, third, …"""
    first = math.floor(math.log10(low) / step) * step
    powers = range(first, math.floor(math.log10(high)) + 1, step)
    round_ones = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in round_ones if low <= value <= high]
