"""Sweeps whose points are jobs of Hydra: launchers, and jobs that end without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit import load
from evalkit.errors import EvalkitError
from evalkit.sweeping import multirun
from evalkit.sweeping.points import Outcome, gather, write

from ..conftest import Run

BASE = ["model=synth", "prompts=demo", "prompts.first=4", "metric=chroma", "random_weights=0", "sampling.duration=1"]
NOISE = "model.synth.noise=0.0,0.3,1e39"


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [[], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], ["hydra/launcher=submitit_local"]],
    ids=["basic", "joblib", "submitit"],
)
def test_every_launcher_ends_in_the_same_record(evalkit: Run, tmp_path: Path, launcher: list[str]) -> None:
    code, out, err = evalkit("run", "-m", *BASE, NOISE, "report=true", *launcher)
    (folder,) = tmp_path.glob("results/runs/*-synth")
    assert code == 3 and err.splitlines()[-1] == f"evalkit: '{folder}': 1 of 3 points failed: 3"
    assert out.endswith(f"sweep: {folder}\nreport: {folder / 'report.html'}\n")
    assert [*tmp_path.rglob("report.html")] == [folder / "report.html"]
    found = load(folder)
    assert [*found.points["status"]] == ["ok", "ok", "failed"] and found.default == 1
    assert [*found.points["options"]] == [{"model.synth.noise": value} for value in (0.0, 0.3, 1e39)]
    assert [found.result(point).config["model"]["synth"]["noise"] for point in (1, 2)] == [0.0, 0.3]


def test_a_job_that_ends_without_a_word_is_a_failed_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    begun = multirun.begin([*BASE, f"output_dir={tmp_path / 'runs'}", "model.synth.noise=0.0,0.3"], None)
    assert [one.error for one in gather(begun.points)] == [multirun.NOT_RUN] * 2
    assert [one.rows for one in gather(begun.points)] == [["synth"]] * 2
    with pytest.raises(MemoryError):
        multirun.end(begun, MemoryError("the launcher died"))
    with pytest.raises(EvalkitError, match="none of the 2 points could be measured: it ended without a result"):
        multirun.end(begun)


def test_what_came_of_a_point_is_read_as_it_was_written(tmp_path: Path) -> None:
    options: dict[str, Any] = {"a.b": [1, "x"], "model": None}
    for number in (1001, 2, 10):
        write(tmp_path, number, Outcome({**options, "n": number}, ["m"], None, "it broke"))
    assert [one.options["n"] for one in gather(tmp_path)] == [2, 10, 1001]
    assert json.loads((tmp_path / "002.json").read_text()) == {
        "options": {**options, "n": 2}, "rows": ["m"], "folder": "", "error": "it broke",
    }  # fmt: skip
