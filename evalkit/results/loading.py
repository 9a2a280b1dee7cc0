"""Reading a record of whichever kind a folder holds."""

from __future__ import annotations

from pathlib import Path

from evalkit.errors import EvalkitError
from evalkit.results.comparison import COMPARISON, Comparison
from evalkit.results.files import RESULT
from evalkit.results.folders import read_manifest
from evalkit.results.listening import LISTENING, Listening
from evalkit.results.result import Result
from evalkit.results.sweep import SWEEP, Sweep


def with_row(given: str) -> tuple[str, str]:
    """Split RESULT::ROW into the two; the row is empty where none is given, or where such a path exists."""
    path, _, row = (given, "", "") if Path(given).expanduser().exists() else given.partition("::")
    return path, row


def load(folder: str | Path) -> Result | Comparison | Sweep | Listening:
    """Read the record that a folder holds: a result, a comparison, a sweep, or a listening test.

    Raises EvalkitError for a folder without a finished record, a file that is missing or damaged, and a record
    of another version or kind.
    """
    target = Path(folder).expanduser().absolute()
    kind = read_manifest(target)["kind"]
    if kind == RESULT.name:
        return Result.load(target)
    if kind == COMPARISON.name:
        return Comparison.load(target)
    if kind == SWEEP.name:
        return Sweep.load(target)
    if kind == LISTENING.name:
        return Listening.load(target)
    raise EvalkitError(f"'{target}' holds a {kind}, which this version of evalkit cannot read: update it")
