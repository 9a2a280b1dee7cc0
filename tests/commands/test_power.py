"""`evalkit power`: what a comparison can see, from a result or a comparison, in every form."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from evalkit.report import formats
from evalkit.results.gate import Gate, Limit, Margin, plain
from evalkit.results.record import Record
from evalkit.results.result import Result

from ..conftest import Run
from ..results.made_comparison import comparison
from ..results.made_comparison import metric as compared
from ..results.test_power import measured


def saved(record: Record, folder: Path) -> Path:
    return Result(**vars(record)).save(folder).path


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A result of two models on 40 prompts."""
    a, b = np.random.default_rng(0).normal(1, 0.2, size=(2, 1, 40))
    return saved(measured({"a": a, "b": b}), tmp_path / "result")


def test_a_result_says_how_many_prompts_a_margin_needs(evalkit: Run, result: Path) -> None:
    code, out, err = evalkit("power", str(result), "--margin", "m=10%", "--format", "csv")
    assert (code, err) == (0, "")
    (row,) = csv.DictReader(io.StringIO(out))
    found = {key: float(row[key]) for key in ("value", "n", "error", "mde", "margin", "needed")}
    assert found["margin"] == pytest.approx(found["value"] / 10)
    assert float(row["pass_50"]) < 0.8 <= float(row["pass_1000"])
    assert 50 < found["needed"] <= 1000
    # an error grows with the root of fewer prompts, and a margin of 2.8 errors is what is needed, two decimals to it
    assert found["needed"] == pytest.approx(40 * (2.8 * found["error"] / found["margin"]) ** 2, rel=0.05)
    assert found["mde"] == pytest.approx(2.87 * found["error"], rel=0.01)


def test_the_terminal_says_where_the_error_comes_from(evalkit: Run, result: Path) -> None:
    code, out, err = evalkit("power", f"{result}::b", "--margin", "m=0.1")
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    assert "error: measured between 'b' and 'a'" in text and "5,521" in text and "baseline b" in text
    assert "with power 80%" in text


@pytest.mark.parametrize("form", [name for name in formats() if name != "junit"])
def test_every_form_has_the_numbers(evalkit: Run, result: Path, form: str) -> None:
    code, out, err = evalkit("power", str(result), "--margin", "m=0.123", "--format", form)
    assert (code, err) == (0, "") and "0.123" in out


def test_a_comparison_says_it_too(evalkit: Run, tmp_path: Path) -> None:
    gate = plain(Gate({name: Limit("critical", Margin(0.2452)) for name in ("fad", "kld")}))
    path = comparison([compared(error=0.05, df=49.0)], gate=gate).save(tmp_path / "comparison").path
    code, out, err = evalkit("power", str(path), "--format", "json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    (row,) = said["table"]
    assert "the gate asks for kld too: without a value there is no GO" in said["notes"]
    assert (row["error"], row["margin"], row["n"]) == (0.05, 0.2452, 500)
    code, _, err = evalkit("power", f"{path}::a")
    assert code == 2 and err.count("\n") == 1 and "is a comparison, which has no rows" in err


def test_without_a_margin_it_says_what_is_seen(evalkit: Run, result: Path) -> None:
    code, out, err = evalkit("power", str(result))
    assert (code, err) == (0, "") and "sees" in out and "needs" not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "is not a folder"),
        (["result::c"], "unknown row of the result 'c'"),
        (["result", "--margin", "fad=1"], "unknown metric of the result 'fad'"),
        (["result", "--margin", "m"], "margin 'm': write METRIC=VALUE"),
        (["result", "--margin", "m=-1"], "the margin of m is -1.0: must not be negative"),
        (["result", "--gate", "none.yaml"], "none.yaml"),
        (["result", "--format", "none"], "unknown format 'none'"),
        ([], "see 'evalkit power --help'"),
    ],
)
def test_what_is_wrong_is_one_line(evalkit: Run, result: Path, arguments: list[str], said: str) -> None:
    code, out, err = evalkit("power", *arguments)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1 and err.startswith("evalkit: ")


def test_a_run_that_did_not_finish_is_said(evalkit: Run, tmp_path: Path) -> None:
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "run.log").write_text("")
    code, _, err = evalkit("power", "unfinished")
    assert code == 2 and "the run did not finish" in err and err.count("\n") == 1
