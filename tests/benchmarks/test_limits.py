"""The benchmark of limits counts what evalkit's intervals hold, and its section is what was measured."""

from __future__ import annotations

import json

import numpy as np

from benchmarks import limits, limits_report, sections
from tests.conftest import ROOT


def test_designs_have_the_groups_that_they_name() -> None:
    for design in limits.DESIGNS:
        sides = zip(design.groups, design.rest, strict=True)
        assert all(own.any() and rest.any() and not (own & rest).any() for own, rest in sides)
    assert [len(own.nonzero()[0]) for own in limits.regions((6, 6), 20, 9).groups] == [54, 54]


def test_means_of_shifted_values_are_those_of_many_draws() -> None:
    scores = np.random.default_rng(0).standard_normal(400_000)
    for values in limits.VALUES:
        for shift in (0.0, 0.5):
            assert abs(values.of(scores + shift).mean() - values.mean(shift)) < 0.02


def test_few_trials_hold_the_truth_mostly(monkeypatch) -> None:
    monkeypatch.setattr(limits, "TRIALS", {"gaps": 12, "vocals": 40})
    monkeypatch.setattr(limits, "DESIGNS", limits.DESIGNS[2:3])
    monkeypatch.setattr(limits, "VALUES", limits.VALUES[:1])
    monkeypatch.setattr(limits, "VOCALS", limits.VOCALS[:1])
    rows = list(limits.measure_gaps())
    assert all(row["held"] >= 10 > row["alone"] for row in rows)  # not where prompts of a unit count as independent
    (row,) = limits.measure_vocals()
    assert row["held"] >= 36 and row["known"] <= row["held"]


def test_the_section_is_what_was_measured() -> None:
    record = json.loads((ROOT / limits_report.JSON).read_text("utf-8"))
    text = (ROOT / limits_report.TEXT).read_text("utf-8")
    assert "\n".join([sections.HEADING, "", *limits_report.lines(record)]).rstrip("\n") in text
    for kind, rows in (("gaps", record["gaps"]), ("vocals", record["vocals"])):
        assert {row["trials"] for row in rows} == {limits.TRIALS[kind]}
        assert np.mean(limits_report.missed(rows)) < 0.055  # the nominal 5 %, and what so few trials add
