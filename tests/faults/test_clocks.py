"""A clock that jumps, and files whose times lie: what was computed counts, not when."""

from __future__ import annotations

import os

import pytest

from benchmarks.attempts import Moment, attempt

from .conftest import Site

DAY = 86400.0


JUMPS = [DAY, pytest.param(-DAY, marks=pytest.mark.slow)]


@pytest.mark.parametrize("jump", JUMPS, ids=["forward", "back"])
def test_a_clock_that_jumps_changes_nothing(site: Site, jump: float) -> None:
    killed = attempt(site.killing.command, site.place, at=Moment(site.killing.whole.changes // 2))
    assert killed.killed
    again = site.run(clock=jump)
    assert site.differences(again) == []
    ended = site.run(clock=-jump)
    assert site.differences(ended) == []
    assert not ended.computed()


@pytest.mark.parametrize("jump", JUMPS, ids=["forward", "back"])
def test_files_of_another_day_are_what_they_were(full: Site, jump: float) -> None:
    for path in full.cache.rglob("*"):
        known = path.stat().st_mtime
        os.utime(path, (known + jump, known + jump))
    ended = full.run()
    assert full.differences(ended) == []
    assert not ended.computed()
