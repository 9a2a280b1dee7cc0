"""The objectives of a sweep against each other: which points may be on the Pareto front."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import QUIET, UNJUDGED, Mark, Spot, words
from evalkit.results.plots.plot import percent
from evalkit.results.sweep_record import Objective, SweepRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

LIKELY = 0.5  # points from this probability on have their number beside them
AROUND = 5.0  # points of type that the default's frame is wider than its point
EDGE = (0, (4, 2))  # the line around what is reached
SHOWN = (0.0, 0.25, 0.5, 0.75, 1.0)  # probabilities in the legend


@dataclass(frozen=True)
class Both:
    """A point as two objectives see it, and where it lies."""

    x: Spot
    y: Spot
    at: tuple[float, float]


def figures(sweep: SweepRecord) -> Iterator[tuple[list[str], Figure]]:
    """Draw the first two or three objectives in pairs, if there are two; with their names."""
    measured = set(sweep.scores["metric"])
    objectives = [one for one in sweep.objectives if one.metric in measured][:3]
    pairs = list(itertools.combinations(objectives, 2))
    spots = {one.metric: drawing.spots(sweep, one.metric) for one in objectives}
    if not pairs or not any(_drawn(spots, pair) for pair in pairs):
        return
    marks = [Mark(f"{p:g}", "o", _colour(p), "black", _size(p)) for p in SHOWN]
    others = []
    line = len(sweep.objectives) == 2
    if sweep.points.loc[sweep.points["status"] == "ok", "front"].isna().any():
        others.append(Mark("probability not known", "X", UNJUDGED, QUIET, 6))
    if sweep.default is not None:
        others.append(Mark("default", "s", "none", "black", 11))
    if line:
        others.append(Mark("front of the values as measured", "", line=EDGE, colour="black"))
    wide = 7.2 if len(pairs) == 1 else 4.3
    names = ", ".join(words(one.title, 40) for one in sweep.objectives)
    said = [f"Front: no other point is better in every one of {names}."]
    if any(spot.bars for own in spots.values() for spot in own):
        said.append(f"Bars: {percent(sweep.level)} intervals of each point alone.")
    said.append(f"Numbers are those of points; {_named(sweep)}.")
    lacking = {spot.point for own in spots.values() for spot in own if spot.value is None}
    if lacking:
        said.append(
            f"Not drawn everywhere, since failed, dropped or without a value: {len(lacking):,} of "
            f"{len(sweep.points):,} points."
        )
    figure = drawing.begin(
        sweep.random,
        f"{words(sweep.name, 60)}: Pareto front",
        (wide * len(pairs), 4.6 if len(pairs) == 1 else 3.9),
        [("probability of being on the front", marks), ("", others)],
        drawing.caption(sweep, *said),
    )
    grid = figure.subplots(1, len(pairs), squeeze=False)
    for axes, pair in zip(grid.flat, pairs, strict=True):
        _panel(axes, sweep, _drawn(spots, pair), pair, line)
    figure.draw_without_rendering()  # so that it is known where points lie, before they are named
    for axes, pair in zip(grid.flat, pairs, strict=True):
        _name(figure, axes, sweep, _drawn(spots, pair))
    yield [one.metric for one in objectives], figure


def _drawn(spots: Mapping[str, Sequence[Spot]], pair: Sequence[Objective]) -> list[Both]:
    """The points that have both values."""
    both = zip(*(spots[one.metric] for one in pair), strict=True)
    return [Both(x, y, (x.value, y.value)) for x, y in both if x.value is not None and y.value is not None]


def _colour(probability: float) -> Any:
    import matplotlib

    return matplotlib.colormaps[drawing.MAP](0.05 + 0.95 * probability)


def _size(probability: float) -> float:
    """How large a point is, in points of type; of one whose probability is not known as well."""
    return 4.5 + 7.5 * probability if math.isfinite(probability) else 6.0


def _panel(axes: Axes, sweep: SweepRecord, points: Sequence[Both], pair: Sequence[Objective], line: bool) -> None:
    """Draw points at two objectives."""
    for both in points:
        errors = [None if spot.bars is None else [[spot.bars[0]], [spot.bars[1]]] for spot in (both.x, both.y)]
        axes.errorbar(*both.at, xerr=errors[0], yerr=errors[1], fmt="none", ecolor="#aaaaaa", elinewidth=0.9, zorder=2)
        if both.x.point == sweep.default:
            size = _size(both.x.front) + AROUND
            axes.plot(*both.at, marker="s", ms=size, mec="black", mfc="none", mew=0.9, zorder=3.5, gid="default")
        known = math.isfinite(both.x.front)
        axes.plot(
            *both.at, marker="o" if known else "X", ms=_size(both.x.front), mec="black" if known else QUIET,
            mfc=_colour(both.x.front) if known else UNJUDGED, mew=0.8, zorder=4, gid=f"point-{both.x.point}",
        )  # fmt: skip
    axes.set_xlim(drawing.span([both.x for both in points]))
    axes.set_ylim(drawing.span([both.y for both in points]))
    compared = [both.at for both in points if math.isfinite(both.x.front)]
    if line and compared:
        steps = _steps(np.array(compared), pair, np.array([axes.get_xlim(), axes.get_ylim()]))
        axes.plot(*steps.T, color="black", linestyle=EDGE, linewidth=1.0, zorder=3, gid="front")
    x, y = (drawing.label(sweep, one.metric, one.higher_is_better) for one in pair)
    axes.set(xlabel=x, ylabel=y)


def _steps(values: np.ndarray, pair: Sequence[Objective], limits: np.ndarray) -> np.ndarray:
    """The corners of the line around what some point reaches in both objectives, from edge to edge, (corners, 2).

    Args:
        values: of points, (points, 2).
        limits: of both axes, (2, 2).
    """
    signs = np.array([-1.0 if one.higher_is_better else 1.0 for one in pair])
    low, worst = values * signs, (limits * signs[:, None]).max(axis=1)
    better = (low[:, None] <= low[None]).all(axis=2) & (low[:, None] < low[None]).any(axis=2)
    front = np.unique(low[~better.any(axis=0)], axis=0)  # by the first objective
    corners = [[front[0, 0], worst[1]]]
    for point in front:
        corners += [[point[0], corners[-1][1]], [*point]]
    return signs * np.array([*corners, [worst[0], front[-1, 1]]])


def _named(sweep: SweepRecord) -> str:
    """The options of default and winner."""
    found = {"default": sweep.default, "winner": sweep.winner}
    said = [f"{name} {n}: {drawing.options(sweep, n)}" for name, n in found.items() if n is not None]
    return "; ".join(said) or "no point is the default"


def _name(figure: Figure, axes: Axes, sweep: SweepRecord, points: Sequence[Both]) -> None:
    """Write the numbers of points beside them, where they hide nothing: first those of default and winner."""
    from matplotlib.transforms import Bbox

    scale = figure.dpi / 72
    taken: list[Bbox] = []
    said: list[tuple[list[str], Both]] = []
    for both in points:
        point, front = both.x.point, both.x.front
        left, top = axes.transData.transform(both.at)
        half = scale * (_size(front) + (AROUND if point == sweep.default else 0)) / 2 + 2 * scale
        taken.append(Bbox.from_extents(left - half, top - half, left + half, top + half))
        roles = [role for role, n in (("default", sweep.default), ("winner", sweep.winner)) if n == point]
        if roles or front >= LIKELY:
            said.append((roles, both))
    inside = axes.get_window_extent()
    for roles, both in sorted(said, key=lambda one: not one[0]):
        text = f"{', '.join(roles)} ({both.x.point})" if roles else str(both.x.point)
        at = axes.transData.transform(both.at)
        size = np.array([(6.2 if roles else 5.6) * len(text), 11.0]) * scale  # of the text, as DejaVu Sans is wide
        offset = _free(at, size, scale, taken, inside)
        corner = at + offset * scale
        taken.append(Bbox.from_bounds(*corner, *size))
        apart = np.maximum(np.maximum(offset, -offset - size / scale), 0)  # from the point to the text
        far = float(np.hypot(*apart)) > 9
        axes.annotate(
            text, both.at, xytext=tuple(offset), textcoords="offset points", fontsize=8.5, ha="left", va="bottom",
            fontweight="bold" if roles else "normal", zorder=7,
            arrowprops={"arrowstyle": "-", "color": QUIET, "linewidth": 0.7, "shrinkB": 4} if far else None,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )  # fmt: skip


def _free(at: np.ndarray, size: np.ndarray, scale: float, taken: Sequence[Bbox], inside: Bbox) -> np.ndarray:
    """Find where a text hides least: how far its lower left corner is from its point, in points of type."""
    from matplotlib.transforms import Bbox

    wide, high = size / scale
    best, least = np.zeros(2), math.inf
    for distance in (7.0, 14.0, 24.0, 36.0):
        for angle in np.arange(8) * math.pi / 4 + math.pi / 4:
            along, up = math.cos(angle), math.sin(angle)
            offset = np.array([along * distance + (along - 1) * wide / 2, up * distance + (up - 1) * high / 2])
            box = Bbox.from_bounds(*(at + offset * scale), *size)
            hidden = sum(_overlap(box, other) for other in taken)
            outside = size.prod() - _overlap(box, inside)
            cost = (hidden + 4 * outside) / size.prod() + distance / 500
            if cost < least - 1e-9:
                best, least = offset, cost
    return best


def _overlap(one: Bbox, other: Bbox) -> float:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, wide) * max(0.0, high)
