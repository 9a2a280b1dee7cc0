"""`evalkit agree`: metrics beside what people said, from records and files as users have them."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evalkit.agreeing import agree
from evalkit.report import formats
from evalkit.results.folders import identity

from ..conftest import ROOT, Run
from ..listening import answered
from . import made

DRAWS = agree.RESAMPLES, agree.OF_CLIPS


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few draws as show what is wrong with numbers that depend on them."""
    monkeypatch.setattr(agree, "RESAMPLES", 100)
    monkeypatch.setattr(agree, "OF_CLIPS", 30)


@pytest.fixture
def eight(tmp_path: Path) -> tuple[str, str]:
    """A record of eight systems, and ratings of them."""
    systems, how_good = made.names(8), made.quality(8)
    record = made.saved(made.measured(systems, how_good), tmp_path / "record")
    return record, str(made.table(tmp_path / "ratings.csv", systems, made.rated(systems, how_good)))


def test_a_metric_that_knows_agrees_and_one_that_does_not_is_not_told(evalkit: Run, eight: tuple[str, str]) -> None:
    code, out, err = evalkit("agree", *eight, "--json")
    assert (code, err) == (0, "")
    found = made.json_of(out)
    rows = {row["metric"]: row for row in found["table"]}
    assert [rows[name]["verdict"] for name in ("good", "fad", "blind")] == ["agrees", "agrees", "not told"]
    # lower is better in one of them, and both order all pairs as people do
    assert rows["good"]["kendall"] == rows["fad"]["kendall"] == rows["fad"]["accuracy"] == 1.0
    assert rows["good"]["kendall_interval_low"] > 0.3 and rows["good"]["kendall_interval_high"] == 1.0
    assert rows["blind"]["kendall_interval_low"] < 0 < rows["blind"]["kendall_interval_high"]
    assert (found["raters"], found["prompts"], found["ratings"], found["reliability"] > 0.9) == (6, 12, 576, True)
    assert len(found["differences"]) == 3 and {row["n"] for row in found["differences"]} == {8}
    clips = {(row["metric"], row["over"], row["coefficient"]): row for row in found["clips"]}
    assert clips["good", "clips within prompts", "accuracy"]["value"] > 0.8
    assert abs(clips["blind", "clips", "spearman"]["value"]) < 0.3 and ("fad", "clips", "spearman") not in clips


@pytest.mark.parametrize("form", [name for name in formats() if name != "junit"])
def test_every_form_has_it(evalkit: Run, eight: tuple[str, str], form: str) -> None:
    code, out, err = evalkit("agree", *eight, "--format", form)
    assert (code, err) == (0, "") and "Good" in out.replace("\n", " ")


