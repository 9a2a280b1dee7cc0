"""Runs that are killed at random moments, in real processes, and then finish as if nothing had been."""

from __future__ import annotations

import pytest

from benchmarks.kills import Killing, Tally

from .conftest import Site


def killed(killing: Killing, seeds: range, kills: int) -> Tally:
    """Kill runs of these seeds until there were so many kills; all that was counted."""
    killing.tally = Tally()
    for seed in seeds:
        if killing.tally.kills >= kills:
            break
        killing.run(seed)
    return killing.tally


def test_killed_runs_end_as_others_do(site: Site) -> None:
    tally = killed(site.killing, range(2), kills=8)
    assert not tally.wrong
    assert tally.kills >= 6 and len(tally.stages) > 2, tally


@pytest.mark.slow
def test_kills_at_fifty_moments_of_every_stage(site: Site) -> None:
    tally = killed(site.killing, range(100, 160), kills=60)
    assert not tally.wrong
    assert tally.kills >= 50
    assert {"start", "generation", "embedding", "scoring", "record", "compare"} <= tally.stages.keys(), tally
    assert set(tally.moments) == {"clock", "change", "write"}
