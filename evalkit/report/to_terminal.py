"""A document on the terminal, in as few lines as its width allows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from evalkit.report import terminal_listing
from evalkit.report.document import Cell, Column, Document, Listing, Quantity, Row, Table
from evalkit.report.lines import GAP, NAME, parts, side_by_side, wrap
from evalkit.report.literal import literal
from evalkit.report.numbers import NONE, absent, count, interval

TITLE = 12  # characters that the titles of columns get on a line, if they have as many and there is room
# for terminals that know no more
ASCII = str.maketrans({"─": "-", "–": "-", "−": "-", "↑": "^", "↓": "v", "…": "~", "●": "*"})
BETWEEN = (" to ", "…")  # the bounds of an interval; the second where the first does not fit


def render(document: Document, console: Console | None = None) -> str:
    """Write a document for a terminal: the main table, all listings, and what must be known of them.

    Metrics stand side by side if they fit; else they stand below each other, if the rows then fit side by
    side; else in several tables of some metrics each, with all rows, so that a metric is on one screen.

    Args:
        console: has the width and knows of colours; standard output by default.
    """
    console = console or Console()
    if console.width < 1:  # as COLUMNS=0 has it, under which nothing would be printed
        console.width = 80
    with console.capture() as capture:
        if document.outcome:
            style = terminal_listing.STYLES.get(document.outcome, "bold")
            _paragraph(console, f"{document.outcome}: {document.title}", style)
        _paragraph(console, document.warning, "bold white on red")
        for reason in document.reasons:
            _paragraph(console, reason, bullet="- ")
        _paragraph(console, document.heading, "bold")
        _section(console, document.table)
        for note in [*document.table.notes, *document.notes]:
            _paragraph(console, note, "dim", bullet="- ")
        for table in document.more:
            if isinstance(table, Listing):
                console.print()
                _paragraph(console, table.title, "bold")
                _section(console, table)
                for note in table.notes:
                    _paragraph(console, note, "dim", bullet="- ")
        for note in _elsewhere(document):
            _paragraph(console, note, "dim", bullet="- ")
    text = capture.get()
    return text.translate(ASCII) if console.options.ascii_only else text


def _section(console: Console, table: Table | Listing) -> None:
    """Print a table with what must be said of its columns."""
    _paragraph(console, table.intro)
    if not table.rows or not table.columns:
        return
    blocks, legend = (
        ([terminal_listing.lines(table, console.width)], table.legend())
        if isinstance(table, Listing)
        else _laid_out(table, console.width)
    )
    for line in [line for block in blocks for line in [Text(), *block]]:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
    whole = " ".join(legend)
    for sentence in [whole] if cell_len(whole) <= console.width else legend:
        _paragraph(console, sentence, "dim")
    console.print()


def _elsewhere(document: Document) -> Iterator[str]:
    tables = [
        f"{table.title} ({len(table.rows):,} row{'s' if len(table.rows) > 1 else ''})"
        for table in document.more
        if not isinstance(table, Listing)
    ]
    if tables:
        yield f"further tables, shown by evalkit table RESULT --format markdown: {', '.join(tables)}"


def _paragraph(console: Console, text: str, style: str = "", bullet: str = "") -> None:
    if text:
        for k, line in enumerate(Text(literal(text)).wrap(console, max(1, console.width - len(bullet)))):
            line.rstrip()
            console.print(Text(bullet if not k else " " * len(bullet)).append(line), style=style)


@dataclass(frozen=True)
class _Label:
    """The name of a row or a column, and facts on lines of their own below it."""

    name: str
    below: Sequence[str] = ()

    @property
    def width(self) -> int:
        """The width at which nothing is broken."""
        return max(cell_len(text) for text in (self.name, *self.below))

    @property
    def least(self) -> int:
        """The width at which no word is broken."""
        return max(cell_len(part.rstrip()) for text in (self.name, *self.below) for part in parts(text) or [""])

    def lines(self, width: int) -> list[Text]:
        """The lines, broken to a width."""
        name = [Text(line) for line in wrap(self.name, width)]
        return name + [Text(line, style="dim") for text in self.below for line in wrap(text, width)]


@dataclass(frozen=True)
class _Layout:
    """What stands in which row and column.

    Attributes:
        cells: for each row, the lines of each column's cell.
        corner: what stands above the names of the rows.
        legend: what must be said about the lines, in sentences.
    """

    rows: Sequence[_Label]
    columns: Sequence[_Label]
    cells: Sequence[Sequence[Sequence[str]]]
    legend: Sequence[str]
    corner: _Label = _Label("")

    def blocks(self, width: int, broken: bool) -> list[list[Text]]:
        """The lines of as many tables as a width needs, with all rows in each; names of rows may be broken."""
        widths = [
            max([column.least, *(cell_len(line) for cells in self.cells for line in cells[i])])
            for i, column in enumerate(self.columns)
        ]
        least = self._widest()
        if broken:
            least = min(least, max(NAME, *(label.least for label in [self.corner, *self.rows])))
        groups = _groups(widths, width - least, len(widths))
        # no table of one metric below one of many, if as many tables do
        even = _groups(widths, width - least, math.ceil(len(widths) / len(groups)))
        groups = even if len(even) == len(groups) else groups
        return [self._block(group, widths, least, width) for group in groups]

    def _widest(self) -> int:
        return max(label.width for label in [self.corner, *self.rows])

    def _block(self, chosen: Sequence[int], widths: Sequence[int], least: int, width: int) -> list[Text]:
        free = width - sum(GAP + widths[i] for i in chosen)
        name = max(least, min(free, self._widest()))
        sizes, spare = [name], max(0, free - name)
        for i in chosen:
            more = min(spare, max(0, min(self.columns[i].width, TITLE) - widths[i]))
            sizes.append(widths[i] + more)
            spare -= more
        head = [self.corner.lines(name), *(self.columns[i].lines(sizes[k]) for k, i in enumerate(chosen, 1))]
        deepest = max(map(len, head))
        lines = side_by_side([[Text()] * (deepest - len(cell)) + cell for cell in head], sizes, _is_name)
        lines.append(Text("─" * (sum(sizes) + GAP * len(chosen)), style="dim"))
        for label, cells in zip(self.rows, self.cells, strict=True):
            shown = [[Text(line, style="dim" if k else "") for k, line in enumerate(cells[i])] for i in chosen]
            lines += side_by_side([label.lines(name), *shown], sizes, _is_name)
        return lines


def _is_name(column: int) -> bool:
    """Whether a column has the names of rows, which are flush left."""
    return column == 0


def _groups(widths: Sequence[int], free: int, most: int) -> list[list[int]]:
    """Group columns, in their order, so that each group's widths fit, or that it is one column."""
    groups: list[list[int]] = [[]]
    for i, width in enumerate(widths):
        full = len(groups[-1]) == most or GAP + width + sum(GAP + widths[j] for j in groups[-1]) > free
        if groups[-1] and full:
            groups.append([])
        groups[-1].append(i)
    return groups


