"""Processes that use one store at once."""

from __future__ import annotations

import shutil
from collections import Counter

from benchmarks.attempts import Attempt, Ended, attempt
from benchmarks.kills import BATCH, COLLECT, age

from .conftest import Site


def _told(ended: list[Ended]) -> str:
    """What attempts have noted, but for changes to files, and what they printed."""
    return "\n".join(f"{[note for note in one.journal if note[0] != 'change']}\n{one.err}" for one in ended)


def test_two_runs_of_one_configuration_at_once(site: Site) -> None:
    """Neither makes what the other one has made, but for the batch that is in flight when they meet."""
    both = [Attempt(site.killing.command, site.place) for _ in range(2)]
    ended = [one.end() for one in both]
    assert [site.differences(one) for one in ended] == [[], []]
    doubled = ended[0].computed() + ended[1].computed() - site.killing.whole.computed()
    for what, times in Counter(what for what, _ in doubled.elements()).items():
        sides = 1 if what == "codes" else 2  # features are of references and of clips
        assert times <= sides * BATCH, f"{what}: {times} clips\n{_told(ended)}"


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
