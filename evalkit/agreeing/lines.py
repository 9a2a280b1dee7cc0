"""Reading tables of ratings, which are files from elsewhere: what is wrong in them is said with its line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import EvalkitError, unknown

LARGEST = 2**28  # bytes
SEPARATORS = (",", "\t", ";")  # of columns; the first of those that are equally frequent
SHOWN = 40  # characters of a cell that a message repeats
LARGEST_NUMBER = 1e12  # of sums of which nothing overflows
NOT_THERE = "'{}' is not there: give a file or a folder of ratings"


@dataclass(frozen=True)
class Line:
    """A line of a file.

    Attributes:
        number: from 1.
        cells: what it holds, without spaces around.
    """

    path: Path
    number: int
    cells: Sequence[str]

    def wrong(self, said: str) -> EvalkitError:
        """The error for a line of which something is wrong."""
        return EvalkitError(f"'{self.path}', line {self.number}: {said}")

    def number_of(self, text: str, what: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Read a number. Raises EvalkitError for anything else, and for one that is not between two bounds."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not abs(value) <= LARGEST_NUMBER:  # no number, infinite, or a mistake
            raise self.wrong(f"{what} {said(text)} is no number")
        if not low <= value <= high:
            raise self.wrong(f"{what} {said(text)} is not from {low:g} to {high:g}")
        return value


def said(text: str) -> str:
    """A cell as a message repeats it."""
    return f"'{text[:SHOWN]}…'" if len(text) > SHOWN else f"'{text}'"


def lines(path: Path, separator: str = ",") -> list[Line]:
    """Read the lines of a file that are not empty. Raises EvalkitError for what is no text, and where there is none."""
    return list(_parsed(path, text_of(path), separator))


def text_of(path: Path) -> str:
    """Read a file. Raises EvalkitError for what is no text, and where there is none."""
    try:
        if path.stat().st_size > LARGEST:
            raise EvalkitError(f"'{path}' is larger than {LARGEST // 2**20} MiB, which no file of ratings is")
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise EvalkitError(f"'{path}' is not there") from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise EvalkitError(f"'{path}' cannot be read: {why}") from error
    if not text.strip():
        raise EvalkitError(f"'{path}' is empty")
    return text


def _parsed(path: Path, text: str, separator: str) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield Line(path, reader.line_num, [cell.strip() for cell in cells])
    except csv.Error as error:
        raise EvalkitError(f"'{path}', line {reader.line_num}: {error}") from error


def first_line(path: Path) -> str:
    """The first line of a file that is not empty, as far as it is text; empty where there is none."""
    try:
        with path.open("rb") as file:
            start = file.read(2**16).decode("utf-8-sig", "replace")
    except OSError:
        return ""
    return next((line.strip() for line in start.splitlines() if line.strip()), "")


def separator_of(head: str) -> str:
    """What separates the columns of a table with this head."""
    return max(SEPARATORS, key=head.count)


class Head:
    """The first line of a table, which names its columns.

    Args:
        called: what the file calls a column, by the name that evalkit has for it.

    Raises EvalkitError for two columns of one name, and for one that there is not.
    """

    def __init__(self, line: Line, called: Mapping[str, str]):
        self.line = line
        self.names = [cell.lower() for cell in line.cells]
        if twice := next((name for name in self.names if name and self.names.count(name) > 1), ""):
            raise line.wrong(f"two columns are called {said(twice)}")
        self.called = {name: text.lower() for name, text in called.items()}
        if absent := [text for text in self.called.values() if text not in self.names]:
            raise unknown("column", absent[0], self.names)

    def place(self, name: str) -> int | None:
        """Where a column stands; None where there is none."""
        wanted = self.called.get(name, name)
        return self.names.index(wanted) if wanted in self.names else None

    def cell(self, line: Line, name: str) -> str:
        """What a line has in a column; empty where there is no such column."""
        place = self.place(name)
        return "" if place is None else line.cells[place]

    def checked(self, line: Line) -> Line:
        """A line that has as many cells as there are columns. Raises EvalkitError for any other."""
        if len(line.cells) != len(self.names):
            raise line.wrong(f"{len(line.cells)} cells, where the first line has {len(self.names)} columns")
        return line


class Once:
    """Sees to it that nothing is said twice."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], int] = {}

    def take(self, line: Line, key: tuple[str, ...], hint: str = "") -> None:
        """Note what a line is about. Raises EvalkitError, with a hint, where an earlier one was about the same."""
        if (before := self._seen.setdefault(key, line.number)) != line.number:
            named = ", ".join(filter(None, key))
            raise line.wrong(f"the second of {said(named)}, after line {before}{hint}")


def chosen_score(path: Path, asked: str | None, available: Sequence[str]) -> str:
    """Which score of a file is meant. Raises EvalkitError where it must be said, and for one that there is not."""
    if asked is None and len(available) == 1:
        return available[0]
    if asked is None:
        raise EvalkitError(f"'{path}' holds several scores: choose one with --score: {', '.join(available)}")
    if asked not in available:
        raise unknown("score", asked, available)
    return asked
