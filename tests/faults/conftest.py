"""A run that nothing has disturbed, and the store that it has left, for every test that disturbs one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.attempts import Ended, attempt
from benchmarks.kills import Killing, Left, different, files, folder_of, left_by, run_of


@dataclass(frozen=True)
class Site:
    """A folder in which runs are made.

    Attributes:
        killing: the undisturbed run, and what kills others.
        kept: a copy of what that run has left.
    """

    killing: Killing
    kept: Path

    @property
    def place(self) -> Path:
        """The folder."""
        return self.killing.place

    @property
    def cache(self) -> Path:
        """The store."""
        return self.place / "cache"

    @property
    def record(self) -> Path:
        """The folder of the undisturbed run's record, where `fill` has put it."""
        return self.killing.left.folder

    def fill(self) -> None:
        """Put back what the undisturbed run has left, and nothing else."""
        self.killing.empty()
        shutil.copytree(self.kept, self.place, dirs_exist_ok=True)

    def run(self, clock: float = 0.0, command: Sequence[str] = ()) -> Ended:
        """Make the run once more, or another command's."""
        return attempt(command or self.killing.command, self.place, clock=clock)

    def differences(self, ended: Ended) -> list[str]:
        """What a run that ended well has left otherwise than the undisturbed one."""
        return self.killing.left.differences(self.left(ended))

    def wrong(self, ended: Ended) -> list[str]:
        """The files of a run's record that are not those of the undisturbed one, bit for bit."""
        assert ended.status == 0 and "Traceback" not in ended.err, ended.err
        return different(self.killing.left.record, files(folder_of(ended)))

    def left(self, ended: Ended) -> Left:
        """What a run that ended well has left."""
        return left_by(ended, self.place)


@pytest.fixture(scope="session")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "place").mkdir()
    killing = Killing(folder / "place", run_of())
    shutil.rmtree(folder / "place" / "attempts")
    shutil.copytree(folder / "place", folder / "kept")
    return Site(killing, folder / "kept")


@pytest.fixture
def site(_site: Site) -> Site:
    """The folder, empty."""
    _site.killing.empty()
    return _site


@pytest.fixture
def full(site: Site) -> Site:
    """The folder, with what the undisturbed run has left."""
    site.fill()
    return site
