"""Writing the page of some records where it is asked for."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from evalkit.errors import EvalkitError
from evalkit.page import AUDIO
from evalkit.page.page import OURS, render
from evalkit.page.view import view
from evalkit.report.literal import literal
from evalkit.results import REPORT
from evalkit.results.comparison import Comparison
from evalkit.results.listening import Listening
from evalkit.results.loading import load
from evalkit.results.result import Result
from evalkit.results.sensitivity import Sensitivity
from evalkit.results.sweep import Sweep
from evalkit.store.files import cannot_write, is_file_or_new, write_output

log = logging.getLogger(__name__)

HEAD = 4096  # bytes of a page that say what made it


def write(
    records: Sequence[Result | Comparison | Sweep | Listening],
    output: Path | None = None,
    *,
    audio_bytes: int = AUDIO,
    blind: bool = False,
    across_protocols: bool = False,
    sensitivity: Path | None = None,
) -> Path:
    """Write the page of some records, and return where it is.

    Args:
        output: the file; None for `report.html` in the first record's folder.
        audio_bytes: how large the clips inside of the page may be in all; others are linked.
        blind: whether names of systems are hidden at first.
        across_protocols: whether results of different protocols may stand in one table.
        sensitivity: a table of what metrics notice, in place of that which comes with evalkit.

    Raises EvalkitError for a table that is none, for records that do not fit into one page, for a file that is there
    and is no page of evalkit's, and where nothing can be written.
    """
    target = (output or records[0].path / REPORT).expanduser().absolute()
    require_replaceable(target)
    table = Sensitivity.load(sensitivity) if sensitivity is not None else None
    shown = view(
        records,
        target,
        across_protocols=across_protocols,
        audio_bytes=audio_bytes,
        blind=blind,
        sensitivity=table,
    )
    write_output(target, render(shown))
    return target


def write_at_the_end(record: Result | Comparison | Sweep) -> None:
    """Write the page of a record that was just made. Where that cannot be done is a warning: the record is there."""
    try:
        write([load(record.path)])
    except Exception as error:  # whatever it is: what was measured is not lost
        again = f"the record is complete; evalkit report {shlex.quote(str(record.path))} tries again"
        log.warning("no report was written (%s): %s", literal(error), again)


def require_replaceable(target: Path) -> None:
    """Raise EvalkitError where a page must not be written: over a folder, or a file that is no page of evalkit's."""
    try:
        if target.is_dir():
            raise EvalkitError(f"'{target}' is a folder: name a file in it")
        if not is_file_or_new(target) or not target.exists():
            return
        with target.open("rb") as file:
            ours = OURS.encode() in file.read(HEAD)
    except OSError as error:
        raise cannot_write(target, error) from error
    if not ours:
        raise EvalkitError(f"'{target}' is there and was not written by evalkit report: name another file")
