"""Removing what nobody holds: what stays, beside whom, and after which deaths."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from evalkit.commands.store import collected
from evalkit.errors import EvalkitError
from evalkit.store import entry as entries
from evalkit.store import gc, leases, registers
from evalkit.store.cache import Cache
from evalkit.store.collection import Collection
from evalkit.store.contents import Shelf
from evalkit.store.digests import digest
from evalkit.store.entry import Item
from evalkit.store.gc import Found, collect
from evalkit.store.leases import lease
from evalkit.store.rm import used_by

from .stored import age, audio, audio_of, clips, earlier, features, files, finished, key, keys, made, result


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def there(shelf: Collection) -> set[int]:
    """The numbers of the items that a collection has, each with its value and its audio."""
    found = shelf.read([key(number) for number in range(1000)])
    numbers = {number for number in range(1000) if key(number) in found}
    for number in numbers:
        item = found[key(number)]
        if shelf.kind == "features":
            assert item.value is not None
            np.testing.assert_array_equal(item.value, np.full((2, 8), number))
        else:
            assert audio_of(shelf, number).read_bytes() == audio(number)
    return numbers


def said(found: Found, what: str) -> dict[tuple[str, str], int]:
    return {about: size.items for about, size in getattr(found, what).items()}


def test_what_a_finished_result_uses_stays_and_the_rest_goes(cache: Cache, tmp_path: Path) -> None:
    shelf, heard, other = features(cache, range(10)), clips(cache, range(10)), features(cache, range(10), "PaSST")
    finished(cache, tmp_path / "a", {shelf: range(3), heard: range(4)})
    finished(cache, tmp_path / "b", {shelf: range(2, 5)})
    age(cache.root)
    before = files(cache.root)
    found = collect(cache.root, remove=False)
    assert files(cache.root) == before  # only shown
    assert said(found, "goes") == {
        ("features", gc.UNUSED): 15, ("clips", gc.UNUSED): 6,
    }  # fmt: skip
    assert said(found, "stays") == {
        ("features", gc.RESULTS): 5, ("clips", gc.RESULTS): 4, ("runs", gc.RESULTS): 2,
    }  # fmt: skip
    removed = collect(cache.root, remove=True)
    assert said(removed, "goes") == said(found, "goes") and said(removed, "stays") == said(found, "stays")
    assert {about: size.bytes for about, size in removed.goes.items()} == {
        about: size.bytes for about, size in found.goes.items()
    }
    assert there(shelf) == set(range(5)) and there(heard) == set(range(4))
    assert len(list((heard.folder / "audio").iterdir())) == 4
    assert not other.folder.exists()
    again = collect(cache.root, remove=True)
    assert not again.goes and there(shelf) == set(range(5))


def test_what_is_young_stays(cache: Cache) -> None:
    shelf = features(cache, range(3))
    age(cache.root)
    features(cache, range(3, 6))
    heard = clips(cache, range(3))
    orphan = audio_of(heard, 7)
    orphan.write_bytes(audio(7))
    collect(cache.root, remove=True)
    assert there(shelf) == {3, 4, 5} and there(heard) == {0, 1, 2} and orphan.exists()
    age(cache.root, -gc.GRACE - 60)
    collect(cache.root, remove=True)
    assert not shelf.folder.exists() and not heard.folder.exists()


def test_ages_are_by_the_file_systems_clock(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = features(cache, range(3))
    monkeypatch.setattr(time, "time", lambda: 4e9)  # this machine is far ahead
    collect(cache.root, remove=True)
    assert there(shelf) == {0, 1, 2}
    age(cache.root, 1e6)  # the file system's clock was set back
    collect(cache.root, remove=True)
    assert there(shelf) == {0, 1, 2}


def test_a_result_that_is_not_where_it_was_holds_nothing_unless_it_is_named(cache: Cache, tmp_path: Path) -> None:
    shelf = features(cache, range(9))
    for number, name in enumerate(("deleted", "changed", "moved")):
        finished(cache, tmp_path / name, {shelf: range(3 * number, 3 * number + 3)})
    age(cache.root)
    (tmp_path / "deleted" / "result.json").unlink()
    (tmp_path / "changed" / "result.json").write_text("another")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "moved").rename(tmp_path / "elsewhere" / "moved")
    found = collect(cache.root, remove=False)
    assert sorted((run.folder.name, run.state) for run in found.lost) == [
        ("changed", "changed"), ("deleted", "gone"), ("moved", "gone"),
    ]  # fmt: skip
    found = collect(cache.root, remove=False, keep=[tmp_path / "elsewhere"])
    assert sorted(run.folder.name for run in found.lost) == ["changed", "deleted"]
    collect(cache.root, remove=True, keep=[tmp_path / "elsewhere"])
    assert there(shelf) == {6, 7, 8}
    age(cache.root)
    collect(cache.root, remove=True)  # it is known where it is now
    assert there(shelf) == {6, 7, 8}
    (run,) = registers.runs(cache.root)
    assert run.folder == tmp_path / "elsewhere" / "moved" and run.state == "there"
    with pytest.raises(EvalkitError, match="holds no finished result"):
        collect(cache.root, remove=True, keep=[tmp_path / "deleted"])
    (tmp_path / "deleted" / "result.json").mkdir()
    with pytest.raises(EvalkitError, match="cannot read the result"):
        collect(cache.root, remove=True, keep=[tmp_path / "deleted"])


def test_what_a_running_process_has_named_stays_whole(cache: Cache, tmp_path: Path) -> None:
    shelf, other = features(cache, range(5)), features(cache, range(5), "PaSST")
    heard = clips(cache, range(2))
    orphan = audio_of(heard, 7)
    orphan.write_bytes(audio(7))
    array = cache.arrays / "a.npy"
    array.parent.mkdir()
    array.write_bytes(b"1")
    age(cache.root)
    with lease(cache.root):
        shelf.read([])
        heard.read([])
        found = collect(cache.root, remove=True)
        assert there(shelf) == set(range(5)) and orphan.exists() and not other.folder.exists()
        assert array.exists()  # which a result may be about to link to
        assert [one.pid for one in found.holders] == [os.getpid()]
    collect(cache.root, remove=True)
    assert not shelf.folder.exists() and not heard.folder.exists() and not array.exists()


def test_a_run_that_died_before_it_was_registered_holds_what_it_named(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = features(cache, range(5))
    with lease(cache.root) as held:
        held.of(result(tmp_path / "result"))
        shelf.read([key(1)])
        with monkeypatch.context() as full:

            def refuse(*_: object) -> None:
                raise EvalkitError("no space left")

            full.setattr(registers, "write", refuse)
            registers.register(held, tmp_path / "result")
    monkeypatch.setattr(leases, "process", lambda: {"machine": "another"})
    os.utime(held.path, (0, 0))
    monkeypatch.setattr(leases, "MOVES", 0.0)
    age(cache.root)
    collect(cache.root, remove=True)
    assert there(shelf) == set(range(5)) and held.path.exists()
    (tmp_path / "result" / "result.json").unlink()
    collect(cache.root, remove=True)
    assert not shelf.folder.exists() and not held.path.exists()


def test_a_run_registers_the_items_that_it_used(cache: Cache, tmp_path: Path) -> None:
    shelf, other = features(cache, range(6)), cache.collection("codes", 1)
    with lease(cache.root) as held:
        shelf.read([key(0), key(1), key(99)])
        other.write({key(3): Item(None, 1)})
        registers.register(held, result(tmp_path / "result"))
    (run,) = registers.runs(cache.root)
    assert (run.folder, run.state, set(run.parts)) == (tmp_path / "result", "there", {shelf.name, other.name})
    assert registers.keys_of(run, other.name).tobytes() == bytes.fromhex(key(3)[:32])
    age(cache.root)
    collect(cache.root, remove=True)
    assert there(shelf) == {0, 1} and keys(other) == {key(3)[:32]}


def test_a_run_that_ends_meanwhile_is_seen_by_its_lease_or_its_register(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = features(cache, range(5))
    age(cache.root)
    held = leases.Lease(cache.root)
    held.use(shelf.name)
    original = registers.runs

    def ending(root: Path) -> Iterator[registers.Run]:
        found = list(original(root))
        finished(cache, tmp_path / "result", {shelf: range(3)})
        held.end()
        yield from found

    monkeypatch.setattr(registers, "runs", ending)
    collect(cache.root, remove=True)
    assert there(shelf) == set(range(5))
    collect(cache.root, remove=True)
    assert there(shelf) == set(range(3))


def test_what_very_many_items_were_used_is_stored_in_parts(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = {features(cache, range(5), name): range(2 + number) for number, name in enumerate("abc")}
    monkeypatch.setattr(registers, "MOST", 5)
    finished(cache, tmp_path / "result", shelves)
    (run,) = registers.runs(cache.root)
    assert len(run.shelf.files()) == 2 and run.state == "there"
    assert [len(registers.keys_of(run, shelf.name)) for shelf in shelves] == [2, 3, 4]
    age(cache.root)
    collect(cache.root, remove=True)
    assert [there(shelf) for shelf in shelves] == [set(numbers) for numbers in shelves.values()]
    run.parts[next(iter(shelves)).name].unlink()  # now it is not known what else it uses
    with pytest.raises(EvalkitError, match="it is not known what that uses"):
        collect(cache.root, remove=True)
    held = leases.Lease(cache.root)  # but where it was not written to its end, the run's lease is there still
    held.of(run.folder)
    held.use(next(iter(shelves)).name)
    collect(cache.root, remove=True)
    held.end()
    assert there(next(iter(shelves))) == {0, 1}


def test_a_lease_of_another_machine_that_is_renewed_lives_whatever_the_clock_does(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = features(cache, range(5))
    age(cache.root)
    monkeypatch.setattr(leases, "MOVES", 0.3)
    with lease(cache.root) as held:
        held.use(shelf.name)
        held.path.write_text(held.path.read_text().replace(leases.process()["machine"], "another"))
        os.utime(held.path, (0, 0))  # as after a jump of the file system's clock
        running = subprocess.Popen(
            [sys.executable, "-c", "import os, sys, time; time.sleep(.1); os.utime(sys.argv[1])", held.path]
        )
        collect(cache.root, remove=True)
        running.wait()
        assert there(shelf) == set(range(5)) and held.path.exists()
        os.utime(held.path, (0, 0))
        collect(cache.root, remove=True)
        assert not shelf.folder.exists() and not held.path.exists()


def test_a_register_of_another_form_stops_everything(cache: Cache, tmp_path: Path) -> None:
    shelf = features(cache, range(5))
    about = {"folder": str(result(tmp_path / "a")), "result": registers.result_digest(tmp_path / "a")}
    keys = np.frombuffer(bytes.fromhex(key(0)[:32]), np.uint8).reshape(1, 16)
    for facts in ({"collection": shelf.name}, None):
        cache.collection("runs", about).write({key(9): Item(keys, facts)})
        age(cache.root)
        with pytest.raises(EvalkitError, match="it is not known what that uses"):
            collect(cache.root, remove=True)
        shutil.rmtree(cache.root / "runs")


def test_a_register_of_another_folder_than_it_was_written_for_stops_everything(cache: Cache, tmp_path: Path) -> None:
    shelf = features(cache, range(5))
    finished(cache, tmp_path / "a", {shelf: range(3)})
    age(cache.root)
    (about,) = (cache.root / "runs").glob("*/about.json")
    sound = about.read_text()
    for damaged in (sound.replace(str(tmp_path / "a"), str(tmp_path / "b")), "{}", "[", None):
        about.unlink() if damaged is None else about.write_text(damaged)
        assert [run.state for run in registers.runs(cache.root)] == ["damaged"]
        with pytest.raises(EvalkitError, match="it is not known what that uses"):
            collect(cache.root, remove=True)
        assert there(shelf) == set(range(5))


def test_a_result_that_cannot_be_seen_from_here_holds(cache: Cache, tmp_path: Path) -> None:
    shelf = features(cache, range(6))
    home, unmounted = tmp_path / "home" / "a", tmp_path / "mounted" / "results" / "b"
    finished(cache, home, {shelf: range(2)})
    finished(cache, unmounted, {shelf: range(2, 4)})
    age(cache.root)
    home.parent.rename(tmp_path / "elsewhere")
    home.parent.symlink_to(home.parent)  # which nobody can look into, be it root
    shutil.rmtree(tmp_path / "mounted" / "results")
    found = collect(cache.root, remove=True)
    assert sorted(run.folder for run in found.hidden) == [home, unmounted] and not found.lost
    assert there(shelf) == {0, 1, 2, 3}
    assert "cannot be seen from here, and hold" in " ".join(collected(cache.root, found, True).notes)
    using = used_by(cache.root, [Shelf(cache.root, *shelf.name.split("/"))])
    assert sorted(run.folder for run in using) == [home, unmounted]
    home.parent.unlink()
    (tmp_path / "elsewhere").rename(home.parent)
    unmounted.parent.mkdir()  # now it can be seen that there is none
    age(cache.root)
    found = collect(cache.root, remove=True)
    assert [run.folder for run in found.lost] == [unmounted] and not found.hidden
    assert there(shelf) == {0, 1}


def test_folders_that_cannot_be_asked_for_stop_nothing_and_hold(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / ("x" * 300)  # the system refuses to say whether there is one
    shelf, other = features(cache, range(2)), features(cache, range(2), "PaSST")
    digests = cache.collection("digests", {"folder": str(hidden), "version": 1})
    digests.write({key(0): Item(None, 1)})
    held = leases.Lease(cache.root)
    held.of(hidden)
    held.use(shelf.name)
    held.path.write_text(held.path.read_text().replace(leases.process()["machine"], "another"))
    os.utime(held.path, (0, 0))
    monkeypatch.setattr(leases, "MOVES", 0.0)
    age(cache.root)
    collect(cache.root, remove=True)
    assert there(shelf) == {0, 1} and keys(digests) and not other.folder.exists() and held.path.exists()
    held.end()


def test_what_cannot_be_read_stays_with_what_it_may_name(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = clips(cache, range(2))
    age(cache.root)

    def failing(path: Path) -> entries.Entry:
        raise EvalkitError(f"cannot read '{path}'")

    with monkeypatch.context() as disk:
        disk.setattr("evalkit.store.contents.read_entry", failing)
        found = collect(cache.root, remove=True)
    assert said(found, "stays") == {("clips", gc.UNREADABLE): 1} and not found.goes
    assert there(heard) == {0, 1}
    finished(cache, cache.root.parent / "result", {heard: range(2)})
    with monkeypatch.context() as disk:
        disk.setattr("evalkit.store.contents.read_entry", failing)
        with pytest.raises(EvalkitError, match="cannot read"):
            collect(cache.root, remove=True)


def test_audio_that_a_later_version_names_stays(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(entries, "SCHEMA", 2)
        heard = clips(cache, range(2))
    age(cache.root)
    collect(cache.root, remove=True)
    assert audio_of(heard, 0).exists() and audio_of(heard, 1).exists()


def test_a_register_that_is_damaged_stops_everything(cache: Cache, tmp_path: Path) -> None:
    shelf = features(cache, range(5))
    finished(cache, tmp_path / "a", {shelf: range(3)})
    age(cache.root)
    (path,) = (cache.root / "runs").rglob("*.entry")
    sound = path.read_bytes()
    for damaged in (sound[:-1], sound[:100], sound.replace(b"features/", b"peatures/"), b""):
        path.write_bytes(damaged)
        for remove in (False, True):
            with pytest.raises(EvalkitError, match=r"evalkit store rm runs/\w+ --yes"):
                collect(cache.root, remove)
        assert there(shelf) == set(range(5))
    data = bytearray(sound)
    data[-1] ^= 1  # in the keys
    path.write_bytes(data)
    with pytest.raises(EvalkitError, match="it is not known what that uses"):
        collect(cache.root, remove=True)
    assert there(shelf) == set(range(5))


def test_what_earlier_versions_wrote_and_what_is_half_written_goes(cache: Cache) -> None:
    shelf, heard = features(cache, range(2)), clips(cache, range(2))
    gone = earlier(cache)
    for name in ("clips/.partial-a", "features/x/.partial-b", f"{heard.name}/audio/.partial-c", ".partial-d",
                 f"checkpoints/{'c' * 32}/.partial-e/inner/file", "arrays/.partial-f",
                 "weights/.partial-i/34/1.mp3"):  # fmt: skip
        path = cache.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        gone.append(path)
    stay = [cache.root / name for name in ("notes.txt", "features/notes.txt", "weights/vggish.pt", "other/a/b")]
    for path in stay:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not evalkit's")
    collect(cache.root, remove=True)
    assert all(path.exists() for path in [*gone, *stay])  # they are young
    age(cache.root)
    with lease(cache.root):
        shelf.read([])
        (cache.root / "leases" / ".partial-g").write_bytes(b"")
        os.utime(cache.root / "leases" / ".partial-g", (0, 0))
        written = shelf.folder / ".partial-h"  # by a process that runs
        written.write_bytes(b"half")
        os.utime(written, (0, 0))
        collect(cache.root, remove=True)
        assert written.exists() and there(shelf) == {0, 1}
    assert not [path for path in gone if path.exists()] and all(path.exists() for path in stay)
    assert not heard.folder.exists()
    assert not list((cache.root / "leases").iterdir()) and not (cache.root / "codes").exists()


def test_audio_of_a_run_that_died_before_its_first_entry_goes(cache: Cache) -> None:
    shelf = clips(cache, range(2))
    for path in shelf.folder.iterdir():
        if path.is_file():
            path.unlink()
    age(cache.root)
    assert said(collect(cache.root, remove=True), "goes") == {("clips", gc.UNREFERENCED): 2}
    assert not shelf.folder.exists()


def test_entries_of_another_schema_go_if_they_are_earlier(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    for schema in (0, 2):
        with monkeypatch.context() as other:
            other.setattr(entries, "SCHEMA", schema)
            shelf = features(cache, range(schema, schema + 2))
    age(cache.root)
    found = collect(cache.root, remove=True)
    assert said(found, "goes") == {("features", gc.OLDER): 1}
    assert said(found, "stays") == {("features", gc.LATER): 1} and len(list(shelf.folder.glob("*.entry"))) == 1


def test_arrays_that_results_link_to_stay(cache: Cache, tmp_path: Path) -> None:
    cache.arrays.mkdir(parents=True)
    for name in ("linked", "alone"):
        (cache.arrays / f"{name}.npy").write_bytes(b"1")
    os.link(cache.arrays / "linked.npy", tmp_path / "a.npy")
    age(cache.root)
    collect(cache.root, remove=True)
    assert [path.name for path in cache.arrays.iterdir()] == ["linked.npy"]


def test_made_folders_stay_as_long_as_they_are_used(cache: Cache, tmp_path: Path) -> None:
    used, other = made(cache, "used"), made(cache, "other")
    with lease(cache.root) as held:
        assert made(cache, "used") == used
        registers.register(held, result(tmp_path / "result"))
    orphan = used.parent / ("d" * 32)
    orphan.mkdir()
    (orphan / "file").write_text("1")
    age(cache.root)
    collect(cache.root, remove=True)
    assert (used / "inner" / "weights").exists() and not other.exists() and not orphan.exists()
    assert made(cache, "used") == used


def test_digests_stay_as_long_as_the_folder_of_the_files_is_there(cache: Cache, tmp_path: Path) -> None:
    shelf = cache.collection("digests", {"folder": str(tmp_path / "clips"), "version": 1})
    shelf.write({key(0): Item(None, 1)})
    (tmp_path / "clips").mkdir()
    age(cache.root)
    collect(cache.root, remove=True)
    assert keys(shelf)
    (tmp_path / "clips").rmdir()
    collect(cache.root, remove=True)
    assert not shelf.folder.exists()


def test_items_that_are_damaged_are_not_written_again(cache: Cache, tmp_path: Path) -> None:
    shelf = features(cache, range(4))
    finished(cache, tmp_path / "a", {shelf: range(3)})
    (path,) = shelf.folder.glob("*.entry")
    data = bytearray(path.read_bytes())
    data[data.index(np.full((2, 8), 1, np.float32).tobytes())] ^= 1
    path.write_bytes(data)
    age(cache.root)
    collect(cache.root, remove=True)
    assert there(shelf) == {0, 2}


def test_large_entries_are_written_in_parts(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.store import contents

    shelf = features(cache, range(20))
    finished(cache, tmp_path / "a", {shelf: range(15)})
    age(cache.root)
    monkeypatch.setattr(contents, "AT_ONCE", 300)
    collect(cache.root, remove=True)
    assert there(shelf) == set(range(15)) and len(list(shelf.folder.glob("*.entry"))) > 2


def test_a_cache_that_cannot_be_written_is_shown_only(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = features(cache, range(3))
    age(cache.root)

    def refused(*_: object, **__: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr("tempfile.mkstemp", refused)
    monkeypatch.setattr(Path, "mkdir", refused)
    assert said(collect(cache.root, remove=False), "goes") == {("features", gc.UNUSED): 3}
    with pytest.raises(EvalkitError, match="cannot write"):
        collect(cache.root, remove=True)
    monkeypatch.undo()
    assert there(shelf) == {0, 1, 2}


REMOVING = """
import sys
from pathlib import Path
from evalkit.store.gc import collect
print("begins", flush=True)
collect(Path(sys.argv[1]), remove=True)
"""


def filled(cache: Cache, folder: Path) -> dict[Collection, set[int]]:
    """A cache of which finished results hold a part of many files."""
    shelves: dict[Collection, set[int]] = {}
    for name in ("a", "b"):
        for first in range(0, 60, 6):
            shelf, heard = features(cache, range(first, first + 6), name), clips(cache, range(first, first + 6), name)
        numbers = {number for number in range(60) if number % 7 in (1, 2)}
        shelves |= {shelf: numbers, heard: numbers}
    finished(cache, folder, {shelf: sorted(numbers) for shelf, numbers in shelves.items()})
    made(cache)
    earlier(cache)
    age(cache.root)
    return shelves


def test_killed_at_any_moment_nothing_is_lost_that_is_held(cache: Cache, tmp_path: Path) -> None:
    whole, held = Cache(tmp_path / "whole"), filled(cache, tmp_path / "result")
    filled(whole, tmp_path / "result")
    collect(whole.root, remove=True)
    rng = random.Random(0)
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-c", REMOVING, cache.root], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline()
        time.sleep(rng.uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for shelf, numbers in held.items():
            assert there(shelf) >= numbers
    age(cache.root)  # what was half written
    collect(cache.root, remove=True)
    assert files(cache.root) == files(whole.root)


def test_two_at_once_do_what_one_does(cache: Cache, tmp_path: Path) -> None:
    whole, held = Cache(tmp_path / "whole"), filled(cache, tmp_path / "result")
    filled(whole, tmp_path / "result")
    collect(whole.root, remove=True)
    running = [
        subprocess.Popen([sys.executable, "-c", REMOVING, cache.root], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    for shelf, numbers in held.items():
        assert there(shelf) == numbers
    assert files(cache.root) == files(whole.root)


RUNNING = """
import os, random, sys, time
from pathlib import Path
from evalkit.store import leases
from evalkit.store.cache import Cache
from evalkit.store.contents import Shelf
from evalkit.store.leases import lease
from evalkit.store.rm import used_by
from tests.store.stored import age, audio, audio_of, clips, features, key
root, seed = Path(sys.argv[1]), int(sys.argv[2])
leases.POLL = 0.002
rng, cache = random.Random(seed), Cache(root)
for _ in range(40):
    with lease(root):
        numbers = rng.sample(range(60), 10)
        shelf = cache.collection("features", "VGGish", "VGGish")
        heard = cache.collection("clips", "musicgen", "musicgen")
        for one, write in ((shelf, features), (heard, clips)):
            absent = [number for number in numbers if key(number) not in one.read(map(key, numbers))]
            write(cache, absent)
            if rng.random() < 0.3:
                one.compact()
        age(root)  # all that there is may be removed as far as its age goes
        time.sleep(rng.uniform(0, 0.01))
        assert len(shelf.read(map(key, numbers))) == 10
        assert len(heard.read(map(key, numbers))) == 10
        for number in numbers:
            assert audio_of(heard, number).read_bytes() == audio(number)
    time.sleep(rng.uniform(0, 0.02))
"""

REMOVING_AGAIN = """
import sys, time
from pathlib import Path
from evalkit.store import leases
from evalkit.store.gc import collect
leases.POLL = 0.002
gone = 0
while not Path(sys.argv[2]).exists():
    gone += sum(size.items for size in collect(Path(sys.argv[1]), remove=True).goes.values())
    time.sleep(0.005)
print(gone)
"""


def test_runs_read_what_they_found_while_others_remove(cache: Cache) -> None:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    cache.root.mkdir()

    def start(script: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", script, str(cache.root), *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)

    removing = start(REMOVING_AGAIN, str(cache.root.parent / "done"))
    for process in [start(RUNNING, "1"), start(RUNNING, "2")]:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
        assert b"damaged" not in errors
    (cache.root.parent / "done").touch()
    gone, errors = removing.communicate(timeout=60)
    assert removing.returncode == 0, errors.decode()
    assert int(gone) > 10


def test_memory_of_keys_is_their_size() -> None:
    keys: Iterable[str] = (digest(number)[:32] for number in range(100_000))
    held = leases.Keys()
    held.add(keys)
    assert held.sorted().nbytes == 1_600_000
