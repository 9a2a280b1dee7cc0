"""Files of listening tests are JSON from elsewhere: what is read of them, and what their values may be."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from evalkit.report.literal import literal

SHOWN = 60  # characters of a value that a message repeats
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parsed(body: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises ValueError, with what is wrong, for anything else.

    Halves of characters, which JSON can hold and no file or table, become question marks.
    """
    try:
        text = body.decode("utf-8")
        found = json.loads(text, parse_constant=_no_number)
        if SURROGATE.search(text):
            found = json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError as error:
        raise ValueError("no JSON (nested too deeply)") from error
    except ValueError as error:
        raise ValueError(f"no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def finite(value: Any) -> bool:
    """Whether a value is a number that a float can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # an int may be too large for one


def number(value: Any) -> bool:
    """Whether a value is a number that can be computed with."""
    return type(value) in (int, float) and -1e9 < value < 1e9  # compared first: an int may be too large for a float


def amount(value: Any) -> bool:
    """Whether a value is a number of at least 0."""
    return number(value) and value >= 0


def count(value: Any) -> bool:
    """Whether a value is a whole number of at least 0."""
    return type(value) is int and amount(value)


def share(value: Any) -> bool:
    """Whether a value is a number from 0 to 1."""
    return amount(value) and value <= 1


def said(value: Any) -> str:
    """A value as a message repeats it."""
    plain = isinstance(value, str | float) or number(value) or isinstance(value, bool)
    text = literal(json.dumps(value, ensure_ascii=False) if plain else type(value).__name__)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")
