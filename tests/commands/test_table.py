"""`evalkit table`: one result or several, in every form, and one line for what cannot be tabled."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evalkit.report import formats
from evalkit.results.record import ProtocolInfo
from evalkit.results.result import Result

from ..conftest import Run
from ..results.made import FORMS, TITLES, metric, record

STORED = Path(__file__).parents[1] / "results" / "fixtures" / "schema_1"
NEWER = {"musicgen_next": {"fad": 4.2, "kld": 1.3, "clap_score": 0.3, "chroma": 0.2}}


def saved(folder: Path, **changes: Any) -> Path:
    made = record(**changes)
    result = Result(**{field.name: getattr(made, field.name) for field in dataclasses.fields(made)})
    return result.save(folder).path


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return saved(tmp_path / "older")


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    return saved(tmp_path / "newer", values=NEWER)


def test_the_table_of_one_result_is_printed_as_the_run_printed_it(
    evalkit: Run, older: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Result.load(older).print()
    shown, _, last = capfd.readouterr().out.rpartition("result: ")
    assert Path(last.strip()) == older
    assert evalkit("table", str(older)) == (0, shown, "")
    for name in ("musicgen_small", "musicgen_stereo_small", "FAD", "KLD", "4.90", "4.88"):
        assert name in shown


@pytest.mark.parametrize("form", ["markdown", "csv", "json"])
def test_the_plain_forms_are_the_files_of_the_result(evalkit: Run, older: Path, form: str) -> None:
    file = older / f"table.{'md' if form == 'markdown' else form}"
    assert evalkit("table", str(older), "--format", form) == (0, file.read_text("utf-8"), "")


def test_markdown_has_a_short_option(evalkit: Run, older: Path) -> None:
    assert evalkit("table", "--markdown", str(older)) == evalkit("table", "--format", "markdown", str(older))


def test_csv_and_json_hold_the_digits_that_were_measured(evalkit: Run, older: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(evalkit("table", str(older), "--format", "csv")[1])))
    assert [(row["model"], float(row["fad"])) for row in rows] == [
        ("musicgen_small", 4.9034),
        ("musicgen_stereo_small", 5.1117),
    ]
    scores = json.loads(evalkit("table", str(older), "--format", "json")[1])["scores"]
    assert {s["value"] for s in scores if s["metric"] == "kld"} == {1.4031, 1.4444}


@pytest.mark.parametrize("form", FORMS)
def test_several_results_stand_in_one_table_in_every_form(evalkit: Run, older: Path, newer: Path, form: str) -> None:
    code, out, err = evalkit("table", str(older), str(newer), "--format", form)
    assert (code, err) == (0, "")
    out = out.replace("\\_", "_")  # as LaTeX has it
    places = [out.index(name) for name in ("musicgen_small", "musicgen_stereo_small", "musicgen_next")]
    assert places == sorted(places)
    assert "4.90" in out and "4.2" in out


@pytest.mark.parametrize("form", FORMS)
def test_a_stored_result_is_tabled_in_every_form(evalkit: Run, form: str) -> None:
    code, out, err = evalkit("table", str(STORED), "--format", form)
    assert (code, err) == (0, "") and "synth" in out


def test_models_of_one_name_are_told_apart_by_their_runs(evalkit: Run, older: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(older, tmp_path / "again"))
    _, out, _ = evalkit("table", str(older), str(again), "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["run"] for row in rows if row["model"] == "musicgen_small"] == ["older", "again"]


def test_different_protocols_stand_in_one_table_only_when_asked(evalkit: Run, older: Path, tmp_path: Path) -> None:
    metrics = {name: dataclasses.replace(metric(*TITLES[name]), protocol="fadtk") for name in TITLES}
    protocol = ProtocolInfo("fadtk", (), {"vggish.hop": 1})
    other = saved(tmp_path / "other", values=NEWER, metrics=metrics, protocol=protocol)
    code, out, err = evalkit("table", str(older), str(other))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("evalkit: the results are of different computations (protocols musicgen, fadtk)")
    code, out, err = evalkit("table", str(older), str(other), "--across-protocols")
    assert (code, err) == (0, "") and "not comparable down a column: protocols musicgen, fadtk" in " ".join(out.split())


def test_nothing_is_judged_by_a_result(evalkit: Run, older: Path) -> None:
    said = "evalkit: nothing is judged here: junit is a form of what evalkit compare makes\n"
    assert evalkit("table", str(older), "--format", "junit") == (2, "", said)


def test_an_unknown_format_is_one_line_with_the_nearest(evalkit: Run, older: Path) -> None:
    code, out, err = evalkit("table", str(older), "--format", "markdwon")
    assert (code, out) == (2, "")
    available = ", ".join(formats())
    assert err == f"evalkit: unknown format 'markdwon': did you mean 'markdown'? available: {available}\n"


def test_a_folder_without_a_finished_result_is_one_line(evalkit: Run, older: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "run.log").touch()
    for name, said in (
        ("stopped", "holds no finished result: the run did not finish: give the folder that evalkit run printed"),
        ("other", "holds no finished result: give the folder that evalkit run printed"),
        ("absent", "is not a folder: give the one that evalkit run printed"),
    ):
        for first in ([], [str(older)]):
            assert evalkit("table", *first, name) == (2, "", f"evalkit: '{tmp_path / name}' {said}\n")


def test_a_folder_of_results_is_one_line_that_names_the_latest(evalkit: Run, tmp_path: Path) -> None:
    first = saved(tmp_path / "results" / "runs" / "20260101-000000-a")
    for folder in ("results", "results/runs"):
        said = f"evalkit: '{tmp_path / folder}' holds no result itself but in folders: give '{first}'\n"
        assert evalkit("table", folder) == (2, "", said)
    second = saved(tmp_path / "results" / "runs" / "20260102-000000-b")
    said = (
        f"evalkit: '{tmp_path / 'results'}' holds no result itself but in folders: give '{second}', the latest of 2\n"
    )
    assert evalkit("table", "results") == (2, "", said)


def test_no_result_at_all_is_one_line(evalkit: Run) -> None:
    code, out, err = evalkit("table")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "RESULT" in err and "evalkit table --help" in err
