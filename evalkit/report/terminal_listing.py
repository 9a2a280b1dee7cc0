"""A listing on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from evalkit.report.document import Column, Item, Listing, Quantity
from evalkit.report.lines import GAP, NAME, parts, side_by_side, wrap
from evalkit.report.literal import literal

WORDS = ("word", "verdict")  # kinds that stand flush left, and may be broken
STYLES = {
    "GO": "bold white on green", "NO-GO": "bold white on red", "INCONCLUSIVE": "bold black on yellow",
    "PASS": "green", "BREACH": "bold red", "INSUFFICIENT_EVIDENCE": "yellow", "MISSING": "yellow",
    "better": "green", "worse": "red",
    "REPRODUCED": "green", "DIFFERS (higher)": "bold red", "DIFFERS (lower)": "bold red", "UNDECIDED": "yellow",
    "NOT COMPARABLE": "yellow",
    "ok": "green", "warning": "yellow", "missing": "bold red", "damaged": "bold red", "absent": "dim",
}  # fmt: skip


def lines(listing: Listing, width: int) -> list[Text]:
    """Lay a listing out in as few lines as a width allows: each quantity in a column; else those that belong together
    below each other, with words broken between lines; else one below the other."""
    stacked = [[quantity for quantity in column if quantity.kind != "links"] for column in listing.read()]
    stacked = [column for column in stacked if column]
    flat = [[quantity] for column in stacked for quantity in column]
    made = [_Grid(listing.rows, columns) for columns in (flat, stacked)]
    tried = [grid.lines(grid.widths(width)) for grid in made if grid.fits(width)]
    return min(tried, key=len) if tried else _below(listing.rows, flat, width)


def _text(quantity: Quantity, row: Item) -> str:
    """What a cell says; an arrow stays beside the last word of a title."""
    value = row.cell.get(quantity.key)
    if isinstance(value, Column) and value.arrow:
        return f"{literal(value.title)}\u00a0{value.arrow}"
    return quantity.text(row.cell)


def _styled(quantity: Quantity, text: str, whole: str) -> Text:
    return Text(text, style=STYLES.get(whole, "") if quantity.kind == "verdict" else "")


@dataclass(frozen=True)
class _Grid:
    """Columns of quantities, of which those of one column stand below each other."""

    rows: Sequence[Item]
    columns: Sequence[Sequence[Quantity]]

    def fits(self, width: int) -> bool:
        """Whether it fits a width if words are broken between lines."""
        return self._total([self._least(column) for column in self.columns]) <= width

    def widths(self, width: int) -> list[int]:
        """The columns' widths: the widest column of words is made narrower until all fit."""
        widths = [
            max(*map(cell_len, self._texts(column, column)), *(quantity.least for quantity in column))
            for column in self.columns
        ]
        least = [self._least(column) for column in self.columns]
        while self._total(widths) > width:
            widest = max((i for i, size in enumerate(widths) if size > least[i]), key=lambda i: widths[i])
            widths[widest] -= 1
        return widths

    def lines(self, widths: Sequence[int]) -> list[Text]:
        """The lines of the head and of all rows."""
        head = [
            [Text(line, style="bold") for quantity in column for line in wrap(literal(quantity.label), size)]
            for column, size in zip(self.columns, widths, strict=True)
        ]
        deepest = max(map(len, head))
        made = side_by_side([[Text()] * (deepest - len(cell)) + cell for cell in head], widths, self._flush_left)
        made.append(Text("─" * self._total(widths), style="dim"))
        for row in self.rows:
            cells = [self._cell(row, column, size) for column, size in zip(self.columns, widths, strict=True)]
            made += side_by_side(cells, widths, self._flush_left)
        return made

    def _cell(self, row: Item, column: Sequence[Quantity], width: int) -> list[Text]:
        texts = [(quantity, _text(quantity, row)) for quantity in column]
        return [_styled(quantity, line, text) for quantity, text in texts for line in wrap(text, width)]

    def _texts(self, column: Sequence[Quantity], chosen: Sequence[Quantity]) -> list[str]:
        """The labels of a column, and what the rows have of some of its quantities."""
        return [literal(q.label) for q in column] + [_text(q, row) for q in chosen for row in self.rows]

    def _least(self, column: Sequence[Quantity]) -> int:
        """The width at which nothing is broken but words, and these between their parts if they are not very long."""
        whole = [_text(q, row) for q in column if q.kind not in WORDS for row in self.rows]
        broken = self._texts(column, [q for q in column if q.kind in WORDS])
        pieces = [min(NAME, cell_len(piece.rstrip())) for text in broken for piece in parts(text)]
        return max([*map(cell_len, whole), *pieces])

    def _total(self, widths: Sequence[int]) -> int:
        return sum(widths) + GAP * (len(widths) - 1)

    def _flush_left(self, column: int) -> bool:
        return self.columns[column][0].kind in WORDS


def _below(rows: Sequence[Item], columns: Sequence[Sequence[Quantity]], width: int) -> list[Text]:
    """Everything below each other, for terminals on which no two columns fit."""
    made = []
    for row in rows:
        for k, (quantity,) in enumerate(columns):
            said, indent = _text(quantity, row), "  " if k else ""
            found = wrap(f"{literal(quantity.label)}: {said}" if k else said, max(1, width - len(indent)))
            made += [Text(indent) + _styled(quantity, line, said) for line in found]
    return made
