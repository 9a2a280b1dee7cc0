"""The table of a run: on the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import dataclasses
import html
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from evalkit.compare import ABOUT

NONE = "–"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for one
NO_SCORE = {
    "measured": math.nan,
    "n": None,
    "published": math.nan,
    "difference": math.nan,
    "comparable": False,
    "note": "",
}
HEADER = 10  # characters of a metric's title per line on the terminal
NAME = 16  # characters of a model's name that are kept on one line on a narrow terminal


@dataclass(frozen=True)
class Count:
    """How many clips are usable, and why the others are not."""

    ok: int
    total: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.ok:,} of {self.total:,}" + (f" ({self.why})" if self.why else "")

    @property
    def why(self) -> str:
        return ", ".join(f"{n:,} {reason}" for reason, n in self.reasons.items() if n)


@dataclass(frozen=True)
class Summary:
    """Everything the table of a run says.

    Attributes:
        comparison: what `compare.compare` returned.
        metrics: title and higher_is_better of each metric, in the order of the columns.
        selected, total: number of prompts used, and in the dataset.
        generated: clips of each model, in the order of the rows.
        references: reference clips; None where the metrics needed none.
        rendered_by: the model that rendered the references; empty where they are recordings.
        cut, cut_to: number of references that were cut, and to how many seconds.
        weights: networks and models with seeded random weights.
        remarks: anything else a reader must know, one sentence each.
        context: what `compare.others` returned.
        provenance: short facts such as the commit and the device, shown under the Markdown table.
    """

    comparison: pd.DataFrame
    metrics: Mapping[str, tuple[str, bool]]
    dataset: str
    subset: str
    selected: int
    total: int
    protocol: str
    generated: Mapping[str, Count]
    references: Count | None = None
    rendered_by: str = ""
    cut: int = 0
    cut_to: float = 0.0
    weights: Sequence[str] = ()
    remarks: Sequence[str] = ()
    context: pd.DataFrame | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)


def table(summary: Summary) -> pd.DataFrame:
    """Make the wide table: one row per model.

    Columns: model, clips and prompts (generated and usable, of how many); for each metric M the
    columns M, M_n, M_published, M_difference and M_comparable; then dataset, subset, protocol, random_weights
    (names, separated by commas) and note.
    """
    cells = {(cell["model"], cell["metric"]): cell for cell in _records(summary.comparison)}
    rows = []
    for model, count in summary.generated.items():
        row: dict[str, Any] = {"model": model, "clips": count.ok, "prompts": count.total}
        notes: dict[str, None] = {}
        for metric in summary.metrics:
            cell = cells.get((model, metric), NO_SCORE)
            row[metric] = cell["measured"]
            for key in ("n", "published", "difference", "comparable"):
                row[f"{metric}_{key}"] = cell[key]
            notes.update(dict.fromkeys(cell["note"].splitlines()))
        row |= {"dataset": summary.dataset, "subset": summary.subset, "protocol": summary.protocol}
        row |= {"random_weights": ", ".join(summary.weights), "note": "; ".join(notes)}
        rows.append(row)
    frame = pd.DataFrame(rows)
    return frame.astype({f"{metric}_n": "Int64" for metric in summary.metrics})


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def banner(summary: Summary) -> str:
    """Warn of random weights; empty where there are none."""
    if not summary.weights:
        return ""
    names = ", ".join(summary.weights)
    return f"Random weights: {names}. The numbers below mean nothing outside this table."


def heading(summary: Summary) -> str:
    """Say what was measured, in one line."""
    return (
        f"{summary.dataset}, subset {summary.subset}: {summary.selected:,} of {summary.total:,} prompts, "
        f"protocol {summary.protocol}"
    )


def notes(summary: Summary) -> list[str]:
    """Say what a reader of the table must know, each thing once."""
    lines = [_references(summary)]
    joined = summary.comparison[summary.comparison["published"].notna()]
    sources = dict.fromkeys(zip(joined["source"], joined["url"], strict=True))
    lines += [f"published: {title}, {url}" for title, url in sources]
    lines += [f"{model}: clips {count}" for model, count in summary.generated.items() if count.ok < count.total]
    said = [(line, r["model"], r["metric"]) for r in _records(summary.comparison) for line in r["note"].splitlines()]
    for line in dict.fromkeys(line for line, _, _ in said):
        models = list(dict.fromkeys(model for other, model, _ in said if other == line))
        metrics = list(dict.fromkeys(metric for other, _, metric in said if other == line))
        about = [", ".join(models)] if len(models) < len(summary.generated) else []
        about += [", ".join(_name(summary, m) for m in metrics)] if len(metrics) < len(summary.metrics) else []
        lines.append(": ".join([*about, line]))
    return [*lines, *summary.remarks]


def _references(summary: Summary) -> str:
    if summary.references is None:
        return "references: none"
    cut = f"{summary.cut:,} cut to {summary.cut_to:g} s" if summary.cut else ""
    inside = "; ".join(x for x in (summary.references.why, cut) if x)
    text = f"references {summary.references.ok:,} of {summary.references.total:,}" + (f" ({inside})" if inside else "")
    if summary.rendered_by:
        text += f", rendered by {summary.rendered_by}, not recordings"
    return text


def _number(value: Any, places: int = 3) -> str:
    """Format a measured value with one decimal more than the model card has."""
    return NONE if pd.isna(value) else f"{value:,.{places}f}"


def _published(value: Any, places: int = 2) -> str:
    """Format a published value as its source does: at most three decimals, at least `places`."""
    if pd.isna(value):
        return NONE
    text = f"{value:.3f}"
    while text.endswith("0") and len(text.partition(".")[2]) > places:
        text = text[:-1]
    return text


def _difference(difference: Any, published: Any) -> str:
    """Format a difference with its sign, to the decimals that were published."""
    if pd.isna(difference):
        return NONE
    text = f"{difference:+.{len(_published(published).partition('.')[2])}f}"
    return text if float(text) else "±" + text[1:]


def _name(summary: Summary, metric: str) -> str:
    """The metric's title, made unique where two metrics share one."""
    if metric not in summary.metrics:
        return metric
    title = summary.metrics[metric][0]
    shared = sum(other == title for other, _ in summary.metrics.values()) > 1
    return f"{title} ({metric})" if shared else title


