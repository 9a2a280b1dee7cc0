"""What is read out of the table of sensitivities."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from evalkit.errors import EvalkitError
from evalkit.results.sensitivity import COLUMNS, Response, Sensitivity, seen

MADE_UP = Path(__file__).parent / "fixtures" / "sensitivity.csv"


@pytest.fixture(scope="module")
def table() -> Sensitivity:
    return Sensitivity.load(MADE_UP)


def response(table: Sensitivity, metric: str, degradation: str) -> Response:
    found = table.response(metric, degradation)
    assert found is not None
    return found


def test_metrics_and_degradations_are_in_the_order_of_the_table(table: Sensitivity) -> None:
    assert [one.name for one in table.metrics] == ["fad", "fad_musicnn", "chroma", "channel_correlation", "mono_share"]
    assert list(table.degradations) == ["low-pass", "mono", "silence in clips"]
    assert [one.weights for one in table.metrics] == ["random", "trained", "none", "none", "none"]
    assert len(table.responses) == 15 and len(table.again) == 5
    assert table.response("fad", "noise") is None


def test_what_is_seen_follows_from_interval_and_direction() -> None:
    nan = float("nan")
    assert [seen("lower", *ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0.0, 0.1), (nan, nan))] == [
        "worse", "better", "", "", "",
    ]  # fmt: skip
    assert seen("higher", 0.1, 0.2) == "better" and seen("higher", -0.2, -0.1) == "worse"
    assert seen("same", 0.1, 0.2) == seen("same", -0.2, -0.1) == "other"


def test_the_least_strength_seen_is_one_from_which_on_all_are(table: Sensitivity) -> None:
    low_pass = response(table, "fad", "low-pass")
    assert [one.seen for one in low_pass.strengths] == ["", "worse", "worse"]
    assert low_pass.least is not None and low_pass.least.strength == 4000 and not low_pass.blind
    gap = response(table, "fad", "silence in clips")  # seen at 0.1 and 0.6, not at 0.3
    assert gap.least is not None and gap.least.strength == 0.6 and gap.monotone is False
    assert response(table, "fad_musicnn", "mono").least is None


def test_a_metric_is_blind_that_sees_nothing_or_calls_it_better(table: Sensitivity) -> None:
    assert response(table, "fad_musicnn", "mono").blind
    chroma = response(table, "chroma", "low-pass")
    assert chroma.blind and chroma.least is None
    assert [one.strength for one in chroma.rewarded] == [1000]


def test_any_change_is_seen_where_no_direction_is_better(table: Sensitivity) -> None:
    stereo = response(table, "channel_correlation", "mono")
    assert not stereo.blind and stereo.least is not None and stereo.least.strength == 0.5 and stereo.rewarded == []


def test_values_are_monotone_that_never_step_back(table: Sensitivity) -> None:
    assert response(table, "fad", "low-pass").monotone is True
    assert response(table, "chroma", "silence in clips").monotone is True  # downwards
    assert response(table, "mono_share", "low-pass").monotone is None  # nothing moves
    assert response(table, "chroma", "low-pass").monotone is False


def test_without_an_interval_nothing_is_seen_and_the_table_says_why(table: Sensitivity) -> None:
    first = response(table, "mono_share", "mono").strengths[0]
    assert first.seen == "" and first.note == "all clips have the same value"


def test_what_has_changed_without_an_interval_is_not_judged(table: Sensitivity) -> None:
    whole = response(table, "mono_share", "mono")
    assert not whole.strengths[1].note and whole.judged
    unknown = replace(whole.strengths[1], low=float("nan"), high=float("nan"), seen="")
    unjudged = replace(whole, strengths=[unknown])
    assert not unjudged.judged and not unjudged.blind
    same = response(table, "mono_share", "low-pass")  # no interval, because nothing moves
    assert same.judged and same.blind and [one.step for one in same.strengths] == [1, 2, 3]


def test_false_alarms_are_counted_in_other_renderings(table: Sensitivity) -> None:
    assert table.false_alarms("fad") == (1, 2) and table.false_alarms("chroma") == (0, 2)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("weights", "trainde", "trained"),
        ("direction", "up", "direction"),
        ("step", 1, "low-pass, 1 twice"),
        ("unit", None, "no table of sensitivities"),
        ("value", "high", "cannot be read"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path: Path, column: str, value: object, message: str) -> None:
    frame = pd.read_csv(MADE_UP, keep_default_na=False)
    frame = frame.drop(columns=column) if value is None else frame.assign(**{column: value})
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(EvalkitError, match=re.escape(message)):
        Sensitivity.load(path)


def test_a_metric_has_one_description(tmp_path: Path) -> None:
    frame = pd.read_csv(MADE_UP, keep_default_na=False)
    frame.loc[4, "title"] = "another"
    frame.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(EvalkitError, match="'fad' in two ways"):
        Sensitivity.load(tmp_path / "table.csv")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match="cannot be read"):
        Sensitivity.load(tmp_path / "none.csv")


def test_the_docstring_names_every_column() -> None:
    import evalkit.results.sensitivity as module

    assert module.__doc__ is not None
    listed = re.findall(r"^ {4}([a-z, ]+?)  +\S", module.__doc__, re.M)
    assert [name for line in listed for name in line.split(", ")] == list(COLUMNS)
