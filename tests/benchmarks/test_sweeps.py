"""The benchmark of sweeps draws points as it says, judges them by evalkit's functions, and writes its section."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import sweep_draws, sweep_runs, sweeps, sweeps_report
from benchmarks.sweep_draws import KINDS
from evalkit.stats import jackknife
from evalkit.stats.means import standard_error
from tests.conftest import ROOT


@pytest.mark.parametrize("name", KINDS)
def test_points_have_the_means_and_differences_that_they_should(name):
    kind, means = KINDS[name], np.array([0.0, 0.5, 0.0])
    drawn = sweep_draws.values(np.random.default_rng(0), kind, means, 400_000)
    np.testing.assert_allclose(drawn.mean(axis=1) - drawn.mean(), means - means.mean(), atol=0.02)
    assert (drawn[1] - drawn[0]).std() == pytest.approx(sweep_draws.apart(kind), rel=0.05)


def test_estimates_and_influences_of_means_are_those_of_the_jackknife():
    values = np.random.default_rng(0).standard_normal((3, 110))
    groups = sweep_draws.grouped(110)
    estimates, influences = sweep_draws.of_means(values, groups)
    without = [values[1][groups != group].mean() for group in range(100)]
    value, moved = jackknife.influences(float(values[1].mean()), np.array(without), np.bincount(groups).astype(float))
    assert estimates[1] == pytest.approx(value)
    np.testing.assert_allclose(influences[1], moved, atol=1e-9)


def test_fads_of_ever_more_prompts_are_those_of_all_that_were_drawn():
    points, reference = sweep_draws.fad_points(["same", "shifted"], [0.0, 0.5], 8)
    nested = sweep_draws.NestedFADs(np.random.default_rng(0), points, reference, 600)
    estimates, influences = nested.on([0, 1], 600)
    assert influences.shape == (2, 100)
    assert estimates[1] / estimates[0] == pytest.approx(1.5, abs=0.2)
    alone, _ = nested.on([1], 600)
    assert alone[0] == pytest.approx(estimates[1], rel=1e-9)
    several = [
        sweep_draws.fads(np.random.default_rng(i), points, reference, sweep_draws.grouped(50))[0] for i in range(60)
    ]
    rows = [sweep_draws.NestedFADs(np.random.default_rng(i), points, reference, 50).on([0, 1], 50) for i in range(60)]
    own = np.array([estimates for estimates, _ in rows])
    # both ways draw the same distribution
    error = np.hypot(np.std(several, axis=0), own.std(axis=0)) / np.sqrt(60)
    assert (np.abs(np.mean(several, axis=0) - own.mean(axis=0)) < 4 * error).all()
    assert standard_error(rows[0][1][0]) == pytest.approx(own[:, 0].std(), rel=0.6)


def test_the_front_is_what_no_other_point_beats_in_every_metric():
    truth = np.array([[0.0, 1.0, 1.0, 2.0], [1.0, 0.0, 1.0, 0.0]])
    assert sweep_draws.front_of(truth).tolist() == [True, True, False, False]
    assert sweep_draws.front_of(np.zeros((2, 3))).all()


def test_a_race_drops_what_is_far_behind_at_its_first_rung_and_keeps_the_default():
    values = np.random.default_rng(0).standard_normal((4, 100)) * 0.01 + np.array([[0.0], [1.0], [1.0], [1.0]])

    def measure(which, n):
        estimates, influences = sweep_draws.of_means(values[which, :n], sweep_draws.grouped(n))
        return estimates[None], influences[None]

    left, clips = sweeps.raced(measure, 4, (20, 50, 100), 3, np.zeros(1))
    assert left == [0, 3]
    assert clips == 4 * 20 + 2 * 80


def test_what_a_race_lost_is_counted_without_the_default():
    races = [(np.array([[0.0, 0.0, 1.0]]), [2], 30), (np.array([[0.0, 1.0, 0.0]]), [0, 2], 60)]
    found = sweeps.said_of_races(races, 3, (10, 20), {2})
    assert {name: found[name] for name in ("optimal", "optimal_dropped", "any_dropped", "best_dropped")} == {
        "optimal": 3, "optimal_dropped": 2, "any_dropped": 1, "best_dropped": 1,
    }  # fmt: skip
    assert found["saved"] == pytest.approx(1 - 45 / 60)


def test_a_winner_looks_better_on_the_seed_that_it_was_chosen_on():
    row = sweeps.winner(12, 0.0, 100, trials=400)
    assert row["same_seed"] > 3 * max(1, row["fresh"])
    assert row["fresh"] / 400 < 0.06


@pytest.mark.slow
def test_the_synthesizer_is_raced():
    rows = list(sweep_runs.measured(2, prompts=24, raced=20, sizes=(10,)))
    assert [row["objectives"] for row in rows] == [["fad"], ["fad", "chroma"]]
    assert all(row["points"] == 8 and 0 <= row["saved"] < 0.5 for row in rows)


def test_the_section_is_what_the_record_says():
    record = json.loads((ROOT / sweeps_report.JSON).read_text("utf-8"))
    section = "\n".join(sweeps_report.lines(record))
    assert section.rstrip() in (ROOT / sweeps_report.TEXT).read_text("utf-8")
    assert all(f"### {name}" in section for name in ("Not worse than the best", "Races", "Better than the default"))
