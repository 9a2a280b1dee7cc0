"""evalkit called from Python: docs/python.md as it is written, and what is said of a mistake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

import evalkit
from evalkit.config import compose
from evalkit.encoders.chroma import Chroma
from evalkit.errors import EvalkitError
from evalkit.metrics.chroma import ChromaSimilarity
from evalkit.models.synth.synth import Synth
from evalkit.objects import Objects, compose_with, described
from evalkit.plan import make_plan
from evalkit.prompts.demo import Demo
from evalkit.sweeping.checking import Asked

from .conftest import ROOT


def test_the_page_on_python_runs_as_it_is_written(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 4
    script = tmp_path / "notebook.py"
    script.write_text("\n".join(blocks))
    variables = {**os.environ, "EVALKIT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "loud" in done.stdout and "soft" in done.stdout
    assert not done.stderr  # it was to be quiet
    assert "mono_share" in done.stdout and "INCONCLUSIVE" in done.stdout  # of the comparison, of 40 prompts
    assert len(list((tmp_path / "results/comparisons").iterdir())) == 1
    runs = sorted((tmp_path / "results/runs").iterdir())
    assert len(runs) == 4
    first, second = (yaml.safe_load((run / "config.yaml").read_text()) for run in runs[:2])
    assert first["model"]["soft"] == {"_target_": "__main__.Tone", "level": 0.1}
    assert second["prompts"]["first"] == 3 and second["prompts"]["references"]["_target_"].endswith("Synth")
    assert second["metric"]["fad"]["encoder"]["weights"]["random_seed"] == 0


def test_objects_are_what_a_yaml_builds(tmp_path: Path) -> None:
    folders = [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    options = [*folders, "prompts.first=2", "sampling.duration=1.5"]
    built = evalkit.evaluate("model=synth", "prompts=demo", "metric=[chroma]", *options)
    metrics = {"chroma": ChromaSimilarity(Chroma())}
    given = evalkit.evaluate(*options, models={"synth": Synth()}, prompts=Demo(references=Synth()), metrics=metrics)
    assert given.scores.drop(columns="note").equals(built.scores.drop(columns="note"))
    assert given.metrics == built.metrics and given.rows == built.rows
    assert given.protocol == built.protocol
    assert given.config["model"] == {"synth": described(Synth())}
    assert evalkit.load(given.path).scores.equals(given.scores)
    assert GlobalHydra.instance().hydra is None


def test_a_metric_computed_otherwise_is_marked() -> None:
    given = Objects({"synth": Synth()}, {"chroma": ChromaSimilarity(Chroma(n_chroma=24))})
    plan = make_plan(*compose_with(["prompts=demo"], None, given))
    assert plan.protocols == {"chroma": "musicgen (changed)"}


def test_an_option_selects_besides_what_is_given() -> None:
    config, _ = compose_with(["model=synth", "prompts=demo", "metric=[fad]"], None, Objects({"other": Synth(1)}, {}))
    assert list(config.model) == ["synth", "other"] and list(config.metric) == ["fad"]
    config, _ = compose_with(["model=synth"], None, Objects(prompts=Demo(path="${x}")))
    assert config.prompts.path == "${x}"


@dataclass
class Mutable:
    kind: str = "mutable"


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ((), {"models": [Synth()]}, "models: give a dictionary"),
        ((), {"models": {"x": Synth}}, r"models\['x'\]: the class Synth is no component: give an instance"),
        ((), {"models": {"x": "folder"}}, "'folder' is no component"),
        ((), {"models": {"x": Mutable()}}, "Mutable may change"),
        (
            ("model=synth", "prompts=demo"),
            {"models": {"synth": Synth()}},
            "model.synth is selected, and given as an object",
        ),
        (("prompts=demo",), {"prompts": Demo()}, "the prompts are given as an object"),
        (("prompts.frist=1",), {"prompts": Demo()}, "did you mean 'first'"),
        ((), {"prompts": Demo(), "models": {"m": Demo()}}, "model.m: Demo does not say what name"),
    ],
)
def test_what_cannot_be_used_is_one_line(options: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(EvalkitError, match=message):
        evalkit.evaluate(*options, **given)


SWEPT = ("model=synth", "prompts=synthetic", "metric=[chroma]", "random_weights=0", "model.synth.noise=0,0.3")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"race": [10]}, r"race=\[10\]: must be a text of numbers of prompts"),
        ({"search": None}, "search=None: must be grid or optuna"),
        ({"search": "optuna", "trials": "3"}, "trials='3': must be a whole number"),
        ({"search": "optuna", "trials": 2.5}, "trials=2.5: must be a whole number"),
        ({"search": "optuna", "trials": True}, "trials=True: must be a whole number"),
        ({"objectives": 5}, "objectives=5: must be names of metrics in a list"),
        ({"objectives": [5]}, r"objectives=\[5\]: must be names of metrics in a list"),
        ({"objectives": "chrome"}, "unknown metric of the sweep 'chrome': did you mean 'chroma'"),
        ({"race": "10,all", "margins": ["chroma"]}, r"margins=\['chroma'\]: must be numbers by metric"),
        ({"race": "10,all", "margins": {"chroma": "1"}}, "margins=.*: must be numbers by metric"),
    ],
)
def test_what_a_sweep_cannot_take_is_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(EvalkitError, match=message) as error:
        evalkit.sweep(*SWEPT, **given)
    assert "\n" not in str(error.value)


def test_one_objective_may_be_given_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Asked] = []

    def make(options: Any, asks: Asked, config_dir: Any) -> Any:
        asked.append(asks)
        return SimpleNamespace(sweep=None)

    monkeypatch.setattr("evalkit.sweeping.sweep.make", make)
    evalkit.sweep(*SWEPT, objectives="chroma", search="optuna", trials=np.int64(3))
    asked[0].check()
    assert asked[0].objectives == ["chroma"]


def test_importing_is_fast() -> None:
    """Only the standard library is imported until something is called."""
    heavy = "{'torch', 'numpy', 'pandas', 'hydra'}"
    code = f"import sys, evalkit; print(sorted({{m.partition('.')[0] for m in sys.modules}} & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_names_exist() -> None:
    assert all(hasattr(evalkit, name) for name in evalkit.__all__)
    assert compose(["model=synth", "prompts=demo"]).engine.quiet is False