def _title(summary: Summary, metric: str) -> str:
    return f"{_name(summary, metric)} {'↑' if summary.metrics[metric][1] else '↓'}"


def _n_matters(frame: pd.DataFrame, summary: Summary) -> bool:
    """Whether a metric was measured on another number of clips than the model has."""
    return any((frame[f"{metric}_n"] != frame["clips"]).any() for metric in summary.metrics)


def to_rich(summary: Summary, console: Console | None = None) -> None:
    """Print the table on the terminal: per model a line measured, and below it published and difference.

    Metrics that do not fit side by side go into a further table.
    """
    console = console or Console()
    frame = table(summary)
    if summary.weights:
        console.print(Text(banner(summary), style="bold white on red"))
    console.print(Text(heading(summary), style="bold"))
    for metrics in _groups(summary, frame, console.width):
        console.print(_rich_table(summary, frame, metrics))
    for note in notes(summary):
        grid = Table.grid(Column(), Column(overflow="fold"), padding=(0, 1))
        grid.add_row(Text("-"), Text(note))
        console.print(grid, style="dim")


def _cells(summary: Summary, frame: pd.DataFrame, metric: str) -> list[dict[str, str]]:
    """What the terminal shows of one metric: for each model the lines of its cell, by their label."""
    compared = bool(frame[[f"{m}_published" for m in summary.metrics]].notna().any(axis=None))
    show_n = _n_matters(frame, summary)
    cells = []
    for row in _records(frame):
        lines = {"measured": _number(row[metric])}
        if compared:
            published = row[f"{metric}_published"]
            lines["published"] = _published(published)
            lines["difference"] = _difference(row[f"{metric}_difference"], published)
        if show_n:
            lines["n"] = _number(row[f"{metric}_n"], 0)
        cells.append(lines)
    return cells


def _header(summary: Summary, metric: str) -> list[str]:
    return textwrap.wrap(_title(summary, metric), HEADER)


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
    for i, row in enumerate(_records(frame)):
        name = Text(f"{row['model']}\n")
        name.append(f"{row['clips']:,} of {row['prompts']:,} clips", style="dim")
        labels = columns[0][i] if columns else {}
        values = [Text("\n".join(column[i].values())) for column in columns]
        shown.add_row(name, Text("\n".join(labels)), *values, end_section=True)
    return shown


def to_markdown(summary: Summary) -> str:
    """Write the table as GitHub Markdown, with notes, other published numbers and provenance."""
    parts = [f"# evalkit: {_escape(summary.dataset)}", _escape(heading(summary))]
    if summary.weights:
        parts.append(f"> **{_escape(banner(summary))}**")
    parts.append(_pipe_table(_markdown_rows(summary)))
    parts.append("↓ lower is better, ↑ higher is better. Difference: measured − published.")
    parts.append(_bullets(notes(summary)))
    if summary.context is not None and len(summary.context):
        parts += ["## Other published numbers", *_markdown_context(summary, summary.context)]
    if summary.provenance:
        parts += ["## Provenance", _bullets(f"{key}: {value}" for key, value in summary.provenance.items())]
    return "\n\n".join(parts) + "\n"


