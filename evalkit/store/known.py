"""What earlier processes have found out about files, so that unchanged files are not read again."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.store import memory
from evalkit.store.collection import Collection
from evalkit.store.digests import canonical, digest
from evalkit.store.entry import Item
from evalkit.store.memory import Fact, State

TOGETHER = 4096  # files of one folder whose facts are kept at once: those of so many are lost with a process, at most


class _Of(NamedTuple):
    fact: Fact
    folder: str


class KnownFiles:
    """Facts of files, in a collection for each folder, which is read when a file of it is first asked for.

    An item is a list of files: name, `State` and fact of each. Nothing in it is ever changed: a file that has
    changed is in a later item too. Where nothing can be written, the files are only read again next time.
    """

    def __init__(self, root: Path):
        self.root = root
        self._known: dict[_Of, dict[tuple[str, State], Any]] = {}
        self._new: dict[_Of, list[tuple[str, State, Any]]] = {}
        self._lock = threading.RLock()

    def find(self, fact: Fact, folder: str, name: str, state: State) -> Any:
        """A fact of a file while it is in this state; None where that is not known."""
        of = _Of(fact, folder)
        with self._lock:
            if of not in self._known:
                self._known[of] = self._read(of)
            return self._known[of].get((name, state))

    def keep(self, fact: Fact, folder: str, name: str, state: State, value: Any) -> None:
        """Know a fact of a file from now on."""
        of = _Of(fact, folder)
        with self._lock:
            self._known.setdefault(of, {})[name, state] = value
            new = self._new.setdefault(of, [])
            new.append((name, state, value))
            if len(new) >= TOGETHER:
                self._write(of)

    def save(self) -> None:
        """Write what is new, for later processes."""
        with self._lock:
            for of in list(self._new):
                self._write(of)
                with contextlib.suppress(EvalkitError, OSError):
                    self._collection(of).compact()

    def _collection(self, of: _Of) -> Collection:
        return Collection(self.root, of.fact.kind, {"folder": of.folder, "version": of.fact.version}, of.folder)

    def _read(self, of: _Of) -> dict[tuple[str, State], Any]:
        found: dict[tuple[str, State], Any] = {}
        with contextlib.suppress(EvalkitError, OSError):
            for item in self._collection(of).read().values():
                if item.value is not None:
                    rows = json.loads(item.value.tobytes())
                    found.update({(name, State(*state)): value for name, state, value in rows})
        return found

    def _write(self, of: _Of) -> None:
        new = sorted(self._new.pop(of))
        with contextlib.suppress(EvalkitError, OSError):
            data = np.frombuffer(canonical(new).encode(), np.uint8)
            self._collection(of).write({digest(new): Item(data)})


@contextlib.contextmanager
def known_digests(root: Path) -> Iterator[None]:
    """Let facts of files, such as their digests, be known from earlier processes, and keep new ones, in a cache.

    A file counts as unchanged while its size, its times of modification and of change, and its inode stay.
    """
    before = memory.memory
    if isinstance(before, KnownFiles) and before.root == root:
        yield  # a sweep's points each say so too
        return
    memory.memory = here = KnownFiles(root)
    try:
        yield
    finally:
        memory.memory = before
        here.save()
