"""What the README shows is what happens."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from evalkit.cli import usage
from evalkit.config import build, compose
from evalkit.types import Features

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_metric_of_the_readme_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = (b for b in blocks("python") if "class MeanCosine" in b)
    (config,) = blocks("yaml")
    module = ModuleType("evalkit.metrics.cosine")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(code, module.__dict__)
    (tmp_path / "metric").mkdir()
    (tmp_path / "metric" / "cosine.yaml").write_text(config)
    composed = compose(["experiment=demo", "metric=[fad,cosine]"], str(tmp_path))
    metric = build(composed.metric.cosine)
    features = Features(("a", "b"), (np.eye(2, dtype=np.float32), np.ones((1, 2), np.float32)))
    assert metric(features, features).value == pytest.approx(1.0)
    assert metric.encoder == build(composed.metric.fad.encoder)


@pytest.mark.parametrize("text", ["\n".join(blocks("sh")), usage()], ids=["README", "usage"])
def test_every_command_shown_composes(text: str) -> None:
    commands = [line.split("#")[0] for line in text.splitlines() if re.match(r"\s*evalkit (run|fetch) ", line)]
    assert len(commands) >= 4
    for command in commands:
        options = [word.strip("'") for word in command.split()[2:] if "=" in word and not word.startswith("[")]
        if not options or "=NAME" in command or "metric=[fad,cosine]" in options:
            continue
        sweep = " -m " in command  # else a comma is inside a list
        values = [
            [f"{o.partition('=')[0]}={v}" for v in o.partition("=")[2].split(",")] if sweep else [o] for o in options
        ]
        for chosen in itertools.product(*values):
            build(compose(list(chosen)).prompts)


def test_the_demos_table_is_shown() -> None:
    (table,) = blocks("text")
    for name in compose(["experiment=demo"]).model:
        number, bounds = r" +-?[\d.,]+", r" +-?[\d.,]+–-?[\d.,]+"
        assert re.search(rf"^{name}(?:{number}){{4}}\n12 of 12 clips(?:{bounds}){{4}}$", table, re.MULTILINE), name
    assert "The numbers below mean nothing outside this table." in table
    assert "@@" not in README
