"""What trackers are given of a record."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from evalkit.errors import EvalkitError
from evalkit.page.writing import write
from evalkit.results.comparison import Comparison
from evalkit.results.listening import Listening
from evalkit.results.result import Result
from evalkit.results.sweep import Sweep
from evalkit.trackers.described import runs
from evalkit.trackers.run import Limits, Run, flat, numbers, part
from evalkit.trackers.sounds import written
from tests.results import heard
from tests.results.drawn_sweeps import sweep, values
from tests.results.made_comparison import comparison, metric, moved

from .records import MODEL, PROMPTS, result, tone

LIMITS = Limits(rows=100, sounds=2, report=False)


def only(record: Any, folder: Path, limits: Limits = LIMITS) -> Run:
    (run,) = runs(record, limits, folder)
    return run


def test_a_model_is_a_run_and_calibration_rows_are_its_scale(made: Result, tmp_path: Path) -> None:
    run = only(made, tmp_path)
    assert run.name == f"{MODEL} (random weights)"
    assert {name: run.scalars[name] for name in ("fad", "fad/published", "clips/total")} == {
        "fad": 4.9, "fad/published": 4.88, "clips/total": PROMPTS,
    }  # fmt: skip
    assert next(name for name in run.scalars if name.startswith("calibration/")) == "calibration/noise at -40 dB/fad"
    assert run.parameters["sampling.top_k"] == 250
    assert run.text.splitlines()[2].startswith("> **Random weights")


def test_tables_are_cut_and_that_is_said(made: Result, tmp_path: Path) -> None:
    run = only(made, tmp_path, dataclasses.replace(LIMITS, rows=3))
    assert len(run.tables["clips"]) == 3
    assert f"not sent: the table of clips: {PROMPTS - 3} of {PROMPTS} rows are beyond the first 3" in run.text


def test_the_best_and_worst_clips_are_those_of_the_values(made: Result, tmp_path: Path) -> None:
    run = only(made, tmp_path)
    assert [sound.name for sound in run.sounds] == ["kld worst 1", "kld worst 2", "kld best 1", "kld best 2"]
    assert [sound.caption[:5] for sound in run.sounds] == ["p7 (k", "p6 (k", "p0 (k", "p1 (k"]


def test_a_clip_that_is_gone_or_another_is_not_sent_and_that_is_said(tmp_path: Path) -> None:
    made = result(tmp_path / "made")
    places = made.clips[made.clips["model"] == MODEL].set_index("id")["path"]
    Path(places["p7"]).unlink()
    tone(Path(places["p0"]), 1000)
    (tmp_path / "sounds").mkdir()
    run = only(made, tmp_path / "sounds")
    assert [sound.name for sound in run.sounds] == ["kld worst 2", "kld best 2"]
    assert "not sent: 2 of 4 clips" in run.text


@pytest.mark.parametrize(("form", "becomes"), [("mp3", (48000, 1)), ("wav", (96000, 6))])
def test_clips_of_any_rate_and_channels_have_the_form_that_is_asked_for(
    tmp_path: Path, form: str, becomes: tuple[int, int]
) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((9600, 6), 0.1), 96000)
    (tmp_path / "sounds").mkdir()
    path = written(tmp_path / "a.wav", tmp_path / "sounds", "best 1", form)
    assert path is not None and path.suffix == f".{form}"
    found = soundfile.info(path)
    assert (found.samplerate, found.channels) == becomes


def test_a_page_that_cannot_be_made_loses_nothing_else(
    made: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(record: Any) -> Path:
        raise ValueError("no template")

    monkeypatch.setattr("evalkit.trackers.content.page", broken)
    run = only(made, tmp_path, dataclasses.replace(LIMITS, report=True))
    assert "report.html" not in run.files
    assert "not sent: the page, because it could not be made: no template" in run.text


def test_a_comparison_is_a_run_with_its_outcome_and_the_prompts_that_moved(tmp_path: Path) -> None:
    digest = tone(tmp_path / "a.wav", 440)
    side = {"candidate_path": str(tmp_path / "a.wav"), "candidate_sha256": digest}
    made = comparison([metric(), metric("kld", "BREACH")], prompts=[moved(**side)]).save(tmp_path / "c")
    (tmp_path / "sounds").mkdir()
    run = only(Comparison.load(made.path), tmp_path / "sounds")
    assert run.name == "finetuned against musicgen_small: GO"
    assert (run.scalars["fad/difference"], run.scalars["fad/low"]) == (0.0251, -0.0312)
    assert run.tags["evalkit_verdict.kld"] == "BREACH"
    assert [sound.name for sound in run.sounds] == ["kld moved 1 candidate"]
    assert "path" not in " ".join(run.tables["clips"])


def test_a_sweep_is_a_run_and_each_point_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.results.plots.sweeps.write", lambda sweep, folder: [])  # drawing takes seconds
    made = sweep({"sampling.top_k": [50, 250]}, lambda x: values(x / 250), {"sampling.top_k": 250})
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    saved = Sweep(**{**fields, "winner": 2}).save(tmp_path / "s")
    (tmp_path / "sounds").mkdir()
    whole, *points = runs(Sweep.load(saved.path), LIMITS, tmp_path / "sounds")
    assert (whole.kind, len(whole.tables["points"])) == ("sweep", 2)
    assert [point.parameters["sampling.top_k"] for point in points] == [50, 250]
    assert {point.group for point in points} == {whole.group}
    assert all("fad/low" in point.scalars for point in points)
    assert [name for point in points for name in point.marks if name == "winner"] == ["winner"]


def test_a_listening_test_is_a_run_in_which_no_rater_is_named(tmp_path: Path) -> None:
    made = heard.listening()
    names = {*made.raters["rater"], *made.answers["session"]}
    said = [f"several sessions by {sorted(names)[0]}", "choices 'both bad' were counted as ties"]
    dataclasses.replace(made, remarks=said).save(tmp_path / "heard")
    record = Listening.load(tmp_path / "heard")
    write([record])  # its own page has the names
    (tmp_path / "files").mkdir()
    run = only(record, tmp_path / "files", dataclasses.replace(LIMITS, report=True))
    first = record.systems.iloc[0]
    name = f"{record.axis}/{first['system']}"
    assert (run.scalars[name], run.scalars[f"{name}/low"]) == (first["value"], first["low"])
    assert {"systems", "differences", "exclusions"} <= {*run.tables} and {"report.html", "table.md"} == {*run.files}
    texts = {name: path.read_text("utf-8") for name, path in run.files.items()}
    texts |= {name: frame.to_json() for name, frame in run.tables.items()}
    texts |= {"text": run.text, "tags": repr(run.tags), "parameters": repr(run.parameters), "marks": repr(run.marks)}
    found = {(place, name) for place, text in texts.items() for name in names if re.search(rf"\b{name}\b", text)}
    assert len(names) > 10 and not found
    assert said[1] in run.text and "remarks that name raters are left out" in run.text
    assert re.search(r"\brater r03\b", (record.path / "report.html").read_text("utf-8"))


def test_what_is_sent_again_has_the_same_keys(made: Result, tmp_path: Path) -> None:
    first = only(made, tmp_path)
    assert only(Result.load(made.path), tmp_path).key == first.key


def test_a_record_that_was_not_saved_is_refused(made: Result, tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match="save it"):
        runs(dataclasses.replace(made, path=tmp_path / "nowhere"), LIMITS, tmp_path)


def test_names_lead_nowhere_else() -> None:
    assert [part(name) for name in ("../../etc", "a/b", "", "..", "−14 LUFS", "x" * 500)] == [
        "_.._etc", "a_b", "_", "_", "-14 LUFS", "x" * 120,
    ]  # fmt: skip


def test_numbers_that_are_none_are_left_out() -> None:
    assert numbers({"a": 1, "b": None, "c": float("nan"), "d": float("inf"), "e": pd.NA}) == {"a": 1.0}
    assert flat({"a": {"b": [1, 2], "c": None}, "d": True}) == {"a.b": "1, 2", "d": True}


def test_limits_below_zero_are_refused() -> None:
    with pytest.raises(EvalkitError, match="rows=-1"):
        Limits(rows=-1, sounds=0, report=False)


def test_no_secret_of_the_configuration_is_in_the_page_or_any_file(made: Result, tmp_path: Path) -> None:
    run = only(made, tmp_path, dataclasses.replace(LIMITS, report=True))
    assert {"report.html", "config.yaml"} <= {*run.files}
    for path in run.files.values():
        assert "hf_secret" not in path.read_text("utf-8") and "me:pw" not in path.read_text("utf-8")
