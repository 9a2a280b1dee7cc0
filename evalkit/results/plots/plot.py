"""What a plot is, and what those of results have in common: rows, metrics, short names and captions."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from evalkit.report import numbers
from evalkit.report.document import Column, Item, Listing, Quantity
from evalkit.report.literal import literal
from evalkit.report.numbers import ARROWS
from evalkit.results.clusters import drawn
from evalkit.results.comparison_record import ComparisonRecord
from evalkit.results.names import told_apart
from evalkit.results.plots.drawing import style, words
from evalkit.results.result import Result
from evalkit.results.summary import random_weights, records, unique_titles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = 7.4  # inches: how wide a plot is in files
WIDE, NARROW = 10.0, 3.5  # on a page, and on a phone's
PHONE = 5.0  # narrower plots have names above rows, and one panel beside another only where it is small


@contextmanager
def no_glyphs() -> Iterator[None]:
    """Say nothing of characters that DejaVu Sans does not have, which are boxes in pictures."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


@dataclass(frozen=True)
class Plot:
    """A figure with what it shows in words and in numbers.

    Attributes:
        name: of its files, and of its place on a page: small letters, digits and hyphens.
        title: its heading.
        said: what it shows, in a sentence, for those who do not see it.
        caption: n, what intervals are, and what else a reader must know.
        numbers: what is drawn, as a table.
        draw: makes the figure, as wide as is said in inches, in evalkit's style; it has title, caption and warnings.
        fluid: whether it can be drawn at any width; else it is as wide as it must be.
    """

    name: str
    title: str
    said: str
    caption: str
    numbers: Listing
    draw: Callable[[float], Figure]
    fluid: bool = True

    def figure(self, width: float = PAPER) -> Figure:
        """Draw it, whatever the user's own settings of matplotlib are; pyplot knows nothing of the figure."""
        with style(), no_glyphs():
            figure = self.draw(width)
            figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it would else be laid out again for each file
        return figure


@dataclass(frozen=True)
class Shown:
    """A row of a result as plots show it.

    Attributes:
        name: unique in a plot.
    """

    name: str
    record: Result
    row: str

    @property
    def calibration(self) -> bool:
        """Whether it is a calibration row, which stands apart."""
        return self.record.rows[self.row].calibration

    @functools.cached_property
    def scores(self) -> Mapping[str, Mapping[str, Any]]:
        """Its scores that have a finite value, by metric."""
        own = self.record.scores[self.record.scores["model"] == self.row]
        return {str(score["metric"]): score for score in records(own) if math.isfinite(score["value"])}

    @functools.cached_property
    def _values(self) -> pd.DataFrame:
        values = self.record.values
        return values[(values["model"] == self.row) & values["value"].notna()]

    def per_prompt(self, metric: str) -> pd.Series:
        """The values of its prompts by a metric that has such, by id: means over the clips of each."""
        own = self._values[self._values["metric"] == metric]
        found: pd.Series = own.groupby("id", sort=False)["value"].mean()
        return found

    def complete(self, metric: str) -> pd.Index:
        """The prompts of which every clip has a value, by id."""
        own = self._values[self._values["metric"] == metric].groupby("id").size()
        clips = self.record.clips[self.record.clips["model"] == self.row].groupby("id").size()
        return own.index[own == clips.reindex(own.index)]


@dataclass(frozen=True)
class Metric:
    """A metric as the head of a panel.

    Attributes:
        open_ended: whether values have no limit on one side at least, so that a logarithmic axis may suit them.
    """

    name: str
    title: str
    higher_is_better: bool | None
    open_ended: bool = True

    @property
    def arrow(self) -> str:
        """The title with an arrow to where it is better."""
        return f"{self.title} {ARROWS[self.higher_is_better]}".strip()

    @property
    def column(self) -> Column:
        """The metric as tables name it."""
        return Column(self.name, self.title, ARROWS[self.higher_is_better])

    @property
    def better(self) -> str:
        """Which values are better, in words; empty where none are."""
        return "" if self.higher_is_better is None else f"{'higher' if self.higher_is_better else 'lower'} is better"


def shown(results: Sequence[Result]) -> list[Shown]:
    """All rows of some results, models before calibration rows, each calibration row once if it is always the same."""
    every = [Shown(name, result, name) for result in results for name in result.rows]
    folders = (one.record.path for one in every)
    names = told_apart([(o.row, f"{o.row} ({p.name})", f"{o.row} ({p})") for o, p in zip(every, folders, strict=True)])
    return once([Shown(name, one.record, one.row) for one, name in zip(every, names, strict=True)])


