"""SHA-256 of values, files and folders."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from evalkit.store import memory
from evalkit.store.memory import Fact, State, remembered, told

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical(value: Any) -> str:
    """Write a value as JSON that is equal for equal values: sorted keys, no spaces."""
    return _JSON.encode(value)


def digest(value: Any) -> str:
    """Compute the SHA-256 of a JSON-like value, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


FACT = Fact("digests", 1)


def sha256_file(path: Path) -> str:
    """Compute the SHA-256 of a file's bytes; an unchanged file is read only once (see `remembered`)."""
    return remembered(FACT, path, lambda: _read(path))


def sha256_files(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Compute the SHA-256 of some files of a folder, by their names, at one look; those that are absent are left out.

    Unchanged files are read only once. Raises OSError for a file that is there and cannot be read.
    """
    place = os.path.abspath(folder)
    states: dict[str, State] = {}
    with suppress(FileNotFoundError), os.scandir(place) as scan:
        for one in scan:
            if one.name in names:
                with suppress(FileNotFoundError):
                    states[one.name] = State.of(one.stat())
    found = {name: memory.memory.find(FACT, place, name, state) for name, state in states.items()}

    def digest_of(name: str) -> tuple[str, str | None]:
        try:
            return name, told(FACT, place, name, states[name], lambda: _read(os.path.join(place, name)))
        except (FileNotFoundError, IsADirectoryError):
            return name, None

    if unknown := [name for name, sha256 in found.items() if sha256 is None]:
        with ThreadPoolExecutor(4) as pool:
            found |= dict(pool.map(digest_of, unknown))
    return {name: sha256 for name, sha256 in found.items() if sha256 is not None}


def _read(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(path: Path) -> str:
    """Compute the SHA-256 of the relative names and contents of a file or of all files below a folder."""
    if path.is_file():
        return sha256_file(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest([[p.relative_to(path).as_posix(), sha256_file(p)] for p in files])
