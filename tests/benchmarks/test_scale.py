"""The benchmark of very many workers simulates what it says, and writes tables of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import scale, scale_scheduler
from benchmarks.scale_scheduler import BATCH, JOB, Simulation, cut_to, drawn, ideal, ids, in_batches, one_by_one
from evalkit.parallel.scheduler import ATTEMPTS, units
from evalkit.parallel.units import Unit
from tests.conftest import ROOT


def test_clips_take_a_second_in_the_mean_and_sometimes_very_long():
    clips = drawn(0, 200_000)
    assert clips.mean() == pytest.approx(1, rel=0.02)
    assert (clips > 6).mean() == pytest.approx(0.011, abs=0.002)
    unit = Unit(JOB, ("0", "1"))
    assert one_by_one(clips)(unit) == pytest.approx(clips[0] + clips[1])
    assert in_batches(clips)(unit) == pytest.approx(1.2 * (clips[0] + clips[1]) / 2)


def test_the_ideal_is_that_of_workers_who_share_all_from_when_each_is_ready():
    assert ideal(10, [0, 0]) == 5
    assert ideal(10, [0, 4]) == 7
    assert ideal(10, [20, 0]) == 10


def test_simulated_time_is_that_of_the_units_in_their_order():
    # the second worker joins when the first has done two units
    simulated = Simulation(lambda unit: float(len(unit.ids)), [0.0, 3.0], start=1.0)
    assert simulated.run(cut_to(9, 2)) == 7.0
    assert max(simulated.tried.values()) == 1 and len(simulated.tried) == 9 and simulated.lost == []


@pytest.mark.parametrize("workers", [4, 256])
def test_nothing_is_done_again_but_what_was_lost(workers):
    poison = {"3", "500"}
    simulated = Simulation(one_by_one(drawn(0, 2000)), [0.0] * workers, 20.0, 300.0, poison, seed=1)
    cut = units(JOB, ids(2000), workers, BATCH)
    simulated.run(cut)
    size = max(len(unit.ids) for unit in cut)
    assert 0 < sum(times - 1 for times in simulated.tried.values()) <= sum(simulated.lost)
    assert max(simulated.lost) == size
    assert all(simulated.tried[id] >= ATTEMPTS for id in poison)


def test_the_tables_are_of_what_is_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(scale, "JSON", ROOT / scale.JSON)
    monkeypatch.setattr(scale, "TEXT", tmp_path / "scale.md")
    scale.write()
    assert (tmp_path / "scale.md").read_text("utf-8") == (ROOT / "results/benchmarks/scale.md").read_text("utf-8")
    assert set(scale_scheduler.MEASURED) <= set(json.loads((ROOT / scale.JSON).read_text("utf-8")))