def once(every: Sequence[Shown]) -> list[Shown]:
    """Models, then calibration rows, of which those of the same name and values are there once."""
    models = [one for one in every if not one.calibration]
    seen: dict[tuple[Any, ...], Shown] = {}
    for one in every:
        if one.calibration:
            key = (one.row, *sorted((metric, score["value"]) for metric, score in one.scores.items()))
            seen.setdefault(key, one)
    rows = [one.row for one in seen.values()]
    return [
        *models,
        *(Shown(one.row, one.record, one.row) if rows.count(one.row) == 1 else one for one in seen.values()),
    ]


def metrics(rows: Iterable[Shown]) -> list[Metric]:
    """The metrics that any row has a value of, in the order of the tables."""
    found: dict[str, Metric] = {}
    for one in rows:
        titles = unique_titles(one.record.metrics)
        for name, info in one.record.metrics.items():
            if name in one.scores:
                open_ended = None in info.bounds
                found.setdefault(name, Metric(name, literal(titles[name]), info.higher_is_better, open_ended))
    return list(found.values())


def random(rows: Iterable[Shown]) -> list[str]:
    """Networks and models with random weights, by which something that is drawn was made or measured."""
    records = dict.fromkeys(one.record for one in rows)
    return list(dict.fromkeys(name for record in records for name in random_weights(record)))


def caption(rows: Sequence[Shown], ns: Iterable[int], *more: str) -> str:
    """Say of how many prompts values are, under which protocol, and what else a reader must know.

    Args:
        ns: numbers of prompts of what is drawn.
    """
    records = list(dict.fromkeys(one.record for one in rows))
    info = records[0].prompts_info
    named = dict.fromkeys(record.protocol.name for record in records)
    protocols = f"protocol{'s' if len(named) > 1 else ''} {', '.join(named)}"
    where = f"{info.selected:,} of {info.total:,} prompts" if info.form == "prompts" else "two folders"
    subset = f", subset {info.subset}" if info.form == "prompts" else ""
    said = literal(f"{info.dataset}{subset}: {where}, {protocols}")
    return " ".join([f"n = {span(ns)}; {said}.", *filter(None, more)])


def span(ns: Iterable[int]) -> str:
    """Write numbers of prompts: the only one, or the least and the greatest."""
    known = sorted({int(n) for n in ns}) or [0]
    return f"{known[0]:,}" if known[0] == known[-1] else f"{known[0]:,} to {known[-1]:,}"


def compared(comparison: ComparisonRecord) -> str:
    """Say what a comparison was made on."""
    return literal(f"{comparison.dataset}, subset {comparison.subset}, protocol {comparison.protocol}")


def without(alike: Sequence[str]) -> str:
    """Say which metrics are left out because both sides have the same; empty where none is."""
    return f" Left out, the same on both sides: {literal(', '.join(alike))}." if alike else ""


def level(rows: Sequence[Shown]) -> str:
    """Say what intervals are: of which confidence, over what."""
    record = rows[0].record
    return f"{percent(record.uncertainty['level'])} intervals over {drawn(record)}"


def percent(share: float) -> str:
    """Write a level of confidence."""
    return f"{100 * share:.4g} %"


def short(names: Sequence[str], most: int) -> list[str]:
    """Names for a figure: long ones lose their middle; those that are alike then are numbered."""
    found: list[str] = []
    for name in map(literal, names):
        tail = most // 3
        cut = name if len(name) <= most else f"{name[: most - tail - 1]}…{name[-tail:]}"
        number = 2
        unlike = cut
        while words(unlike, 400) in found:
            unlike, number = f"{cut} ({number})", number + 1
        found.append(words(unlike, 400))
    return found


def brief(value: float) -> str:
    """Write a value with the digits that a figure has room for."""
    size = abs(value)
    if not math.isfinite(value) or size >= 1e6 or 0 < size < 5e-4:
        return numbers.NONE if math.isnan(value) else f"{value:.2g}"
    text = f"{value:z,.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"
    return text.replace("-", "−")


def listing(columns: Sequence[tuple[str, str, numbers.Kind]], rows: Iterable[Mapping[str, Any]]) -> Listing:
    """Make the table of what is drawn.

    Args:
        columns: key, label and kind of each.
    """
    return Listing([[Quantity(*column)] for column in columns], [Item(row, row) for row in rows])


def extremes(values: Sequence[tuple[str, float]], higher: bool | None) -> str:
    """Say between which values some names lie, the better first; that of one name alone is said as such."""
    ordered = sorted(values, key=lambda one: one[1], reverse=bool(higher))
    (first, best), (last, worst) = ordered[0], ordered[-1]
    if best == worst:
        return brief(best) + (f" ({literal(first)})" if len(values) == 1 else " for all")
    return f"{brief(best)} ({literal(first)}) to {brief(worst)} ({literal(last)})"
