"""Configurations and commands without what nobody else may see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(hidden)"
SECRET = re.compile(r"(^|[_.-])(token|secret|password|passwd|credentials?|(api|access|private)_?key|auth)s?$", re.I)
USER = re.compile(r"(?<=://)[^/@\s]+@")  # NAME:PASSWORD of an address


def redacted(value: Any, name: str = "") -> Any:
    """Give a value as it may be sent elsewhere: without what keys call a secret, and names and passwords in addresses.

    Paths stay: they say what was measured.
    """
    if isinstance(value, Mapping):
        return {key: redacted(part, str(key)) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(part, name) for part in value]
    if not isinstance(value, str):
        return value
    return HIDDEN if value and SECRET.search(name) else USER.sub(f"{HIDDEN}@", value)


def redacted_option(text: str) -> str:
    """The same of an argument of the command line, which may be KEY=VALUE."""
    key, equals, value = text.partition("=")
    return f"{key}={redacted(value, key)}" if equals else str(redacted(text))
