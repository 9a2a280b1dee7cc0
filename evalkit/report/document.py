"""What every form (terminal, Markdown, CSV, JSON, …) is made from: a document with its tables.

A document knows nothing of records: `evalkit.results` says what stands in it, and the other modules of this
room say how each form looks. There are two kinds of tables: a `Table` says the same of each metric, which has a
column; a `Listing` says other things in each column, such as a verdict. What is said is a `Quantity` in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from evalkit.report import numbers

Cell = Mapping[str, Any]  # raw values by the keys of quantities; what is absent has no value

MARK = "*"  # behind a published value that what was measured cannot be compared with
ARROWS_SAID = "↓ lower is better, ↑ higher is better."


@dataclass(frozen=True)
class Quantity:
    """One number, or word, that a table says of each row, or of each row and metric.

    Attributes:
        key: its key in a cell, and what a `Table` calls it in plain forms: column "fad_low" for key "low" of
            metric "fad"; "value" stands under the metric's own name.
        label: what it is called where people read it.
        kind: how it is written, see `evalkit.report.numbers.text`; flags are for plain forms only.
        about: a few words for readers who do not know it; empty for none.
        least: characters that its column has at least on a terminal, for listings that stand below each other.
    """

    key: str
    label: str
    kind: numbers.Kind
    about: str = ""
    least: int = 0

    def text(self, cell: Cell) -> str:
        """Write it for people; a published value that is not comparable is marked."""
        own = f"{self.key}_" if f"{self.key}_low" in cell else ""
        value = (cell.get(f"{own}low"), cell.get(f"{own}high")) if self.kind == "interval" else cell.get(self.key)
        places = cell.get(f"{self.key}_places", cell.get("places", numbers.PLACES))
        text = numbers.text(self.kind, value, cell.get("published"), places) + cell.get(f"{self.key}_mark", "")
        return text + MARK if self.key == "published" and _not_comparable(cell) else text


def _not_comparable(cell: Cell) -> bool:
    return not cell.get("comparable", True) and not numbers.absent(cell.get("published"))


def about(quantities: Iterable[Quantity]) -> list[str]:
    """What the less known of some quantities are, in sentences."""
    return [f"{q.label[:1].upper()}{q.label[1:]}: {q.about}." for q in quantities if q.about]


# In the order of every form. Lower and upper bound are read as one interval.
QUANTITIES = (
    Quantity("value", "measured", "number"),
    Quantity("low", "from", "number"),
    Quantity("high", "to", "number"),
    Quantity("n", "n", "count"),
    Quantity("published", "published", "published"),
    Quantity("difference", "difference", "difference", "measured − published"),
    Quantity("comparable", "comparable", "flag"),
    Quantity("verdict", "verdict", "word"),
)


def cell(values: Mapping[str, Any]) -> Cell:
    """Choose what a table says from everything that is known of a score."""
    return {quantity.key: values[quantity.key] for quantity in QUANTITIES if quantity.key in values}


@dataclass(frozen=True)
class Column:
    """A metric as the head of a column, or a row: its name in plain forms, title, and the arrow to what is better."""

    name: str
    title: str
    arrow: str = ""  # "↑", "↓" or nothing

    def __str__(self) -> str:
        return f"{self.title} {self.arrow}".strip()


@dataclass(frozen=True)
class Link:
    """A text that leads somewhere, in forms that have links."""

    text: str
    url: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        labels: what it is called, by label column, such as "model" or "group"; the first one is its name.
        cells: by the column's name.
        about: facts about it by label column, which read well before the column's name: "12 of 12" clips.
        plain: values by column that plain forms have beside the cells, or in place of a label or a fact.
    """

    labels: Mapping[str, str | Link]
    cells: Mapping[str, Cell]
    about: Mapping[str, str] = field(default_factory=dict)
    plain: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Rows and metrics.

    Attributes:
        show_n: whether readers need the number of prompts beside each value.
        small: below which n a value is marked as that of a small group.
        title: a heading, where a document has several tables.
        intro, notes: sentences before and after it.
        quantities: what its cells say.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    show_n: bool = False
    small: int = 0
    title: str = ""
    intro: str = ""
    notes: Sequence[str] = ()
    quantities: Sequence[Quantity] = field(default_factory=lambda: QUANTITIES)

    def read(self) -> list[Quantity]:
        """The quantities that people read: those that any cell has a value of, but for flags."""
        return [q for q in self.quantities if q.kind != "flag" and (q.key != "n" or self.show_n) and self.has(q.key)]

    def has(self, key: str, column: str | None = None) -> bool:
        """Whether any cell, of one column or of all, has a value of a quantity."""
        cells = (cell for row in self.rows for name, cell in row.cells.items() if column in (None, name))
        return any(not numbers.absent(cell.get(key)) for cell in cells)

    def legend(self) -> list[str]:
        """What arrows and marks mean, in sentences."""
        arrows = any(column.arrow for column in self.columns)
        marked = any(_not_comparable(cell) for row in self.rows for cell in row.cells.values())
        said = {ARROWS_SAID: arrows, f"{MARK} not comparable: see the notes.": marked}
        return [sentence for sentence, needed in said.items() if needed]

    def records(self) -> list[dict[str, Any]]:
        """One flat record per row, with the same keys in each: raw values, None for what is absent."""
        names = dict.fromkeys(name for row in self.rows for name in (*row.labels, *row.about))
        more = dict.fromkeys(name for row in self.rows for name in row.plain)
        records = []
        for row in self.rows:
            known = {name: str(text) for name, text in {**row.labels, **row.about}.items()} | dict(row.plain)
            record = {name: known.get(name) for name in names}
            for column in self.columns:
                for quantity in self.quantities:
                    name = column.name if quantity.key == "value" else f"{column.name}_{quantity.key}"
                    record[name] = row.cells.get(column.name, {}).get(quantity.key)
            records.append(record | {name: known.get(name) for name in more})
        return records


