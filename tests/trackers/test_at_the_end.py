"""Runs, sweeps and comparisons that are sent to a tracker at their end, and what becomes of one that fails."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from evalkit import load
from evalkit.progress import silenced
from evalkit.results.gate import MISTAKE
from evalkit.trackers import exporting, tell, to_tensorboard
from evalkit.trackers.run import Run as Sent

from ..conftest import ROOT, Run

BASE = ["model=synth", "prompts=synthetic", "prompts.count=4", "metric=[silence,stereo]", "sampling.duration=1"]
BASE += ["uncertainty.resamples=0"]
TRACKED = "tracker=[tensorboard]"
FOLDER = Path("results/tensorboard/evalkit")


def scalar(folder: Path, tag: str) -> float:
    (event,) = EventAccumulator(str(folder)).Reload().Tensors(tag)
    return float(event.tensor_proto.float_val[0])


def test_a_run_is_sent_when_it_is_finished_and_its_record_does_not_say_where(evalkit: Run, tmp_path: Path) -> None:
    code, _, err = evalkit("run", *BASE, TRACKED)
    assert code == 0
    assert "tensorboard --logdir results/tensorboard" in err
    (path,) = (tmp_path / "results/runs").iterdir()
    assert scalar(tmp_path / FOLDER / path.name / "synth", "clips/usable") == 4
    assert (path / "report.html").is_file()
    assert "tracker" not in load(path).config
    code, _, _ = evalkit("run", *BASE, "name=untracked")
    (other,) = (tmp_path / "results/runs").glob("*-untracked")
    assert load(other).scores.equals(load(path).scores)
    assert load(other).clips.drop(columns="path").equals(load(path).clips.drop(columns="path"))


@pytest.mark.slow  # it draws plots of the sweep
def test_a_sweep_is_sent_as_a_whole_with_a_run_for_each_point(evalkit: Run, tmp_path: Path) -> None:
    options = ["model.synth.noise=0.0,0.3", "--objectives", "silence_share", "--no-confirm"]
    code, _, err = evalkit("sweep", *BASE, *options, TRACKED)
    assert code == 0, err
    (sent,) = (tmp_path / FOLDER).iterdir()
    runs = sorted(path.name for path in sent.iterdir() if path.is_dir())
    assert [name[:5] for name in runs] == ["001 n", "002 n", "sweep"]
    assert scalar(sent / runs[-1], "points") == 2
    assert scalar(sent / runs[0], "silence_share") == 0


def test_a_sweep_over_trackers_is_refused(evalkit: Run) -> None:
    code, _, err = evalkit("sweep", *BASE, "tracker.tensorboard.rows=1,2", TRACKED)
    assert code == 2
    assert "changes no clip and no score" in err


def test_a_comparison_is_sent(evalkit: Run, tmp_path: Path) -> None:
    evalkit("run", *BASE, "name=a")
    (made,) = (tmp_path / "results/runs").iterdir()
    code, _, err = evalkit("compare", str(made), str(made), "--tracker", "tensorboard")
    assert "sent to" in err
    (sent,) = (tmp_path / FOLDER).iterdir()
    (run,) = (path for path in sent.iterdir() if path.is_dir())
    assert scalar(run, "mono_share/difference") == 0
    code, _, err = evalkit("compare", str(made), str(made), "--tracker", "tensorbord")
    assert code == MISTAKE
    assert "did you mean 'tensorboard'?" in err


def test_a_tracker_that_fails_is_a_warning_and_the_result_is_there(
    evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(self: to_tensorboard.Tracker, runs: Sequence[Sent]) -> str:
        raise RuntimeError("no route to https://me:secret@host.example\nand more")

    monkeypatch.setattr(to_tensorboard.Tracker, "send", broken)
    code, out, err = evalkit("run", *BASE, TRACKED, "tracker.tensorboard.report=false")
    assert code == 0
    (path,) = (tmp_path / "results/runs").iterdir()
    assert f"result: {path}" in out
    (line,) = [line for line in err.splitlines() if "not sent" in line]
    assert "RuntimeError: no route to" in line and f"evalkit export {path} --to tensorboard" in line
    assert "secret" not in line and "secret" not in (path / "run.log").read_text()
    assert line in (path / "run.log").read_text()
    with silenced(True):
        tell(load(path), {"tensorboard": to_tensorboard.Tracker(report=False, sounds=0)})
    assert "not sent to the tracker tensorboard" in capfd.readouterr().err
    code, _, err = evalkit("export", str(path), "--to", "tensorboard")
    assert (code, err.count("\n")) == (2, 1)


def test_what_sends_a_record_later_sends_it_to_the_same_place() -> None:
    to = to_tensorboard.Tracker(project="july runs", output="https://me:secret@host.example/x")
    said = exporting(Path("a b"), to)
    assert said.startswith("evalkit export 'a b' --to tensorboard --project 'july runs' --output ")
    assert "host.example" in said and "secret" not in said
    assert exporting(Path("a"), to_tensorboard.Tracker()) == "evalkit export a --to tensorboard"


def test_a_package_that_is_not_installed_is_told_before_the_run(
    evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    code, _, err = evalkit("run", *BASE, "tracker=[mlflow]")
    assert code == 2
    assert err.strip().endswith("pip install 'evalkit[mlflow]'")
    assert not (tmp_path / "results").exists() and not (tmp_path / "cache").exists()


def test_the_own_tracker_of_the_documentation_needs_no_edit_elsewhere(
    evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/trackers.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "mytracker.py").write_text(code)
    (tmp_path / "conf/tracker").mkdir(parents=True)
    node = {"lines": {"_target_": "mytracker.Lines", "file": str(tmp_path / "sent.txt")}}
    (tmp_path / "conf/tracker/lines.yaml").write_text(yaml.safe_dump(node))
    monkeypatch.syspath_prepend(str(tmp_path))
    own = ["--config-dir", str(tmp_path / "conf"), "allow_targets=[mytracker]"]
    status, _, err = evalkit("run", *BASE, "tracker=[lines]", *own)
    assert status == 0, err
    assert "'clips/usable': 4" in (tmp_path / "sent.txt").read_text()
    assert os.listdir(tmp_path / "results") == ["runs"]
