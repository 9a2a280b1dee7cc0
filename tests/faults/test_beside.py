"""Processes that use one store at once."""

from __future__ import annotations

import shutil

from benchmarks.attempts import Attempt, attempt
from benchmarks.kills import COLLECT, age

from .conftest import Site


def test_two_runs_of_one_configuration_at_once(site: Site) -> None:
    both = [Attempt(site.killing.command, site.place) for _ in range(2)]
    assert [site.differences(one.end()) for one in both] == [[], []]


def test_what_a_run_finds_is_not_removed_beside_it(full: Site) -> None:
    """What gc would remove is all that the run finds: it was made by a run whose record is gone."""
    shutil.rmtree(full.place / "runs")
    age(full.cache)
    run = Attempt(full.killing.command, full.place)
    rounds = []
    while run.running:
        rounds.append(attempt(COLLECT, full.place))
    assert full.wrong(run.end()) == []
    assert rounds and not any(one.status or one.err for one in rounds), [one.err for one in rounds]
    age(full.cache)
    assert not attempt(COLLECT, full.place).status
    again = full.run()
    assert full.wrong(again) == []
    assert not again.computed()  # its record holds it
