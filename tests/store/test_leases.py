"""Leases: who uses the cache now, told by real processes and by the file system's own clock."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.errors import EvalkitError
from evalkit.store import leases
from evalkit.store.cache import Cache
from evalkit.store.digests import digest
from evalkit.store.entry import Item
from evalkit.store.leases import Holder, Keys, Lease, holders, lease, removing
from evalkit.store.registers import register

HOLDING = """
import sys, time
from pathlib import Path
from evalkit.store.cache import Cache
from evalkit.store.leases import lease, removing
root = Path(sys.argv[1])
if sys.argv[2] == "run":
    with lease(root) as held:
        held.of(root / "result")
        Cache(root).collection("features", sys.argv[3]).read([])
        print("ready", flush=True)
        sys.stdin.read()
else:
    with removing(root):
        print("ready", flush=True)
        sys.stdin.read()
"""


def start(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A process that holds a lease, or a marker, until its input ends."""
    command = [sys.executable, "-c", HOLDING, root, *arguments]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None and running.stdout.readline() == b"ready\n"
    return running


def end(running: subprocess.Popen[bytes]) -> None:
    _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (0, b"")


def found(root: Path, prefix: str = leases.RUNS) -> list[Holder]:
    return holders(root, leases.now(root), prefix)


def elsewhere(path: Path) -> None:
    """Let a lease be one of another machine."""
    path.write_text(json.dumps({**json.loads(path.read_text()), "machine": "another", "host": "far"}))


def test_a_run_names_what_it_uses_before_it_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    shelf = cache.collection("features", "a")
    shelf.write({digest(1): Item(np.ones(3, np.float32))})
    assert not (tmp_path / leases.FOLDER).exists()  # without a lease nothing is said
    named: list[list[str]] = []
    original = type(shelf)._look

    def listing(self: object) -> tuple[list[Path], bool]:
        named.append(sorted(found(tmp_path)[0].collections or []))
        return original(shelf)

    monkeypatch.setattr(type(shelf), "_look", listing)
    with lease(tmp_path) as held:
        assert found(tmp_path) == []
        shelf.read([digest(1)])
        cache.collection("codes", "b").write({digest(2): Item(None, 1)})
        (one,) = found(tmp_path)
        assert one.lives and one.holds and one.certain and one.pid == os.getpid()
        assert one.names(shelf.name) and not one.names("features/" + "0" * 32)
        assert set(held.used()) == {shelf.name, cache.collection("codes", "b").name}
        assert sorted(held.used()) == sorted(one.collections or [])
        assert held.used()[shelf.name].tobytes() == bytes.fromhex(digest(1)[:32])
    assert named == [[shelf.name]]
    assert found(tmp_path) == []


def test_the_lease_of_a_run_that_is_killed_is_dead_at_once(tmp_path: Path) -> None:
    running = start(tmp_path, "run", "a")
    (held,) = found(tmp_path)
    assert held.lives and held.pid == running.pid
    assert list(held.collections or ()) == [Cache(tmp_path).collection("features", "a").name]
    os.utime(held.path, (0, 0))  # clocks say nothing on the same machine
    assert found(tmp_path)[0].lives
    running.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10  # also before anybody has waited for it
    while found(tmp_path)[0].lives:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.utime(held.path)
    (held,) = found(tmp_path)
    assert not held.holds and held.certain
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "result.json").write_text("{}")  # it had finished, but what it uses was not stored
    assert found(tmp_path)[0].unregistered and found(tmp_path)[0].names(
        Cache(tmp_path).collection("features", "a").name
    )
    running.communicate()


def test_another_process_with_the_same_number_is_another(tmp_path: Path) -> None:
    with lease(tmp_path) as held:
        held.use("features/a")
        held.path.write_text(json.dumps({**json.loads(held.path.read_text()), "started": 1}))
        assert not found(tmp_path)[0].lives


@pytest.mark.parametrize("error", [PermissionError, ProcessLookupError])
def test_where_processes_are_hidden_the_system_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    def hidden(pid: int) -> int:
        raise FileNotFoundError

    def kill(pid: int, number: int) -> None:
        raise error

    with lease(tmp_path) as held:
        held.use("features/a")
        monkeypatch.setattr(leases, "started", hidden)
        monkeypatch.setattr(os, "kill", kill)
        assert found(tmp_path)[0].lives == (error is PermissionError)
        os.utime(held.path, (0, 0))
        assert not found(tmp_path)[0].lives


def test_on_another_machine_the_last_renewal_counts(tmp_path: Path) -> None:
    with lease(tmp_path) as held:
        held.use("features/a")
        elsewhere(held.path)
        now = leases.now(tmp_path)
        for age, lives in ((0, True), (leases.STALE - 60, True), (leases.STALE + 60, False), (-86400, True)):
            os.utime(held.path, (now - age, now - age))
            (one,) = found(tmp_path)
            assert (one.lives, one.certain) == (lives, False)
        held.path.write_text("{")  # what cannot be read may hold anything, as long as it is young
        assert found(tmp_path)[0].names("features/b")
        os.utime(held.path, (0, 0))
        assert not found(tmp_path)[0].names("features/b")


