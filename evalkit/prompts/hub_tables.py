"""Tables of data sets as hubs have them: Parquet, CSV, TSV and JSON, of which all but the first may be compressed."""

from __future__ import annotations

import fnmatch
import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError, unknown
from evalkit.prompts.user_files import Row, text_rows

FORMATS = ("parquet", "csv", "tsv", "jsonl", "json")


def format_of(path: Path) -> str | None:
    """Which form a table has by its name, compressed or not; None for a file that is no table by its name."""
    form = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    return form if form in FORMATS else None


def check_format(form: str | None, option: str) -> None:
    """Raise EvalkitError for a form that there is not."""
    if form is not None and form not in FORMATS:
        raise unknown(option, str(form), FORMATS)


def tables_in(place: Path, patterns: Sequence[str] | None, form: str | None = None) -> list[Path]:
    """List the tables of a data set in the order of their names: a file, or those below a folder that match.

    Args:
        patterns: of paths below the folder, such as "data/test-*.parquet"; None for all.
        form: that all files that match have; None for those whose names say it.

    Raises EvalkitError where there are none.
    """
    if place.is_file():
        return [place]
    if not place.exists():
        raise EvalkitError(f"'{place}' does not exist: give a file of captions, or the folder that it is in")
    wanted = [patterns] if isinstance(patterns, str) else [str(pattern) for pattern in patterns or ["*"]]
    found = [
        path
        for path in sorted(place.rglob("*"))
        if path.is_file()
        and (form or format_of(path))
        and any(fnmatch.fnmatch(path.relative_to(place).as_posix(), pattern) for pattern in wanted)
    ]
    if not found:
        raise EvalkitError(f"'{place}' has no table ({', '.join(FORMATS)}) such as {' or '.join(wanted)}")
    return found


class Inside:
    """What stands in a row for what a Parquet file holds as bytes, such as recordings, which are not read."""

    def __repr__(self) -> str:
        return "bytes inside the file"


INSIDE = Inside()


def read_table(path: Path, form: str | None = None) -> list[Row]:
    """Read a table; columns of bytes, such as recordings, stay where they are.

    Args:
        form: of FORMATS; None for what its name says.

    Raises EvalkitError for a file that is missing, empty, of another form, or damaged.
    """
    form = form or format_of(path)
    if form is None:
        raise EvalkitError(f"'{path}' is no table by its name: set prompts.format to {', '.join(FORMATS)}")
    if form == "parquet":
        return _parquet(path)
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        if form == "json" and _is_list(path, opener):
            return _listed(path, opener)
        return text_rows(path, ".jsonl" if form == "json" else f".{form}", opener)
    except (EOFError, zlib.error) as error:
        raise EvalkitError(f"cannot read '{path}': {error}") from error


def _is_list(path: Path, opener: Any) -> bool:
    """Whether a JSON file holds one list; else it has an object in each line, which many have whatever their name."""
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            return bool(file.read(100).lstrip()[:1] == "[")
    except UnicodeDecodeError:
        return False  # what reads it says so
    except OSError as error:
        raise EvalkitError(f"cannot read '{path}': {error.strerror or error}") from error


def _listed(path: Path, opener: Any) -> list[Row]:
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            values = json.load(file)
    except (ValueError, RecursionError) as error:
        raise EvalkitError(f"'{path}' is not JSON ({error})") from error
    rows = [Row(f"'{path}' entry {number}", value) for number, value in enumerate(values, start=1)]
    if bad := next((row for row in rows if not isinstance(row.values, dict)), None):
        raise bad.error("not a JSON object")
    if not rows:
        raise EvalkitError(f"'{path}' has no rows")
    return rows


def _parquet(path: Path) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            inside = {field.name: INSIDE for field in file.schema_arrow if _holds_bytes(field.type)}
            values = file.read([name for name in file.schema_arrow.names if name not in inside]).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise EvalkitError(f"cannot read '{path}': {' '.join(str(error).split())}") from error
    if not values:
        raise EvalkitError(f"'{path}' has no rows")
    return [Row(f"'{path}' row {number}", {**row, **inside}) for number, row in enumerate(values, start=1)]


def _holds_bytes(kind: Any) -> bool:
    import pyarrow

    binary = (pyarrow.types.is_binary, pyarrow.types.is_large_binary, pyarrow.types.is_fixed_size_binary)
    parts = [kind.field(number).type for number in range(kind.num_fields)]
    return any(is_kind(kind) for is_kind in binary) or any(_holds_bytes(part) for part in parts)
