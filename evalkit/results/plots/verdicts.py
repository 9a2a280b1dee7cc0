"""Differences with their intervals, against what they may be: a margin around no change, or a published value."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.report.document import Column, Listing
from evalkit.report.literal import literal
from evalkit.report.numbers import ARROWS, interval, places, signed
from evalkit.results.clusters import over
from evalkit.results.comparison_record import ComparisonRecord
from evalkit.results.gate import HIGHER_IS_BETTER
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import BAD, BAD_SOFT, GOOD, GOOD_SOFT, QUIET, WARN, Mark, words
from evalkit.results.plots.plot import (
    Plot,
    Shown,
    caption,
    compared,
    listing,
    metrics,
    percent,
    random,
    span,
    without,
)
from evalkit.results.plots.rows import arranged, ticks
from evalkit.results.reproduced import LEVEL
from evalkit.results.summary import records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STRIP, LINE = 1.08, 0.14  # inches of a strip with its title, and of a line below it
PANEL = 3.1  # inches of a strip at least, beside others
HATCH = "////"
MOST_PLACES = 3  # decimals in words

# how verdicts look: marker, face, edge
LOOKS: Mapping[str, tuple[str, str, str]] = {
    "PASS": ("o", GOOD, GOOD),
    "REPRODUCED": ("o", GOOD, GOOD),
    "BREACH": ("X", BAD, BAD),
    "DIFFERS": ("X", BAD, BAD),
    "INSUFFICIENT EVIDENCE": ("D", "white", WARN),
    "UNDECIDED": ("D", "white", WARN),
}
OTHER = ("s", "white", QUIET)


@dataclass(frozen=True)
class Strip:
    """A difference as it is drawn.

    Attributes:
        title: of what.
        below: what is written under the axis: a line for the row where there are several, then the difference.
        margins: the limits within which a difference is fine, lower and upper; None where there is none on that side.
        within: whether a verdict is good because the difference is inside the limits; else bad because it is outside.
    """

    title: str
    verdict: str
    value: float
    low: float
    high: float
    margins: tuple[float | None, float | None]
    within: bool
    below: str


def of_comparison(comparison: ComparisonRecord) -> Plot | None:
    """Draw the differences of all metrics of a comparison; None where there are none."""
    every = records(comparison.metrics)
    # of what no gate judges and nothing changed there is nothing to see
    rows = [row for row in every if row["tier"] or row["difference"] or not math.isnan(row["low"])]
    if not any(math.isfinite(row["difference"]) for row in rows):
        return None
    alike = [row["title"] for row in every if row not in rows]
    strips = [_compared(row) for row in rows]
    text = (
        f"n = {span(row['n'] for row in rows if row['n'])}; {compared(comparison)}. Difference: candidate − baseline, "
        f"with {percent(comparison.gate['level'])} intervals over {over(comparison.clusters)}. "
        f"Hatched: worse by more than the margin of the gate.{without(alike)}"
    )
    parts = [f"{strip.title} {strip.below.partition(' ')[0]} ({strip.verdict.lower()})" for strip in strips]
    said = f"{comparison.outcome}. Differences from the baseline: {literal('; '.join(parts))}."
    return Plot(
        "differences", "Differences from the baseline", said, text, _compared_numbers(rows),
        _drawer(strips, comparison.random, "differences from the baseline", text),
    )  # fmt: skip


def of_published(rows: Sequence[Shown]) -> Plot | None:
    """Draw how far scores are from published values; None where none has one that can be compared."""
    titles = {metric.name: metric for metric in metrics(rows)}
    models = [one for one in rows if not one.calibration]
    beside = [
        (one, titles[metric], score)
        for one in models
        for metric, score in one.scores.items()
        if math.isfinite(score["published"]) and (score["verdict"] or score["comparable"])
    ]
    if not beside:
        return None
    several = len({one.name for one, _, _ in beside}) > 1
    strips = []
    for one, metric, score in beside:
        name = f"{one.name}\n" if several else ""
        band = score["tolerance"]
        known = math.isfinite(band)
        shown = places(band, score["difference_high"] - score["difference_low"])
        bounds = interval(score["difference_low"], score["difference_high"], places=shown)
        tolerance = f"tolerance ±{band:.{shown}f}" if known else "no tolerance"
        strips.append(
            Strip(
                metric.arrow, _word(score["verdict"]), score["difference"], score["difference_low"],
                score["difference_high"], (-band, band) if known else (None, None), True,
                f"{name}{signed(score['difference'], shown)}{bounds and ' '}{bounds} from {score['published']:g}; "
                f"{tolerance}",
            )
        )  # fmt: skip
    used = list(dict.fromkeys(one for one, _, _ in beside))
    bars = any(math.isfinite(strip.low) for strip in strips)
    text = caption(
        used, (score["n"] for _, _, score in beside), "Difference: measured − published.",
        f"Bars: {percent(LEVEL)} intervals over sampling seeds." if bars else "",
        "Shaded: the tolerance." if any(strip.margins[0] is not None for strip in strips) else "",
    )  # fmt: skip
    parts = (
        f"{metric.arrow} of {one.name} {signed(strip.value, MOST_PLACES)} ({strip.verdict.lower() or 'not judged'})"
        for (one, metric, _), strip in zip(beside, strips, strict=True)
    )
    return Plot(
        "published", "Against what was published", f"Differences from published values: {literal('; '.join(parts))}.",
        text, _published_numbers(beside), _drawer(strips, random(used), "against what was published", text),
    )  # fmt: skip


def _word(verdict: Any) -> str:
    return str(verdict or "").replace("_", " ")


def _places(row: Mapping[str, Any]) -> int:
    return places(row["margin"], row["high"] - row["low"])


def _arrow(row: Mapping[str, Any]) -> str:
    return ARROWS[HIGHER_IS_BETTER.get(row["direction"])]


def _compared(row: Mapping[str, Any]) -> Strip:
    shown, margin = _places(row), row["margin"]
    known = math.isfinite(margin)
    margins = {"lower": (None, margin), "higher": (-margin, None)}.get(row["direction"], (-margin, margin))
    bounds = interval(row["low"], row["high"], places=shown)
    arrow = _arrow(row)
    below = f"{signed(row['difference'], shown)} {bounds}" + (f"; margin {margin:.{shown}f}" if known else "")
    return Strip(
        f"{row['title']} {arrow}".strip(), _word(row["verdict"]) or "not gated", row["difference"], row["low"],
        row["high"], margins if known else (None, None), False, below,
    )  # fmt: skip


def _compared_numbers(rows: Iterable[Mapping[str, Any]]) -> Listing:
    return listing(
        [
            ("title", "metric", "word"), ("baseline", "baseline", "number"), ("candidate", "candidate", "number"),
            ("difference", "difference", "signed"), ("interval", "interval", "interval"),
            ("margin", "margin", "number"), ("n", "n", "count"), ("verdict", "verdict", "verdict"),
        ],
        [{**row, "title": Column(row["metric"], row["title"], _arrow(row)), "places": _places(row)} for row in rows],
    )  # fmt: skip


def _published_numbers(beside: Iterable[tuple[Shown, Any, Mapping[str, Any]]]) -> Listing:
    return listing(
        [
            ("metric", "metric", "word"), ("row", "row", "word"), ("value", "measured", "number"),
            ("published", "published", "published"), ("difference", "difference", "signed"),
            ("interval", "interval", "interval"), ("tolerance", "tolerance", "number"), ("n", "n", "count"),
            ("verdict", "verdict", "verdict"),
        ],
        [
            {
                **score, "metric": metric.column, "row": one.name, "comparable": True,
                "low": score["difference_low"], "high": score["difference_high"],
                "places": places(score["tolerance"], score["difference_high"] - score["difference_low"]),
            }
            for one, metric, score in beside
        ],
    )  # fmt: skip


def _drawer(strips: Sequence[Strip], weights: Sequence[str], title: str, text: str) -> Any:
    def draw(width: float) -> Figure:
        lines, columns = arranged(len(strips), width, PANEL)
        wide = width / columns - 0.25
        below = max(len(_lines(strip, wide)) for strip in strips)
        size = (width, lines * (STRIP + LINE * below) + 0.1)
        figure = drawing.begin(weights, title[:1].upper() + title[1:], size, [("", _marks(strips))], text)
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for axes, strip in zip(panels, strips, strict=False):
            _strip(axes, strip, wide)
        drawing.hide_unused(panels, len(strips))
        return figure

    return draw


def look(verdict: str) -> tuple[str, str, str]:
    """How a verdict looks: marker, face and edge."""
    return LOOKS.get(verdict.partition(" (")[0], OTHER)


def _marks(strips: Sequence[Strip]) -> list[Mark]:
    found = dict.fromkeys(strip.verdict for strip in strips if math.isfinite(strip.value))
    return [Mark((verdict or "not judged").lower(), *look(verdict), 6) for verdict in found]


def _lines(strip: Strip, wide: float) -> list[str]:
    """What is written under the axis, in lines that fit."""
    most = max(20, int(wide / 0.066))
    name, _, difference = strip.below.rpartition("\n")
    return [*([words(name, most)] if name else []), *textwrap.wrap(difference, most)]


def _strip(axes: Axes, strip: Strip, wide: float) -> None:
    """Draw one difference on an axis of its own."""
    marker, face, edge = look(strip.verdict)
    verdict = strip.verdict.partition(" EVIDENCE")[0]  # the legend has it in full
    title = words(strip.title, max(10, int(wide / 0.096 - len(verdict) * 0.95) - 1))
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", gid="name")
    axes.set_title(verdict, loc="right", fontsize=8.5, fontweight="bold", color=edge, gid="verdict")
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("\n".join(_lines(strip, wide)), fontsize=8, color=QUIET)
    if not math.isfinite(strip.value):
        axes.set_xticks([])
        axes.set_xlabel("")
        axes.text(0.5, 0, "no value", transform=axes.get_yaxis_transform(), ha="center", va="center", color=QUIET)
        axes.grid(False)
        return
    least, most = strip.margins
    ends = [end for end in (0.0, strip.value, strip.low, strip.high, least, most) if end is not None]
    ends = [end for end in ends if math.isfinite(end)]
    span = (max(ends) - min(ends)) or 1.0
    low, high = min(ends) - 0.12 * span, max(ends) + 0.12 * span
    axes.set_xlim(low, high)
    ticks(axes, 4)
    if strip.within and least is not None and most is not None:
        axes.axvspan(least, most, facecolor=GOOD_SOFT, linewidth=0, zorder=0.5, gid="band")
    for margin, edge_of_axis in ((least, low), (most, high)):
        if margin is None:
            continue
        if not strip.within:
            axes.axvspan(*sorted((margin, edge_of_axis)), facecolor=BAD_SOFT, edgecolor=BAD, hatch=HATCH, alpha=0.45,
                         linewidth=0, zorder=0.5, gid="beyond")  # fmt: skip
        axes.axvline(margin, color=GOOD if strip.within else BAD, lw=1.1, ls=(0, (4, 2)), zorder=2, gid="margin")
    axes.axvline(0, color="black", lw=0.9, zorder=2, gid="zero")
    if math.isfinite(strip.low):
        axes.plot([strip.low, strip.high], [0, 0], color=edge, lw=2.2, solid_capstyle="butt", zorder=4, gid="interval")
    axes.plot(strip.value, 0, marker=marker, ms=8, mfc=face, mec=edge, mew=1.6, zorder=5, ls="none", gid="value")
