"""Experiment trackers, one file each, that a record is sent to.

A tracker is a module `to_NAME` of this room with a dataclass `Tracker`, which `--to NAME` and `--tracker NAME` find;
conf/tracker (NAME.yaml) has its options for a run.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from evalkit.errors import EvalkitError, reason, unknown
from evalkit.report.literal import literal
from evalkit.store.redaction import redacted

if TYPE_CHECKING:
    from evalkit.trackers.run import Limits, Run

PREFIX = "to_"


class Tracker(Protocol):
    """What a record can be sent to: a frozen dataclass with its options."""

    @property
    def limits(self) -> Limits:
        """How much of a record it is given."""

    def check(self) -> None:
        """Raise EvalkitError where nothing can be sent, such as for a package that is not installed."""

    def send(self, runs: Sequence[Run]) -> str:
        """Send the runs of one record, in the place of what was sent of it before; say where they can be seen."""


def names() -> list[str]:
    """The names of all trackers."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.removeprefix(PREFIX) for name in found if name.startswith(PREFIX))


def tracker(name: str, **options: Any) -> Tracker:
    """Make a tracker by its name. Raises EvalkitError for one that does not exist, or cannot be used here."""
    if name not in names():
        raise unknown("tracker", name, names())
    made: Tracker = importlib.import_module(f"{__name__}.{PREFIX}{name}").Tracker(**options)
    made.check()
    return made


def package(name: str, extra: str) -> ModuleType:
    """Import a tracker's own package. Raises EvalkitError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EvalkitError(
            f"the tracker {extra} cannot be used: {reason(error)}: pip install 'evalkit[{extra}]'"
        ) from error


def send(record: Any, to: Tracker) -> str:
    """Send a record that was saved, and say where it can be seen. Raises EvalkitError where it cannot be sent."""
    from evalkit.trackers.described import runs  # here, because importing pandas takes a second

    try:
        with tempfile.TemporaryDirectory(prefix="evalkit-") as folder:
            return to.send(runs(record, to.limits, Path(folder)))
    except EvalkitError:
        raise
    except Exception as error:  # trackers raise errors of many kinds, and none may lose what was measured
        raise EvalkitError(f"{type(error).__name__}: {reason(error)}") from error


def tell(record: Any, trackers: Mapping[str, Tracker]) -> None:
    """Send a record to all trackers. One that fails costs a line, also where no progress is shown: the record is there
    whatever becomes of it."""
    from evalkit.progress import say  # here, because names of trackers are asked for where nothing is shown

    for name, one in trackers.items():
        try:
            say(f"sent to {send(record, one)}")
        except EvalkitError as error:
            again = exporting(record.path, one) or f"'{record.path}'"
            why = literal(redacted(str(error)))
            say(f"evalkit: not sent to the tracker {name}: {why}; the record is complete: {again}", always=True)


def exporting(path: Path, to: Tracker) -> str:
    """The command that sends a record to the same place later; empty for a tracker that is not evalkit's."""
    name = type(to).__module__.removeprefix(f"{__name__}.{PREFIX}")
    if name not in names():
        return ""
    defaults = {field.name: field.default for field in dataclasses.fields(type(to))}  # type: ignore[arg-type]
    given = {option: getattr(to, option) for option in ("project", "output")}
    changed = {option: value for option, value in given.items() if value != defaults[option]}
    options = [f"--{option} {shlex.quote(redacted(str(value)))}" for option, value in changed.items()]
    return " ".join(["evalkit export", shlex.quote(str(path)), "--to", name, *options])
