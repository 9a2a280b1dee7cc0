"""The table of a run on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from evalkit.report.joined import Joined
from evalkit.report.wording import (
    Summary,
    banner,
    difference_number,
    heading,
    n_matters,
    notes,
    number,
    published_number,
    records,
    table,
    title_of,
)

HEADER = 10  # characters of a metric's title per line


NAME = 16  # characters of a model's name that are kept on one line on a narrow terminal


def to_rich(summary: Summary, console: Console | None = None) -> None:
    """Print the table on the terminal: per model a line measured, then its interval, published and difference.

    Metrics that do not fit side by side go into a further table.
    """
    console = console or Console()
    frame = table(summary)
    if summary.weights:
        console.print(Text(banner(summary), style="bold white on red"))
    console.print(Text(heading(summary), style="bold"))
    for metrics in _groups(summary, frame, console.width):
        console.print(_rich_table(summary, frame, metrics))
    _bullets(notes(summary), console)
    if summary.slices is not None and len(summary.slices):
        groups = len(summary.slices[["slice", "group"]].drop_duplicates())
        _bullets([f"scores of {groups} groups of prompts: in the result's table.md"], console)


def joined_to_rich(joined: Joined, console: Console | None = None) -> None:
    """Print several results as one table."""
    console = console or Console()
    if joined.warning:
        console.print(Text(joined.warning, style="bold white on red"))
    frame = joined.shown()
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in frame.columns:
        shown.add_column(
            Text(name), overflow="fold", justify="left" if name in ("model", "protocol", "run") else "right"
        )
    for row in frame.itertuples(index=False):
        shown.add_row(*(Text(str(cell)) for cell in row))
    console.print(shown)
    _bullets(joined.notes, console)


def _bullets(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        grid = Table.grid(Column(), Column(overflow="fold"), padding=(0, 1))
        grid.add_row(Text("-"), Text(line))
        console.print(grid, style="dim")


def _cells(summary: Summary, frame: pd.DataFrame, metric: str) -> list[dict[str, str]]:
    """What the terminal shows of one metric: for each model the lines of its cell, by their label."""
    bounded = bool(frame[[f"{m}_low" for m in summary.metrics]].notna().any(axis=None))
    compared = bool(frame[[f"{m}_published" for m in summary.metrics]].notna().any(axis=None))
    show_n = n_matters(frame, summary)
    cells = []
    for row in records(frame):
        lines = {"measured": number(row[metric])}
        if bounded:
            lines["from"], lines["to"] = number(row[f"{metric}_low"]), number(row[f"{metric}_high"])
        if compared:
            published = row[f"{metric}_published"]
            lines["published"] = published_number(published)
            lines["difference"] = difference_number(row[f"{metric}_difference"], published)
        if show_n:
            lines["n"] = number(row[f"{metric}_n"], 0)
        cells.append(lines)
    return cells


def _header(summary: Summary, metric: str) -> list[str]:
    return textwrap.wrap(title_of(summary, metric), HEADER)


def _groups(summary: Summary, frame: pd.DataFrame, width: int) -> list[list[str]]:
    """Split the metrics into as many tables as a terminal of some width needs."""
    padding = 3
    free = width - NAME - len("difference") - 2 * padding
    groups: list[list[str]] = [[]]
    left = free
    for metric in summary.metrics:
        texts = [text for lines in _cells(summary, frame, metric) for text in lines.values()]
        need = max(map(len, [*texts, *_header(summary, metric)])) + padding
        if need > left and groups[-1]:
            groups.append([])
            left = free
        groups[-1].append(metric)
        left -= need
    return groups


def _rich_table(summary: Summary, frame: pd.DataFrame, metrics: Sequence[str]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("model", overflow="fold")
    shown.add_column("", no_wrap=True, style="dim")
    for metric in metrics:
        shown.add_column(Text("\n".join(_header(summary, metric))), justify="right", no_wrap=True)
    columns = [_cells(summary, frame, metric) for metric in metrics]
    for i, row in enumerate(records(frame)):
        name = Text(f"{row['model']}\n")
        kind = "calibration, " if row["calibration"] else ""
        name.append(f"{kind}{row['clips']:,} of {summary.generated[row['model']].total:,} clips", style="dim")
        labels = columns[0][i] if columns else {}
        values = [Text("\n".join(column[i].values())) for column in columns]
        shown.add_row(name, Text("\n".join(labels)), *values, end_section=True)
    return shown
