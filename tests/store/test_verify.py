"""Checking what the cache holds: every kind of damage, what it is called, and what repairing leaves."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.commands.store import verified
from evalkit.errors import EvalkitError
from evalkit.store import entry as entries
from evalkit.store import leases
from evalkit.store.cache import Cache
from evalkit.store.collection import Collection
from evalkit.store.contents import Shelf, delete
from evalkit.store.leases import lease
from evalkit.store.rm import remove
from evalkit.store.verify import (
    CUT_SHORT,
    LATER,
    MISSING,
    OK,
    OLDER,
    PARTIAL,
    UNKNOWN,
    UNREADABLE,
    UNREFERENCED,
    WRONG,
    Verdicts,
    files,
    verify,
)  # fmt: skip

from .stored import audio, audio_of, clips, earlier, features, finished, key, made


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def said(found: Verdicts) -> dict[str, dict[str, int]]:
    return {kind: dict(counts) for kind, counts in found.counts.items()}


def entry_of(shelf: Collection) -> Path:
    (path,) = shelf.folder.glob("*.entry")
    return path


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_what_is_as_it_was_written_is_ok(cache: Cache, tmp_path: Path) -> None:
    shelf, heard = features(cache, range(5)), clips(cache, range(4))
    made(cache)
    finished(cache, tmp_path / "result", {shelf: range(5)})
    for read_data in (False, True):
        steps: list[int] = []
        found = verify(cache.root, read_data, advance=steps.append)
        assert said(found) == {"features": {OK: 5}, "clips": {OK: 4}, "checkpoints": {OK: 1}, "runs": {OK: 1}}
        assert not found.lost and not found.damaged
        assert sum(steps) == files(cache.root) == 4 + 4 + 1
    assert len(heard.read(map(key, range(4)))) == 4


def test_a_flipped_bit_in_any_byte_is_seen_if_all_are_read(cache: Cache) -> None:
    shelf, heard, folder = features(cache, range(3)), clips(cache, range(3)), made(cache)
    rng = random.Random(0)
    paths = [entry_of(shelf), entry_of(heard), audio_of(heard, 1), folder / "inner" / "weights", folder / "config.json"]
    for path in paths:
        sound = path.read_bytes()
        for place in {0, len(sound) - 1, *(rng.randrange(len(sound)) for _ in range(20))}:
            flip(path, place)
            found = verify(cache.root, read_data=True)
            assert found.lost, (path, place)
            path.write_bytes(sound)
    assert not verify(cache.root, read_data=True).lost


@pytest.mark.parametrize("read_data", [False, True])
def test_each_damage_has_its_name(cache: Cache, read_data: bool) -> None:
    features(cache, range(3), "sound")
    short, empty, wrong = (features(cache, range(3), name) for name in ("short", "empty", "wrong"))
    for shelf, length in ((short, -1), (empty, 0)):
        entry_of(shelf).write_bytes(entry_of(shelf).read_bytes()[:length])
    flip(entry_of(wrong), entry_of(wrong).read_bytes().index(np.full((2, 8), 2, np.float32).tobytes()))
    heard = clips(cache, range(6))
    audio_of(heard, 0).unlink()
    audio_of(heard, 1).write_bytes(audio(1)[:-1])
    audio_of(heard, 2).write_bytes(b"")
    flip(audio_of(heard, 3), 5)
    audio_of(heard, 9).write_bytes(audio(9))
    folder = made(cache)
    shutil.rmtree(folder)
    other = made(cache, "other")
    (other / "config.json").unlink()
    found = verify(cache.root, read_data)
    assert said(found) == {
        "features": {OK: 5, WRONG: 1, CUT_SHORT: 2} if read_data else {OK: 6, CUT_SHORT: 2},
        "clips": {OK: 2, MISSING: 1, CUT_SHORT: 2, WRONG: 1, UNREFERENCED: 1}
        if read_data
        else {OK: 3, MISSING: 1, CUT_SHORT: 2, UNREFERENCED: 1},
        "checkpoints": {MISSING: 1, WRONG: 1} if read_data else {MISSING: 1, OK: 1},
    }
    named = {path for path, _ in found.damaged}
    assert {entry_of(short), entry_of(empty), audio_of(heard, 0), audio_of(heard, 1), audio_of(heard, 2)} <= named
    assert (audio_of(heard, 3) in named) == read_data == (entry_of(wrong) in named)
    assert audio_of(heard, 9) not in named and audio_of(heard, 4) not in named


def test_what_is_no_loss_is_said(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    features(cache, range(2))
    for schema in (0, 2):
        with monkeypatch.context() as other:
            other.setattr(entries, "SCHEMA", schema)
            features(cache, range(2))
    earlier(cache)
    (cache.root / "features" / ".partial-a").write_bytes(b"half")
    (cache.root / "notes.txt").write_bytes(b"mine")
    cache.arrays.mkdir()
    found = verify(cache.root, read_data=True)
    assert not found.lost
    assert said(found) == {
        "features": {OK: 2, OLDER: 1 + 3, LATER: 1, PARTIAL: 1}, "clips": {OLDER: 3}, "codes": {OLDER: 3},
        "checkpoints": {OLDER: 3}, "cache": {OLDER: 1, UNKNOWN: 1},
    }  # fmt: skip


def test_repair_removes_what_is_damaged_and_leaves_what_is_sound(cache: Cache) -> None:
    shelf, heard = features(cache, range(4)), clips(cache, range(4))
    (cut,) = set(features(cache, range(4, 6)).folder.glob("*.entry")) - {next(shelf.folder.glob("*.entry"))}
    broken = made(cache)
    data = bytearray(cut.read_bytes())
    cut.write_bytes(data[:-3])
    (path,) = set(shelf.folder.glob("*.entry")) - {cut}
    data = bytearray(path.read_bytes())
    data[data.index(np.full((2, 8), 1, np.float32).tobytes())] ^= 1
    path.write_bytes(data)
    audio_of(heard, 0).unlink()
    flip(audio_of(heard, 1), 0)
    audio_of(heard, 9).write_bytes(b"another")  # which no item names
    (broken / "config.json").write_text("[]")
    found = verify(cache.root, read_data=True)
    assert found.lost and not found.removed and path.exists() and cut.exists()
    mended = verify(cache.root, read_data=True, repair=True)
    # two entries of features; one of clips and two audio files; one entry of checkpoints and a folder
    assert (mended.lost, mended.removed, mended.left) == (found.lost, 2 + 3 + 2, 0)
    assert not path.exists() and not cut.exists() and not broken.exists()
    again = verify(cache.root, read_data=True)
    assert not again.lost and said(again) == {"features": {OK: 3}, "clips": {OK: 2}}
    for number in (0, 2, 3):
        np.testing.assert_array_equal(shelf.read([key(number)])[key(number)].value, np.full((2, 8), number))
    assert heard.read(map(key, range(4))).keys() == {key(2), key(3)}
    assert made(cache) == broken and not audio_of(heard, 9).exists()


def test_what_a_running_process_uses_is_not_repaired(cache: Cache) -> None:
    shelf, other = features(cache, range(2)), features(cache, range(2), "PaSST")
    for one in (shelf, other):
        entry_of(one).write_bytes(b"")
    with lease(cache.root):
        leases.using(cache.root, shelf.name)
        found = verify(cache.root, repair=True)
    assert (found.lost, found.removed, found.left) == (2, 1, 1)
    assert entry_of(shelf).exists() and not list(other.folder.glob("*.entry"))


def test_registers_stay_as_without_them_what_they_name_would_be_removed(cache: Cache, tmp_path: Path) -> None:
    shelf = features(cache, range(2))
    finished(cache, tmp_path / "result", {shelf: range(2)})
    (path,) = (cache.root / "runs").rglob("*.entry")
    path.write_bytes(path.read_bytes()[:-1])
    found = verify(cache.root, repair=True)
    assert (found.lost, found.removed, found.left) == (1, 0, 0) and path.exists()
    assert found.registers == [f"runs/{path.parent.name}"]


def test_what_a_collection_says_of_itself_is_checked(cache: Cache, tmp_path: Path) -> None:
    shelf = features(cache, range(2))
    finished(cache, tmp_path / "result", {shelf: range(2)})
    (register,) = (cache.root / "runs").glob("*/about.json")
    for path, kept in ((shelf.folder / "about.json", False), (register, True)):
        sound = path.read_bytes()
        flip(path, sound.rindex(b"VGGish" if not kept else b"/result") + 3)
        found = verify(cache.root)
        assert (found.lost, found.damaged) == (1, [(path, WRONG)])
        assert found.registers == ([f"runs/{register.parent.name}"] if kept else [])
        mended = verify(cache.root, repair=True)
        assert (mended.removed, path.exists()) == (int(not kept), kept)
        path.write_bytes(sound)
    register.unlink()
    found = verify(cache.root)
    assert (found.lost, found.damaged) == (1, [(register, MISSING)])


def test_what_cannot_be_read_is_said_and_stays(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, heard = features(cache, range(2)), clips(cache, range(3))
    sick = {entry_of(shelf), audio_of(heard, 1)}
    original = Path.open

    def failing(self: Path, *arguments: Any, **more: Any) -> Any:
        if self in sick:
            raise OSError(5, os.strerror(5), str(self))
        return original(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", failing)
    for repair in (False, True):
        found = verify(cache.root, read_data=True, repair=repair)
        assert said(found) == {"features": {UNREADABLE: 1}, "clips": {OK: 2, UNREADABLE: 1}}
        assert (found.lost, found.removed) == (2, 0)
    monkeypatch.undo()
    assert not verify(cache.root, read_data=True).lost


def test_each_damaged_file_is_removed_once(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        heard = clips(cache, [number])
    for number in range(20):
        audio_of(heard, number).write_bytes(b"")
    removed: list[Path] = []

    def removing(path: Path) -> None:
        removed.append(path)
        delete(path)

    monkeypatch.setattr("evalkit.store.verify.delete", removing)
    verify(cache.root, repair=True)
    assert len(removed) == len(set(removed)) == 40 and not list(heard.folder.glob("**/*.flac"))


def test_what_is_merged_while_it_is_repaired_is_left(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = features(cache, range(4))
    path = entry_of(shelf)
    flip(path, path.read_bytes().index(np.full((2, 8), 1, np.float32).tobytes()))

    def gone(*_: object) -> list[str]:
        raise FileNotFoundError

    monkeypatch.setattr(Shelf, "keep", gone)
    assert verify(cache.root, read_data=True, repair=True).lost == 1


def test_repair_waits_for_a_process_that_looks_dead(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = features(cache, range(2))
    entry_of(shelf).write_bytes(b"")
    with doubted(cache, shelf, monkeypatch):
        found = verify(cache.root, repair=True)
        assert (found.removed, found.left) == (0, 1)
    with doubted(cache, shelf, monkeypatch), pytest.raises(EvalkitError, match="is used by process"):
        remove(cache.root, [Shelf(cache.root, *shelf.name.split("/"))])


@contextmanager
def doubted(cache: Cache, shelf: Collection, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A lease of another machine that looks dead, and is renewed while it is waited for."""
    with lease(cache.root) as held, monkeypatch.context() as waiting:
        held.use(shelf.name)
        held.path.write_text(held.path.read_text().replace(leases.process()["machine"], "another"))
        os.utime(held.path, (0, 0))

        def sleep(seconds: float) -> None:
            assert seconds == leases.MOVES
            os.utime(held.path)

        waiting.setattr("evalkit.store.leases.time.sleep", sleep)
        yield


