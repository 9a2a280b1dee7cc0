"""What is known of files that have not changed, so that they are not read again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

SETTLED = 2_000_000_000  # nanoseconds after which a change must show in a file's time, on any file system


class State(NamedTuple):
    """What a change of a file shows in: nanoseconds, and the time of change moves even where a copy keeps the other."""

    size: int
    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> State:
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def settled(state: State) -> bool:
    """Whether a file was last changed so long ago that a further change must show in its state."""
    return time.time_ns() - max(state.modified, state.changed) > SETTLED


class Fact(NamedTuple):
    """What is known of each file, such as "digests", and the version of the code that tells it."""

    kind: str
    version: int


class Memory(Protocol):
    """What knows facts of files, JSON-like values that are never None, by their folders, names and states."""

    def find(self, fact: Fact, folder: str, name: str, state: State) -> Any:
        """A fact of a file while it is in this state; None where that is not known."""

    def keep(self, fact: Fact, folder: str, name: str, state: State, value: Any) -> None:
        """Know a fact of a file from now on."""


class _ThisProcess:
    def __init__(self) -> None:
        self._known: dict[tuple[Fact, str, str, State], Any] = {}

    def find(self, fact: Fact, folder: str, name: str, state: State) -> Any:
        return self._known.get((fact, folder, name, state))

    def keep(self, fact: Fact, folder: str, name: str, state: State, value: Any) -> None:
        self._known[fact, folder, name, state] = value


memory: Memory = _ThisProcess()  # `evalkit.store.known.known_digests` puts one here that lasts longer


def remembered(fact: Fact, path: str | os.PathLike[str], tell: Callable[[], T]) -> T:
    """What `tell` says of a file, which is asked once as long as the file does not change: a JSON-like value.

    Raises OSError where there is no file, and whatever `tell` raises.
    """
    folder, name = os.path.split(os.path.abspath(path))
    state = State.of(os.stat(path))
    known: T | None = memory.find(fact, folder, name, state)
    return told(fact, folder, name, state, tell) if known is None else known


def told(fact: Fact, folder: str, name: str, state: State, tell: Callable[[], T]) -> T:
    """Have a fact of a file in some state told, and know it from now on if no change can go unnoticed."""
    value = tell()
    if settled(state):
        memory.keep(fact, folder, name, state, value)
    return value
