"""What a user asks for is written where it leads to: nothing but a file gives its place to a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from evalkit.errors import EvalkitError
from evalkit.store.files import write_output

TEXT = "Ωa\n" * 1000


def test_a_file_is_written_over_at_once_and_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for text in ("older", TEXT):
        write_output(path, text)
        assert path.read_text("utf-8") == text
    assert [*path.parent.iterdir()] == [path] and stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one_and_the_file_that_it_leads_to_is_written(tmp_path: Path, there: bool) -> None:
    target, link, other = tmp_path / "deep" / "a.txt", tmp_path / "link", tmp_path / "other"
    if there:
        target.parent.mkdir()
        target.write_text("older")
    link.symlink_to("deep/a.txt")
    other.symlink_to("link")
    write_output(other, TEXT)
    assert link.is_symlink() and other.is_symlink() and not target.is_symlink()
    assert target.read_text("utf-8") == TEXT


@pytest.mark.parametrize("linked", [True, False])
def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path, linked: bool) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("pipe")
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:  # else opening it waits for a writer
        write_output(link if linked else pipe, TEXT)
        assert reader.read().decode() == TEXT
    assert stat.S_ISFIFO(pipe.lstat().st_mode) and link.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "file").write_text("older")
    for path in (tmp_path, tmp_path / "itself", tmp_path / "file" / "x"):
        with pytest.raises(EvalkitError) as error:
            write_output(path, TEXT)
        assert str(error.value).startswith(f"cannot write '{path}': ") and "\n" not in str(error.value)
    assert (tmp_path / "file").read_text() == "older" and (tmp_path / "itself").is_symlink()
