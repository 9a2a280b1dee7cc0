"""Who uses the cache now: running processes say so in files of their own, which whatever removes anything reads first.

A process that uses collections holds a lease: a file in the cache's folder `leases` that names it, and the collections
that it has used so far. What removes things from the cache has a file there too, its marker. Nobody locks anything:
a run writes its lease, and then looks for a marker and waits while there is one; what removes writes its marker, and
then looks for leases and leaves alone what they name. Whichever comes second sees the other, also over NFS, where who
has just written into a folder sees what others wrote into it before.

A file counts while its process lives, which the same machine can tell, or else while its time of modification, which
its process renews, is young by the file system's own clock, so that no machine's clock matters.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import os
import random
import secrets
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.store.files import PARTIAL, write_atomic

log = logging.getLogger(__name__)

FOLDER = "leases"
HEARTBEAT = 30.0  # seconds from one renewal of a lease to the next
STALE = 1800.0  # seconds without one, after which a process of another machine counts as dead
POLL = 0.2  # seconds between looks at a marker that is waited for
MOVES = 2.2 * HEARTBEAT  # seconds after which a lease that another machine renews has another time

RESULT = "result.json"  # what a run's folder holds when the run has finished

RUNS, REMOVES = "run", "gc"  # what the names of leases and markers begin with

REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)  # how a cache that is only read refuses


class Lease:
    """That of this process, for as long as a block runs.

    Nothing is written before the first collection is used, nor ever where the cache cannot be written to.

    Attributes:
        path: of its file.
        since: when each collection was first used, by this machine's clock.
        outlasts: whether the file stays where it is at the end, as what it holds is held by nothing else.
        refused: whether there is no file, as the cache is only read.
    """

    def __init__(self, root: Path, prefix: str = RUNS):
        self.root = root
        self.path = root / FOLDER / f"{prefix}-{secrets.token_hex(8)}.json"
        self.outlasts = False
        self.pid = os.getpid()
        self._folder = ""
        self._used: dict[str, Keys] = {}
        self.since: dict[str, float] = {}
        self._named: set[str] = set()  # collections that the file has, and that nobody was removing from since
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._written = self.refused = False

    def of(self, folder: Path) -> None:
        """Say in which folder the result of this process will be."""
        with self._lock:
            self._folder = str(folder)
            if self._written:
                self.write()

    def use(self, collection: str, keys: Iterable[str] = ()) -> None:
        """Name a collection, KIND/DIGEST, before anything of it is used, and keys of its items that were.

        Waits while something removes from the cache. Raises EvalkitError where the disk is full.
        """
        with self._lock:
            self._used.setdefault(collection, Keys()).add(keys)
            self.since.setdefault(collection, time.time())
            if collection not in self._named and not self.refused:
                self.write()
                if not self.refused:
                    wait_for_others(self)
                    self._named.add(collection)

    def used(self) -> dict[str, np.ndarray]:
        """The keys of all items that were read or written, 16 bytes each, sorted, by collection."""
        with self._lock:
            return {collection: keys.sorted() for collection, keys in self._used.items()}

    def write(self) -> None:
        """Write the file, and renew it from now on. Raises EvalkitError where that cannot be done."""
        about = {**process(), "folder": self._folder, "collections": sorted(self._used), "since": self.since}
        data = json.dumps(about).encode()
        try:
            write_atomic(self.path, lambda file: file.write(data), durable=False)
        except EvalkitError as error:
            if not self._refuses(error):
                raise
            self.refused = True
            return
        if not self._written:
            self._written = True
            threading.Thread(target=self._renew, daemon=True).start()

    def _refuses(self, error: EvalkitError) -> bool:
        marks = self.path.name.startswith(REMOVES)
        return not marks and isinstance(error.__cause__, OSError) and error.__cause__.errno in REFUSED

    def _renew(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            try:
                os.utime(self.path)  # the file system's own time
            except FileNotFoundError:  # removed, as this machine was asleep
                with self._lock, contextlib.suppress(EvalkitError):
                    if not self._ended.is_set():
                        self.write()
            except OSError as error:
                log.info("cannot renew '%s': %s", self.path, error)

    def end(self) -> None:
        """Give it back."""
        with self._lock:
            self._ended.set()
            if self._written and not self.outlasts:
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)


class Keys:
    """Keys of items, 16 bytes each, which are given as hexadecimal digits and may be given many times."""

    def __init__(self) -> None:
        self._known = np.empty(0, "S16")
        self._new: list[bytes] = []
        self._count = 0

    def add(self, keys: Iterable[str]) -> None:
        """Add keys, of which the first 32 digits count."""
        if new := bytes.fromhex("".join(key[:32] for key in keys)):
            self._new.append(new)
            self._count += len(new) // 16
            if self._count > max(2**16, len(self._known)):  # what is given again and again must not pile up
                self.sorted()

    def sorted(self) -> np.ndarray:
        """All keys, each once."""
        if self._new:
            self._known = np.union1d(self._known, np.frombuffer(b"".join(self._new), "S16"))
            self._new, self._count = [], 0
        return self._known


_current: dict[str, list[Lease]] = {}  # of this process, by the cache's folder


@contextlib.contextmanager
def lease(root: Path) -> Iterator[Lease]:
    """Hold a lease of a cache while a block runs; collections name themselves in it as they are used."""
    held = Lease(root)
    _current.setdefault(str(root), []).append(held)
    try:
        yield held
    finally:
        _current[str(root)].remove(held)
        held.end()


def using(root: Path, collection: str, keys: Iterable[str] = ()) -> None:
    """Name a collection, KIND/DIGEST, and keys of its items in the leases that this process has of a cache."""
    held = [one for one in _current.get(str(root), ()) if one.pid == os.getpid()]  # not those of who forked this one
    if held:
        names = list(keys)
        for one in held:
            one.use(collection, names)


def beside(root: Path, collection: str) -> tuple[int, int]:
    """How many other living processes use a collection, KIND/DIGEST, since before this one does, and since then.

    None are seen from a process without a lease.
    """
    held = [one for one in _current.get(str(root), ()) if one.pid == os.getpid() and collection in one.since]
    if not held:
        return 0, 0
    own, paths = min((one.since[collection], one.path.name) for one in held), {one.path for one in held}
    before = [
        (other.since[collection], other.path.name) < own
        for other in holders(root, time.time())
        if collection in other.since and other.lives and other.path not in paths
    ]
    return sum(before), len(before) - sum(before)


@dataclass(frozen=True)
class Holder:
    """What a lease or a marker says.

    Attributes:
        path: of the file.
        machine, pid: of the process.
        folder: where its result is to be; empty where it has none.
        collections: that it has used, KIND/DIGEST; None where the file cannot be read, so that it may be any.
        lives: whether the process does, as far as can be told.
        unregistered: whether it ended after it had written its result, and before what this uses was stored.
        certain: whether this machine knows that the process lives, or that it does not.
        since: when the process first used each collection, by its machine's clock: it matters to who makes what only.
    """

    path: Path
    machine: str
    pid: int
    folder: str
    collections: frozenset[str] | None
    lives: bool
    unregistered: bool
    certain: bool
    since: Mapping[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether what it names must stay."""
        return self.lives or self.unregistered

    def names(self, collection: str) -> bool:
        """Whether it holds a collection."""
        return self.holds and (self.collections is None or collection in self.collections)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine}"


