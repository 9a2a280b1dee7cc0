"""FAD against the number of clips, and FAD∞: what it comes to for infinitely many."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.report.document import Listing
from evalkit.report.literal import literal
from evalkit.report.numbers import places
from evalkit.results import sizes
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import COLOURS, LINES, MARKERS, QUIET, Mark
from evalkit.results.plots.plot import Metric, Plot, Shown, brief, caption, listing, metrics, random, short
from evalkit.results.plots.rows import LOGARITHMIC, arranged, head, value_ticks
from evalkit.results.sizes import Sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HIGH = 2.9  # inches of a panel
PANEL = 3.6  # at least as wide, beside others
WIDEST = 6.4  # inches
MOST = len(COLOURS)  # rows
SAID = 3  # rows that the sentence names


def plot(rows: Sequence[Shown], more: str = "") -> Plot | str | None:
    """Draw each FAD of the first models at several numbers of clips.

    A sentence, where that takes too long for all of them; None where no record has what is needed.

    Args:
        more: a sentence for the caption.
    """
    models = [one for one in rows if not one.calibration]
    titles = {metric.name: metric for metric in metrics(models)}
    found: dict[str, list[tuple[Shown, Sizes]]] = {}
    left_out, slow = list[str](), False
    fads = dict.fromkeys(name for one in models for name in sizes.fads(one.record) if name in one.scores)
    for metric in fads:
        own = [(one, sizes.pairs(one.record, one.row, metric)) for one in models if metric in one.scores]
        usable = [(one, pairs) for one, pairs in own if pairs]
        there = usable[:MOST]
        number = sizes.subsets([pairs for _, pairs in there], len(fads))
        while there and not number:  # fewer rows, if there is time for these
            there.pop()
            number = sizes.subsets([pairs for _, pairs in there], len(fads))
        slow = slow or len(there) < min(len(usable), MOST)
        left_out += _left_out(titles[metric], len(own) - len(usable), len(usable) - len(there), len(there) < MOST)
        measured = [(one, sizes.measured(one.record, one.row, metric, pairs, number)) for one, pairs in there]
        if drawn := [(one, of_row) for one, of_row in measured if of_row]:
            found[metric] = drawn
    if not found:
        return " ".join(["FAD by number of clips is not drawn.", *left_out]) if slow else None
    every = list(dict.fromkeys(one for drawn in found.values() for one, _ in drawn))
    curves = [of_row.curve is not None for drawn in found.values() for _, of_row in drawn]
    known = [of_row.infinity for drawn in found.values() for _, of_row in drawn if of_row.infinity]
    text = caption(
        every, (of_row.n.max() for drawn in found.values() for _, of_row in drawn),
        "Points: random subsets of the clips with their references, each size within the larger one. "
        "On average FAD is larger the fewer clips it is of.",
        _curved(all(curves), any(curves)), "At ∞: FAD∞ as measured, with its interval." if known else "",
        *left_out, more,
    )  # fmt: skip
    ordered = [(titles[metric], drawn) for metric, drawn in found.items()]

    def draw(width: float) -> Figure:
        return _figure(every, ordered, text, width)

    return Plot("sizes", "FAD by number of clips", _said(ordered), text, _numbers(ordered), draw)


def _left_out(metric: Metric, unusable: int, more: int, slow: bool) -> Iterator[str]:
    """Say that rows are not drawn, and why.

    Args:
        unusable: how many cannot be drawn at all.
        more: how many others are not drawn.
        slow: whether that is for time.
    """
    if unusable:
        yield f"{metric.title}: left out {_rows(unusable)} of too few clips, or without a reference for each."
    if more:
        why = "whose features have so many dimensions that distances take long" if slow else "after the first ones"
        yield f"{metric.title}: left out {_rows(more)} {why}."


def _rows(number: int) -> str:
    return f"{number:,} row{'s' if number > 1 else ''}"


def _curved(every: bool, some: bool) -> str:
    if not some:
        return "There is no extrapolation: the clips are too few for the dimensions of their features."
    said = "Lines: a parabola in 1/n through the means, drawn on to infinitely many clips"
    return said + (", where clips are enough for one." if not every else ".")


def _end(of_row: Sizes) -> float:
    """What FAD comes to, measured or else extrapolated; NaN where neither is known."""
    if of_row.infinity:
        return of_row.infinity[0]
    return math.nan if of_row.curve is None else float(of_row.at(np.zeros(1))[0])


def _said(found: Sequence[tuple[Metric, Sequence[tuple[Shown, Sizes]]]]) -> str:
    parts = []
    for metric, drawn in found:
        for one, of_row in drawn[:SAID]:
            few, every = of_row.n.min(), of_row.n.max()
            end = _end(of_row)
            parts.append(
                f"{metric.title} of {literal(one.name)} is {_mean(of_row, few)} for {few:,} clips, "
                f"{_mean(of_row, every)} for {every:,}"
                + ("" if math.isnan(end) else f" and {brief(end)} for infinitely many")
            )
    return f"{'; '.join(parts)}."


def _mean(of_row: Sizes, n: int) -> str:
    return brief(float(of_row.values[of_row.n == n].mean()))


def _numbers(found: Sequence[tuple[Metric, Sequence[tuple[Shown, Sizes]]]]) -> Listing:
    rows: list[dict[str, Any]] = []
    for metric, drawn in found:
        for one, of_row in drawn:
            about = {"metric": metric.column, "row": one.name, "places": places(float(np.ptp(of_row.values)))}
            for n in sorted(set(of_row.n.tolist())):
                own = of_row.values[of_row.n == n]
                rows.append({**about, "clips": f"{n:,}", "subsets": len(own), "value": own.mean(),
                             "least": own.min(), "most": own.max()})  # fmt: skip
            if of_row.infinity:
                value, low, high = of_row.infinity
                rows.append({**about, "clips": "∞", "value": value, "low": low, "high": high})
            elif not math.isnan(end := _end(of_row)):
                rows.append({**about, "clips": "∞, extrapolated", "value": end})
    return listing(
        [
            ("metric", "metric", "word"), ("row", "row", "word"), ("clips", "clips", "word"),
            ("subsets", "subsets", "count"), ("value", "mean", "number"), ("least", "least", "number"),
            ("most", "greatest", "number"), ("interval", "interval", "interval"),
        ],
        [{"low": math.nan, "high": math.nan, **row} for row in rows],
    )  # fmt: skip


def _figure(
    every: Sequence[Shown], found: Sequence[tuple[Metric, Sequence[tuple[Shown, Sizes]]]], text: str, width: float
) -> Figure:
    lines, columns = arranged(len(found), width, PANEL)
    names = short([one.name for one in every], 34)
    marks = [
        Mark(name, MARKERS[number], COLOURS[number], COLOURS[number], line=LINES[number], colour=COLOURS[number])
        for number, name in enumerate(names[:MOST])
    ]
    dataset = short([every[0].record.prompts_info.dataset], 40)[0]
    width = min(width, WIDEST * columns)
    figure = drawing.begin(
        random(every), f"{dataset}: FAD by number of clips", (width, lines * HIGH + 0.1), [("", marks)], text
    )
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, (metric, drawn) in zip(panels, found, strict=False):
        _panel(axes, metric, [(every.index(one), of_row) for one, of_row in drawn], width / columns)
    drawing.hide_unused(panels, len(found))
    return figure


def _panel(axes: Axes, metric: Metric, drawn: Sequence[tuple[int, Sizes]], wide: float) -> None:
    """Draw the FADs of some rows against 1/n, so that infinitely many clips are at the left edge."""
    steps = sorted({int(n) for _, of_row in drawn for n in of_row.n})
    furthest, every = 1 / steps[0], []
    ends = any(of_row.curve is not None or of_row.infinity for _, of_row in drawn)
    for place, (number, of_row) in enumerate(drawn):
        colour, marker = COLOURS[number % MOST], MARKERS[number % MOST]
        aside = (place - (len(drawn) - 1) / 2) * 0.006 * furthest  # so that no row hides another
        across = 1 / of_row.n
        axes.plot(across + aside, of_row.values, ls="none", marker=marker, ms=3.5, mfc=colour, mec=colour, alpha=0.55,
                  zorder=3, gid=f"subsets-{number}")  # fmt: skip
        sizes_of_row = np.unique(of_row.n)
        means = [of_row.values[of_row.n == n].mean() for n in sizes_of_row]
        every += [*of_row.values]
        if of_row.curve is not None:
            dense = np.linspace(0, 1 / sizes_of_row[0], 60)
            axes.plot(dense, of_row.at(dense), color=colour, lw=1.4, ls=LINES[number % MOST], zorder=2,
                      gid=f"curve-{number}")  # fmt: skip
        else:
            axes.plot(1 / sizes_of_row, means, color=colour, lw=1.4, ls=LINES[number % MOST], zorder=2,
                      gid=f"means-{number}")  # fmt: skip
        end = _end(of_row)
        if math.isnan(end):
            continue
        every.append(end)
        if of_row.infinity and math.isfinite(of_row.infinity[1]):
            axes.plot([aside, aside], of_row.infinity[1:], color=colour, lw=1.6, zorder=3, gid=f"interval-{number}")
            every += of_row.infinity[1:]
        axes.plot(aside, end, marker=marker, ms=7, mfc="white" if not of_row.infinity else colour, mec=colour,
                  mew=1.5, ls="none", zorder=5, gid=f"infinity-{number}")  # fmt: skip
    named = [*([(0.0, "∞")] if ends else []), *((1 / n, f"{n:,}") for n in _spaced(steps, wide))]
    axes.set_xticks([at for at, _ in named], [name for _, name in named])
    axes.set_xlim(-0.04 * furthest if ends else 1 / steps[-1] - 0.08 * furthest, 1.06 * furthest)
    if min(every) > 0 and max(every) / min(every) > LOGARITHMIC:
        axes.set_yscale("log")
    value_ticks(axes)
    head(axes, metric, wide - 0.6)
    axes.set_xlabel("number of clips (spaced by 1/n)", fontsize=8, color=QUIET)
    if metric.better:
        axes.set_ylabel(metric.better, fontsize=8, color=QUIET)


def _spaced(steps: Sequence[int], wide: float) -> list[int]:
    """The numbers of clips whose names do not run into each other, the greatest first."""
    shown: list[int] = []
    for n in reversed(steps):
        apart = 0.13 * (1 + len(f"{n:,}")) / (wide - 0.8) / steps[0]
        if 1 / n > apart and all(abs(1 / n - 1 / other) > apart for other in shown):
            shown.append(n)
    return shown