@dataclass(frozen=True)
class Item:
    """One row of a listing.

    Attributes:
        cell: what people read, by the keys of the listing's quantities: numbers, words, a Column for a metric. Bounds
            of an interval are "low" and "high", or KEY_low and KEY_high where a row has several; "places", of one
            quantity KEY_places, is the number of decimals, where it is not the usual one; KEY_mark stands behind a
            number.
        plain: what plain forms have in its place.
    """

    cell: Cell
    plain: Mapping[str, Any]


@dataclass(frozen=True)
class Listing:
    """Few rows, with another quantity in each column: short enough for every form.

    Attributes:
        columns: quantities; those of one column stand below each other where there is little room.
        title, intro, notes: as those of a table.
    """

    columns: Sequence[Sequence[Quantity]]
    rows: Sequence[Item]
    title: str = ""
    intro: str = ""
    notes: Sequence[str] = ()

    def read(self) -> list[list[Quantity]]:
        """The columns without quantities that no row has anything to say of."""
        said = [[quantity for quantity in column if self._says(quantity)] for column in self.columns]
        return [column for column in said if column]

    def _says(self, quantity: Quantity) -> bool:
        return any(quantity.text(row.cell) != numbers.NONE for row in self.rows)

    def legend(self) -> list[str]:
        """What arrows and less known quantities mean, in sentences."""
        arrows = any(isinstance(value, Column) and value.arrow for row in self.rows for value in row.cell.values())
        return [*([ARROWS_SAID] if arrows else []), *about(q for column in self.read() for q in column)]

    def records(self) -> list[dict[str, Any]]:
        """One flat record per row: raw values, None for what is absent."""
        return [dict(row.plain) for row in self.rows]


@dataclass(frozen=True)
class Case:
    """One thing that was judged, as test reports have it.

    Attributes:
        group: what it belongs to, from the widest down, joined by dots: no other case has the same.
        name: what was judged.
        status: "failed" where it must not be so, "undecided" where it could not be judged.
        verdict: in one word.
        text: what is said of it, one sentence a line.
        facts: numbers and words by name.
    """

    group: str
    name: str
    status: Literal["passed", "failed", "undecided"]
    verdict: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


T = TypeVar("T", Table, Listing)


@dataclass(frozen=True)
class Document(Generic[T]):
    """Everything that is said of one result, of several, or of a comparison.

    Attributes:
        title, heading: of the whole, for instance the data set, and what was measured in one line.
        warning: what must be read first; empty for nothing.
        table: the main table.
        notes: what a reader must know, one sentence each.
        more: further tables (slices, other published numbers): listings for every form that people read, others for
            forms that have room.
        provenance: short facts such as the commit and the device.
        plain: everything else that machines may want, a JSON-like value.
        outcome: a word that says it all, such as "GO"; empty where nothing is judged.
        reasons: why it is this outcome, one sentence each.
        suite: what was judged on, in the same words from one time to the next, for test reports.
        cases: what was judged, for test reports.
        intervals: that of the notes which says what the intervals are, for captions; empty where there are none.
    """

    title: str
    heading: str
    table: T
    warning: str = ""
    notes: Sequence[str] = ()
    more: Sequence[Table | Listing] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    plain: Mapping[str, Any] = field(default_factory=dict)
    outcome: str = ""
    reasons: Sequence[str] = ()
    suite: str = ""
    cases: Sequence[Case] = ()
    intervals: str = ""
