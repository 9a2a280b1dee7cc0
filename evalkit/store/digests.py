"""SHA-256 of values, files and folders."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol


def canonical(value: Any) -> str:
    """Write a value as JSON that is equal for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """Compute the SHA-256 of a JSON-like value, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


class State(NamedTuple):
    """What a change of a file shows in: nanoseconds, and the time of change moves even where a copy keeps the other."""

    size: int
    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> State:
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


class Memory(Protocol):
    """What knows digests of files by their folders, names and states."""

    def find(self, folder: str, name: str, state: State) -> str | None:
        """The SHA-256 of a file while it is in this state; None where that is not known."""

    def keep(self, folder: str, name: str, state: State, sha256: str) -> None:
        """Know the SHA-256 of a file from now on."""


class _ThisProcess:
    def __init__(self) -> None:
        self._known: dict[tuple[str, str, State], str] = {}

    def find(self, folder: str, name: str, state: State) -> str | None:
        return self._known.get((folder, name, state))

    def keep(self, folder: str, name: str, state: State, sha256: str) -> None:
        self._known[folder, name, state] = sha256


memory: Memory = _ThisProcess()  # `evalkit.store.known.known_digests` puts one here that lasts longer


SETTLED = 2_000_000_000  # nanoseconds after which a change must show in a file's time, on any file system


def sha256_file(path: Path) -> str:
    """Compute the SHA-256 of a file's bytes; an unchanged file is read only once (see `memory`)."""
    state = State.of(os.stat(path))
    folder, name = os.path.split(os.path.abspath(path))
    return memory.find(folder, name, state) or _computed(folder, name, state)


def sha256_files(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Compute the SHA-256 of some files of a folder, by their names, at one look; those that are absent are left out.

    Unchanged files are read only once.
    """
    place = os.path.abspath(folder)
    try:
        with os.scandir(place) as scan:
            states = {one.name: State.of(one.stat()) for one in scan if one.name in names}
    except FileNotFoundError:
        return {}
    found = {name: memory.find(place, name, state) for name, state in states.items()}

    def digest_of(name: str) -> tuple[str, str | None]:
        try:
            return name, _computed(place, name, states[name])
        except OSError:  # one that cannot be read is as absent
            return name, None

    if unknown := [name for name, sha256 in found.items() if sha256 is None]:
        with ThreadPoolExecutor(4) as pool:
            found |= dict(pool.map(digest_of, unknown))
    return {name: sha256 for name, sha256 in found.items() if sha256 is not None}


def _computed(folder: str, name: str, state: State) -> str:
    """Read a file for its SHA-256, and know that from now on if nothing can change it unnoticed."""
    with open(os.path.join(folder, name), "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        same = State.of(os.fstat(file.fileno())) == state
    if same and time.time_ns() - max(state.modified, state.changed) > SETTLED:
        memory.keep(folder, name, state, sha256)
    return sha256


def sha256_tree(path: Path) -> str:
    """Compute the SHA-256 of the relative names and contents of a file or of all files below a folder."""
    if path.is_file():
        return sha256_file(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest([[p.relative_to(path).as_posix(), sha256_file(p)] for p in files])
