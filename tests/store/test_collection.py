from __future__ import annotations

import errno
import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.errors import EvalkitError
from evalkit.store import collection as collections
from evalkit.store import entry as entries
from evalkit.store.cache import Cache
from evalkit.store.collection import Collection
from evalkit.store.digests import digest
from evalkit.store.entry import Damaged, Entry, Item, read_entry

from .stored import keys

RNG = np.random.default_rng(0)


def key(number: int) -> str:
    return digest(["item", number])


def features(count: int, first: int = 0) -> dict[str, Item]:
    values = [RNG.random((1 + number % 3, 4), dtype=np.float32) for number in range(count)]
    return {key(first + number): Item(value) for number, value in enumerate(values)}


def stored(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.entry"))


def damaged_at_the_end(shelf: Collection) -> tuple[dict[str, Item], Path]:
    """Six items, the last of which is damaged in their file."""
    items = features(6)
    shelf.write(items)
    (path,) = stored(shelf.folder)
    data = bytearray(path.read_bytes())
    last = items[key(5)].value
    assert last is not None
    data[data.index(last.tobytes())] ^= 1
    path.write_bytes(data)
    return items, path


@pytest.fixture
def shelf(tmp_path: Path) -> Collection:
    return Cache(tmp_path).collection("features", {"encoder": "vggish"}, "VGGish")


def same(found: dict[str, Item], expected: dict[str, Item]) -> None:
    assert found.keys() == expected.keys()
    for name, item in expected.items():
        got = found[name]
        assert (got.facts, got.shared) == (item.facts, item.shared)
        if item.value is None:
            assert got.value is None
        else:
            assert got.value is not None and got.value.dtype == item.value.dtype
            np.testing.assert_array_equal(got.value, item.value)


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "|u1"])
def test_items_come_back_as_they_were_stored(shelf: Collection, dtype: str) -> None:
    items = {
        key(0): Item(np.arange(6, dtype=dtype).reshape(2, 3), {"n": 1, "words": "é"}, {"device": "cpu"}),
        key(1): Item(np.zeros((0, 3), dtype), None, {"device": "cpu"}),
        key(2): Item(None, {"failed": "NaN"}, {"device": "gpu"}),
        key(3): Item(np.array(5, dtype)),
    }
    shelf.write(items)
    same(shelf.read([*items, key(9)]), items)
    same(shelf.read([key(2)]), {key(2): items[key(2)]})
    same(shelf.read(), {name[:32]: item for name, item in items.items()})
    assert shelf.having([key(1), key(9)]) == {key(1)}
    assert keys(shelf) == {name[:32] for name in items}


def test_the_same_content_is_the_same_file_whoever_writes_it(tmp_path: Path) -> None:
    items = features(5)
    for root in ("a", "b"):
        Cache(tmp_path / root).collection("features", 1).write(items)
        Cache(tmp_path / root).collection("features", 1).write(items)
    (a,), (b,) = (
        stored(tmp_path / "a" / "features" / digest(["features", 1])[:32]),
        sorted((tmp_path / "b").rglob("*.entry")),
    )
    assert a.name == b.name and a.read_bytes() == b.read_bytes()


def test_another_collection_has_another_folder(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    folders = {cache.collection(kind, value).folder for kind in ("clips", "codes") for value in (1, "1", [1])}
    assert len(folders) == 6


def test_a_flipped_bit_anywhere_is_noticed(shelf: Collection, caplog: pytest.LogCaptureFixture) -> None:
    items = {**features(4), key(8): Item(None, {"n": 1}, {"device": "cpu"})}
    shelf.write(items)
    (path,) = stored(shelf.folder)
    sound, rng = path.read_bytes(), random.Random(0)
    for place in [*range(16), *(rng.randrange(len(sound)) for _ in range(150))]:
        changed = bytearray(sound)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        caplog.clear()
        found = shelf.read(items)
        for name, item in found.items():
            same({name: item}, {name: items[name]})
        assert len(found) < len(items) or bytes(changed) == sound, place
        assert "damaged cache entry" in caplog.text
        for other in stored(shelf.folder):  # what was sound is in a file of its own
            other.unlink()
        path.write_bytes(sound)
    same(shelf.read(items), items)


def test_items_that_were_not_damaged_stay(shelf: Collection) -> None:
    items, path = damaged_at_the_end(shelf)
    lost = set(items) - set(shelf.read(items))
    assert lost == {key(5)}
    assert not path.exists()
    same(shelf.read(items), {name: item for name, item in items.items() if name not in lost})


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1, -50])
def test_files_that_are_cut_short_are_absent(shelf: Collection, length: int, caplog: pytest.LogCaptureFixture) -> None:
    items = features(4)
    shelf.write(items)
    (path,) = stored(shelf.folder)
    path.write_bytes(path.read_bytes()[:length])
    assert shelf.read(items) == {}
    assert "damaged cache entry" in caplog.text and not stored(shelf.folder)


