"""The recipes of docs/components.md work as they stand there, on the command line."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ROOT, Run

TEXT = (ROOT / "docs" / "components.md").read_text("utf-8")
RECIPES = re.findall(r"```(?:python|yaml)\n# ((?:evalkit|conf)/\S+)\n(.*?)```", TEXT, re.DOTALL)
ADDED = {name.removesuffix(".py").replace("/", "."): name for name, _ in RECIPES if name.startswith("evalkit/")}


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of all recipes, whose modules are found as if they lay in evalkit."""
    for name, text in RECIPES:
        file = tmp_path / name
        assert not (ROOT / name).exists() and not file.exists(), name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    for module, name in ADDED.items():
        package = importlib.import_module(module.rpartition(".")[0])
        folder = str((tmp_path / name).parent)
        if folder not in package.__path__:
            monkeypatch.setattr(package, "__path__", [*package.__path__, folder])
    yield tmp_path
    for module in ADDED:
        sys.modules.pop(module, None)


def test_every_recipe_is_one_run(added: Path, evalkit: Run) -> None:
    (command,) = re.findall(r"^evalkit run (.* protocol=coarse .*)$", TEXT, re.MULTILINE)
    options = [*shlex.split(command), "sampling.duration=1.5", "uncertainty.resamples=100"]
    code, out, err = evalkit("run", "--config-dir", str(added / "conf"), *options)
    assert code == 0, err
    result = out.rpartition("result: ")[2].strip()
    text = " ".join(out.split())
    assert "protocol coarse" in text and "FAD (pitch)" in text and "mean cosine" in text
    code, markdown, err = evalkit("table", result, "--format", "markdown")
    assert (code, err) == (0, "")
    assert re.search(r"^\| sine .*\| +3\.10\\\* +\|", markdown, re.MULTILINE), markdown
    assert "one tone (calibration)" in markdown and "one clip for all prompts, of 'a slow flute'" in markdown
    assert "## Slices: octave" in markdown and "octave 0" in markdown and "Sine paper" in markdown
    code, tsv, err = evalkit("table", result, "--format", "tsv")
    assert (code, err) == (0, "")
    assert [line.split("\t")[0] for line in tsv.splitlines()] == ["model", "sine", "one tone"]
    code, captions, err = evalkit("captions", result)
    assert (code, err) == (0, "")
    assert captions.splitlines() == [f"a piano plays the note {note} in octave 0" for note in "CDEFGAB"]
    assert "evalkit captions RESULT" in evalkit("--help")[1]


def test_the_recipe_for_references_is_a_run_of_its_own(added: Path, evalkit: Run) -> None:
    options = ["model=synth", "prompts=demo", "prompts.first=3", "metric=[chroma]", "sampling.duration=1"]
    code, out, err = evalkit("run", "--config-dir", str(added / "conf"), *options, "references=quiet")
    assert code == 0, err
    text = " ".join(out.split())
    assert "protocol musicgen (changed)" in text and "not recordings, at 0.25 of their level, not as they are" in text
    assert "changed in the protocol musicgen: references at 0.25 of their level" in text


def test_there_is_a_recipe_for_each_kind() -> None:
    kinds = {name.rpartition("/")[0] for name, _ in RECIPES}
    groups = ("encoder", "metric", "model", "prompts", "protocol", "published", "calibration", "slice", "references")
    rooms = ("encoders", "metrics", "models", "prompts", "calibration", "slices", "report", "commands", "transforms")
    assert kinds == {*(f"conf/{group}" for group in groups), *(f"evalkit/{room}" for room in rooms)}
