"""`evalkit sweep`: one line for every mistake, what is printed, and the exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from evalkit import load

from ..conftest import Run

BASE = ["sweep", "model=synth", "prompts=synthetic", "prompts.first=6", "metric=[chroma]", "random_weights=0"]
BASE += ["sampling.duration=1", "uncertainty.resamples=0"]
NOISE = "model.synth.noise=0.0,0.3"
OPTUNA = [*BASE, NOISE, "--search", "optuna"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (BASE, "nothing is swept: give an option several values"),
        ([*BASE, "sampling.topk=1,2"], "sampling.topk=1: there is no option 'sampling.topk': did you mean"),
        ([*BASE, "sampling.top_k=range(5,1)"], "sampling.top_k=range(5,1) holds no value"),
        ([*BASE, "sampling.top_k=choice(250)"], "the sweep has one point, sampling.top_k=250: give more values"),
        ([*BASE, "sampling.top_k=1,-1"], "sampling.top_k=-1: must not be negative; nothing was run"),
        ([*BASE, "sampling.top_p=interval(0,1)"], "has no list of values: use range(START,STOP,STEP) or A,B,C"),
        ([*BASE, NOISE, "--objectives", "fad"], "unknown metric of the sweep 'fad'"),
        ([*BASE, NOISE, "metric=[chroma,stereo]", "--objectives", "side_to_mid"], "side_to_mid has no direction"),
        ([*BASE, NOISE, "--objectives", "chroma,chroma"], "chroma is named twice"),
        ([*BASE, NOISE, "--search", "gird"], "unknown search 'gird': did you mean 'grid'?"),
        ([*BASE, NOISE, "--trials", "4"], "--trials is for a search that chooses as it goes"),
        ([*BASE, NOISE, "--study", "x.db"], "--study is for a search that chooses as it goes"),
        (OPTUNA, "--search optuna needs --trials N"),
        ([*OPTUNA, "--trials", "1"], "--trials 1: a sweep has at least 2 points"),
        ([*OPTUNA, "--trials", "9", "--race", "10,all"], "give one of them"),
        ([*BASE, NOISE, "--race", "10,all"], "10 prompts are no part of the 6 that there are"),
        ([*BASE, NOISE, "--race", "10"], "write increasing numbers of prompts and 'all' at the end"),
        ([*BASE, NOISE, "--margin", "chroma=1"], "give --race too"),
        ([*BASE, NOISE, "--margin", "chroma"], "--margin chroma: write METRIC=VALUE"),
        ([*BASE, NOISE, "--margin", "chroma=1", "--margin", "chroma=2"], "one metric is named twice"),
        ([*BASE, NOISE, "prompts.first=20", "--race", "10,all", "--margin", "fad=1"], "the objectives are chroma"),
        ([*BASE, NOISE, "prompts.first=20", "--race", "10,all", "--margin", "chroma=-1"], "must be 0 or more"),
        ([*BASE, NOISE, "hydra/launcher=joblib"], "are for 'evalkit run -m': leave it out"),
        ([*BASE, "model=[synth,tiny_stereo]", NOISE], "each point is of one model, not of synth, tiny_stereo"),
        (["sweep", "experiment=sweep_guidance", "prompts=demo"], "nothing is selected for model"),
        ([*BASE, NOISE, "--nope"], "see 'evalkit sweep --help'"),
    ],
    ids=lambda value: " ".join(value[len(BASE) :]) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_status_2_and_leaves_nothing(
    evalkit: Run, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    code, out, err = evalkit(*arguments)
    assert (code, out) == (2, ""), err
    assert expected in err
    assert err.startswith("evalkit: ") and err.count("\n") == 1, err
    assert not (tmp_path / "results").exists()


def test_the_record_and_its_page_are_printed_and_say_where_they_lie(
    evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.page.writing.render", lambda shown: shown.document.title)
    code, out, err = evalkit(*BASE, "model.synth.noise=0.0,0.3,1e39", "report=true")
    (folder,) = tmp_path.glob("results/runs/*-synth")
    assert code == 3
    where = f"sweep: {folder}\nreport: {folder / 'report.html'}\n"
    assert [*tmp_path.rglob("report.html")] == [folder / "report.html"], "points have none of their own"
    assert out.endswith(where) and "not worse than the best" in out
    lines = err.splitlines()
    assert lines[0].startswith("point 1 of 3 (model.synth.noise=0.0): Chroma cosine similarity 1")
    assert lines[2].startswith("point 3 of 3 (model.synth.noise=1e+39): failed: synth: ")
    assert lines[-1] == f"evalkit: '{folder}': 1 of 3 points failed: 3"
    again = evalkit("table", str(folder))[1]
    assert again == out.removesuffix(where)


def test_help_says_what_the_flags_are(evalkit: Run) -> None:
    code, out, _ = evalkit("sweep", "--help")
    assert code == 0
    for flag in ("--search", "--trials", "--race", "--objectives", "--margin", "--study", "--no-confirm"):
        assert flag in out


@pytest.mark.slow
def test_a_sweep_that_was_killed_is_made_again_to_the_same_record(tmp_path: Path) -> None:
    options = [*BASE, f"output_dir={tmp_path / 'runs'}"]
    options += ["model.synth.noise=0.0,0.1,0.3,1e39", "model.synth.detune=0,99,300"]
    command = [sys.executable, "-m", "evalkit.cli", *options]

    def environment(cache: str) -> dict[str, str]:
        return {**os.environ, "EVALKIT_CACHE": str(tmp_path / cache)}

    killed = subprocess.Popen(command, env=environment("cache"), stderr=subprocess.DEVNULL)
    while len([*tmp_path.glob("runs/*/points/*.json")]) < 4:
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (left,) = (tmp_path / "runs").iterdir()
    found = []
    for cache in ("cache", "another"):
        before = {*(tmp_path / "runs").iterdir()}
        done = subprocess.run(command, env=environment(cache), capture_output=True, text=True)
        assert done.returncode == 3, done.stderr
        found.append(load(*({*(tmp_path / "runs").iterdir()} - before)))
    again, whole = found
    assert len(again.points) == 12 and [*again.points["status"]].count("failed") == 3
    pd.testing.assert_frame_equal(*(one.points.drop(columns=["path", "sha256"]) for one in found))
    for name in ("scores", "confirmed", "rungs"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(whole, name))
    assert (again.winner, again.remarks) == (whole.winner, whole.remarks)
    assert not (left / "result.json").exists()