def test_no_clock_but_the_file_systems_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lease(tmp_path) as held:
        held.use("features/a")
        elsewhere(held.path)
        for jump in (-1e6, 1e6):
            monkeypatch.setattr(time, "time", lambda jump=jump: jump)
            assert abs(leases.now(tmp_path) - held.path.stat().st_mtime) < 60
            assert found(tmp_path)[0].lives


def test_a_lease_is_renewed_and_comes_back_where_it_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT", 0.02)

    def until(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    with lease(tmp_path) as held:
        held.use("features/a")
        os.utime(held.path, (0, 0))
        until(lambda: held.path.stat().st_mtime > 0)
        held.path.unlink()
        until(lambda: len(found(tmp_path)) == 1)
        assert set(found(tmp_path)[0].collections or ()) == {"features/a"}
    time.sleep(0.1)
    assert found(tmp_path) == []


def test_a_cache_that_is_only_read_needs_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Cache(tmp_path).collection("features", "a")
    shelf.write({digest(1): Item(None, 1)})
    refusal = errno.EROFS

    def refused(*_: object, **__: object) -> None:
        raise EvalkitError("cannot write") from OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(leases, "write_atomic", refused)
    with lease(tmp_path):
        assert len(shelf.read([digest(1)])) == 1 and found(tmp_path) == []
    with pytest.raises(EvalkitError, match="cannot write"), removing(tmp_path):
        pass
    refusal = errno.ENOSPC  # where there is no room others can write, and remove
    with pytest.raises(EvalkitError, match="cannot write"), lease(tmp_path):
        shelf.read([digest(1)])


def test_a_run_waits_for_what_removes_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    removes = start(tmp_path, "removes")
    done = threading.Event()

    def run() -> None:
        with lease(tmp_path):
            shelf = Cache(tmp_path).collection("features", "a")
            shelf.read([])
            done.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert not done.wait(0.7)
    assert found(tmp_path)[0].collections  # what removes sees it meanwhile
    end(removes)
    thread.join(10)
    assert done.is_set() and caplog.text.count("waiting while process") == 1 and str(removes.pid) in caplog.text


def test_a_marker_whose_process_is_dead_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    removes = start(tmp_path, "removes")
    removes.send_signal(signal.SIGKILL)
    removes.communicate()
    assert len(found(tmp_path, leases.REMOVES)) == 1
    with lease(tmp_path) as held, removing(tmp_path):
        held_elsewhere = found(tmp_path, leases.REMOVES)
        assert sorted(one.lives for one in held_elsewhere) == [False, True]
    with lease(tmp_path) as held:
        held.use("features/a")
    assert "waiting" not in caplog.text


RACE = """
import random, sys, time
from pathlib import Path
from evalkit.store import leases
root, kind = Path(sys.argv[1]), sys.argv[2]
leases.POLL = 0.001
busy, count = root / "busy", 0
while count < 80:
    if kind == "run":
        with leases.lease(root) as held:
            held.use("features/a")
            assert not busy.exists(), "a run reads while something is removed"
            time.sleep(random.uniform(0, 0.001))
            assert not busy.exists(), "something is removed while a run reads"
            count += 1
        time.sleep(random.uniform(0, 0.004))
    else:
        with leases.removing(root):
            if not any(one.names("features/a") for one in leases.holders(root, leases.now(root))):
                busy.touch(exist_ok=False)  # fails where there are two
                time.sleep(0.001)
                busy.unlink()
                count += 1
"""


@pytest.mark.parametrize("kinds", [["run", "removes"], ["removes", "removes", "removes"], ["run", "run", "removes"]])
def test_runs_and_what_removes_never_meet(tmp_path: Path, kinds: list[str]) -> None:
    """Processes begin and end at any moment: what is removed is never what a run has named before."""
    running = [subprocess.Popen([sys.executable, "-c", RACE, tmp_path, kind], stderr=subprocess.PIPE) for kind in kinds]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()


def test_those_of_a_parent_are_not_written_by_its_children(tmp_path: Path) -> None:
    with lease(tmp_path) as held:
        held.use("features/a")
        if (pid := os.fork()) == 0:
            leases.using(tmp_path, "features/b")
            os._exit(0)
        os.waitpid(pid, 0)
        assert set(found(tmp_path)[0].collections or ()) == {"features/a"}


def test_keys_are_kept_once_however_often_they_are_given() -> None:
    keys, names = Keys(), [digest(number) for number in range(1000)]
    for _ in range(200):
        keys.add(names)
    assert sum(map(len, keys._new)) < 2**21
    assert keys.sorted().tobytes() == b"".join(sorted(bytes.fromhex(name[:32]) for name in names))
    assert Lease(Path("nowhere")).used() == {}


def test_a_collection_is_named_as_soon_as_there_is_room_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lease(tmp_path) as held:
        with monkeypatch.context() as disk:

            def full(*_: object, **__: object) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            disk.setattr("tempfile.mkstemp", full)
            with pytest.raises(EvalkitError):
                held.use("features/a")
        assert not found(tmp_path)
        held.use("features/a")
        assert [one.names("features/a") for one in found(tmp_path)] == [True]


def test_a_run_that_only_reads_the_cache_says_nothing_of_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with lease(tmp_path) as held:
        held.use("features/a", [digest(1)])
        register(held, tmp_path / "result")
    assert held.refused and not caplog.records
