"""Whatever record it is, as runs of a tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.results.comparison import Comparison
from evalkit.results.listening import Listening
from evalkit.results.result import Result
from evalkit.results.sweep import Sweep
from evalkit.trackers import of_comparison, of_listening, of_result, of_sweep
from evalkit.trackers.content import require_saved
from evalkit.trackers.run import Limits, Run


def runs(record: Any, limits: Limits, folder: Path) -> list[Run]:
    """Describe a record for a tracker; files that are made for it are written into a folder.

    Raises EvalkitError for a record that was not saved, and for one of another kind.
    """
    require_saved(record)
    if isinstance(record, Result):
        return of_result.runs(record, limits, folder)
    if isinstance(record, Comparison):
        return of_comparison.runs(record, limits, folder)
    if isinstance(record, Sweep):
        return of_sweep.runs(record, limits, folder)
    if isinstance(record, Listening):
        return of_listening.runs(record, limits, folder)
    raise EvalkitError(f"'{record.path}' holds a {type(record).__name__.lower()}, which no tracker is sent")
