"""`evalkit export`: records in forms for elsewhere, and one line for what cannot be exported."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData

from evalkit.commands import described, export
from evalkit.results.result import Result
from evalkit.results.sweep import Sweep

from ..conftest import Run
from ..results.drawn_sweeps import sweep, values
from ..results.made import VALUES, record
from ..results.made_comparison import comparison

FORMS = {"markdown": "table.md", "csv": "table.csv", "json": "table.json"}


def saved(folder: Path, **changes: Any) -> str:
    made = record(**changes)
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    return str(Result(**fields).save(folder).path)


def card(text: str) -> ModelCardData:
    data = ModelCard(text).data
    assert isinstance(data, ModelCardData)
    return data


@pytest.fixture
def result(tmp_path: Path) -> str:
    return saved(tmp_path / "result", values={"small": VALUES["musicgen_small"]})


@pytest.fixture
def two(tmp_path: Path) -> str:
    return saved(tmp_path / "two")


@pytest.fixture
def compared(tmp_path: Path) -> str:
    return str(comparison().save(tmp_path / "compared").path)


@pytest.fixture
def swept(tmp_path: Path) -> str:
    made = sweep({"sampling.top_k": [50, 250]}, lambda x: values(x / 250), {"sampling.top_k": 250})
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    return str(Sweep(**{**fields, "winner": 2}).save(tmp_path / "swept").path)


@pytest.mark.parametrize("form", FORMS)
def test_the_plain_forms_are_the_files_of_the_result(evalkit: Run, two: str, form: str) -> None:
    assert evalkit("export", two, "--to", form) == (0, (Path(two) / FORMS[form]).read_text("utf-8"), "")


@pytest.mark.parametrize("form", ["latex", "markdown", "csv", "json", "junit"])
def test_a_comparison_is_exported_as_it_is_tabled(evalkit: Run, compared: str, form: str) -> None:
    code, out, err = evalkit("export", compared, "--to", form)
    assert (code, err) == (0, "") and out
    assert evalkit("table", compared, "--format", form) == (0, out, "")


@pytest.mark.parametrize("form", ["latex", "markdown", "csv", "json"])
def test_a_sweep_is_exported_as_it_is_tabled(evalkit: Run, swept: str, form: str) -> None:
    code, out, err = evalkit("export", swept, "--to", form)
    assert (code, err) == (0, "") and "250" in out
    assert evalkit("table", swept, "--format", form) == (0, out, "")
    code, out, err = evalkit("export", swept, "--to", "model-index")
    assert (code, out, err.count("\n")) == (2, "", 1) and "is no result of a run" in err


def test_latex_is_a_float(evalkit: Run, two: str) -> None:
    code, out, err = evalkit("export", two, "--to", "latex")
    assert (code, err) == (0, "") and out.count(r"\begin{table}") == 1 and r"musicgen\_stereo\_small & 5.112" in out


def test_a_model_index_is_the_metadata_of_a_card(evalkit: Run, result: str, tmp_path: Path) -> None:
    code, out, err = evalkit("export", result, "--to", "model-index", "--source-url", "https://example.org/r")
    assert (code, err) == (0, "")
    (fad, *others) = card(out).eval_results or []
    assert (fad.metric_type, fad.metric_value, len(others)) == ("fad_musicgen", 4.9034, 3)
    assert fad.source_url == "https://example.org/r"
    target = tmp_path / "new" / "card.md"
    command = ["export", result, "--to", "model-index", "--output", str(target)]
    assert evalkit(*command) == (0, "", f"exported: {target}\n")
    assert card(target.read_text("utf-8")).model_name == "small"
    assert evalkit(*command)[0] == 0  # over what it wrote itself


def test_the_model_is_named_where_there_are_several(evalkit: Run, two: str) -> None:
    code, out, err = evalkit("export", two, "--to", "model-index")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "has 2 models (musicgen_small, musicgen_stereo_small)" in err and "--row" in err
    name = "musicgen_stereo_small"
    code, out, err = evalkit("export", two, "--to", "model-index", "--row", name)
    assert code == 0 and card(out).model_name == name
    assert err == "evalkit: Chroma cosine similarity is left out: it has no value\n"
    assert evalkit("export", f"{two}::{name}", "--to", "model-index") == (0, out, err)
    assert evalkit("export", f"{two}::{name}", "--to", "model-index", "--row", name) == (0, out, err)


def test_a_file_is_written_over(evalkit: Run, two: str, tmp_path: Path) -> None:
    target = tmp_path / "table.tex"
    target.write_text("older")
    assert evalkit("export", two, "--to", "latex", "--output", str(target)) == (0, "", f"exported: {target}\n")
    assert target.read_text("utf-8") == evalkit("export", two, "--to", "latex")[1]


def test_a_link_is_followed_and_a_pipe_is_written_into(evalkit: Run, two: str, tmp_path: Path) -> None:
    link, pipe = tmp_path / "link.tex", tmp_path / "pipe"
    link.symlink_to("table.tex")
    os.mkfifo(pipe)
    assert evalkit("export", two, "--to", "latex", "--output", str(link))[0] == 0
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:  # else opening it waits for a writer
        assert evalkit("export", two, "--to", "latex", "--output", str(pipe)) == (0, "", f"exported: {pipe}\n")
        assert reader.read() == (tmp_path / "table.tex").read_bytes()
    assert link.is_symlink() and pipe.is_fifo()


@pytest.mark.parametrize("text", ["# A card\n", "---\nlicense: mit\n---\n# A card\n", "---\r\na: b\r\n---\r\ntext"])
def test_a_model_card_is_not_written_over(evalkit: Run, result: str, tmp_path: Path, text: str) -> None:
    there = tmp_path / "README.md"
    there.write_bytes(text.encode())
    code, out, err = evalkit("export", result, "--to", "model-index", "--output", str(there))
    assert (code, out, err.count("\n")) == (2, "", 1) and "write to another file" in err
    assert there.read_bytes() == text.encode()


def mistakes() -> dict[str, tuple[list[str], str]]:
    return {
        "no form": (["RESULT"], "give the form, as in --to latex"),
        "unknown form": (["RESULT", "--to", "latx"], "unknown form 'latx': did you mean 'latex'?"),
        "terminal": (["RESULT", "--to", "terminal"], "unknown form 'terminal'"),
        "no record": (["NOWHERE", "--to", "csv"], "NOWHERE"),
        "verdicts of a result": (["RESULT", "--to", "junit"], "nothing is judged here"),
        "a comparison on a card": (["COMPARED", "--to", "model-index"], "is no result of a run"),
        "a row elsewhere": (["RESULT", "--to", "csv", "--row", "small"], "are for --to model-index"),
        "another row": (["RESULT::small", "--to", "model-index", "--row", "b"], "are two models: name one"),
        "unknown row": (["RESULT", "--to", "model-index", "--row", "smal"], "did you mean 'small'?"),
        "a folder": (["RESULT", "--to", "csv", "--output", "."], "a folder is there: name a file"),
        "under a file": (["RESULT", "--to", "csv", "--output", "RESULT/result.json/x"], "result.json"),
        "random": (["RANDOM", "--to", "model-index"], "such numbers mean nothing on a model card"),
        "nothing": (["FAILED", "--to", "model-index"], "has no score"),
    }


@pytest.mark.parametrize("case", mistakes())
def test_a_mistake_is_one_line(evalkit: Run, result: str, compared: str, tmp_path: Path, case: str) -> None:
    arguments, expected = mistakes()[case]
    small = {"small": VALUES["musicgen_small"]}
    places = {"RESULT": result, "COMPARED": compared, "NOWHERE": str(tmp_path / "NOWHERE")}
    if case == "random":
        places["RANDOM"] = saved(tmp_path / "random", values=small, each={"random_weights": True})
    if case == "nothing":
        places["FAILED"] = saved(
            tmp_path / "failed", values={"small": dict.fromkeys(VALUES["musicgen_small"], math.nan)}
        )
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    code, out, err = evalkit("export", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith("evalkit: ") and expected in err
    assert "Traceback" not in err


def test_plots_are_files_in_a_folder_and_their_names_are_said(evalkit: Run, two: str, tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    code, out, err = evalkit("export", two, "--to", "plots", "--output", str(folder))
    assert (code, out) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["intervals.png", "intervals.svg", "published.png",
                                                              "published.svg"]  # fmt: skip
    assert err.count("exported: ") == 4
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert evalkit("export", two, "--to", "plots", "--output", str(folder))[0] == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert before["intervals.png"].startswith(b"\x89PNG")
    assert b"musicgen_small" in before["intervals.svg"]


def test_plots_of_comparisons_and_sweeps_are_exported(evalkit: Run, compared: str, swept: str, tmp_path: Path) -> None:
    for record_of, names in ((compared, {"differences"}), (swept, {"by-top_k", "pareto"})):
        folder = tmp_path / Path(record_of).name / "plots"
        assert evalkit("export", record_of, "--to", "plots", "--output", str(folder))[0] == 0
        assert {path.stem for path in folder.iterdir()} == names


def test_plots_need_a_folder_and_something_to_draw(evalkit: Run, two: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    empty = saved(tmp_path / "empty", values={"m": {"fad": math.nan}}, published={})
    for arguments, said in (
        ([two], "--to plots makes several files: name a folder with --output"),
        ([two, "--output", str(file)], "a file is there: name a folder"),
        ([f"{two}::musicgen_small", "--output", str(tmp_path / "p")], "leave them out"),
        ([empty, "--output", str(tmp_path / "p")], "has nothing to draw"),
    ):
        code, _, err = evalkit("export", *arguments, "--to", "plots")
        assert (code, said in err, len(err.splitlines())) == (2, True, 1)
    assert file.read_text() == "mine"
    assert not (tmp_path / "p").exists()


def test_usage_says_which_forms_any_record_has() -> None:
    lines = described(export.__doc__)[0].splitlines()
    for form in export.forms():
        (line,) = [line for line in lines if re.search(rf"[ |]{form}[ |]", line)]
        assert line.startswith("evalkit export RESULT " if form == export.MODEL_INDEX else "evalkit export RECORD ")
