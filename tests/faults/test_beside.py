"""Processes that use one store at once."""

from __future__ import annotations

from benchmarks.attempts import Attempt

from .conftest import Site


def test_two_runs_of_one_configuration_at_once(site: Site) -> None:
    both = [Attempt(site.killing.command, site.place) for _ in range(2)]
    ended = [one.end() for one in both]
    assert [site.differences(one) for one in ended] == [[], []]