def test_damage_that_results_share_is_said_and_removed_when_nobody_runs(cache: Cache, tmp_path: Path) -> None:
    cache.arrays.mkdir(parents=True)
    for name in ("linked", "alone"):
        (cache.arrays / f"{name}.npy").write_bytes(b"wrong")
    os.link(cache.arrays / "linked.npy", tmp_path / "a.npy")
    with lease(cache.root) as held:
        held.use("features/a")
        found = verify(cache.root, read_data=True, repair=True)
        assert (found.removed, found.linked, found.left) == (0, 0, 2)
    found = verify(cache.root, read_data=True, repair=True)
    assert (found.removed, found.linked, found.left) == (2, 1, 0)
    assert "the same damage" in " ".join(verified(cache.root, found, True, True).notes)


def test_files_that_results_link_to_are_checked(cache: Cache) -> None:
    import hashlib

    cache.arrays.mkdir(parents=True)
    sound, wrong, empty = (cache.arrays / f"{hashlib.sha256(data).hexdigest()}.npy" for data in (b"a", b"b", b"c"))
    for path, data in ((sound, b"a"), (wrong, b"x"), (empty, b"")):
        path.write_bytes(data)
    assert said(verify(cache.root)) == {"arrays": {OK: 2, CUT_SHORT: 1}}
    assert said(verify(cache.root, read_data=True, repair=True)) == {"arrays": {OK: 1, WRONG: 1, CUT_SHORT: 1}}
    assert list(cache.arrays.iterdir()) == [sound]


