"""Manifests: JSON files that are written after what they describe, and say that it is whole."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from evalkit.store.digests import digest
from evalkit.store.files import write_json

log = logging.getLogger(__name__)

T = TypeVar("T")


def write_manifest(path: Path, value: Mapping[str, Any]) -> None:
    """Write a manifest with the digest of what it says, after everything that it describes."""
    write_json(path, {"digest": digest(value), **value})


def read_manifests(folder: Path, pattern: str, read: Callable[[Path, dict[str, Any]], T]) -> Iterator[T]:
    """Yield what `read` makes of each manifest of a folder, given its path and its values, in the order of names.

    A manifest that is damaged, or whose files `read` finds missing or damaged, is removed, so that what it
    described is made again; one warning says how many were.
    """
    damaged = []
    for path in sorted(folder.glob(pattern)):
        try:
            value = json.loads(path.read_text("utf-8"))
            if value.pop("digest") != digest(value):
                raise ValueError
            found = read(path, value)
        except (ValueError, TypeError, KeyError, AttributeError, OSError, zipfile.BadZipFile):
            damaged.append(path)
            path.unlink(missing_ok=True)
        else:
            yield found
    if damaged:
        log.warning("%s: deleted, what is missing will be generated again", counted("damaged cache entry", damaged))


def counted(what: str, names: Sequence[Any]) -> str:
    """Name the first of some things, and say how many more there are."""
    return f"{what} {names[0]}" + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")