def test_the_terminals_lines_fit(evalkit: Run, eight: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = evalkit("agree", *eight)
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    assert "Good agrees with people: it orders 100% of pairs of systems" in " ".join(out.split())


def test_of_four_systems_nothing_is_claimed(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(4), made.quality(4)
    record = made.saved(made.measured(systems, how_good), tmp_path / "record")
    path = made.table(tmp_path / "r.csv", systems, made.rated(systems, how_good))
    code, out, _ = evalkit("agree", record, str(path), "--json")
    found = made.json_of(out)
    assert code == 3 and found["claimed"] is False and found["differences"] == []
    assert found["outcome"] == "TOO FEW SYSTEMS" and "5 are needed" in found["reasons"][0]
    for row in found["table"]:
        assert row["kendall"] is not None and row["verdict"] == ""
        assert row["p"] is None and row["kendall_interval_low"] is None
    assert all(row["low"] is None for row in found["clips"])


def test_random_weights_are_announced_and_nothing_is_claimed_of_them(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(8), made.quality(8)
    record = made.saved(made.measured(systems, how_good, random=["fad"]), tmp_path / "record")
    path = made.table(tmp_path / "r.csv", systems, made.rated(systems, how_good))
    code, out, _ = evalkit("agree", record, str(path), "--json")
    found = made.json_of(out)
    row = next(row for row in found["table"] if row["metric"] == "fad")
    assert code == 0 and found["warning"] == "Random weights: FAD. Their numbers mean nothing."
    assert row["verdict"] == "" and row["p"] is None and row["kendall_interval_low"] is None
    assert all("fad" not in (r["first"], r["second"]) for r in found["differences"])


def test_choices_are_read_and_judged_by_strength(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(6), made.quality(6)
    record = made.saved(made.measured(systems, how_good), tmp_path / "record")
    path = made.choices(tmp_path / "c.csv", systems, made.rated(systems, how_good, raters=4))
    code, out, _ = evalkit("agree", record, str(path), "--json")
    found = made.json_of(out)
    best = max(found["systems"], key=lambda row: row["value"])
    assert code == 0 and found["method"] == "pairs" and best["system"] == systems[int(how_good.argmax())]
    assert next(row for row in found["table"] if row["metric"] == "good")["kendall"] > 0.8


def test_musiceval_and_musicprefs_are_found_by_their_content(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(6), made.quality(6)
    measured = made.measured(systems, how_good)
    clips = measured.clips.assign(
        path=[
            f"/wav/audiomos2025-track1-{m}_P{i[1:]:0>3}.wav"
            for m, i in zip(measured.clips["model"], measured.clips["id"], strict=True)
        ]
    )
    record = made.saved(replace(measured, clips=clips), tmp_path / "record")
    folder = made.musiceval(tmp_path / "me", systems, made.rated(systems, how_good, raters=4))
    code, out, _ = evalkit("agree", record, str(folder), "--score", "overall", "--json")
    found = made.json_of(out)
    # clips are found by the names of their files
    assert code == 0 and found["layout"] == "musiceval" and not [n for n in found["notes"] if "not in the records" in n]
    assert {row["metric"] for row in found["clips"]} == {"good", "blind"}
    prefs = made.musicprefs(tmp_path / "mp", systems, how_good)
    code, out, _ = evalkit("agree", record, str(prefs), "--score", "fidelity", "--json")
    found = made.json_of(out)
    assert code == 0 and found["layout"] == "musicprefs" and found["raters"] == 0 and found["clips"] == []
    assert any("400 of 400 clips that were rated are not in the records" in note for note in found["notes"])
    code, _, err = evalkit("agree", record, str(prefs))
    assert code == 2 and err.count("\n") == 1 and "--score: fidelity, musicality" in err


def test_what_is_the_same_for_all_systems_has_no_correlation(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(6), made.quality(6)
    measured = made.measured(systems, how_good)
    same = measured.scores["value"].where(measured.scores["metric"] != "fad", 3.0)
    record = made.saved(replace(measured, scores=measured.scores.assign(value=same)), tmp_path / "record")
    path = made.table(tmp_path / "r.csv", systems, made.rated(systems, how_good))
    code, out, err = evalkit("agree", record, str(path), "--json")
    row = next(row for row in made.json_of(out)["table"] if row["metric"] == "fad")
    assert (code, err, row["kendall"], row["verdict"]) == (0, "", None, "") and "the same value" in row["note"]


def test_systems_without_a_rating_in_some_draws_are_said(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(6), made.quality(6)
    record = made.saved(made.measured(systems, how_good), tmp_path / "record")
    ratings = made.rated(systems, how_good)
    lines = [f"{systems[s]},p{s},r0,{ratings[s, 0, s]:g}" for s in range(6)]  # each system for a prompt of its own
    (tmp_path / "r.csv").write_text("\n".join(["system,prompt,rater,score", *lines]))
    code, out, err = evalkit("agree", record, str(tmp_path / "r.csv"), "--json")
    row = made.json_of(out)["table"][0]
    assert (code, err, row["kendall_interval_low"]) == (0, "", None) and "no interval" in row["note"]


def test_one_rater_is_enough_and_said(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(6), made.quality(6)
    record = made.saved(made.measured(systems, how_good), tmp_path / "record")
    path = made.table(tmp_path / "r.csv", systems, made.rated(systems, how_good, raters=1))
    code, out, _ = evalkit("agree", record, str(path), "--json")
    found = made.json_of(out)
    assert code == 0 and any(
        note.startswith("intervals: 0.95 confidence, over systems and prompts,") for note in found["notes"]
    )
    assert found["table"][0]["kendall_interval_low"] is not None


def test_rows_of_several_records_are_named_in_a_file(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(6), made.quality(6)
    runs = tmp_path / "runs"
    for k in range(2):
        made.saved(made.measured(["one", "two", "three"], how_good[3 * k : 3 * k + 3]), runs / f"run {k}")
    path = made.table(tmp_path / "r.csv", systems, made.rated(systems, how_good))
    code, _, err = evalkit("agree", str(runs), str(path))
    assert (
        code == 2
        and err.count("\n") == 1
        and "0 systems of the ratings are in the records" in err
        and "--systems" in err
    )
    rows = [f"{s},{runs / f'run {k // 3}'}::{('one', 'two', 'three')[k % 3]}" for k, s in enumerate(systems)]
    table = tmp_path / "systems.csv"
    table.write_text("\n".join(["system,row", *rows]))
    code, out, err = evalkit("agree", str(runs), str(path), "--systems", str(table), "--json")
    found = made.json_of(out)
    assert (code, err) == (0, "") and [row["row"] for row in found["systems"]] == ["one", "two", "three"] * 2
    assert next(row for row in found["table"] if row["metric"] == "fad")["kendall"] == 1.0
    table.write_text(table.read_text().replace("/runs/", "/runs/../runs/"))
    assert evalkit("agree", str(runs), str(path), "--systems", str(table))[0] == 0
    for line, message in (
        ("S009,one", "unknown system of the ratings 'S009'"),
        ("S001,four", "unknown row (of 'S001') 'four'"),
        ("S001,one", "'S001' is a row of 2 results"),
        (",one", "line 2: no system, or no row"),
    ):
        table.write_text(f"system,row\n{line}\n")
        code, _, err = evalkit("agree", str(runs), str(path), "--systems", str(table))
        assert code == 2 and err.count("\n") == 1 and message in err, err
    table.write_text("name,row\nS001,one\n")
    code, _, err = evalkit("agree", str(runs), str(path), "--systems", str(table))
    assert code == 2 and "must have columns system and row" in err


def test_what_does_not_match_is_counted_and_named(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(7), made.quality(7)
    record = made.saved(made.measured([*systems[:5], "unheard"], how_good[:6]), tmp_path / "record")
    path = made.table(tmp_path / "r.csv", systems, made.rated(systems, how_good, prompts=14))
    code, out, _ = evalkit("agree", record, str(path), "--json")
    notes = made.json_of(out)["notes"]
    assert code == 0 and "not in the records, with 168 of 588 ratings: S006, S007" in notes
    assert "rows that the ratings do not have: unheard" in notes
    assert "10 of 70 clips that were rated are not in the records, such as 'p12'" in notes


def test_a_listening_test_knows_the_rows_that_it_was_made_of(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(5), made.quality(5)
    record = made.saved(made.measured(systems, how_good), tmp_path / "record")
    heard = {f"system {k}": 20.0 * how_good[k] for k in range(5)}  # names as a test has them that tells runs apart
    study = answered.study(tmp_path / "study", "rating", heard, prompts=6, raters=4)
    for k, facts in enumerate(study["systems"].values()):
        facts |= {"row": systems[k], "sha256": identity(Path(record))}
    (tmp_path / "study" / "study.json").write_text(json.dumps(study))
    answered.write(tmp_path / "study", answered.rated(study, heard, spread=2.0))
    code, out, _ = evalkit("agree", record, "study", "--json")
    found = made.json_of(out)
    assert code == 0 and [row["row"] for row in found["systems"]] == systems
    assert next(row for row in found["table"] if row["metric"] == "fad")["kendall"] == 1.0
    for name in systems:
        study["systems"][f"system {systems.index(name)}"]["sha256"] = "0" * 64
    (tmp_path / "study" / "study.json").write_text(json.dumps(study))
    code, _, err = evalkit("agree", record, "study")
    assert code == 2 and "0 systems of the ratings are in the records" in err


def test_metrics_that_are_not_computed_alike_are_left_out(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(6), made.quality(6)
    other = made.measured(systems[3:], how_good[3:])
    metrics = {**other.metrics, "fad": replace(other.metrics["fad"], definition={"encoder": "another"})}
    records = [
        made.saved(made.measured(systems[:3], how_good[:3]), tmp_path / "one"),
        made.saved(replace(other, metrics=metrics), tmp_path / "two"),
    ]
    path = made.table(tmp_path / "r.csv", systems, made.rated(systems, how_good))
    code, out, _ = evalkit("agree", *records, str(path), "--format", "csv")
    assert code == 0 and {row["metric"] for row in csv.DictReader(io.StringIO(out))} == {"good", "blind"}
    code, out, _ = evalkit("agree", *records, str(path))
    assert "FAD is left out: it is not computed alike" in " ".join(out.split())


def test_systems_heard_for_other_prompts_than_measured_are_left_out(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(8), made.quality(8)
    one = made.saved(made.measured(systems[:4], how_good[:4]), tmp_path / "one")
    other = made.measured(systems[4:], how_good[4:])
    frames = {name: getattr(other, name) for name in ("clips", "values", "prompts")}
    moved = {name: frame.assign(id="q" + frame["id"].str[1:]) for name, frame in frames.items()}
    two = made.saved(replace(other, **moved), tmp_path / "two")
    path = made.table(tmp_path / "r.csv", systems, made.rated(systems, how_good))
    code, out, _ = evalkit("agree", one, two, str(path), "--json")
    found = made.json_of(out)
    assert code == 3 and found["claimed"] is False and [row["system"] for row in found["systems"]] == systems[:4]
    assert any("with 288 of 576 ratings: S005, S006, S007, S008" in note for note in found["notes"])
    assert any("the records have different prompts: 24 are in one of them only" in note for note in found["notes"])
    blind = tmp_path / "b.csv"  # names no prompts, so that nothing says for which of them systems were heard
    blind.write_text("system,score\n" + "".join(f"{s},{q:g}\n" for s, q in zip(systems, how_good, strict=True)))
    code, out, err = evalkit("agree", one, two, str(blind))
    assert (code, out, err.count("\n")) == (2, "", 1) and "no clip that was rated is found in them" in err
    code, out, _ = evalkit("agree", one, str(blind), "--json")
    assert code == 3 and not any("clips that were rated" in note for note in made.json_of(out)["notes"])


def test_choices_say_nothing_of_systems_that_they_do_not_join(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(9), made.quality(9)
    record = made.saved(made.measured(systems, how_good), tmp_path / "record")
    path = made.choices(tmp_path / "c.csv", systems, made.rated(systems, how_good, raters=4))
    head, *lines = path.read_text().splitlines()
    for apart in ("S001", "S002"), ("S001", "S002", "S003"):
        kept = [line for line in lines if sum(cell in apart for cell in line.split(",")[:2]) != 1]
        path.write_text("\n".join([head, *kept]) + "\n")
        code, out, _ = evalkit("agree", record, str(path), "--json")
        found = made.json_of(out)
        assert code == 0 and {row["system"] for row in found["systems"]} == set(systems) - set(apart)
        assert any("never compared with the others" in note for note in found["notes"])


def test_of_metrics_without_correlation_it_is_said_why(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(6), made.quality(6)
    measured = made.measured(systems, how_good)
    record = made.saved(measured, tmp_path / "record")
    path = made.table(tmp_path / "r.csv", systems, np.full((6, 2, 12), 3.0))
    found = made.json_of(evalkit("agree", record, str(path), "--json")[1])
    assert found["reasons"] == ["Of no metric can anything be claimed: below the table is why."]
    assert found["differences"] == [] and any("all systems have the same value" in note for note in found["notes"])
    scores = measured.scores
    endless = scores["value"].where((scores["metric"] != "fad") | (scores["model"] != "S003"), np.inf)
    record = made.saved(replace(measured, scores=scores.assign(value=endless)), tmp_path / "endless")
    path = made.table(tmp_path / "r.csv", systems, made.rated(systems, how_good))
    notes = made.json_of(evalkit("agree", record, str(path), "--json")[1])["notes"]
    assert "FAD has no value of S003" in notes


def test_mistakes_are_one_line(evalkit: Run, eight: tuple[str, str], tmp_path: Path) -> None:
    record, path = eight
    for arguments, message in (
        ([path], "give at least one RECORD"),
        ([record, record, path], "is given twice"),
        ([f"{record}::S00", path], "unknown row of"),
        ([str(tmp_path / "absent"), path], "is not a folder"),
        ([path, record], "RATINGS come last"),
        ([record, str(tmp_path / "absent.csv")], "is not there"),
        ([record, path, "--called", "rater"], "give WHAT=NAME"),
        ([record, path, "--called", "rater=nobody"], "unknown column 'nobody'"),
        ([record, path, "--called", "judge=rater"], "unknown name for --called 'judge'"),
        ([record, path, "--score", "fun"], "unknown score 'fun'"),
        ([record, path, "--layout", "nope"], "unknown layout 'nope'"),
    ):
        code, out, err = evalkit("agree", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1) and message in err, err


def test_numbers_are_the_same_from_one_time_to_the_next(evalkit: Run, eight: tuple[str, str]) -> None:
    assert evalkit("agree", *eight, "--json")[1] == evalkit("agree", *eight, "--json")[1]


def test_prompts_may_be_named_by_their_captions(evalkit: Run, tmp_path: Path) -> None:
    systems, how_good = made.names(5), made.quality(5)
    record = made.saved(
        replace(
            m := made.measured(systems, how_good), clips=m.clips.assign(caption="caption " + m.clips["id"].str[1:])
        ),
        tmp_path / "record",
    )
    ratings = made.rated(systems, how_good)
    lines = [f"{systems[s]},caption {p},r{r},{v:g}" for (s, r, p), v in np.ndenumerate(ratings)]
    (tmp_path / "r.csv").write_text("\n".join(["system,prompt,rater,score", *lines]))
    code, out, _ = evalkit("agree", record, str(tmp_path / "r.csv"), "--json")
    found = made.json_of(out)
    assert code == 0 and {row["n"] for row in found["clips"]} == {60}


@pytest.mark.slow
def test_the_example_shown_is_what_happens(evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "agree.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (table,) = re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    monkeypatch.setattr(agree, "RESAMPLES", DRAWS[0])
    monkeypatch.setattr(agree, "OF_CLIPS", DRAWS[1])
    monkeypatch.setenv("COLUMNS", "80")
    assert evalkit("run", "experiment=demo", "metric=[fad,chroma]", "report=false")[0] == 0
    exec(code, {})
    (result,) = (tmp_path / "results" / "runs").glob("*-demo")
    status, out, _ = evalkit("agree", str(result), "ratings.csv")
    # FAD on random weights is of one machine; all else is not
    assert status == 0 and _without("FAD ↓", out) == _without("FAD ↓", table)


def _without(name: str, text: str) -> list[str]:
    return [line for line in text.strip().splitlines() if not line.startswith(name)]