def _markdown_rows(summary: Summary) -> pd.DataFrame:
    frame = table(summary)
    show_n = _n_matters(frame, summary)
    rows = []
    for row in _records(frame):
        cells = {"model": _escape(row["model"]), "clips": f"{row['clips']:,} of {row['prompts']:,}"}
        for metric in summary.metrics:
            name = _escape(_name(summary, metric))
            n = f" (n {row[f'{metric}_n']:,})" if show_n and not pd.isna(row[f"{metric}_n"]) else ""
            cells[_escape(_title(summary, metric))] = _number(row[metric]) + n
            if frame[f"{metric}_published"].notna().any():
                published = row[f"{metric}_published"]
                cells[f"{name} published"] = _published(published)
                cells[f"{name} difference"] = _difference(row[f"{metric}_difference"], published)
        rows.append(cells)
    return pd.DataFrame(rows)


def _markdown_context(summary: Summary, context: pd.DataFrame) -> list[str]:
    """The other published numbers as a table, and their caveats as a list below it."""
    metrics = [str(c) for c in context.columns if c not in ABOUT and context[c].notna().any()]
    rows = []
    for row in _records(context):
        cells = {"model": _escape(_named(row))}
        for m in metrics:
            cells[_escape(_title(summary, m) if m in summary.metrics else m)] = _published(row[m], places=1)
        source = f"[{_escape(row['source'])}]({row['url']})" + ("" if row["primary"] else ", quoted")
        rows.append(cells | {"protocol": _escape(row["protocol"]), "source": source})
    intro = "For context only: other models, and protocols that need not be this one. Quoted: its source was not read."
    return [intro, _pipe_table(pd.DataFrame(rows)), _bullets(_caveats(context))]


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['model']} ({row['condition']})" if row["condition"] else str(row["model"])


def _caveats(context: pd.DataFrame) -> list[str]:
    """Each caveat once, after the sources all of whose rows have it, or the models."""
    about: dict[str, list[str]] = {}
    for source, rows in context.groupby("source", sort=False):
        models: dict[str, list[str]] = {}
        for row in _records(rows):
            for caveat in row["caveat"].splitlines():
                models.setdefault(caveat, []).append(_named(row))
        for caveat, named in models.items():
            about.setdefault(caveat, []).extend([str(source)] if len(named) == len(rows) > 1 else named)
    return [f"{', '.join(names)}: {caveat}" for caveat, names in about.items()]


def _pipe_table(frame: pd.DataFrame) -> str:
    """A Markdown table of cells that are already escaped."""
    align = ["left" if c in ("model", "source", "protocol") else "right" for c in frame.columns]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))


def _bullets(lines: Any) -> str:
    return "\n".join(f"- {_escape(line)}" for line in lines)


def _escape(text: str) -> str:
    """Make text show literally in GitHub Markdown, also inside a table's cell."""
    text = html.escape(" ".join(str(text).split()), quote=False)
    # an underscore inside a word is not emphasis, and stays readable in the source
    return re.sub(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)", lambda match: "\\" + match[0], text)


def to_csv(summary: Summary) -> str:
    """Write the wide table as CSV; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    frame = table(summary)
    for column in ("model", "dataset", "subset", "protocol", "random_weights", "note"):
        frame[column] = [f"'{text}" if text.startswith(FORMULA) else text for text in frame[column]]
    return str(frame.to_csv(index=False, lineterminator="\n"))


def to_json(summary: Summary) -> dict[str, Any]:
    """Return everything the table says as a JSON value; what is not a finite number is null."""
    value: dict[str, Any] = {
        "dataset": summary.dataset,
        "subset": summary.subset,
        "prompts": {"selected": summary.selected, "total": summary.total},
        "protocol": summary.protocol,
        "random_weights": list(summary.weights),
        "warning": banner(summary) or None,
        "metrics": {
            name: {"title": title, "higher_is_better": higher} for name, (title, higher) in summary.metrics.items()
        },
        "generated": {model: dataclasses.asdict(count) for model, count in summary.generated.items()},
        "references": summary.references
        and {
            **dataclasses.asdict(summary.references),
            "rendered_by": summary.rendered_by or None,
            "cut": summary.cut,
            "cut_to": summary.cut_to if summary.cut else None,
        },
        "table": _records(table(summary)),
        "scores": _records(summary.comparison),
        "notes": notes(summary),
        "context": [] if summary.context is None else _records(summary.context),
        "provenance": dict(summary.provenance),
    }
    plain: dict[str, Any] = _plain(value)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
