"""Digests of files that earlier processes have computed, so that unchanged files are not read again."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.store import digests
from evalkit.store.collection import Collection
from evalkit.store.digests import State, canonical, digest
from evalkit.store.entry import Item

TOGETHER = 4096  # digests of one folder that are kept at once: so many are lost with a process, at most


class KnownDigests:
    """Digests of files, in a collection for each folder, which is read when a file of it is first asked for.

    An item is a list of files: name, `State` and SHA-256 of each. Nothing in it is ever changed: a file that has
    changed is in a later item too. Where nothing can be written, the files are only read again next time.
    """

    def __init__(self, root: Path):
        self.root = root
        self._folders: dict[str, dict[tuple[str, State], str]] = {}
        self._new: dict[str, list[tuple[str, State, str]]] = {}
        self._lock = threading.RLock()

    def find(self, folder: str, name: str, state: State) -> str | None:
        """The SHA-256 of a file while it is in this state; None where that is not known."""
        with self._lock:
            if folder not in self._folders:
                self._folders[folder] = self._read(folder)
            return self._folders[folder].get((name, state))

    def keep(self, folder: str, name: str, state: State, sha256: str) -> None:
        """Know the SHA-256 of a file from now on."""
        with self._lock:
            self._folders.setdefault(folder, {})[name, state] = sha256
            new = self._new.setdefault(folder, [])
            new.append((name, state, sha256))
            if len(new) >= TOGETHER:
                self._write(folder)

    def save(self) -> None:
        """Write what is new, for later processes."""
        with self._lock:
            for folder in list(self._new):
                self._write(folder)
                with contextlib.suppress(EvalkitError, OSError):
                    self._collection(folder).compact()

    def _collection(self, folder: str) -> Collection:
        return Collection(self.root, "digests", {"folder": folder}, folder)

    def _read(self, folder: str) -> dict[tuple[str, State], str]:
        found: dict[tuple[str, State], str] = {}
        with contextlib.suppress(EvalkitError, OSError):
            for item in self._collection(folder).read().values():
                if item.value is not None:
                    rows = json.loads(item.value.tobytes())
                    found.update({(name, State(*state)): sha256 for name, state, sha256 in rows})
        return found

    def _write(self, folder: str) -> None:
        new = sorted(self._new.pop(folder))
        with contextlib.suppress(EvalkitError, OSError):
            data = np.frombuffer(canonical(new).encode(), np.uint8)
            self._collection(folder).write({digest(new): Item(data)})


@contextlib.contextmanager
def known_digests(root: Path) -> Iterator[None]:
    """Let `sha256_file` know what earlier processes computed, and keep what it computes in the block, in a cache.

    A file counts as unchanged while its size, its times of modification and of change, and its inode stay.
    """
    before = digests.memory
    if isinstance(before, KnownDigests) and before.root == root:
        yield  # a sweep's points each say so too
        return
    digests.memory = here = KnownDigests(root)
    try:
        yield
    finally:
        digests.memory = before
        here.save()
