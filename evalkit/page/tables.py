"""Tables of a document as HTML: all that they say, in cells that stay readable on a phone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from evalkit.page.inline import written
from evalkit.page.links import address
from evalkit.report.document import Cell, Column, Link, Listing, Quantity, Row, Table, about
from evalkit.report.numbers import NONE, absent, count, interval

TONES = {
    "GO": "good", "NO-GO": "bad", "INCONCLUSIVE": "warn",
    "PASS": "good", "BREACH": "bad", "INSUFFICIENT_EVIDENCE": "warn", "MISSING": "warn",
    "better": "good", "worse": "bad",
    "REPRODUCED": "good", "DIFFERS": "bad", "UNDECIDED": "warn", "NOT COMPARABLE": "warn",
}  # fmt: skip
ARROWS = {"↓": "lower is better", "↑": "higher is better"}
WORDS = ("word", "verdict", "links")  # kinds that are flush left
TOGETHER = ("value", "low", "high", "n")  # of a table's cell: 4.903 [4.892, 4.926] n 5,469


@dataclass(frozen=True)
class Part:
    """A piece of a cell, on a line of its own.

    Attributes:
        label: what it is, in front of it; empty where the head of the column says so.
        look: "value", "fact", "plain", "badge" or "link".
        tone: of a badge.
        href: of a link.
        mark: what stands behind a number that others of its column may not have; None where none has.
    """

    text: str
    label: str = ""
    look: str = "plain"
    tone: str = ""
    href: str = ""
    mark: str | None = None


@dataclass(frozen=True)
class Titled:
    """A table with its heading, as the template `titled.html.j2` wants it.

    Attributes:
        name: of the element that its title is.
        body: the table as HTML.
        folded: whether it is shown only when it is asked for.
    """

    table: Table | Listing
    name: str
    body: Markup
    legend: Sequence[str]
    folded: bool


@dataclass(frozen=True)
class Shown:
    """A cell, or the head of a column.

    Attributes:
        arrow: which way is better, where it is the name of a metric.
        number: whether it is flush right.
    """

    parts: Sequence[Part]
    arrow: str = ""
    number: bool = False


@dataclass(frozen=True)
class Line:
    """A row; the first cell is its name."""

    cells: Sequence[Shown]
    quiet: bool = False


@dataclass(frozen=True)
class Grid:
    """A table as its template wants it."""

    head: Sequence[Shown]
    lines: Sequence[Line]


def html(table: Table | Listing, name: str, output: Path, caption: str = "", prompts: bool = False) -> Markup:
    """Write a table.

    Args:
        name: the ids of the elements that name it; empty where its caption does.
        output: the file of the page, which links to files are relative to.
        caption: what stands above it, empty where a heading does.
        prompts: whether the page shows prompts, which ids of prompts lead to.
    """
    grid = _listing(table, output, prompts) if isinstance(table, Listing) else _table(table, output)
    return written("table.html.j2", grid=grid, arrows=ARROWS, name=name, caption=caption, title=table.title)


def legend(table: Table | Listing) -> list[str]:
    """What arrows, marks and less known quantities mean, in sentences."""
    return [*table.legend(), *([] if isinstance(table, Listing) else about(table.read()))]


def tone(word: str) -> str:
    """The colour of a word that judges: "good", "bad" or "warn"; empty for others."""
    return TONES.get(word) or TONES.get(word.partition(" (")[0], "")


def _table(table: Table, output: Path) -> Grid:
    labels = list(dict.fromkeys(name for row in table.rows for name in row.labels))
    quantities = [quantity for quantity in table.read() if quantity.key not in TOGETHER]
    head = [*(Shown([Part(name)]) for name in labels), *(_named(column, number=True) for column in table.columns)]
    return Grid(head, [_row(table, row, labels, quantities, output) for row in table.rows])


def _row(table: Table, row: Row, labels: Sequence[str], more: Sequence[Quantity], output: Path) -> Line:
    """A row, in which facts about it stand below its name."""
    name, *others = (_label(row.labels.get(name, ""), output) for name in labels)
    facts = [Part(f"{text} {fact}", look="fact") for fact, text in row.about.items()]
    cells = [Shown([name, *facts]), *(Shown([other]) for other in others)]
    for column in table.columns:
        cells.append(Shown(list(_measured(table, row.cells.get(column.name, {}), more)), number=True))
    return Line(cells, quiet=bool(row.plain.get("calibration")))


def _measured(table: Table, cell: Cell, more: Sequence[Quantity]) -> Iterator[Part]:
    """The value, its interval and its n, and then what else is said of it."""
    value = next(quantity.text(cell) for quantity in table.quantities if quantity.key == "value")
    yield Part(value, look="value")
    if bounds := interval(cell.get("low"), cell.get("high")):
        yield Part(bounds, look="fact")
    n = cell.get("n")
    if table.show_n and n and not absent(n) and value != NONE:
        yield Part(f"{count(n)}{', small' if n < table.small else ''}", "n")
    for quantity in more:
        text = quantity.text(cell)
        if text == NONE:
            continue
        if quantity.key == "verdict":
            yield Part(text, look="badge", tone=tone(text))
        else:
            yield Part(text, quantity.label)


def _label(text: str | Link, output: Path) -> Part:
    if isinstance(text, Link) and (href := address(text.url, output)):
        return Part(text.text, look="link", href=href)
    return Part(str(text))


def _named(column: Column, number: bool = False) -> Shown:
    return Shown([Part(column.title)], column.arrow, number)


def _listing(listing: Listing, output: Path, prompts: bool) -> Grid:
    quantities = _verdicts_first([quantity for column in listing.read() for quantity in column])
    head = [Shown([Part(quantity.label)], number=quantity.kind not in WORDS) for quantity in quantities]
    return Grid(head, [Line([_entry(q, item.cell, output, prompts) for q in quantities]) for item in listing.rows])


def _verdicts_first(quantities: Sequence[Quantity]) -> list[Quantity]:
    """Set what judges behind the words that a row begins with, where a phone shows it unscrolled."""
    words = list(takewhile(lambda quantity: quantity.kind == "word", quantities))
    others = quantities[len(words) :]
    return [*words, *(q for q in others if q.kind == "verdict"), *(q for q in others if q.kind != "verdict")]


def _entry(quantity: Quantity, cell: Mapping[str, Any], output: Path, prompts: bool) -> Shown:
    value = cell.get(quantity.key)
    if isinstance(value, Column):
        return _named(value)
    if quantity.kind == "links":
        return Shown([_label(link, output) for link in value or ()])
    text = quantity.text(cell)
    if quantity.kind == "verdict" and text != NONE:
        return Shown([Part(text, look="badge", tone=tone(text))])
    if quantity.key == "id" and prompts:
        return Shown([Part(text, look="link", href=f"#prompt={quote(str(value), safe='', errors='replace')}")])
    mark = cell.get(f"{quantity.key}_mark")
    if mark is not None:
        return Shown([Part(text.removesuffix(mark), mark=mark.strip())], number=True)
    return Shown([Part(text)], number=quantity.kind not in WORDS)