@dataclass(frozen=True)
class _Line:
    """One line of each cell: a quantity, or two that are read together.

    Attributes:
        between: what stands between the bounds of an interval.
    """

    quantities: Sequence[Quantity]
    between: str

    @property
    def title(self) -> str:
        return self._titled([quantity.label for quantity in self.quantities])

    @property
    def explained(self) -> str:
        """The title, with what the quantities are."""
        return self._titled([f"{q.label}: {q.about}" if q.about else q.label for q in self.quantities])

    def _titled(self, names: Sequence[str]) -> str:
        if self.quantities[0].key == "low":
            return "interval"
        first, *others = names
        return f"{first} ({', '.join(others)})" if others else first

    def text(self, cell: Cell) -> str:
        """What a cell has on this line."""
        first, *others = self.quantities
        if absent(cell.get(first.key)):
            return NONE
        if first.key == "low":
            return interval(cell.get("low"), cell.get("high"), self.between, around="")
        return first.text(cell) + "".join(f" ({quantity.text(cell)})" for quantity in others)


def _lines(table: Table, between: str, with_n: bool) -> list[_Line]:
    """The lines that the cells of a table have, in their order."""
    lines: list[list[Quantity]] = []
    for quantity in table.read():
        if quantity.key == "n" and not with_n:
            continue
        pair = {"high": "low", "difference": "published"}.get(quantity.key)
        if lines and pair == lines[-1][0].key:
            lines[-1].append(quantity)
        else:
            lines.append([quantity])
    return [_Line(line, between) for line in lines]


