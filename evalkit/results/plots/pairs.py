"""How much each prompt differs between a candidate and its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evalkit.report.document import Listing
from evalkit.report.numbers import Kind, places
from evalkit.results.comparison_record import ComparisonRecord
from evalkit.results.pairing import Side, paired
from evalkit.results.plots import drawing
from evalkit.results.plots.drawing import BAD, COLOURS, GOOD, QUIET, Mark
from evalkit.results.plots.plot import Metric, Plot, Shown, compared, listing, metrics, span
from evalkit.results.plots.rows import arranged, head, value_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HIGH, PANEL = 2.5, 2.9  # inches
MOST = 400  # prompts of which each is drawn; of more, as many quantiles


def plot(comparison: ComparisonRecord, baseline: Sequence[Shown], candidate: Sequence[Shown]) -> Plot | str | None:
    """Draw the differences of the compared prompts in order.

    A sentence where values of just those prompts are not known; None where nothing differs, or a side is gone.
    """
    if not baseline or not candidate:
        return None
    sides = [Side(one.record, one.row) for one in (*baseline, *candidate)]
    ids = pd.Index(paired(sides, common_prompts=True).ids)
    counts = dict(zip(comparison.metrics["metric"], comparison.metrics["n"], strict=True))
    found: dict[str, np.ndarray] = {}
    known = [metric for metric in metrics([*baseline, *candidate]) if metric.name in counts]
    others = list[str]()
    for metric in known:
        before, after = (_mean(side, metric.name, ids) for side in (baseline, candidate))
        both = (after - before).dropna().to_numpy(dtype=float)
        both = both[np.isfinite(both)]
        if len(both) and len(both) != counts[metric.name]:
            others.append(metric.title)
        elif len(both) > 1 and np.ptp(both) > 0:
            found[metric.name] = np.sort(both)
    gone = f"{', '.join(others)}: the results have values of other prompts than were compared."
    if not found:
        return f"Differences of single prompts are not drawn. {gone}" if others else None
    drawn = [metric for metric in known if metric.name in found]
    text = (
        f"n = {span(map(len, found.values()))}; {compared(comparison)}. Candidate − baseline of every prompt that was "
        "compared, from the least to the greatest; values are means over its clips. Dashed: the mean over prompts."
        + (f" Left out: {gone}" if others else "")
    )

    def draw(width: float) -> Figure:
        return _figure(comparison, drawn, found, text, width)

    return Plot("pairs", "Differences of single prompts", _said(drawn, found), text, _numbers(drawn, found), draw)


def _mean(side: Sequence[Shown], metric: str, ids: pd.Index) -> pd.Series:
    """The mean over the results of a side, of those prompts of which all have a value of each clip."""
    several = [one.per_prompt(metric).reindex(ids.intersection(one.complete(metric))) for one in side]
    found: pd.Series = pd.concat(several, axis=1, join="inner").mean(axis=1)
    return found


def _shares(metric: Metric, values: np.ndarray) -> tuple[tuple[str, float], tuple[str, float]]:
    """What differences above and below zero are called, and the shares of prompts that have them."""
    names = {True: ("better", "worse"), False: ("worse", "better"), None: ("higher", "lower")}
    above, below = names[metric.higher_is_better]
    return (above, float((values > 0).mean())), (below, float((values < 0).mean()))


def _said(drawn: Sequence[Metric], found: Mapping[str, np.ndarray]) -> str:
    parts = []
    for metric in drawn[:5]:
        shares = sorted(_shares(metric, found[metric.name]))
        parts.append(
            f"{metric.title} is " + " and ".join(f"{name} on {share:.0%} of prompts" for name, share in shares)
        )
    return f"{'; '.join(parts)}."


def _numbers(drawn: Sequence[Metric], found: Mapping[str, np.ndarray]) -> Listing:
    rows: list[dict[str, Any]] = []
    for metric in drawn:
        values = found[metric.name]
        quantiles = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
        shares = {name: share for name, share in _shares(metric, values)}
        rows.append(
            {
                "metric": metric.column, "n": len(values), "mean": values.mean(), "least": values[0],
                "most": values[-1], **{f"q{i}": value for i, value in enumerate(quantiles)},
                "up": shares.get("better", shares.get("higher")), "down": shares.get("worse", shares.get("lower")),
                "places": places(float(quantiles[-1] - quantiles[0])),
            }
        )  # fmt: skip
    quantities: list[tuple[str, str, Kind]] = [
        (f"q{i}", name, "signed") for i, name in enumerate(("5 %", "25 %", "median", "75 %", "95 %"))
    ]
    return listing(
        [
            ("metric", "metric", "word"), ("n", "n", "count"), ("mean", "mean", "signed"),
            ("up", "better, or higher", "share"), ("down", "worse, or lower", "share"), ("least", "least", "signed"),
            *quantities, ("most", "greatest", "signed"),
        ],
        rows,
    )  # fmt: skip


def _figure(
    comparison: ComparisonRecord, drawn: Sequence[Metric], found: Mapping[str, np.ndarray], text: str, width: float
) -> Figure:
    lines, columns = arranged(len(drawn), width, PANEL)
    width = min(width, 5.2 * columns)
    judged = any(metric.higher_is_better is not None for metric in drawn)
    marks = [Mark("better", "s", GOOD, GOOD), Mark("worse", "s", BAD, BAD)] if judged else []
    if any(metric.higher_is_better is None for metric in drawn):
        marks.append(Mark("higher or lower", "s", COLOURS[0], COLOURS[0]))
    figure = drawing.begin(
        comparison.random, "Differences of single prompts", (width, lines * HIGH + 0.1), [("", marks)], text
    )
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, metric in zip(panels, drawn, strict=False):
        _panel(axes, metric, found[metric.name])
        head(axes, metric, width / columns - 0.9)
        axes.set_xlabel("share of prompts", fontsize=8, color=QUIET)
    drawing.hide_unused(panels, len(drawn))
    return figure


def _panel(axes: Axes, metric: Metric, values: np.ndarray) -> None:
    from matplotlib.ticker import PercentFormatter

    number = min(len(values), MOST)
    shown = values if number == len(values) else np.quantile(values, (np.arange(number) + 0.5) / number)
    edges = np.arange(number + 1) / number
    good = {True: (GOOD, BAD), False: (BAD, GOOD), None: (COLOURS[0], COLOURS[0])}[metric.higher_is_better]
    for colour, own, gid in ((good[0], np.maximum(shown, 0), "above"), (good[1], np.minimum(shown, 0), "below")):
        axes.stairs(own, edges, fill=True, facecolor=colour, alpha=0.55, linewidth=0, zorder=2, gid=gid)
    axes.stairs(shown, edges, baseline=None, color=QUIET, linewidth=0.9, zorder=3, gid="differences")
    axes.axhline(0, color="black", lw=0.9, zorder=4, gid="zero")
    axes.axhline(values.mean(), color="black", lw=1.1, ls=(0, (4, 2)), zorder=4, gid="mean")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    value_ticks(axes)
    for (name, share), place, va in zip(_shares(metric, values), (0.96, 0.05), ("top", "bottom"), strict=True):
        # above zero is right, below it left
        axes.text(0.03 if va == "top" else 0.97, place, f"{name}: {share:.0%}", transform=axes.transAxes,
                  ha="left" if va == "top" else "right", va=va, fontsize=8.5, gid=f"share-{name}", zorder=6,
                  bbox={"boxstyle": "square,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8})  # fmt: skip
