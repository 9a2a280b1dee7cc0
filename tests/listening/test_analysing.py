"""From files of answers to a record: what raters said is found again, and what cannot be used is said."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit.errors import EvalkitError
from evalkit.listening import reading, rules
from evalkit.listening.analysing import analyse
from evalkit.listening.study import Study
from evalkit.results.frames import VALUES, typed
from evalkit.results.listening import Listening
from evalkit.results.loading import load
from evalkit.results.result import Result
from evalkit.store.digests import sha256_file

from ..conftest import Run
from ..results.made import record
from . import answered

SYSTEMS = {"large": 70.0, "medium": 64.0, "small": 55.0, "reference": 85.0, "control: noise": 8.0}


def analysed(folder: Path, given: str | rules.Rules = "default") -> Listening:
    """Analyse the study that a folder holds."""
    study = reading.study_of([folder], None)
    answers = reading.read_answers(reading.files_of([folder]), study)
    asked = rules.load(given) if isinstance(given, str) else given
    return analyse(study, answers, dataclasses.replace(asked, resamples=400))


def by_system(listening: Listening) -> dict[str, Any]:
    return {row["system"]: row for row in listening.systems.to_dict("records")}


def differences(listening: Listening) -> dict[tuple[str, str], Any]:
    return {(row["first"], row["second"]): row for row in listening.differences.to_dict("records")}


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """A study with ratings, answered by all."""
    facts = answered.study(tmp_path, systems=SYSTEMS)
    answered.write(tmp_path, answered.rated(facts, SYSTEMS))
    return tmp_path


def test_ratings_are_found_again_with_intervals_and_verdicts(rated: Path) -> None:
    found = analysed(rated)
    assert found.judged and found.raters_kept == found.raters_asked == 10 and found.sessions == 10
    for name, row in by_system(found).items():
        own = found.answers[found.answers["system"] == name]["rating"]
        assert row["value"] == pytest.approx(own.mean()) and row["n"] == len(own) == 120
        assert row["low"] < SYSTEMS[name] < row["high"] and (row["raters"], row["prompts"]) == (10, 12)
    gaps = differences(found)
    assert set(gaps) == {
        ("large", "medium"), ("large", "small"), ("medium", "small"),
        ("reference", "large"), ("reference", "medium"), ("reference", "small"),
    }  # fmt: skip
    row = gaps["large", "small"]
    assert row["low"] < 15 < row["high"] and row["verdict"] == "better" and row["p_holm"] < 0.001 and row["n"] == 120
    wide = found.answers.pivot_table(index=["rater", "prompt"], columns="system", values="rating")
    assert row["difference"] == pytest.approx((wide["large"] - wide["small"]).mean())
    assert row["better"] == pytest.approx(
        ((wide["large"] > wide["small"]) + (wide["large"] == wide["small"]) / 2).mean()
    )
    assert found.reasons[0].startswith("large is better than medium: +") and 0.4 < found.alpha < 1
    assert found.alpha_low < found.alpha < found.alpha_high
    assert set(found.raters["agreement"] > 0.7) == {True} and not found.warnings


def test_holm_corrects_within_each_family(rated: Path) -> None:
    found = analysed(rated).differences
    for _, family in found.groupby("family"):
        ordered = family.sort_values("p")
        adjusted = np.maximum.accumulate(ordered["p"] * np.arange(len(ordered), 0, -1)).clip(upper=1)
        assert ordered["p_holm"].to_numpy() == pytest.approx(np.asarray(adjusted))
    assert (found["p_holm"] >= found["p"]).all()


def test_equal_systems_are_not_told_apart(tmp_path: Path) -> None:
    same = {**SYSTEMS, "large": 60.0, "medium": 60.0, "small": 60.0}
    facts = answered.study(tmp_path, systems=same)
    answered.write(tmp_path, answered.rated(facts, same))
    found = analysed(tmp_path)
    assert {row["verdict"] for pair, row in differences(found).items() if "reference" not in pair} == {"not told apart"}
    assert found.reasons == ["No two systems are told apart: more raters or more prompts may."]


def test_pages_with_some_systems_each_are_joined_by_those_that_have_two(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, systems=SYSTEMS, on_a_page=2, prompts=20, raters=16)
    answered.write(tmp_path, answered.rated(facts, SYSTEMS))
    found = analysed(tmp_path, "none")
    assert differences(found)["large", "small"]["difference"] == pytest.approx(15, abs=5)
    assert set(found.differences["note"]) == {""}


def test_pages_with_one_system_each_have_differences_of_means_which_is_said(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, systems=SYSTEMS, on_a_page=1, prompts=20, raters=16)
    answered.write(tmp_path, answered.rated(facts, SYSTEMS))
    found = analysed(tmp_path, "none")
    means = by_system(found)
    row = differences(found)["large", "small"]
    assert row["difference"] == pytest.approx(means["large"]["value"] - means["small"]["value"])
    assert row["n"] == 0 and "differences of means" in row["note"] and math.isfinite(row["low"])


def test_choices_between_two_give_strengths(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, "pairs", SYSTEMS, prompts=16, raters=14)
    answered.write(tmp_path, answered.chosen(facts, SYSTEMS))
    found = analysed(tmp_path)
    systems = by_system(found)
    order = sorted(systems, key=lambda name: -systems[name]["value"])
    assert order == ["reference", "large", "medium", "small", "control: noise"]
    assert sum(row["value"] for row in systems.values()) == pytest.approx(0, abs=1e-6)
    chosen = found.answers
    for name, row in systems.items():
        first, second = chosen[chosen["system"] == name], chosen[chosen["second_system"] == name]
        assert row["wins"] == (first["choice"] == "first").sum() + (second["choice"] == "second").sum()
        assert (
            row["ties"]
            == first["choice"].isin(["tie", "both_bad"]).sum() + second["choice"].isin(["tie", "both_bad"]).sum()
        )
        assert row["n"] == row["wins"] + row["ties"] + row["losses"] == len(first) + len(second)
        assert row["both_bad"] == sum((part["choice"] == "both_bad").sum() for part in (first, second))
    assert differences(found)["large", "small"]["verdict"] == "better"
    assert found.tie_readiness > 0 and "choices 'both bad' were counted as ties" in found.remarks


def test_both_bad_may_be_left_out_which_is_said(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, "pairs", SYSTEMS)
    answered.write(tmp_path, answered.chosen(facts, SYSTEMS))
    kept = analysed(tmp_path, "none")
    bad = int((kept.answers["choice"] == "both_bad").sum())
    dropped = analysed(tmp_path, rules.parsed({"rules": [], "both_bad": "drop"}, "mine"))
    assert bad and dropped.systems["n"].sum() == kept.systems["n"].sum() - 2 * bad
    assert f"choices 'both bad' were left out ({bad} answers)" in dropped.remarks


def test_systems_that_no_choice_joins_have_no_strengths(tmp_path: Path) -> None:
    systems = {"a": 50.0, "b": 60.0, "c": 50.0, "d": 60.0}
    facts = answered.study(tmp_path, "pairs", systems)
    for session in facts["sessions"].values():
        for page in session["pages"]:
            stem, first = page[0][:-1], int(page[0][-1]) // 2 * 2
            page[:] = [f"{stem}{first}", f"{stem}{first + 1}"]
        session["pages"] = [list(page) for page in dict.fromkeys(map(tuple, session["pages"]))]
    (tmp_path / "study.json").write_text(json.dumps(facts))
    answered.write(tmp_path, answered.chosen(facts, systems))
    found = analysed(tmp_path, "none")
    assert found.systems["value"].isna().all() and found.differences.empty
    assert any("not all systems were compared" in text for text in found.remarks)


# --- who counts ---


def test_a_spammer_is_excluded_with_a_reason_and_counted(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, systems=SYSTEMS)
    answered.write(tmp_path, answered.rated(facts, SYSTEMS, spammers=["r03", "r07"]))
    found = analysed(tmp_path)
    out = found.raters[found.raters["excluded"] != ""]
    assert list(out["rater"]) == ["rater r03", "rater r07"] and (out["kept"] == 0).all() and (out["reason"] != "").all()
    assert found.raters_kept == 8 and found.raters_asked == 10
    assert found.exclusions["raters"].sum() == 2 and found.exclusions["answers"].sum() == 120
    assert (found.answers["excluded"] != "").sum() == 120
    assert (
        by_system(analysed(tmp_path, "none"))["control: noise"]["value"] > by_system(found)["control: noise"]["value"]
    )


def ruled(*given: dict[str, Any]) -> rules.Rules:
    return rules.parsed({"rules": list(given)}, "mine.yaml")


def change(files: dict[str, Any], session: str, alter: Callable[[dict[str, Any]], Any]) -> None:
    for answer in files[session]["answers"]:
        alter(answer)


@pytest.mark.parametrize(
    ("rule", "alter", "raters", "answers"),
    [
        ({"rule": "too_fast", "seconds": 5, "share": 0.5}, lambda a: a.update(seconds=1), 1, 60),
        ({"rule": "too_fast", "seconds": 5, "share": 0.5}, lambda a: a["page"] < 4 and a.update(seconds=1), 0, 20),
        ({"rule": "heard", "least": 0.8, "share": 0.5}, lambda a: a.update(heard=0.2), 1, 60),
        ({"rule": "heard", "least": 0.8, "share": 0.5}, lambda a: a["page"] < 2 and a.update(heard=0.79), 0, 10),
        ({"rule": "flat", "deviation": 5}, lambda a: a.update(rating=50 + a["page"] % 3), 1, 60),
        ({"rule": "control", "above": 50, "share": 0.2}, lambda a: a.update(rating=60), 1, 60),
        ({"rule": "told_apart", "least": 15}, lambda a: a.update(rating=30 + 7 * (a["page"] % 9)), 1, 60),
        ({"rule": "reference", "below": 30, "share": 0.5}, lambda a: a.update(rating=20), 1, 60),
        ({"rule": "outliers", "z": 3.29}, lambda a: a["page"] == 0 and a.update(rating=100), 0, None),
    ],
)  # fmt: skip
def test_each_rule_excludes_what_it_says(
    tmp_path: Path, rule: dict[str, Any], alter: Callable[[dict[str, Any]], Any], raters: int, answers: int | None
) -> None:
    facts = answered.study(tmp_path, systems=SYSTEMS)
    files = answered.rated(facts, SYSTEMS)
    answered.write(tmp_path, files)
    before = analysed(tmp_path, ruled(rule)).exclusions.iloc[0]
    assert (before["raters"], before["answers"]) == (0, 0)
    change(files, "r04", alter)
    answered.write(tmp_path, files)
    found = analysed(tmp_path, ruled(rule))
    row = found.exclusions.iloc[0]
    assert row["raters"] == raters and row["who"] == ("rater r04" if raters else "")
    assert row["answers"] == answers if answers is not None else row["answers"] >= 1
    excluded = found.answers[found.answers["excluded"] == rule["rule"]]
    assert len(excluded) == row["answers"] and set(excluded["rater"]) == {"rater r04"}


def test_unfinished_raters_are_excluded_by_how_much_they_answered(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, systems=SYSTEMS)
    files = answered.rated(facts, SYSTEMS)
    files["r01"].update(answers=files["r01"]["answers"][:30], finished=False)
    files["r02"].update(answers=[], finished=False)
    files["r05"].update(answers=files["r05"]["answers"][:55], finished=False)
    answered.write(tmp_path, files)
    found = analysed(tmp_path)
    assert dict(zip(found.raters["rater"], found.raters["reason"], strict=True)) | {} == {
        **{f"rater r{k:02}": "" for k in range(10)}, "rater r01": "answered 50%", "rater r02": "answered 0%",
    }  # fmt: skip
    assert found.exclusions.iloc[0]["raters"] == 2


def test_of_pairs_who_prefers_controls_or_always_one_side_is_excluded(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, "pairs", SYSTEMS, raters=12)
    files = answered.chosen(facts, SYSTEMS)
    for answer in files["r00"]["answers"]:
        answer["choice"] = "first"
    for answer in files["r01"]["answers"]:
        swap = {"first": "second", "second": "first"}
        answer["choice"] = swap.get(answer["choice"], answer["choice"])
    answered.write(tmp_path, files)
    found = analysed(tmp_path)
    out = found.raters[found.raters["excluded"] != ""].set_index("rater")["excluded"].to_dict()
    assert out == {"rater r00": "flat", "rater r01": "control"}


def test_of_pairs_who_hears_no_difference_is_not_flat(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, "pairs", SYSTEMS, raters=6)
    files = answered.chosen(facts, SYSTEMS)
    for session, choice in (("r00", "tie"), ("r01", "both_bad"), ("r02", "second")):
        change(files, session, lambda answer, choice=choice: answer.update(choice=choice))  # type: ignore[misc]
    answered.write(tmp_path, files)
    found = analysed(tmp_path, ruled({"rule": "flat"}))
    out = found.raters[found.raters["excluded"] != ""].set_index("rater")["reason"].to_dict()
    assert out == {"rater r02": "100% of choices are for the same side"}


def test_rules_see_what_those_before_them_have_left(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, systems=SYSTEMS)
    files = answered.rated(facts, SYSTEMS)
    change(files, "r04", lambda a: a.update(rating=60, seconds=0.5))
    answered.write(tmp_path, files)
    flat, fast = {"rule": "flat"}, {"rule": "too_fast", "share": 0.5}
    for first, second in ((flat, fast), (fast, flat)):
        found = analysed(tmp_path, ruled(first, second)).exclusions
        assert list(found["rule"]) == [first["rule"], second["rule"]] and list(found["raters"]) == [1, 0]


def test_too_few_raters_give_no_verdicts(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, systems=SYSTEMS, raters=6)
    answered.write(tmp_path, answered.rated(facts, SYSTEMS, spammers=["r00", "r01"]))
    found = analysed(tmp_path)
    assert not found.judged and found.raters_kept == 4
    assert found.reasons == ["4 raters are left after exclusion, and 5 are needed: no intervals, no verdicts."]
    assert found.systems["value"].notna().all() and found.systems[["low", "high", "error"]].isna().all().all()
    assert found.differences["difference"].notna().all()
    assert found.differences[["low", "high", "p", "p_holm"]].isna().all().all() and set(
        found.differences["verdict"]
    ) == {""}
    assert found.document().outcome == "TOO FEW RATERS" and found.document().cases[0].status == "undecided"


def test_nobody_left_is_a_record_too(tmp_path: Path) -> None:
    for method in ("rating", "pairs"):
        folder = tmp_path / method
        facts = answered.study(folder, method, SYSTEMS)
        files = (answered.rated if method == "rating" else answered.chosen)(facts, SYSTEMS)
        for one in files.values():
            one["answers"] = []
        answered.write(folder, files)
        found = analysed(folder).save(tmp_path / f"{method}-record")
        assert not found.judged and found.systems["value"].isna().all() and found.answers.empty
        assert Listening.load(found.path).raters_kept == 0


# --- metrics ---


def scored(values: dict[str, float], higher: bool | None = True, **more: Any) -> dict[str, Any]:
    about = {"title": "CLAP score", "higher_is_better": higher, "low": None, "high": None, **more}
    return {name: {"clap_score": {**about, "value": value}} for name, value in values.items()}


@pytest.mark.parametrize(("higher", "expected"), [(True, 1.0), (False, -1.0), (None, 1.0)])
def test_metrics_are_correlated_over_systems_turned_so_that_better_is_higher(
    tmp_path: Path, higher: bool | None, expected: float
) -> None:
    scores = scored({"large": 0.4, "medium": 0.3, "small": 0.2}, higher)
    facts = answered.study(tmp_path, systems=SYSTEMS, scores=scores)
    answered.write(tmp_path, answered.rated(facts, SYSTEMS))
    found = analysed(tmp_path).correlations
    assert set(found["coefficient"]) == {"pearson", "spearman", "kendall"} and set(found["n"]) == {3}
    rows = found.set_index("coefficient")
    assert rows["value"]["spearman"] == pytest.approx(expected) == pytest.approx(rows["value"]["kendall"])
    assert abs(rows["value"]["pearson"]) > 0.95
    assert rows["low"].isna().all()  # all draws have the same order
    assert ("neither direction" in rows["note"]["pearson"]) == (higher is None)


def test_two_systems_have_no_correlation_and_random_weights_are_said_first(tmp_path: Path) -> None:
    scores = scored({"large": 0.4, "small": 0.2}, random=True)
    facts = answered.study(tmp_path, systems=SYSTEMS, scores=scores)
    answered.write(tmp_path, answered.rated(facts, SYSTEMS))
    found = analysed(tmp_path)
    assert found.correlations.empty and found.scores["random"].all()
    assert found.warnings == [
        "Random weights are behind CLAP score of large, small: the metrics' numbers mean nothing, nor do correlations "
        "with them."
    ]


def test_metrics_are_correlated_over_clips_where_the_result_is_still_there(tmp_path: Path) -> None:
    result, means = with_values(tmp_path / "run", {"large": 70.0, "small": 60.0})
    facts = answered.study(tmp_path / "study", systems=SYSTEMS, scores=scored({"large": 0.4, "small": 0.3}))
    digest = sha256_file(result / "result.json")
    for name in ("large", "small"):
        facts["systems"][name].update(path=str(result), sha256=digest)
    facts["systems"]["medium"].update(path=str(result), sha256="f" * 64)
    (tmp_path / "study" / "study.json").write_text(json.dumps(facts))
    answered.write(tmp_path / "study", of_clips(facts, means))
    found = analysed(tmp_path / "study", "none")
    rows = {(row["over"], row["coefficient"]): row for row in found.correlations.to_dict("records")}
    assert set(rows) == {
        ("clips", "pearson"), ("clips", "spearman"), ("clips within prompts", "pearson"),
        ("clips within prompts", "spearman"), ("clips within prompts", "kendall"),
    }  # fmt: skip
    items = found.answers[found.answers["system"].isin(["large", "small"])]
    wide = items.groupby(["system", "prompt"])["rating"].mean()
    x = np.array([means[key] for key in wide.index])
    assert rows["clips", "pearson"]["value"] == pytest.approx(np.corrcoef(x, wide)[0, 1], abs=1e-9)
    for row in rows.values():
        assert row["n"] == 24 and row["low"] < row["value"] < row["high"] and row["value"] > 0.4
    assert any(
        "not in correlations over clips: medium" in text and "is not the result" in text for text in found.remarks
    )


def of_clips(facts: dict[str, Any], means: dict[tuple[str, str], float]) -> dict[str, Any]:
    """Ratings that follow the values of clips, from 0 to 1."""
    rng = np.random.default_rng(3)
    files = answered.rated(facts, SYSTEMS)
    for file in files.values():
        for answer in file["answers"]:
            about = facts["items"][answer["item"]]
            known = means.get((about["system"], about["prompt"]))
            if known is not None:
                answer["rating"] = int(np.clip(100 * known + rng.normal(0, 40), 1, 100))
    return files


def with_values(folder: Path, rows: dict[str, float]) -> tuple[Path, dict[tuple[str, str], float]]:
    """A result with values of single clips, and these."""
    rng = np.random.default_rng(2)
    values = {(name, f"p{k}"): float(rng.uniform(0.2, 0.9)) for name in rows for k in range(12)}
    frame = pd.DataFrame(
        [
            {"model": name, "sample": 1, "id": id, "metric": "clap_score", "value": value, "sum": value, "count": 1.0}
            for (name, id), value in values.items()
        ]
    )
    made = record({name: {"clap_score": 0.3} for name in rows}, published={})
    facts = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    return Result(**{**facts, "values": typed(frame, VALUES)}).save(folder).path, values


# --- files from elsewhere ---


def refused(folder: Path) -> list[str]:
    study = reading.study_of([folder], None)
    with pytest.raises(reading.Unusable) as caught:
        reading.read_answers(reading.files_of([folder]), study)
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (lambda f: f.update(kind="other"), "no listening answers: leave the file out"),
        (lambda f: f.update(schema=2), "answers of schema 2, this version of evalkit reads 1"),
        (lambda f: f.update(study="feed"), 'answers of another study ("feed", not 0123456789abcdef)'),
        (lambda f: f.update(session="r99"), 'session "r99" is not one of the study'),
        (lambda f: f.update(session=["r00"]), "session list is not one of the study"),
        (lambda f: f.update(rater="x" * 201), "rater must be a text of at most 200 characters"),
        (lambda f: f.update(finished=1), "finished must be true or false"),
        (lambda f: f.update(answers={}), "answers must be a list"),
        (lambda f: f["answers"].append(7), "answer 61: must hold keys with values"),
        (lambda f: f["answers"].append(f["answers"][0]), "answer 61: the second to the same question"),
        (lambda f: f["answers"][3].update(item="999999999999"), 'answer 4: item "999999999999" is not on page 0'),
        (lambda f: f["answers"][3].update(item="<script>"), 'answer 4: item "<script>" is not on page 0'),
        (lambda f: f["answers"][3].update(page=True), "answer 4: page true is not one of the session's 12"),
        (lambda f: f["answers"][3].update(page=12), "answer 4: page 12 is not one of the session's 12"),
        (lambda f: f["answers"][3].update(rating=101), "answer 4: rating 101 must be a whole number from 1 to 100"),
        (lambda f: f["answers"][3].update(rating="99"), 'answer 4: rating "99" must be a whole number from 1 to 100'),
        (lambda f: f["answers"][3].update(heard=1.5), "answer 4: heard 1.5 must be a share, from 0 to 1"),
        (lambda f: f["answers"][3].update(seconds=-1), "answer 4: seconds -1 must be a number of at least 0"),
        (lambda f: f["answers"][3].pop("plays"), "answer 4: plays NoneType must be a count"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_answers_is_said_in_one_line_each(
    rated: Path, alter: Callable[[dict[str, Any]], Any], said: str
) -> None:
    path = rated / "answers" / "r00.json"
    facts = json.loads(path.read_text())
    alter(facts)
    path.write_text(json.dumps(facts))
    (mistake,) = refused(rated)
    assert mistake.startswith(f"'{path}': {said}") and "\n" not in mistake


def test_all_mistakes_of_all_files_are_said(rated: Path) -> None:
    for number, text in enumerate(["{", "[1]", '{"a": NaN}', "[" * 100_000]):
        (rated / "answers" / f"x{number}.json").write_text(text)
    (rated / "answers" / "y.json").write_bytes(b"\xff\xfe")
    mistakes = refused(rated)
    assert len(mistakes) == 5 and all("get the file again" in line and "\n" not in line for line in mistakes)


def test_pairs_must_be_those_of_the_page(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, "pairs", SYSTEMS)
    files = answered.chosen(facts, SYSTEMS)
    first = files["r00"]["answers"][0]
    for change_of, said in (
        ({"items": first["items"][::-1]}, "are not those of page 0"),
        ({"choice": "none"}, 'choice "none" must be one of first, second, tie, both_bad'),
        ({"heard": 1.0}, "heard 1.0 must be two shares"),
        ({"plays": [1, None]}, "plays list must be two counts"),
    ):
        files["r00"]["answers"][0] = {**first, **change_of}
        answered.write(tmp_path, files)
        assert said in refused(tmp_path)[0]


def test_of_a_session_that_was_answered_twice_the_finished_answers_count(rated: Path) -> None:
    path = rated / "answers" / "r00.json"
    facts = json.loads(path.read_text())
    for answer in facts["answers"]:
        answer["rating"] = 1
    half = {**facts, "finished": False, "answers": facts["answers"][:20], "ended": "2027-01-01T00:00:00Z"}
    (rated / "answers" / "r00 (1).json").write_text(json.dumps(half))
    found = analysed(rated, "none")
    assert len(found.files) == 11 and [one.name for one in found.files if not one.used] == ["r00 (1).json"]
    assert (found.answers["session"] == "r00").sum() == 60 and any("more than once: r00;" in t for t in found.remarks)
    later = {**facts, "ended": "2027-01-01T00:00:00Z"}
    (rated / "answers" / "r00 (2).json").write_text(json.dumps(later))
    assert [one.name for one in analysed(rated, "none").files if one.used and one.session == "r00"] == ["r00 (2).json"]


def test_a_longer_save_that_the_server_has_put_aside_counts_and_damaged_ones_do_not(rated: Path) -> None:
    path = rated / "answers" / "r00.json"
    whole = json.loads(path.read_text()) | {"finished": False}
    aside = rated / "answers" / "earlier"
    aside.mkdir()
    for name, many in (("r00-1", 48), ("r00-2", 30)):
        (aside / f"{name}.json").write_text(json.dumps({**whole, "answers": whole["answers"][:many]}))
    path.write_text(json.dumps({**whole, "answers": whole["answers"][:4], "started": "2026-11-21T10:00:00Z"}))
    (aside / "r01-1.json").write_bytes(b"{")
    found = analysed(rated, "none")
    assert (found.answers["session"] == "r00").sum() == 48 and (found.answers["session"] == "r01").sum() == 60
    assert {one.name for one in found.files if not one.used} == {"r00.json", "earlier/r00-2.json", "earlier/r01-1.json"}
    assert "of r00 (48 answers) the save that counts is not the last: it had more answers" in found.remarks
    assert "damaged, and left out: earlier/r01-1.json" in found.remarks
    assert any("answered more than once: r00;" in text for text in found.remarks)
    path.write_text(json.dumps({**whole, "finished": True}))
    assert next(one.name for one in analysed(rated, "none").files if one.used and one.session == "r00") == "r00.json"


def test_two_sessions_of_one_name_are_one_rater(tmp_path: Path) -> None:
    facts = answered.study(tmp_path, systems=SYSTEMS)
    files = answered.rated(facts, SYSTEMS)
    files["r00"]["rater"] = files["r01"]["rater"] = " Ana  B "
    files["r02"]["rater"] = ""
    answered.write(tmp_path, files)
    found = analysed(tmp_path)
    assert found.raters_asked == 9 and "Ana B" in set(found.raters["rater"]) and "r02" in set(found.raters["rater"])
    assert any("several sessions by Ana B: counted as one rater" in text for text in found.remarks)


def test_missing_sessions_are_said(rated: Path) -> None:
    (rated / "answers" / "r09.json").unlink()
    assert analysed(rated).remarks[0].startswith("9 of 10 sessions were answered")


def test_where_studies_and_answers_are_looked_for(rated: Path, tmp_path: Path) -> None:
    one = rated / "answers" / "r00.json"
    assert reading.files_of([one, one]) == [one]
    assert len(reading.files_of([rated / "answers"])) == len(reading.files_of([rated])) == 10
    for given in (one, rated / "answers", rated):
        assert reading.study_of([given], None).folder == rated
    assert reading.study_of([Path("/")], rated) == reading.study_of([], rated / "study.json")
    elsewhere = tmp_path / "a" / "b" / "c"
    elsewhere.mkdir(parents=True)
    with pytest.raises(EvalkitError, match="holds no answers"):
        reading.files_of([elsewhere])
    with pytest.raises(EvalkitError, match="is not there: give files of answers"):
        reading.files_of([elsewhere / "x"])
    with pytest.raises(EvalkitError, match=r"no study.json lies beside .*: give it with --study STUDY"):
        reading.study_of([elsewhere / "more"], None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "x"}, "is no listening study: give the folder that evalkit listen make printed"),
        ({"schema": 9}, r"another version of evalkit \(schema 9, this one reads 1\)"),
        *(
            ({name: []}, rf"is damaged \(it has no {name}\)")
            for name in ("systems", "items", "sessions", "prompts", "practice")
        ),
        ({"study": "../../../evil"}, "its name is not of hexadecimal digits"),
        ({"axis": "beauty"}, "its axis is none of quality, relevance, melody"),
        ({"scale": [1, 10**400]}, "its scale is not two numbers"),
        ({"prompts": {"p0": "a caption"}}, 'prompt "p0" has no caption'),
        ({"prompts": {"p0": {"caption": "", "melody": "../../evil"}}}, 'prompt "p0" has a melody of no name'),
        ({"prompts": {"p0": {"caption": "", "translation": 1}}}, 'prompt "p0" has a translation that is no text'),
        ({"practice": {"items": ["../../evil", "f" * 12]}}, "its practice is not two clips"),
        ({"practice": {}}, "its practice is not two clips"),
        ({"items": {"../../evil": {"prompt": "p0", "system": "large"}}}, 'item "../../evil" is no name'),
        ({"items": {"0" * 12: {"prompt": ["p0"], "system": "large"}}}, "item .* is of no prompt"),
        ({"sessions": {"../r00": {"pages": []}}}, 'is damaged \\("../r00" is no session'),
        ({"sessions": {"r00": {"pages": [[]]}}}, 'session "r00" has no pages'),
        ({"scale": [100, 1]}, "its scale is not two numbers"),
        ({"method": "vote"}, "its method is neither rating nor pairs"),
        ({"items": {"0" * 12: {"prompt": "p0", "system": "ghost"}}}, "item .* is of no system"),
        ({"sessions": {"r00": {"pages": [["ghost"]]}}}, "has an item that there is not"),
    ],
)
def test_a_damaged_study_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    facts = answered.study(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({**facts, **changes}))
    with pytest.raises(EvalkitError, match=said):
        Study.load(tmp_path)


@pytest.mark.parametrize("action", ["serve", "export", "analyse"])
def test_every_action_refuses_a_damaged_study_in_one_line(tmp_path: Path, evalkit: Run, action: str) -> None:
    answered.study(tmp_path, sessions=None)
    answered.write(tmp_path, {"r00": {}})
    rest = ["--to", "webmushra", "--output", "out"] if action == "export" else []
    status, out, err = evalkit("listen", action, str(tmp_path), *rest)
    assert (status, out) == (2, "") and err.count("\n") == 1 and "is damaged (it has no sessions)" in err


# --- rules as files ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [{rule: to_fast}]", "unknown rule 'to_fast': did you mean 'too_fast'"),
        ("rules: [{rule: too_fast, second: 3}]", "unknown setting of too_fast 'second': did you mean 'seconds'"),
        ("rules: [{rule: too_fast, seconds: long}]", "too_fast: seconds is 'long': must be a number"),
        (f"rules: [{{rule: too_fast, seconds: {10**400}}}]", "must be a number, not negative"),
        (f"level: {10**400}\nrules: []", "level must be between 0.5 and 1"),
        ("rules: [{rule: heard, share: 2}]", "heard: share is 2: must be from 0 to 1"),
        ("rules: [too_fast]", r"rule 1 has no name: write it as \{rule: NAME, …\}"),
        ("lvel: 0.9\nrules: []", "unknown key 'lvel': did you mean 'level'"),
        ("level: 1.5\nrules: []", "level must be between 0.5 and 1"),
        ("least_raters: 2\nrules: []", "least_raters must be at least 3"),
        ("resamples: 5\nrules: []", "resamples must be 200 to 20000"),
        ("both_bad: maybe\nrules: []", "both_bad must be tie or drop"),
        ("level: 0.9", "must hold a list of rules"),
        ("rules: [", "are no YAML"),
    ],
)
def test_what_is_wrong_with_rules_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(EvalkitError, match=said):
        rules.load(str(path))


def test_rules_that_there_are_not_are_named(tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match="unknown rules 'defult': did you mean 'default'"):
        rules.load("defult")
    with pytest.raises(EvalkitError, match=r"no rules .*gone\.yaml': give a file, or one of bs1534, default, none"):
        rules.load(str(tmp_path / "gone.yaml"))


def test_all_that_was_asked_for_is_in_the_record(rated: Path) -> None:
    found = analysed(rated)
    assert found.rules["name"] == "default.yaml" and found.rules["least_raters"] == 5
    assert [rule["rule"] for rule in found.rules["rules"]] == list(found.exclusions["rule"])
    assert found.rules["rules"][-1] == {"rule": "outliers", "z": 3.29}
    for name in ("default", "bs1534", "none"):
        loaded = rules.load(name)
        plain = loaded.plain()
        assert rules.parsed({k: v for k, v in plain.items() if k != "name"}, loaded.name) == loaded


def test_the_command_analyses_saves_and_prints(rated: Path, evalkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = evalkit("listen", "analyse", str(rated), "--output", "out")
    assert (status, err) == (0, "")
    folder = Path(out.splitlines()[-1].removeprefix("listening test: "))
    assert isinstance(loaded := load(folder), Listening) and loaded.study == answered.STUDY
    assert max(map(len, out.splitlines()[:-1])) <= 80
    (rated / "answers" / "r00.json").write_text("{")
    (rated / "answers" / "r01.json").write_text("{}")
    status, out, err = evalkit("listen", "analyse", str(rated), "--output", "out")
    lines = err.splitlines()
    assert (status, out) == (2, "") and len(lines) == 2 and all(line.startswith("evalkit: ") for line in lines)
