"""The benchmark of listening tests simulates what it says, counts what evalkit states, and writes its section."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import listening, listening_correlations, listening_raters, listening_report, sections
from evalkit.stats.estimate import student
from tests.conftest import ROOT


def test_the_truth_is_what_many_simulated_raters_say():
    mu, about = listening_raters.mus(3, 5.0), listening_raters.Opinions(spam=0.2)
    rng = np.random.default_rng(1)
    found = []
    for _ in range(60):
        sums, counts = listening_raters.rated(mu, 40, 30, 3, about, rng)
        found.append(sums.sum(axis=(1, 2)) / counts.sum(axis=(1, 2)))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert np.abs(np.mean(found, axis=0) - listening_raters.true_means(tuple(mu), about)).max() < 4 * error.max()


def test_designs_have_as_many_ratings_of_each_system():
    _, counts = listening_raters.rated(
        listening_raters.mus(6, 0.0), 25, 20, 4, listening_raters.Opinions(), np.random.default_rng(0)
    )
    by_clip = counts.sum(axis=1)
    assert by_clip.min() >= listening_raters.VOTES and counts.max() == 1 and np.ptp(counts.sum(axis=(1, 2))) <= 4
    wins, ties = listening_raters.compared(
        listening_raters.mus(4, 5.0), 10, 20, listening_raters.Opinions(), np.random.default_rng(0)
    )
    assert (ties == ties.transpose(1, 0, 2, 3)).all() and not wins[range(4), range(4)].any()


def test_p_is_that_of_evalkit():
    one = student(1.3, 0.5, 7.2)
    assert listening.p_of(one) == pytest.approx(one.p(), rel=1e-6)


def test_few_raters_taken_for_independent_ratings_would_miss_often_and_evalkits_intervals_do_not(monkeypatch):
    monkeypatch.setattr(listening, "TRIALS", {"ways": 60})
    row = next(iter(listening.measure_ways()))
    shares = {way: hits / row["of"] for way, hits in row["covered"].items()}
    assert shares["independent"] < 0.7 and shares["prompts"] < 0.8 and shares["evalkit"] > 0.88


def test_rules_catch_who_does_not_listen_and_few_others(monkeypatch):
    monkeypatch.setattr(listening, "TRIALS", {"rules": 6})
    row = next(iter(listening.measure_rules()))
    caught = sum(row[f"{how}_out"] for how in listening.SPAM) / sum(row[how] for how in listening.SPAM)
    assert caught > 0.7 and row["honest_out"] / row["honest"] < 0.1


def test_intervals_of_correlations_are_those_that_evalkit_states():
    row = listening_correlations.correlated(3, 8, 12, 3)
    assert set(row["over"]) == {"systems", "clips", "clips within prompts"}
    assert row["over"]["systems"]["pearson"]["intervals"] == 0
    clips = row["over"]["clips"]["pearson"]
    assert clips["intervals"] == 3 and 2 <= clips["held"] <= 3 and 0.5 < clips["truth"] < 1 and 0 < clips["width"] < 1.5


def test_the_section_is_what_was_measured():
    record = json.loads((ROOT / listening_report.JSON).read_text("utf-8"))
    text = (ROOT / listening_report.TEXT).read_text("utf-8")
    section = "\n".join([sections.HEADING, "", *listening_report.lines(record)]).rstrip("\n")
    assert section in text
    for part in ("ratings", "choices", "correlations"):  # none was measured longer for how it looked
        kinds = {row.get("size", 0) == row["systems"]: row["trials"] for row in record[part]}
        assert all(kinds[row.get("size", 0) == row["systems"]] == row["trials"] for row in record[part])
    cells = [one for row in record["correlations"] for found in row["over"].values() for one in found.values()]
    known = [one for one in cells if one["intervals"]]
    assert sum(one["held"] for one in known) > 0.93 * sum(one["intervals"] for one in known)
    rows = [*record["ratings"], *record["choices"]]
    shares = listening_report.misses(rows)
    assert np.mean(shares) < 0.05 and max(shares) <= 0.08  # the nominal 5 %, and what so few trials add
