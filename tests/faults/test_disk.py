"""A disk that is full, or cannot be written to: one line says so, and with room the run goes on from there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.attempts import Ended

from .conftest import Site

ROOMY = 2**28  # bytes
STEP = 4096  # bytes that a disk grows by: the least that a file takes on it


def mount(*arguments: str) -> None:
    """Mount something, or skip the test where that is not allowed."""
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk is not allowed here")


@pytest.fixture
def disk(site: Site) -> Iterator[Callable[[str, str], None]]:
    """Mount a disk of its own, in memory, on a folder of the site, or change the options of the one that is there."""
    mounted: list[Path] = []

    def disk(name: str, options: str) -> None:
        folder = site.place / name
        if folder in mounted:
            mount("-o", f"remount,{options}", str(folder))
        else:
            folder.mkdir(exist_ok=True)
            mount("-t", "tmpfs", "-o", options, "tmpfs", str(folder))
            mounted.append(folder)

    yield disk
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def used(folder: Path) -> int:
    """The bytes of all files of a folder, as a disk in memory counts them."""
    return sum(-(-path.lstat().st_size // STEP) * STEP for path in folder.rglob("*"))


def refused(ended: Ended, *words: str) -> None:
    """Check that a command has ended in one line that has one of these words."""
    assert ended.status == 2, ended.err
    last = ended.err.splitlines()[-1]
    assert last.startswith("evalkit: ") and any(word in last for word in words), ended.err
    assert "Traceback" not in ended.err and not ended.out


FULL = ("no space left to write", "No space left on device")


@pytest.mark.parametrize("name", ["cache", pytest.param("runs", marks=pytest.mark.slow)])
def test_a_full_disk_is_one_line_and_with_room_the_run_goes_on(
    site: Site, disk: Callable[[str, str], None], name: str
) -> None:
    size = used(site.kept / name)
    for share in (0.1, 0.8):
        disk(name, f"size={max(STEP, int(share * size))}")
        refused(site.run(), *FULL)
    disk(name, f"size={ROOMY}")
    assert site.differences(site.run()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cache", "runs"])
def test_a_disk_that_is_full_at_every_write(site: Site, disk: Callable[[str, str], None], name: str) -> None:
    """Each attempt finds a little more room than the one before, so that the disk is full at each write in turn."""
    size, lines = STEP, set()
    while True:
        disk(name, f"size={size}")
        for left in (site.place / "runs").glob("*"):
            shutil.rmtree(left)  # what is left of a record takes the room that the next one needs
        ended = site.run()
        if not ended.status:
            break
        refused(ended, *FULL)
        lines.add(ended.err)
        size += max(STEP, used(site.kept / name) // 30)
        assert size < ROOMY
    assert len(lines) > 5
    assert site.differences(ended) == []


def test_a_store_that_can_only_be_read_serves_what_it_has(full: Site, disk: Callable[[str, str], None]) -> None:
    mount("--bind", str(full.cache), str(full.cache))
    try:
        mount("-o", "remount,ro,bind", str(full.cache))
        ended = full.run()
        assert full.differences(ended) == []
        assert not ended.computed()
        refused(full.run(command=[*full.killing.command, "sampling.seed=1"]), "Read-only file system")
    finally:
        subprocess.run(["umount", "-l", str(full.cache)], check=True)


def test_results_where_nothing_can_be_written_are_refused_at_once(site: Site, disk: Callable[[str, str], None]) -> None:
    disk("runs", "ro")
    ended = site.run()
    refused(ended, "Read-only file system")
    assert not ended.computed()