def holders(root: Path, at: float, prefix: str = RUNS) -> list[Holder]:
    """Read all leases, or markers, of a cache, those of the dead too.

    Args:
        at: the time now, by the file system's clock.
    """
    folder = root / FOLDER
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(f"{prefix}-") and name.endswith(".json"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [held for name in names if (held := _holder(folder / name, at))]


def _holder(path: Path, at: float) -> Holder | None:
    try:
        age = at - path.stat().st_mtime
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        known = json.loads(data)
        collections: frozenset[str] | None = frozenset(known["collections"])
        machine, pid, folder = str(known["host"]), int(known["pid"]), str(known["folder"])
        here = known["machine"] is not None and known["machine"] == process()["machine"]
        alive = _alive(pid, known["started"]) if here else None
        since = {str(name): float(when) for name, when in known.get("since", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        collections, machine, pid, folder, alive, since = None, "an unknown machine", 0, "", None, {}
    lives = age < STALE if alive is None else alive
    unregistered = not lives and bool(folder) and not has_no_result(Path(folder))
    return Holder(path, machine, pid, folder, collections, lives, unregistered, alive is not None, since)


def certain_holders(root: Path) -> list[Holder]:
    """Read all leases of a cache, before anything is removed.

    Where a process of another machine looks dead at first, its next renewal is waited for: the clock may have jumped.
    """
    found = holders(root, now(root))
    if doubted := [held for held in found if not held.lives and not held.certain]:
        log.warning("waiting %.0f s to see whether %s still runs", MOVES, doubted[0])
        time.sleep(MOVES)
        found = holders(root, now(root))
    return found


def gone(path: Path) -> bool:
    """Whether nothing is at a path: not where that cannot be told, as the folder that it would be in is not seen."""
    try:
        path.stat()
        return False
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            return False
    try:
        return stat.S_ISDIR(path.parent.stat().st_mode)
    except OSError:
        return False


def has_no_result(folder: Path) -> bool:
    """Whether a folder holds no finished result, or is not there: not where that cannot be seen from here."""
    return gone(folder / RESULT) or gone(folder)


@contextlib.contextmanager
def removing(root: Path) -> Iterator[Lease]:
    """Be the only process that removes what others may use, while the block runs: its marker is there by then.

    Waits for another one to end. Raises EvalkitError where the cache cannot be written to.
    """
    while True:
        marker = Lease(root, REMOVES)
        marker.write()
        try:
            if not _others(marker):
                yield marker
                return
        finally:
            marker.end()
        wait_for_others(marker)
        time.sleep(random.uniform(0, POLL))  # two that began at once must not meet again


def wait_for_others(own: Lease) -> None:
    """Wait until no other process removes anything from the cache, and say so once."""
    said = False
    while others := _others(own):
        if not said:
            log.warning("waiting while %s removes what nobody uses from '%s'", others[0], own.root)
            said = True
        time.sleep(POLL)


def _others(own: Lease) -> list[Holder]:
    """The living processes that remove from the cache, but for this one."""
    there = holders(own.root, 0.0, REMOVES)  # most of the time there are none, and no clock is asked
    there = holders(own.root, now(own.root), REMOVES) if there else []
    return [other for other in there if other.lives and other.path != own.path]


def now(root: Path) -> float:
    """The time by the clock of the file system that a cache lies on; by this machine's where it is only read."""
    try:
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=root / FOLDER, prefix=PARTIAL) as file:
            os.utime(file.name)
            return os.stat(file.name).st_mtime
    except OSError:
        return time.time()


@functools.cache
def _process(pid: int) -> dict[str, Any]:
    machine = since = None
    with contextlib.suppress(OSError):  # systems without it tell by the time alone
        since = started(pid)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        machine = f"{boot} {os.readlink('/proc/self/ns/pid')}"  # a container has processes of its own
    return {"host": socket.gethostname(), "machine": machine, "pid": pid, "started": since}


def process() -> dict[str, Any]:
    """Describe this process so that the same machine can tell whether it lives."""
    return _process(os.getpid())


def started(pid: int) -> int | None:
    """When a process of this machine started, in ticks since the machine did; None where it has ended."""
    state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])


def _alive(pid: int, since: int | None) -> bool | None:
    """Whether the process of this machine that started then lives; None where this user is not told."""
    try:
        return since is not None and started(pid) == since
    except OSError:
        pass
    try:
        os.kill(pid, 0)  # asks only; some machines show nobody the processes of others
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return None