def test_a_cache_that_is_only_read_is_checked(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    features(cache, range(2))

    def refused(*_: object, **__: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr("tempfile.mkstemp", refused)
    assert said(verify(cache.root, read_data=True)) == {"features": {OK: 2}}


def test_what_is_merged_meanwhile_is_read_where_it_is(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        shelf = features(cache, [number])
    done: list[Path] = []

    def merging(path: Path) -> entries.Entry:
        if len(done) == 3:
            Cache(cache.root).collection("features", "VGGish").compact()
        done.append(path)
        return entries.read_entry(path)

    monkeypatch.setattr("evalkit.store.contents.read_entry", merging)
    found = verify(cache.root, read_data=True)
    assert not found.lost and said(found)["features"][OK] >= 20 and len(list(shelf.folder.glob("*.entry"))) == 1


WRITING = """
import sys
from pathlib import Path
from evalkit.store.cache import Cache
from evalkit.store.contents import Shelf, delete
from evalkit.store.leases import lease
from evalkit.store.rm import remove
from tests.store.stored import clips, features
cache = Cache(Path(sys.argv[1]))
with lease(cache.root):
    for number in range(150):
        for write in (features, clips):
            shelf = write(cache, [number])
            if number % 10 == 9:
                shelf.compact()
"""


def test_nothing_is_said_to_be_lost_while_others_write(cache: Cache) -> None:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    running = subprocess.Popen([sys.executable, "-c", WRITING, str(cache.root)], env=environment)
    rounds = 0
    while running.poll() is None:
        found = verify(cache.root, read_data=bool(rounds % 2))
        assert not found.lost, found.damaged
        rounds += 1
    assert running.returncode == 0 and rounds > 2
    assert said(verify(cache.root, read_data=True)) == {"features": {OK: 150}, "clips": {OK: 150}}


def test_a_verification_keeps_what_it_reads_from_being_removed(cache: Cache) -> None:
    shelf = features(cache, range(2))
    named: list[bool] = []

    def advance(count: int) -> None:
        named.append(leases.holders(cache.root, leases.now(cache.root))[0].names(shelf.name))

    verify(cache.root, advance=advance)
    assert named == [True]
