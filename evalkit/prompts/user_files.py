"""CSV, TSV and JSON-lines files that users bring, read so that a mistake names its file and line."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from evalkit.errors import EvalkitError

SUFFIXES = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class Row:
    """One entry of a table.

    Attributes:
        place: file and line, for messages.
        values: text by column; in JSON lines anything that JSON can hold.
    """

    place: str
    values: dict[str, Any]

    def error(self, message: str) -> EvalkitError:
        return EvalkitError(f"{self.place}: {message}")

    def text(self, column: str) -> str:
        """The text of a column without the space around it; empty where there is none.

        Raises EvalkitError for a value that is not text, and for text that UTF-8 cannot hold.
        """
        value = self.values.get(column)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise self.error(f"{column} is {value!r:.40}, not text")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self.error(f"{column} holds half a character ({error.reason}): write the file as UTF-8") from error
        return value.strip()

    def number(self, column: str) -> float:
        """The finite number in a column. Raises EvalkitError for anything else."""
        try:
            value = float(self.text(column))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"{column} is '{self.text(column):.40}', not a number")
        return value


def read_rows(path: Path) -> list[Row]:
    """Read a .csv, .tsv or .jsonl file, in UTF-8 with or without a byte order mark.

    Raises EvalkitError for a file that is missing, empty, of another format or encoding, or damaged.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise EvalkitError(f"'{path}' is not a table: its name must end in {', '.join(SUFFIXES)}")
    return text_rows(path, suffix, open)


def text_rows(path: Path, suffix: str, opener: Callable[..., Any]) -> list[Row]:
    """Read a file that has the form which a suffix stands for, whatever its name, as `read_rows` does.

    Args:
        opener: opens it: `open`, or that of a module for compressed files.
    """
    try:
        # newline="" is what csv asks for: it keeps line breaks inside captions
        with opener(path, "rt", encoding="utf-8-sig", newline="" if suffix != ".jsonl" else None) as file:
            rows = list(_json_lines(path, file) if suffix == ".jsonl" else _delimited(path, file, suffix))
    except OSError as error:
        raise EvalkitError(f"cannot read '{path}': {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise EvalkitError(f"'{path}' is not text in UTF-8 (byte {error.start}): save it as UTF-8") from error
    if not rows:
        raise EvalkitError(f"'{path}' has no rows")
    return rows


def _delimited(path: Path, file: TextIO, suffix: str) -> Iterator[Row]:
    reader = csv.reader(file, delimiter="\t" if suffix == ".tsv" else ",", strict=True)
    line = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise EvalkitError(f"'{path}' has two columns '{min(twice)}': rename one")
        line = reader.line_num + 1
        for fields in reader:
            place = f"'{path}' line {line}"
            line = reader.line_num + 1
            if not fields:
                continue
            if len(fields) != len(header):
                raise EvalkitError(
                    f"{place}: {len(fields)} fields where the header has {len(header)}: "
                    "put text that holds a separator in double quotes"
                )
            yield Row(place, dict(zip(header, fields, strict=True)))
    except csv.Error as error:
        raise EvalkitError(f"'{path}' line {line}: not {suffix[1:].upper()} ({error})") from error


def _json_lines(path: Path, file: TextIO) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        place = f"'{path}' line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise EvalkitError(f"{place}: not JSON ({error})") from error
        if not isinstance(value, dict):
            raise EvalkitError(f'{place}: not a JSON object: each line must be one, such as {{"id": …, "text": …}}')
        yield Row(place, value)


def find_column(path: Path, rows: list[Row], *names: str) -> str:
    """The first of some names for a column that a table has. Raises EvalkitError where it has none."""
    present = dict.fromkeys(column for row in rows for column in row.values)
    for name in names:
        if name in present:
            return name
    raise EvalkitError(f"'{path}' has no column {' or '.join(repr(n) for n in names)}: it has {', '.join(present)}")