def test_files_that_changed_places_are_noticed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    ours, theirs = cache.collection("features", "ours"), cache.collection("features", "theirs")
    for shelf in (ours, theirs):
        shelf.write(features(3))
    (a,), (b,) = stored(ours.folder), stored(theirs.folder)
    a.write_bytes(b.read_bytes())  # the other's content under this one's name
    assert ours.read([key(0)]) == {}
    (ours.folder / b.name).write_bytes(b.read_bytes())  # under its own name, in another folder
    assert ours.read([key(0)]) == {} and not stored(ours.folder)
    ours.write(features(3))
    ours.write(features(3, first=3))
    one, two = stored(ours.folder)
    content, other = one.read_bytes(), two.read_bytes()
    one.write_bytes(other)
    two.write_bytes(content)
    assert ours.read([key(0), key(4)]) == {}


def test_values_under_another_key_or_of_another_shape_are_noticed(
    shelf: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.write({key(0): Item(np.ones((2, 3), np.float32)), key(1): Item(np.ones((2, 3), np.float32))})
    (path,) = stored(shelf.folder)
    found = read_entry(path)
    swapped = Entry(
        path,
        found.kind,
        found.collection,
        found.keys[::-1],
        found.size,
        found._about,
        found._digests,
        found._dtype,
        found._start,
    )
    assert all(isinstance(item, Damaged) for _, item in swapped.items())
    reshaped = Entry(
        path,
        found.kind,
        found.collection,
        found.keys,
        found.size,
        {**found._about, "shapes": [[3, 2], [2, 3]]},
        found._digests,
        found._dtype,
        found._start,
    )
    assert [isinstance(item, Damaged) for _, item in reshaped.items()] == [True, False]


def test_an_entry_of_another_schema_is_absent_and_stays(shelf: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    items = features(3)
    with monkeypatch.context() as older:
        older.setattr(entries, "SCHEMA", 0)
        shelf.write(items)
    assert shelf.read(items) == {} and keys(shelf) == set() and len(stored(shelf.folder)) == 1
    shelf.write(items)
    same(shelf.read(items), items)
    shelf.compact()
    assert len(stored(shelf.folder)) == 2


@pytest.mark.parametrize("large", [5, 40, 10_000])
def test_merged_files_hold_what_small_ones_held(shelf: Collection, large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collections, "LARGE", large)
    monkeypatch.setattr(collections, "MOST", 2 * large)
    monkeypatch.setattr(entries, "LARGE", large)
    items: dict[str, Item] = {}
    for batch in range(30):
        new = {
            name: item._replace(shared={"batch": batch // 10}, facts=batch)
            for name, item in features(4, 4 * batch).items()
        }
        shelf.write(new)
        items |= new
    shelf.compact()
    sizes = [len(read_entry(path).keys) for path in stored(shelf.folder)]
    assert max(sizes) <= 2 * large and sum(sizes) == len(items)
    assert len(sizes) == (1 if large == 10_000 else len(sizes)) and len(sizes) < 30
    same(shelf.read(items), items)
    before = stored(shelf.folder)
    shelf.compact()
    assert len(stored(shelf.folder)) <= len(before)
    same(shelf.read(items), items)


def test_few_small_files_are_left_alone(shelf: Collection) -> None:
    for batch in range(collections.FEW):
        shelf.write(features(2, 2 * batch))
    before = stored(shelf.folder)
    shelf.compact()
    assert stored(shelf.folder) == before


def test_merging_without_room_leaves_all_as_it_was(shelf: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    items: dict[str, Item] = {}
    for batch in range(20):
        new = features(2, 2 * batch)
        shelf.write(new)
        items |= new

    def full(*_: object) -> Path:
        raise EvalkitError("no space left")

    before = stored(shelf.folder)
    monkeypatch.setattr(collections, "write_entry", full)
    shelf.compact()
    assert stored(shelf.folder) == before
    same(shelf.read(items), items)


@pytest.mark.parametrize("reads", [True, False])
def test_looking_goes_on_while_files_are_merged(
    shelf: Collection, reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is listed, and merged before it is opened, is found in what it was merged into."""
    items: dict[str, Item] = {}
    for batch in range(20):
        new = features(2, 2 * batch)
        shelf.write(new)
        items |= new
    merged: list[int] = []

    def merging(path: Path) -> Entry:
        if not merged:
            merged.append(1)
            Collection(shelf.folder.parent.parent, shelf.kind, shelf.key).compact()
        return read_entry(path)

    monkeypatch.setattr(collections, "read_entry", merging)
    if reads:
        same(shelf.read(items), items)
    else:
        assert shelf.having(items) == set(items)
    assert len(stored(shelf.folder)) == 1


SCRIPT = """
import sys, numpy as np
from pathlib import Path
from evalkit.store.cache import Cache
from evalkit.store.digests import digest
from evalkit.store.entry import Item
shelf = Cache(Path(sys.argv[1])).collection("features", "shared")
for batch in range(60):
    items = {digest([batch, i]): Item(np.full((2, 3), batch * 10 + i, np.float32)) for i in range(3)}
    shelf.write(items)
    found = shelf.read(items)
    assert len(found) == 3, (batch, len(found))
    if batch % 7 == 0:
        shelf.compact()
shelf.compact()
"""


def test_processes_that_write_and_merge_at_once_lose_nothing(tmp_path: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", SCRIPT, tmp_path], stderr=subprocess.PIPE) for _ in range(3)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
        assert b"damaged" not in errors
    shelf = Cache(tmp_path).collection("features", "shared")
    found = shelf.read([digest([batch, i]) for batch in range(60) for i in range(3)])
    assert sorted(item.value[0, 0] for item in found.values() if item.value is not None) == [
        batch * 10 + i for batch in range(60) for i in range(3)
    ]


def test_a_large_file_is_not_copied_into_memory(shelf: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "LARGE", 3)
    items = features(3)
    shelf.write(items)
    found = shelf.read(items)
    assert all(isinstance(_owner(item.value), np.memmap) for item in found.values())
    same(found, items)
    value = found[key(0)].value
    assert value is not None
    with pytest.raises(ValueError, match="read-only"):
        value[0] = 1


def _owner(array: np.ndarray | None) -> object:
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap) and array.base is not None:
        array = array.base
    return array


def test_a_cache_that_cannot_be_changed_is_read(
    shelf: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    items = features(3)
    shelf.write(items)
    (path,) = stored(shelf.folder)
    path.write_bytes(path.read_bytes()[:-1])

    def refused(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(Path, "unlink", refused)
    assert shelf.read(items) == {}


def test_folders_that_are_made_here_are_intact_or_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache, made = Cache(tmp_path), []

    def write(folder: Path) -> None:
        made.append(folder)
        (folder / "inner").mkdir()
        (folder / "a.txt").write_text("a")
        (folder / "inner" / "b.txt").write_text("b")

    folder = cache.made_folder("tiny", 1, write)
    assert (folder / "inner" / "b.txt").read_text() == "b" and cache.made_folder("tiny", 1, write) == folder
    assert len(made) == 1 and cache.made_folder("tiny", 2, write) != folder
    (folder / "a.txt").write_text("c")
    with caplog.at_level(logging.WARNING):
        assert cache.made_folder("tiny", 1, write) == folder
    assert "made again" in caplog.text and (folder / "a.txt").read_text() == "a"
    (folder / "a.txt").unlink()
    assert (cache.made_folder("tiny", 1, write) / "a.txt").read_text() == "a"
    for path in folder.parent.glob("*.entry"):
        path.unlink()
    assert cache.made_folder("tiny", 1, write) == folder
    assert not list(folder.parent.glob(".partial-*"))


def test_items_that_are_of_no_use_are_discarded_and_others_of_their_keys_stay(shelf: Collection) -> None:
    lost = {key(number): Item(None, {"audio": f"lost {number}"}, {"device": "cpu"}) for number in range(3)}
    items = {**lost, **{key(number): Item(None, {"audio": str(number)}, {"device": "cpu"}) for number in range(3, 6)}}
    shelf.write(items)
    shelf.write({key(1): Item(None, {"audio": "again"}, {"device": "cpu"})})
    shelf.write({key(2): Item(None, {"audio": "lost 2"}, {"device": "gpu"})})
    shelf.discard(lost)
    found = shelf.read(items)
    assert {name: (item.facts["audio"], item.shared["device"]) for name, item in found.items()} == {
        key(1): ("again", "cpu"),
        key(2): ("lost 2", "gpu"),
        **{key(number): (str(number), "cpu") for number in range(3, 6)},
    }
    before = stored(shelf.folder)
    shelf.discard(lost)
    shelf.discard({})
    assert stored(shelf.folder) == before


def fails(code: int) -> Callable[..., object]:
    def refused(*_: object, **__: object) -> object:
        raise OSError(code, os.strerror(code))

    return refused


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.EACCES, errno.ENOMEM])
@pytest.mark.parametrize("where", ["open", "values"])
def test_a_file_that_cannot_be_read_is_not_damaged(
    shelf: Collection, code: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = features(3)
    shelf.write(items)
    with monkeypatch.context() as failing:
        if where == "open":
            failing.setattr(Path, "open", fails(code))
        else:
            failing.setattr(np, "fromfile", fails(code))
        with pytest.raises(EvalkitError, match="cannot read"):
            Collection(shelf.root, shelf.kind, shelf.key).read(items)
    same(shelf.read(items), items)


def test_a_file_that_another_machine_has_merged_is_looked_for_again(
    shelf: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = features(3)
    shelf.write(items)
    real, tries = np.fromfile, []

    def stale(*arguments: Any, **options: Any) -> np.ndarray:
        tries.append(1)
        return real(*arguments, **options) if len(tries) > 2 else fails(errno.ESTALE)()  # type: ignore[return-value]

    monkeypatch.setattr(np, "fromfile", stale)
    same(shelf.read(items), items)
    assert len(tries) == 3


def test_without_room_for_what_is_sound_a_damaged_file_stays(
    shelf: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, _ = damaged_at_the_end(shelf)

    def full(*_: object) -> Path:
        raise EvalkitError("no space left")

    with monkeypatch.context() as failing:
        failing.setattr(collections, "write_entry", full)
        assert set(shelf.read(items)) == set(items) - {key(5)}
    assert set(shelf.read(items)) == set(items) - {key(5)}


def test_of_two_items_under_one_key_the_same_counts_whatever_is_merged(tmp_path: Path) -> None:
    """Two machines may have made other bits of the same thing: a finished run must find what it has used."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        shelf = Cache(tmp_path / str(seed)).collection("features", seed)
        for _ in range(12):
            numbers = rng.choice(20, size=rng.integers(1, 8), replace=False)
            shelf.write({key(int(n)): Item(rng.random((int(rng.integers(1, 40)), 2), np.float32)) for n in numbers})
        names = [key(n) for n in range(20)]
        before = shelf.read(names)
        shelf.compact()
        assert len(stored(shelf.folder)) == 1
        same(Collection(shelf.root, shelf.kind, shelf.key).read(names), before)


def test_two_that_merge_at_once_do_not_keep_everything_twice(
    shelf: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    items: dict[str, Item] = {}
    for batch in range(20):
        new = features(2, 2 * batch)
        shelf.write(new)
        items |= new
    other = Collection(shelf.root, shelf.kind, shelf.key)
    real = Entry.items
    done: list[int] = []

    def slow(self: Entry, wanted: Container[str] | None = None) -> Iterator[tuple[str, Item | Damaged]]:
        if len(done) == 5:
            done.append(1)
            monkeypatch.setattr(Entry, "items", real)
            other.compact()
        done.append(1)
        return real(self, wanted)

    monkeypatch.setattr(Entry, "items", slow)
    shelf.compact()
    assert [len(read_entry(path).keys) for path in stored(shelf.folder)] == [40]
    same(shelf.read(items), items)


def test_the_same_content_is_not_written_over_what_others_may_be_reading(shelf: Collection) -> None:
    shelf.write(features(3))
    (path,) = stored(shelf.folder)
    before = path.stat().st_ino
    os.utime(path, (1, 1))
    items = shelf.read([key(n) for n in range(3)])
    shelf.write(items)
    assert path.stat().st_ino == before and path.stat().st_mtime > 1  # and it counts as young
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    shelf.write(items)
    same(shelf.read(items), items)


def test_large_files_are_those_of_many_bytes_too(shelf: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "LARGE_BYTES", 20_000)
    large = {key(n): Item(RNG.random((1000, 4), dtype=np.float32)) for n in range(2)}
    shelf.write(large)
    for batch in range(12):
        shelf.write(features(2, 10 + 2 * batch))
    (path,) = [path for path in stored(shelf.folder) if path.stat().st_size > 20_000]
    assert isinstance(_owner(shelf.read(large)[key(0)].value), np.memmap)
    shelf.compact()
    assert path.exists() and len(stored(shelf.folder)) == 2


def test_values_that_could_not_be_read_again_are_refused(shelf: Collection) -> None:
    with pytest.raises(TypeError, match="uint16"):
        shelf.write({key(0): Item(np.ones(2, np.uint16))})


def test_a_made_folder_of_other_bytes_takes_the_place_of_one_that_was_damaged(tmp_path: Path) -> None:
    for attempt in range(6):
        cache = Cache(tmp_path / str(attempt))
        made: list[int] = []

        def write(folder: Path, attempt: int = attempt, made: list[int] = made) -> None:
            made.append(1)
            (folder / "a.txt").write_text(f"{attempt} {len(made)}")

        (cache.made_folder("tiny", 1, write) / "a.txt").write_text("other")
        for _ in range(3):
            assert (cache.made_folder("tiny", 1, write) / "a.txt").read_text() == f"{attempt} 2"
        assert len(made) == 2
