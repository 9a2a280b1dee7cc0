"""The one exception that a user sees as a single line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EvalkitError(Exception):
    """A user's mistake or a missing prerequisite; the message says what is wrong and what to do."""


def unknown(kind: str, name: str, available: Iterable[str]) -> EvalkitError:
    """Make the error for a name that does not exist, with the nearest existing one."""
    choices = sorted(available)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return EvalkitError(f"unknown {kind} '{name}': {hint}available: {', '.join(choices)}")