def _laid_out(table: Table, width: int) -> tuple[list[list[Text]], Sequence[str]]:
    """The blocks of the layout that suits a width best, and what must be said of their lines."""
    ways = [(BETWEEN[0], False), (BETWEEN[1], False), (BETWEEN[1], True)]  # whether names of rows may be broken
    beside = [(_metrics_beside(table, between), broken) for between, broken in ways]
    alone = [
        (_one_row(table, between, many), broken)
        for many in range(len(_lines(table, "", _place_of_n(table) != "rows")), 1, -1)
        for between, broken in ways
        if len(table.rows) == 1
    ]
    below = [(_metrics_below(table, between), broken) for between, broken in ways]
    tried = []
    for layouts in (beside, alone, below):
        made = [(layout.blocks(width, broken), layout.legend) for layout, broken in layouts]
        if fitting := [(blocks, legend) for blocks, legend in made if len(blocks) == 1 and not _beyond(blocks, width)]:
            return min(fitting, key=lambda laid_out: _height(laid_out[0]))
        tried.append(made)
    return min(tried[0], key=lambda laid_out: (_beyond(laid_out[0], width), _height(laid_out[0])))


def _beyond(blocks: Sequence[Sequence[Text]], width: int) -> int:
    """By how many characters the longest line is too long."""
    return max(0, max(line.cell_len for block in blocks for line in block) - width)


def _height(blocks: Sequence[Sequence[Text]]) -> int:
    return sum(map(len, blocks))


def _metrics_beside(table: Table, between: str) -> _Layout:
    place = _place_of_n(table)
    lines = _lines(table, between, place == "cells")
    rows = [_row_label(row, place == "rows") for row in table.rows]
    columns = [_column_label(table, column, place == "columns") for column in table.columns]
    cells = [[_cell(lines, row.cells.get(column.name, {})) for column in table.columns] for row in table.rows]
    said = [f"Below each value: {'; '.join(line.explained for line in lines[1:])}."] if lines[1:] else []
    return _Layout(rows, columns, cells, [*said, *table.legend()])


def _metrics_below(table: Table, between: str) -> _Layout:
    beside = _metrics_beside(table, between)
    return _Layout(beside.columns, beside.rows, list(zip(*beside.cells, strict=True)), beside.legend)


def _one_row(table: Table, between: str, many: int) -> _Layout:
    """The metrics of one row below each other, and what is said of each beside it in so many columns."""
    one_n = _place_of_n(table) == "rows"
    lines = _lines(table, between, not one_n)
    (row,) = table.rows
    cells = []
    for column in table.columns:
        texts = [line.text(row.cells.get(column.name, {})) for line in lines]
        cells.append([texts[i::many] for i in range(many)])
    heads = [[line.title for line in lines[i::many]] for i in range(many)]
    said = [f"{q.label.capitalize()}: {q.about}." for line in lines for q in line.quantities if q.about]
    return _Layout(
        rows=[_column_label(table, column, False) for column in table.columns],
        columns=[_Label(first, below) for first, *below in heads],
        cells=cells,
        legend=[*said, *table.legend()],
        corner=_row_label(row, one_n),
    )


def _row_label(row: Row, with_n: bool) -> _Label:
    (_, name), *others = row.labels.items()
    below = [f"{key} {text}" for key, text in others] + [f"{text} {key}" for key, text in row.about.items()]
    if with_n:
        below += _counts(row.cells.values())
    return _Label(literal(name), [literal(text) for text in below])


def _column_label(table: Table, column: Column, with_n: bool) -> _Label:
    # an arrow stays beside the last word of the title
    name = f"{literal(column.title)}\u00a0{column.arrow}" if column.arrow else literal(column.title)
    return _Label(name, _counts(_cells_of(table, column)) if with_n else [])


def _place_of_n(table: Table) -> str:
    """Where n is said: once for each of the rows, or of the columns, where it is the same in all their cells."""
    if not table.show_n:
        return ""
    if all(len(_counts(row.cells.values())) <= 1 for row in table.rows):
        return "rows"
    same = all(len(_counts(_cells_of(table, column))) <= 1 for column in table.columns)
    return "columns" if same else "cells"


def _cells_of(table: Table, column: Column) -> list[Cell]:
    return [row.cells.get(column.name, {}) for row in table.rows]


def _counts(cells: Iterable[Cell]) -> list[str]:
    ns = dict.fromkeys(cell["n"] for cell in cells if not absent(cell.get("n")) and not absent(cell.get("value")))
    return [f"n {count(n)}" for n in ns]


def _cell(lines: Sequence[_Line], cell: Cell) -> list[str]:
    """The lines of a cell, without those at its end that say nothing."""
    texts = [line.text(cell) for line in lines]
    said = max([1, *(k for k, text in enumerate(texts, 1) if text != NONE)])
    counts = [line.quantities[0].key == "n" and text != NONE for line, text in zip(lines, texts, strict=True)]
    return [f"n {text}" if counted else text for counted, text in zip(counts[:said], texts[:said], strict=True)]
