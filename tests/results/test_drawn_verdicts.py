"""The plots of differences: against margins, and against published values."""

from __future__ import annotations

import math
from typing import Any

import pytest

from evalkit.results.plots import verdicts
from evalkit.results.plots.drawing import BAD, GOOD, WARN
from evalkit.results.plots.plot import NARROW, PAPER, shown

from .drawn import overlapping, panels, result
from .made import record
from .made_comparison import comparison, metric

ROWS = [
    metric(),
    metric("kld", "BREACH", difference=0.2, low=0.11, high=0.3, margin=0.05),
    metric("clap", "INSUFFICIENT_EVIDENCE", direction="higher", difference=-0.01, low=-0.03, high=0.01, margin=0.02),
    metric("level", "PASS", direction="same", difference=0.2, low=-0.3, high=0.4, margin=1.0),
    metric("chroma", "", direction="higher", margin=math.nan, margin_asked=""),
    metric("gone", "MISSING", difference=math.nan, low=math.nan, high=math.nan),
]
LOOKS = [("o", GOOD), ("X", BAD), ("D", WARN), ("o", GOOD)]


def of(axes: Any, name: str) -> list[Any]:
    return [one for one in [*axes.lines, *axes.patches] if one.get_gid() == name]


def test_differences_intervals_margins_and_zero_lie_where_the_record_has_them() -> None:
    found = verdicts.of_comparison(comparison(ROWS))
    assert found is not None
    drawn = panels(found.figure())
    for axes, row in zip(drawn[:5], ROWS[:5], strict=True):
        (value,), (bar,), (zero,) = (of(axes, name) for name in ("value", "interval", "zero"))
        assert value.get_xdata()[0] == row["difference"]
        assert list(bar.get_xdata()) == [row["low"], row["high"]]
        assert zero.get_xdata()[0] == 0
    margins = [[line.get_xdata()[0] for line in of(axes, "margin")] for axes in drawn[:5]]
    assert margins == [[0.2452], [0.05], [-0.02], [-1.0, 1.0], []]
    assert [len(of(axes, "beyond")) for axes in drawn[:5]] == [1, 1, 1, 2, 0]
    assert "no value" in [text.get_text() for text in drawn[5].texts]


def test_verdicts_differ_in_mark_and_in_colour_and_are_written() -> None:
    found = verdicts.of_comparison(comparison(ROWS))
    assert found is not None
    drawn = panels(found.figure())
    values = [of(axes, "value")[0] for axes in drawn[:4]]
    assert [(mark.get_marker(), mark.get_markeredgecolor()) for mark in values] == LOOKS
    assert [axes.get_title("right") for axes in drawn] == [
        "PASS", "BREACH", "INSUFFICIENT", "PASS", "not gated", "MISSING",
    ]  # fmt: skip
    assert found.said.startswith("GO. Differences from the baseline: FAD ↓ +0.025 (pass); KLD ↓ +0.200 (breach); ")
    assert [row.cell["difference"] for row in found.numbers.rows][:4] == [row["difference"] for row in ROWS][:4]


def test_what_is_the_same_on_both_sides_is_drawn_only_where_a_gate_judges_it() -> None:
    nothing = {"difference": 0.0, "low": math.nan, "high": math.nan}
    rows = [
        metric("kld"),
        metric("clipped", **nothing),
        metric("silent_from", "", tier="", title="Silent from", **nothing),
    ]
    found = verdicts.of_comparison(comparison(rows))
    assert found is not None
    assert [axes.get_title("left") for axes in panels(found.figure())] == ["KLD ↓", "CLIPPED ↓"]
    assert found.caption.endswith("Left out, the same on both sides: Silent from.")


@pytest.mark.parametrize("width", [PAPER, NARROW])
def test_no_text_of_differences_hides_another(width: float) -> None:
    long = metric("long", "INSUFFICIENT_EVIDENCE", title="A title that is far longer than there is room for " * 2)
    found = verdicts.of_comparison(comparison([*ROWS, long]))
    assert found is not None
    assert overlapping(found.figure(width)) == []


def published() -> Any:
    made = record()
    scores = made.scores
    judged = {0: ("REPRODUCED", 0.15, 0.1), 1: ("DIFFERS (lower)", 0.01, 0.004), 2: ("UNDECIDED", 0.01, 0.02)}
    for number, (verdict, tolerance, half) in judged.items():
        difference = float(scores["difference"][number])
        scores.loc[number, "tolerance"] = tolerance
        scores.loc[number, "difference_low"] = difference - half
        scores.loc[number, "difference_high"] = difference + half
        scores.loc[number, "verdict"] = verdict
    return made


def test_published_values_are_zero_and_tolerances_are_bands() -> None:
    made = published()
    found = verdicts.of_published(shown([result(made)]))
    assert found is not None
    drawn = panels(found.figure())
    assert [of(axes, "value")[0].get_xdata()[0] for axes in drawn] == made.scores["difference"].dropna().tolist()
    assert [sorted(line.get_xdata()[0] for line in of(axes, "margin")) for axes in drawn] == [
        [-0.15, 0.15], [-0.01, 0.01], [-0.01, 0.01],
    ]  # fmt: skip
    assert [axes.get_title("right") for axes in drawn] == ["REPRODUCED", "DIFFERS (lower)", "UNDECIDED"]
    assert [of(axes, "value")[0].get_markeredgecolor() for axes in drawn] == [GOOD, BAD, WARN]
    assert overlapping(found.figure(NARROW)) == []


def test_where_nothing_was_published_or_compared_there_is_no_plot() -> None:
    assert verdicts.of_published(shown([result(record(published={}))])) is None
    assert verdicts.of_comparison(comparison([ROWS[5]])) is None
