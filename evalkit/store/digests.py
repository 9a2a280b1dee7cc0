"""SHA-256 of values, files and folders."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.store.files import write_bytes


def canonical(value: Any) -> str:
    """Write a value as JSON that is equal for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """Compute the SHA-256 of a JSON-like value, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


_digests: dict[str, tuple[list[int], str]] = {}  # what a change would show in, and SHA-256, by absolute path


SETTLED = 2_000_000_000  # nanoseconds after which a change must show in a file's time, on any file system


def sha256_file(path: Path) -> str:
    """Compute the SHA-256 of a file's bytes; an unchanged file is read only once (see `known_digests`)."""
    stat = path.stat()
    # the time of the last change of the entry moves even where a copy keeps that of the content
    state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    name = os.path.abspath(path)
    known = _digests.get(name)
    if known is not None and known[0] == state:
        return known[1]
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED:
        _digests[name] = state, sha256
    return sha256


@contextlib.contextmanager
def known_digests(root: Path) -> Iterator[None]:
    """Keep the digests of files from one process to the next, so that unchanged clips are not read again.

    A file counts as unchanged while its size, its times of modification and of change, and its inode stay.
    """
    path = root / "digests.json"

    def stored() -> dict[str, tuple[list[int], str]]:
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            read = json.loads(path.read_text())
            return {str(name): (list(state), str(sha256)) for name, (state, sha256) in read.items()}
        return {}

    before = stored()
    _digests.update(before)
    try:
        yield
    finally:
        if _digests != before:
            # another run may have written meanwhile; without them the next run only takes longer
            with contextlib.suppress(EvalkitError):
                write_bytes(path, json.dumps({**stored(), **_digests}).encode())


def sha256_tree(path: Path) -> str:
    """Compute the SHA-256 of the relative names and contents of a file or of all files below a folder."""
    if path.is_file():
        return sha256_file(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest([[p.relative_to(path).as_posix(), sha256_file(p)] for p in files])
