"""What is said of a table of sensitivities: no more than its intervals say."""

from __future__ import annotations

import pytest

from evalkit.results.sensitivity_text import (
    Answer,
    among,
    amount,
    answers,
    blind_to,
    ladder,
    matrix,
    missed,
    named,
    notices,
    rewards,
)

from .sensed import table


@pytest.mark.parametrize(
    ("strength", "unit", "said", "name"),
    [
        (12000, "Hz", "12 kHz", "d"), (500, "Hz", "500 Hz", "d"), (20, "dB SNR", "20 dB", "d, SNR"),
        (-3, "dB", "−3 dB", "d"), (0.05, "of the clips", "5 %", "d, of the clips"), (float("nan"), "", "all", "d"),
    ],
)  # fmt: skip
def test_strengths_are_written_with_their_units(strength: float, unit: str, said: str, name: str) -> None:
    assert (amount(strength, unit), named("d", unit)) == (said, name)


@pytest.mark.parametrize(
    ("letters", "state", "text"),
    [
        ("..ww", "seen", "4 kHz ~"),  # from 12 to 8 kHz nothing moves, then to one value
        ("wwww", "seen", "12 kHz"),
        (".w..", "partly", "(8 kHz) ~"),
        ("....", "blind", "blind"),
        ("====", "blind", "blind"),  # not moved by anything
        ("..?.", "unjudged", "?"),
        ("b...", "better", "12 kHz ▲~"),
        ("b..w", "seen", "500 Hz ▲~"),
        ("---w", "seen", "500 Hz*"),
        ("", "absent", "–"),
    ],
)  # fmt: skip
def test_each_cell_says_from_where_on_a_metric_sees_something(letters: str, state: str, text: str) -> None:
    found = answers(table({"fad": {"low-pass": letters, "noise": "ww"}, "kld": {"low-pass": "wwww"}}))
    one = found["fad", "low-pass"]
    assert one.state == state
    assert one.text.rstrip("~ ") == text.rstrip("~ ")


def test_values_that_go_back_and_forth_are_marked_and_those_that_stay_are_not() -> None:
    found = answers(table({"fad": {"low-pass": "wbww"}, "kld": {"low-pass": ".www"}}))
    assert found["fad", "low-pass"].uneven and not found["kld", "low-pass"].uneven


def test_what_was_measured_at_the_greatest_strength_alone_has_its_place_among_the_others() -> None:
    found = answers(among(table({"fad": {"low-pass": "wwww"}, "mad": {"low-pass": "---w"}}), {"mad": ""}))
    assert found == {("mad", "low-pass"): Answer("seen", 3, "500 Hz", thin=True)}


def test_a_metric_is_blind_to_what_it_does_not_see_or_calls_better() -> None:
    made = table({"fad": {"low-pass": ".www", "noise": "..", "mono": ".b.", "drums gone": "w"}}, again=".w...")
    found = answers(made)
    assert blind_to(found, "fad") == ["noise", "mono"] and rewards(found, "fad") == ["mono"]
    assert notices(found, "fad") == ["low-pass from 8 kHz", "drums gone"]
    (row,) = missed(made).records()
    assert row == {
        "metric": "fad", "weights": "none", "blind": "noise, mono", "better": "mono", "alarms": "1 of 5",
    }  # fmt: skip


def test_metrics_of_random_weights_have_those_of_trained_ones_of_their_kind_beside_them() -> None:
    letters = {name: {"mono": "..w"} for name in ("fad", "fad_musicnn", "kld", "kld_musicnn", "chroma")}
    kinds = {name: {"kind": name[:3]} for name in letters}
    made = table(letters, fad={**kinds["fad"], "weights": "random"}, kld=kinds["kld"],
                 fad_musicnn={**kinds["fad_musicnn"], "weights": "trained"},
                 kld_musicnn={**kinds["kld_musicnn"], "weights": "trained"})  # fmt: skip
    assert [one.name for one in among(made, dict.fromkeys(("fad", "kld", "mad"), "")).metrics] == [
        "fad", "fad_musicnn", "kld",
    ]  # fmt: skip
    assert [one.name for one in among(made, {"fad_mert": "fad", "kld": "kld"}).metrics] == ["fad_musicnn", "kld"]
    assert list(among(made, {"mad": ""}).metrics) == [] == list(among(made, {"mad": ""}).degradations)


def test_tables_say_what_their_marks_mean_and_that_weights_are_random() -> None:
    made = table({"fad": {"low-pass": "b.-w", "noise": ".."}, "kld": {"low-pass": "wwww"}}, fad={"weights": "random"})
    found = matrix(made)
    assert [q.label for column in found.columns for q in column] == ["metric", "weights", "low-pass", "noise, SNR"]
    assert found.rows[0].cell["weights"] == "RANDOM" and found.rows[1].cell["degradation_2"] == "–"
    assert any("called better" in note for note in found.notes) and any("not measured" in note for note in found.notes)
    assert not any("brackets" in note for note in found.notes)
    assert ladder(made).records() == [
        {"degradation": "low-pass", "strengths": "12 kHz, 8 kHz, 4 kHz, 500 Hz"},
        {"degradation": "noise, SNR", "strengths": "40 dB, 20 dB"},
    ]
