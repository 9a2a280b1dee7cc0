"""A document as GitHub Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping

from tabulate import tabulate

from evalkit.report.document import Cell, Column, Document, Link, Quantity, Row, Table
from evalkit.report.literal import literal
from evalkit.report.numbers import absent, count, interval

SUFFIX = ".md"

TOGETHER = ("value", "low", "high", "n")  # what stands in one column: 4.903 [4.892, 4.926] (n 5,469)


def render(document: Document) -> str:
    """Write a document as GitHub Markdown, with all its tables, notes and provenance."""
    parts = [f"# evalkit: {_escape(document.title)}", _escape(document.heading)]
    if document.warning:
        parts.append(f"> **{_escape(document.warning)}**")
    parts += _section(document.table)
    if document.notes:
        parts.append(_bullets(document.notes))
    for table in document.more:
        parts += _section(table)
    if document.provenance:
        parts += ["## Provenance", _bullets(f"{key}: {value}" for key, value in document.provenance.items())]
    return "\n\n".join(parts) + "\n"


def _section(table: Table) -> Iterator[str]:
    """A table with what stands around it."""
    if table.title:
        yield f"## {_escape(table.title)}"
    if table.intro:
        yield _escape(table.intro)
    yield _pipe_table(table)
    if legend := _legend(table):
        yield _escape(legend)
    if table.notes:
        yield _bullets(table.notes)


def _pipe_table(table: Table) -> str:
    labels = dict.fromkeys(name for row in table.rows for name in row.labels)
    facts = dict.fromkeys(name for row in table.rows for name in row.about)
    more = [
        (column, quantity)
        for column in table.columns
        for quantity in [None, *table.read()]
        if quantity is None or (quantity.key not in TOGETHER and table.has(quantity.key, column.name))
    ]
    head = [*labels, *facts, *(f"{c.title} {q.label}" if q else str(c) for c, q in more)]
    body = [
        [*(_label({**row.labels, **row.about}, name) for name in [*labels, *facts]), *_cells(table, row, more)]
        for row in table.rows
    ]
    align = ["left"] * len(labels) + ["right"] * (len(head) - len(labels))
    shown = [_escape(name) for name in head]
    return tabulate(body, shown, tablefmt="pipe", disable_numparse=True, colalign=align if body else None)


def _label(texts: Mapping[str, str | Link], name: str) -> str:
    text = texts.get(name, "")
    return f"[{_escape(text.text)}]({text.url})" if isinstance(text, Link) else _escape(text)


def _cells(table: Table, row: Row, columns: Iterable[tuple[Column, Quantity | None]]) -> Iterator[str]:
    for column, quantity in columns:
        cell = row.cells.get(column.name, {})
        yield _escape(quantity.text(cell)) if quantity else _escape(_measured(table, cell))


def _measured(table: Table, cell: Cell) -> str:
    """The quantities that stand together."""
    value = next(quantity.text(cell) for quantity in table.quantities if quantity.key == "value")
    n = cell.get("n")
    counted = ""
    if table.show_n and n and not absent(n):
        counted = f"(n {count(n)}{', small' if n < table.small else ''})"
    return " ".join(filter(None, [value, interval(cell.get("low"), cell.get("high")), counted]))


def _legend(table: Table) -> str:
    """What the arrows, marks and less known quantities mean."""
    return " ".join([*table.legend(), *(f"{q.label.capitalize()}: {q.about}." for q in table.read() if q.about)])


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_escape(line)}" for line in lines)


def _escape(text: str) -> str:
    """Make text show literally in GitHub Markdown, also inside a table's cell."""
    text = html.escape(literal(text), quote=False)
    # an underscore inside a word is not emphasis, and stays readable in the source
    return re.sub(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)", lambda match: "\\" + match[0], text)
