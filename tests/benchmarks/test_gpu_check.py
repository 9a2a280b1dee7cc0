"""The script of the acceptance on a GPU starts what exists, with options that exist, and goes on after a failure."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import re
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "benchmarks" / "gpu_check.sh"
STEPS = ["doctor", "tests", "attention", "medium", "invariance", "whole", "backends", "metrics", "small", "large"]
# takes the place of Python: notes its arguments, and fails where it measures metrics
STAND_IN = """#!/usr/bin/env bash
printf '%s\\0' "$@" >>"$NOTES"; printf '\\n' >>"$NOTES"
case "$*" in *benchmarks.metrics*) echo "no such package"; exit 3 ;; esac
"""


def run(tmp_path: Path, *arguments: str, **variables: str) -> tuple[int, str, list[list[str]]]:
    """The status, what was printed, and the arguments of each call of Python."""
    python, notes = tmp_path / "python", tmp_path / "notes"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    notes.write_text("")
    environment = {**os.environ, "PYTHON": str(python), "NOTES": str(notes), **variables}
    made = subprocess.run([SCRIPT, *arguments, tmp_path / "out"], env=environment, capture_output=True, text=True)
    return made.returncode, made.stdout + made.stderr, [l.split("\0")[:-1] for l in notes.read_text().splitlines()]  # noqa: E741


@pytest.mark.parametrize("dry", [[], ["--dry"]], ids=["", "dry"])
def test_every_step_is_a_program_with_options_that_it_has(tmp_path: Path, dry: list[str]) -> None:
    _, _, calls = run(tmp_path, *dry)
    assert len(calls) == len(STEPS)
    for _, program, *arguments in calls:
        if program == "pytest":
            assert [part for part in arguments if part.startswith("tests/") and not (ROOT / part).exists()] == []
        elif program != "evalkit.cli":
            assert arguments[:2] == ["--device", "cpu" if dry else "cuda"]
            parsed = parse(importlib.import_module(program), arguments)
            assert parsed.output == tmp_path / "out"


def parse(module: Any, arguments: list[str]) -> argparse.Namespace:
    """What a program makes of its arguments; it goes no further. Raises SystemExit for an option that it lacks."""
    original, seen = argparse.ArgumentParser.parse_args, []

    def stop(self: argparse.ArgumentParser, *_: Any) -> Any:
        seen.append(original(self, arguments))
        raise InterruptedError

    with patch.object(argparse.ArgumentParser, "parse_args", stop), pytest.raises(InterruptedError):
        module.main()
    return seen[0]


def test_a_step_that_fails_leaves_the_others_and_is_in_the_summary(tmp_path: Path) -> None:
    code, out, calls = run(tmp_path, STEPS="doctor metrics small")
    assert code == 1 and len(calls) == 3
    assert "    no such package" in out
    table = (tmp_path / "out" / "summary.txt").read_text()
    assert table in out
    assert re.fullmatch(r"step +result +s\ndoctor +ok +\d+\nmetrics +failed +\d+\nsmall +ok +\d+\n", table)
    assert (tmp_path / "out" / "metrics.log").read_text() == "no such package\n"
    assert run(tmp_path, STEPS="doctor small")[0] == 0
    code, out, calls = run(tmp_path, STEPS="doctor smal")
    assert (code, calls) == (2, []) and "unknown step 'smal'" in out


def test_the_head_has_every_step_with_its_limit_and_an_estimate_below_it() -> None:
    text = SCRIPT.read_text("utf-8")
    table = re.findall(r"^#     (\w+) +(\d+) +(\d+)  ", text, re.M)
    assert [step for step, _, _ in table] == STEPS
    limits = dict(re.findall(r"(\w+)\) echo (\d+) ;;", text))
    assert {step: limit for step, _, limit in table} == limits
    assert all(int(about) < int(limit) for _, about, limit in table)
    assert sum(int(about) for _, about, _ in table) <= 20 * 60
    assert text.count("LAST_START=$((20 * 60)) END=$((25 * 60))") == 1


def test_attention_is_measured_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    from benchmarks import attention, roofline

    monkeypatch.setattr(roofline, "measure", lambda *_: roofline.Machine(1e10, 1e11))
    line = "attention --size tiny --rows 2 --lengths 64 --new 6 --clips 1 --steps 12 --output"
    monkeypatch.setattr("sys.argv", [*line.split(), str(tmp_path)])
    attention.main()
    found = json.loads((tmp_path / "attention_cpu.json").read_text())
    ran = [row for part in ("attention", "padded", "captions", "sums") for row in found[part] if "failed" not in row]
    assert all(row["error"] < 1e-6 for row in ran)
    assert {row["attention"] for row in found["attention"]} == {"triton", "efficient", "math", "flash", "cudnn"}
    assert {"triton", "math"} <= {row.get("attention") for row in ran if "gb_per_s" in row}
    assert found["steps"][0]["kernels"] > 100 and len(found["steps"][0]["ms"]) == 3
    page = (tmp_path / "attention_cpu.md").read_text()
    assert "| evalkit's kernel | 2 | 64 | 33 |" in page and "| torch, cuDNN | 2 | 64 | 33 | failed: " in page
    assert "## A step of tiny with 1 clips" in page


@pytest.mark.parametrize("row", [{"error": 0.1}, {"error": math.nan}, {"failed": "no kernel image"}])
def test_a_kernel_that_is_wrong_fails_the_step(row: dict[str, Any]) -> None:
    from benchmarks.attention import require_right

    good: list[dict[str, Any]] = [{"attention": "triton", "error": 1e-4}, {"attention": "cudnn", "error": 0.5}]
    require_right(good, 2e-3)
    with pytest.raises(SystemExit, match="in 1 of 2 cases"):
        require_right([*good, {"attention": "triton", **row}], 2e-3)


def test_arguments_that_the_script_does_not_know_run_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "--dryy")[::2] == (2, [])
    assert run(tmp_path, STEPS="")[::2] == (2, [])
    code, said, calls = run(tmp_path, "--help")
    assert (code, calls) == (0, []) and "within 25 minutes" in said
