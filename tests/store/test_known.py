"""Digests of files that are kept from one process to the next."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.store import known, memory
from evalkit.store.collection import Collection
from evalkit.store.contents import shelves
from evalkit.store.digests import sha256_file, sha256_files
from evalkit.store.entry import Item
from evalkit.store.known import known_digests


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the files that are read for their digests; files count as settled at once."""
    names = []
    real = hashlib.file_digest

    def spy(file: Any, name: str) -> Any:
        names.append(os.path.basename(file.name))
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", spy)
    monkeypatch.setattr(memory, "SETTLED", -(10**9))
    yield names


def files(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"clip {number} \udcff é.wav" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number)
    return paths


def entries(root: Path) -> list[Path]:
    return sorted(root.glob("digests/*/*.entry"))


def test_a_folder_whose_name_is_not_utf8_is_known_too(tmp_path: Path, opened: list[str]) -> None:
    paths = files(tmp_path / "not\udcffutf8", 3)
    for _ in range(2):
        with known_digests(tmp_path / "cache"):
            assert [sha256_file(path) for path in paths] == [hashlib.sha256(b"%d" % n).hexdigest() for n in range(3)]
    assert len(opened) == 3
    (shelf,) = shelves(tmp_path / "cache", ["digests"])
    assert shelf.key()["folder"] == shelf.label == os.fspath(tmp_path / "not\udcffutf8")


def test_a_digest_is_kept_while_nothing_shows_a_change(tmp_path: Path, opened: list[str]) -> None:
    root, paths = tmp_path / "cache", files(tmp_path / "clips", 5)
    with known_digests(root):
        first = [sha256_file(path) for path in paths]
    assert len(set(first)) == len(opened) == 5
    path, other = paths[0], tmp_path / "other"
    with known_digests(root):
        assert [sha256_file(path) for path in paths] == first and len(opened) == 5
        # another file of equal size in its place, with its time
        other.write_bytes(b"9")
        os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        os.replace(other, path)
        assert sha256_file(path) == hashlib.sha256(b"9").hexdigest()
        assert opened[5:] == [path.name]
    with known_digests(root):
        assert [sha256_file(path) for path in paths[1:]] == first[1:] and sha256_file(path) != first[0]
    assert len(opened) == 6


@pytest.mark.parametrize("change", ["content", "time", "touched"])
def test_what_has_changed_is_read_again(tmp_path: Path, opened: list[str], change: str) -> None:
    (path,) = files(tmp_path / "clips", 1)
    with known_digests(tmp_path / "cache"):
        sha256_file(path)
    before = path.stat()
    if change == "content":
        path.write_bytes(b"1")
    if change != "touched":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + (change == "time")))
    else:
        path.chmod(0o600)  # which moves the time of change alone
    with known_digests(tmp_path / "cache"):
        assert sha256_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(opened) == 2


def test_a_file_that_was_just_written_is_read_again(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "SETTLED", 2_000_000_000)
    (path,) = files(tmp_path, 1)
    for _ in range(2):
        with known_digests(tmp_path / "cache"):
            sha256_file(path)  # a second change might leave its times as they are
    assert len(opened) == 2 and not entries(tmp_path / "cache")


def test_each_folder_is_opened_once_however_many_files_it_has(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [*files(tmp_path / "a", 50), *files(tmp_path / "b", 50)]
    for start in range(0, 100, 10):  # ten processes have written each folder's digests
        with known_digests(tmp_path / "cache"):
            for path in [*paths[start : start + 10], *paths[:5]]:
                sha256_file(path)
    read = []
    original = Collection.read

    def spy(self: Collection) -> dict[str, Item]:
        read.append(self.label)
        return original(self)

    monkeypatch.setattr(Collection, "read", spy)
    with known_digests(tmp_path / "cache"):
        for path in paths:
            sha256_file(path)
    assert sorted(read) == [str(tmp_path / "a"), str(tmp_path / "b")] and len(opened) == 100


def test_what_is_new_is_written_every_few_thousand_files(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "TOGETHER", 4)
    paths = files(tmp_path / "clips", 11)
    with pytest.raises(KeyboardInterrupt), known_digests(tmp_path / "cache"):
        for number, path in enumerate(paths):
            sha256_file(path)
            assert len(entries(tmp_path / "cache")) == (number + 1) // 4  # what a kill would leave
        raise KeyboardInterrupt
    assert len(entries(tmp_path / "cache")) == 3


def test_damaged_digests_are_as_none(tmp_path: Path, opened: list[str], caplog: pytest.LogCaptureFixture) -> None:
    (path,) = files(tmp_path / "clips", 1)
    with known_digests(tmp_path / "cache"):
        sha256_file(path)
    (entry,) = entries(tmp_path / "cache")
    data = entry.read_bytes()
    for damaged in (b"", data[:-1], data.replace(b"clip", b"clap")):
        entry.write_bytes(damaged)
        with known_digests(tmp_path / "cache"):
            assert sha256_file(path) == hashlib.sha256(b"0").hexdigest()
        assert "damaged cache entry" in caplog.text and entry.read_bytes() == data
        caplog.clear()
    assert len(opened) == 4


def test_a_cache_that_cannot_be_written_only_makes_the_next_run_slower(tmp_path: Path, opened: list[str]) -> None:
    (path,) = files(tmp_path / "clips", 1)
    (tmp_path / "cache").write_text("a file in the way")
    for _ in range(2):
        with known_digests(tmp_path / "cache"):
            sha256_file(path)
            sha256_file(path)
    assert len(opened) == 2


SCRIPT = """
import sys
from pathlib import Path
from evalkit.store import memory
from evalkit.store.digests import sha256_file
from evalkit.store.known import known_digests
memory.SETTLED = -10**9
for turn in range(5):
    with known_digests(Path(sys.argv[1])):
        for path in sorted(Path(sys.argv[2]).iterdir())[turn::int(sys.argv[3])]:
            sha256_file(path)
"""


def test_processes_that_write_at_once_lose_none_of_each_others(tmp_path: Path, opened: list[str]) -> None:
    paths = files(tmp_path / "clips", 60)
    given = [tmp_path / "cache", tmp_path / "clips"]
    running = [subprocess.Popen([sys.executable, "-c", SCRIPT, *given, str(step)]) for step in (5, 7, 5)]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    with known_digests(tmp_path / "cache"):
        for path in paths:
            sha256_file(path)
    assert opened == []


def test_a_block_in_a_block_of_the_same_cache_knows_the_same(tmp_path: Path, opened: list[str]) -> None:
    (path,) = files(tmp_path / "clips", 1)
    with known_digests(tmp_path / "cache"):
        with known_digests(tmp_path / "cache"):
            sha256_file(path)
        sha256_file(path)
        with known_digests(tmp_path / "other"):
            sha256_file(path)
    assert len(opened) == 2 and entries(tmp_path / "cache") and entries(tmp_path / "other")


def test_files_of_a_folder_are_told_by_one_look(tmp_path: Path, opened: list[str]) -> None:
    paths = files(tmp_path / "clips", 20)
    (tmp_path / "clips" / "folder.wav").mkdir()
    wanted = {path.name for path in paths[:9]} | {"absent.wav", "folder.wav"}
    expected = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths[:9]}
    for _ in range(2):
        with known_digests(tmp_path / "cache"):
            assert sha256_files(tmp_path / "clips", wanted) == expected
            assert sha256_file(paths[3]) == expected[paths[3].name]
    assert sorted(opened) == sorted(expected)
    assert sha256_files(tmp_path / "nowhere", wanted) == {}
