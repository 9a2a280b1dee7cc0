"""The plots of a sweep: each metric against each parameter, the Pareto front, and a map of two parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.report.document import Column, Listing
from evalkit.report.literal import literal
from evalkit.report.numbers import ARROWS, places
from evalkit.results.plots import drawing, files, sweep_front, sweep_map, sweep_parameters
from evalkit.results.plots.plot import Plot, brief, listing
from evalkit.results.sweep_record import SweepRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = 6  # in one figure; further ones are in another
LONGEST = 60  # characters of a parameter in a file's name
LIKELY = 0.5  # the probability from which a point counts as one of the front, in words


def figures(sweep: SweepRecord) -> dict[str, Figure]:
    """Draw all plots that a sweep has enough points for, by the names of their files without an ending.

    Each is a figure of its own, which pyplot knows nothing of.
    """
    with drawing.style():
        return {plot.name: plot.draw(0) for plot in _plots(sweep)}


def plots(sweep: SweepRecord) -> list[Plot]:
    """All plots that a sweep has enough points for."""
    with drawing.style():
        return list(_plots(sweep))


def write(sweep: SweepRecord, folder: Path) -> list[str]:
    """Write all plots into a folder, each as PNG and SVG, which are the same for the same record.

    Returns their names without an ending. Raises EvalkitError where the folder cannot be written to.
    """
    names = []
    with drawing.style():
        for plot in _plots(sweep):
            files.write([plot], folder)
            names.append(plot.name)
    return names


def _plots(sweep: SweepRecord) -> Iterator[Plot]:
    """All plots, each drawn as it is asked for."""
    if sweep.scores["value"].notna().sum() == 0:
        return
    taken: set[str] = set()
    for parameter in sweep.parameters:
        if len(parameter.values) > 1:
            title = f"By {literal(parameter.name)}"
            of_parameter = sweep_parameters.figures(sweep, parameter, METRICS)
            yield from _numbered(sweep, f"by-{_safe(parameter.name)}", title, of_parameter, taken)
    yield from _numbered(sweep, "pareto", "Pareto front", sweep_front.figures(sweep), taken)
    yield from _numbered(sweep, "map", "Map of two parameters", sweep_map.figures(sweep, METRICS), taken)


def _numbered(
    sweep: SweepRecord, name: str, title: str, several: Iterable[tuple[Sequence[str], Figure]], taken: set[str]
) -> Iterator[Plot]:
    """Make plots of figures, with the first names that are free: NAME, NAME-2, …"""
    number = 1
    for metrics, figure in several:
        while (free := name if number == 1 else f"{name}-{number}").lower() in taken:
            number += 1
        taken.add(free.lower())  # there are file systems to which A and a are the same
        front = name == "pareto"
        yield Plot(
            name=free,
            title=title,
            said=_front_said(sweep) if front else _said(sweep, metrics),
            caption=" ".join(
                " ".join(text.get_text().split()) for text in figure.texts if text.get_gid() == "caption"
            ).replace(r"\$", "$"),
            numbers=_numbers(sweep, metrics, front),
            draw=lambda _, figure=figure: figure,  # type: ignore[misc]
            fluid=False,
        )


def _named(sweep: SweepRecord) -> dict[int, str]:
    """What points are called: by their options."""
    return {int(point): literal(name) for point, name in zip(sweep.points["point"], sweep.points["name"], strict=True)}


def _said(sweep: SweepRecord, metrics: Sequence[str]) -> str:
    names, directions, parts = _named(sweep), drawing.directions(sweep), []
    for metric in metrics:
        found = [spot for spot in drawing.spots(sweep, metric) if spot.value is not None]
        if not found:
            continue
        title = literal(sweep.scores.loc[sweep.scores["metric"] == metric, "title"].iloc[0])
        lowest = min(found, key=lambda spot: spot.value or 0.0)
        highest = max(found, key=lambda spot: spot.value or 0.0)
        if directions[metric] is None:
            parts.append(f"{title} from {brief(lowest.value or 0.0)} to {brief(highest.value or 0.0)}")
        else:
            best = highest if directions[metric] else lowest
            parts.append(f"{title} is best at {names[best.point]}, {brief(best.value or 0.0)}")
    return f"{'; '.join(parts)}." if parts else "No point has a value."


def _front_said(sweep: SweepRecord) -> str:
    names = _named(sweep)
    likely = sweep.points[sweep.points["front"] >= LIKELY].sort_values("front", ascending=False, kind="stable")
    parts = [
        f"{names[int(point)]} ({front:.0%})" for point, front in zip(likely["point"], likely["front"], strict=True)
    ]
    objectives = literal(", ".join(one.title for one in sweep.objectives))
    if not parts:
        return f"Points by {objectives}; none is known to be on the Pareto front more probably than not."
    return f"Points by {objectives}; more probably than not on the Pareto front: {'; '.join(parts)}."


def _numbers(sweep: SweepRecord, metrics: Sequence[str], front: bool) -> Listing:
    names, directions = _named(sweep), drawing.directions(sweep)
    rows: list[dict[str, Any]] = []
    for metric in metrics:
        scores = sweep.scores[sweep.scores["metric"] == metric].set_index("point")
        column = Column(metric, str(scores["title"].iloc[0]), ARROWS[directions[metric]])
        for spot in drawing.spots(sweep, metric):
            if spot.value is not None:
                score = {str(key): value for key, value in scores.loc[spot.point].items()}
                among = "" if spot.among is None else "yes" if spot.among else "no"
                rows.append(
                    {
                        **score, "metric": column, "point": spot.point, "options": names[spot.point],
                        "among": among, "front": spot.front, "places": places(score["high"] - score["low"]),
                    }
                )  # fmt: skip
    return listing(
        [
            ("metric", "metric", "word"), ("point", "point", "count"), ("options", "options", "word"),
            ("value", "measured", "number"), ("interval", "interval", "interval"), ("n", "n", "count"),
            ("front", "on the front", "share") if front else ("among", "not worse than the best", "word"),
        ],
        rows,
    )  # fmt: skip


def _safe(name: str) -> str:
    """A text as a part of a file's name on every system."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.")[:LONGEST] or "option"
