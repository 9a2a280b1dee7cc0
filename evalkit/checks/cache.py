"""The cache: where it is, how much lies in it, and how much room there is for more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit.checks import Asked, Finding, megabytes
from evalkit.progress import progress
from evalkit.store.cache import Cache
from evalkit.store.contents import shelves
from evalkit.store.sizes import measure

SUBJECT = "cache"
ORDER = 30
ROOM = 12e9  # bytes that all clips of MusicCaps in stereo take, with features


def check(asked: Asked) -> Iterator[Finding]:
    """Add up what lies in the cache, and see whether more can be written there and where results go."""
    root = Cache(asked.config.cache_dir).root
    if root.is_dir():
        with progress("reading the cache", sum(1 for _ in shelves(root)), "collections") as advance:
            kinds = {kind: size.bytes for kind, size in measure(root, advance).kinds.items()}
        total = sum(kinds.values())
        most = sorted(kinds, key=lambda kind: -kinds[kind])[:3]
        said = f"{megabytes(total)} in '{root}'"
        said += f": {', '.join(f'{kind} {megabytes(kinds[kind])}' for kind in most)}" if total else ""
        yield Finding("size", "ok", said, facts={"root": str(root), "bytes": total, "kinds": kinds})
    else:
        yield Finding("size", "absent", f"'{root}' is made by the first run", facts={"root": str(root), "bytes": 0})
    yield _room("cache", root)
    yield _room("results", Path(asked.config.output_dir).expanduser().absolute())


def _room(name: str, folder: Path) -> Finding:
    """Whether there is room in a folder, or in the one that it would be made in."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    what = f"room for {'it' if name == 'cache' else name}"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        said = f"nothing can be written to '{there}'"
        option = "cache_dir" if name == "cache" else "output_dir"
        facts = {f"{name}_writable": False}
        return Finding(what, "missing", said, needed=True, remedy=f"set {option} to a folder of yours", facts=facts)
    disk = shutil.disk_usage(there)
    free: dict[str, Any] = {f"{name}_writable": True, f"{name}_free": disk.free, f"{name}_disk": disk.total}
    said = f"{disk.free / 1e9:,.1f} of {disk.total / 1e9:,.1f} GB free"
    if name == "cache" and disk.free < ROOM:
        said += f"; all clips of MusicCaps in stereo take about {ROOM / 1e9:g} GB"
        return Finding(what, "warning", said, facts=free)
    return Finding(what, "ok", said, facts=free)
