"""A document as GitHub Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tabulate import tabulate

from evalkit.report.document import Cell, Column, Document, Link, Listing, Quantity, Row, Table, about
from evalkit.report.literal import literal
from evalkit.report.numbers import absent, count, interval

SUFFIX = ".md"

# GitHub shows comments of at most 65,536 characters, and step summaries of 1,024 kB: this many bytes leave room
# for what a workflow sets before or after.
GITHUB = 60_000

TOGETHER = ("value", "low", "high", "n")  # what stands in one column: 4.903 [4.892, 4.926] (n 5,469)


def render(document: Document) -> str:
    """Write a document as GitHub Markdown, with all its tables, notes and provenance."""
    parts = [f"# evalkit: {escaped(': '.join(filter(None, [document.outcome, document.title])))}"]
    if document.warning:
        parts.append(f"> **{escaped(document.warning)}**")
    if document.reasons:
        parts.append(bullets(document.reasons))
    parts.append(escaped(document.heading))
    parts += section(document.table)
    if document.notes:
        parts.append(bullets(document.notes))
    for table in document.more:
        parts += section(table)
    if document.provenance:
        parts += ["## Provenance", bullets(f"{key}: {value}" for key, value in document.provenance.items())]
    return "\n\n".join(parts) + "\n"


def shortened(document: Document, most: int = GITHUB) -> str:
    """Write a document in at most so many bytes of UTF-8: what stands last is left out, and that is said."""
    text = render(document)
    if len(text.encode()) <= most:
        return text
    kept, left, titles = text.splitlines(keepends=True), 0, list[str]()
    size = len(text.encode())
    while kept and size + len(_left_out(left, titles).encode()) > most:
        line, left = kept.pop(), left + 1
        size -= len(line.encode())
        if line.startswith("## "):
            titles.insert(0, line.removeprefix("## ").rstrip())
    return "".join([*kept, _left_out(left, titles)])


def _left_out(lines: int, titles: Sequence[str]) -> str:
    """Say what was left out."""
    whole = f", among them all of {', '.join(titles)}" if titles else ""
    return f"\n**{lines:,} lines are left out here to fit{whole}: the files beside this one have them.**\n"


def section(table: Table | Listing, level: int = 2) -> Iterator[str]:
    """Write a table with what stands around it.

    Args:
        level: of its heading.
    """
    if table.title:
        yield f"{'#' * level} {escaped(table.title)}"
    if table.intro:
        yield escaped(table.intro)
    yield _listing(table) if isinstance(table, Listing) else _pipe_table(table)
    if legend := _legend(table):
        yield escaped(legend)
    if table.notes:
        yield bullets(table.notes)


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
    return _piped(head, body, ["left"] * len(labels) + ["right"] * (len(head) - len(labels)))


def _piped(head: Iterable[str], body: Sequence[Sequence[str]], align: Sequence[str]) -> str:
    shown = [escaped(name) for name in head]
    return tabulate(body, shown, tablefmt="pipe", disable_numparse=True, colalign=align if body else None)


def _listing(listing: Listing) -> str:
    quantities = [quantity for column in listing.read() for quantity in column]
    body = [[_entry(quantity, row.cell) for quantity in quantities] for row in listing.rows]
    align = ["left" if quantity.kind in ("word", "verdict", "links") else "right" for quantity in quantities]
    return _piped([quantity.label for quantity in quantities], body, align)


def _entry(quantity: Quantity, cell: Cell) -> str:
    """What a listing has in one column."""
    if quantity.kind == "links":
        return " ".join(map(_link, cell.get(quantity.key) or ()))
    text = escaped(quantity.text(cell))
    return f"**{text}**" if quantity.kind == "verdict" and not absent(cell.get(quantity.key)) else text


def _label(texts: Mapping[str, str | Link], name: str) -> str:
    text = texts.get(name, "")
    return _link(text) if isinstance(text, Link) else escaped(text)


def _link(link: Link) -> str:
    return f"[{escaped(link.text)}]({link.url})"


def _cells(table: Table, row: Row, columns: Iterable[tuple[Column, Quantity | None]]) -> Iterator[str]:
    for column, quantity in columns:
        cell = row.cells.get(column.name, {})
        yield escaped(quantity.text(cell)) if quantity else escaped(_measured(table, cell))


def _measured(table: Table, cell: Cell) -> str:
    """The quantities that stand together."""
    value = next(quantity.text(cell) for quantity in table.quantities if quantity.key == "value")
    n = cell.get("n")
    counted = ""
    if table.show_n and n and not absent(n):
        counted = f"(n {count(n)}{', small' if n < table.small else ''})"
    return " ".join(filter(None, [value, interval(cell.get("low"), cell.get("high")), counted]))


def _legend(table: Table | Listing) -> str:
    """What the arrows, marks and less known quantities mean."""
    more = [] if isinstance(table, Listing) else about(table.read())
    return " ".join([*table.legend(), *more])


def bullets(lines: Iterable[str]) -> str:
    """Write lines as a list."""
    return "\n".join(f"- {escaped(line)}" for line in lines)


def escaped(text: str) -> str:
    """Make text show literally in GitHub Markdown, also inside a table's cell."""
    text = html.escape(literal(text), quote=False)
    # an underscore inside a word is not emphasis, and stays readable in the source
    return re.sub(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)", lambda match: "\\" + match[0], text)
