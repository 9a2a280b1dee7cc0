"""Digests, atomic writes, the cache and the result folder."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from evalkit.errors import EvalkitError
from evalkit.store.cache import Cache
from evalkit.store.digests import digest, sha256_file, sha256_tree
from evalkit.store.files import write_atomic
from evalkit.store.identity import identity
from evalkit.store.runs import RunFolder


def test_digest_depends_on_values_and_not_on_order() -> None:
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    assert len({digest(v) for v in ({"a": 1}, {"a": 1.5}, {"a": "1"}, {"a": None}, {"a": True})}) == 5


def test_tree_digest_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = sha256_tree(tmp_path)
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert sha256_tree(tmp_path) != first
    assert sha256_tree(tmp_path / "a" / "y") == sha256_file(tmp_path / "a" / "y")


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, lambda file: file.write(b"old"))

    def fail(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_atomic(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_space_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EvalkitError, match=r"no space left to write '.*x': free some"):
        write_atomic(tmp_path / "x", lambda file: file.write(b"1"))
    assert list(tmp_path.iterdir()) == []


def test_no_permission_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    root = os.geteuid() == 0
    if root:  # root may write anywhere
        os.seteuid(65534)
    try:
        with pytest.raises(EvalkitError, match=r"cannot write .*: choose another folder"):
            RunFolder(tmp_path / "runs", "x")
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("name", ["../a b", "/a", "a/../../b", "..", "my clips é"])
def test_the_folder_of_a_run_lies_in_the_folder_of_results_whatever_the_name(tmp_path: Path, name: str) -> None:
    path = RunFolder(tmp_path / "runs", name).path
    assert path.is_dir() and path.parent == tmp_path / "runs"


def test_a_file_in_the_place_of_the_result_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(EvalkitError, match="cannot write"):
        RunFolder(tmp_path / "runs", "x")


def test_two_runs_at_once_get_two_folders(tmp_path: Path) -> None:
    assert len({RunFolder(tmp_path, "x").path for _ in range(3)}) == 3


def test_identity_holds_version_and_fields_but_no_labels(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Part:
        size: int
        label: str = field(default="", metadata={"identity": False})
        kind: ClassVar[str] = "part"
        version: ClassVar[int] = 3

    cache = Cache(tmp_path)
    assert identity(Part(1, "x"), cache) == identity(Part(1, "y"), cache)
    assert identity(Part(1), cache) != identity(Part(2), cache)
    assert identity({"p": [Part(1)]}, cache)["p"][0]["version"] == 3


def test_an_interrupt_after_a_file_was_written_is_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def interrupted(source: str, target: Path) -> None:
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "x", lambda file: file.write(b"1"))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
