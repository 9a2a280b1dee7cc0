"""What the README shows is what happens, and what any text names exists."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from evalkit.cli import usage
from evalkit.config import build, compose
from evalkit.sweeping.space import read
from evalkit.types import Features

from .conftest import ROOT, Run
from .test_components import ADDED, RECIPES

PAGES = {path.name: path.read_text("utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}


def blocks(language: str, *pages: str) -> list[str]:
    """The blocks of a language in some pages, or in all."""
    return [
        block
        for name in pages or sorted(PAGES)
        for block in re.findall(rf"^```{language}\n(.*?)^```", PAGES[name], re.DOTALL | re.MULTILINE)
    ]


def shown(*pages: str) -> list[list[str]]:
    """The commands of evalkit that some pages show, or all, in words; a command may take several lines."""
    lines = "\n".join(blocks("sh", *pages)).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))[:1] == ["evalkit"]]


def test_the_metric_of_the_recipe_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = (b for b in blocks("python", "components.md") if "class MeanCosine" in b)
    (config,) = (b for b in blocks("yaml", "components.md") if "cosine.MeanCosine" in b)
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


@pytest.mark.parametrize("name", [*sorted(PAGES), "usage"])
def test_every_command_shown_composes(name: str) -> None:
    commands = (
        [shlex.split(line) for line in usage().splitlines() if line.startswith("  evalkit ") and "=" in line]
        if name == "usage"
        else shown(name)
    )
    for words in commands:
        options = [word for word in words[2:] if "=" in word and not word.startswith(("[", "-", "hydra/"))]
        made = words[1] in ("run", "fetch") and options and not {"--help", "--config-dir"} & set(words)
        if not made or any("NAME" in o or "fad_pitch" in o or "cosine" in o for o in options):
            continue  # what a page adds is tested where it is added
        if words[1] == "fetch" and not any(o.startswith("model=") for o in options):
            of_prompts = any(o.startswith("prompts=") for o in options)
            options += ["model=[]"] if of_prompts else ["model=[]", "prompts=demo"]  # the files of metrics alone
        sweep = words[2] == "-m"  # else a comma is inside a list
        values = [
            [f"{o.partition('=')[0]}={v}" for v in o.partition("=")[2].split(",")] if sweep else [o] for o in options
        ]
        for chosen in itertools.product(*values):
            build(compose(list(chosen)).prompts)


def test_the_demos_table_is_shown() -> None:
    (table,) = (b for b in blocks("text", "quickstart.md") if "second_rendering" in b)
    for name in compose(["experiment=demo"]).model:
        number, bounds = r" +-?[\d.,]+", r" +-?[\d.,]+…-?[\d.,]+"
        assert re.search(rf"^{name}(?:{number}){{4}}\n12 of 12 clips(?:{bounds}){{4}}$", table, re.MULTILINE), name
    assert "The numbers below mean nothing outside this table." in table
    assert not [name for name, text in PAGES.items() if "@@" in text]


@pytest.mark.slow
def test_the_reproduction_shown_is_what_happens(evalkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = (words for words in shown("reproduce.md") if words[1:3] == ["reproduce", "tiny_stereo"])
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = evalkit(*command[1:])
    (table,) = (block for block in blocks("console", "reproduce.md") if "NOT COMPARABLE" in block)
    assert code == 0, err
    # numbers of random weights are of one machine
    printed, expected = (re.sub(r" *[\d,]+\.\d+", " 0.0", text) for text in (out, table.strip()))
    assert expected in printed and "\n- random weights: not compared" in table


@pytest.mark.slow
def test_the_sweep_shown_is_what_happens(evalkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = (words for words in shown("sweep.md") if words[1:3] == ["sweep", "experiment=sweep_offline"])
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = evalkit(*command[1:])
    (table,) = (block for block in blocks("console", "sweep.md") if "Pareto" in block)
    assert code == 3 and err.splitlines()[-1].endswith("3 of 12 points failed: 10, 11, 12")
    # numbers of random weights are of one machine
    printed, expected = (re.sub(r" *[\d,]+\.\d+", " 0.0", text) for text in (out, table.strip()))
    assert expected in printed


def test_every_sweep_shown_composes() -> None:
    sweeps = [words for words in shown() if words[1] == "sweep" or words[1:3] == ["run", "-m"]]
    assert len(sweeps) >= 4
    for words in sweeps:
        space = read([word for word in words[2:] if "=" in word and not word.startswith("hydra/")])
        for point in space.combinations() if all(p.values for p in space.parameters) else [{}]:
            build(compose(space.options(point)).prompts)


TEXTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "conf").rglob("*.yaml")]
TEXTS += [*(ROOT / "evalkit").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
EXAMPLES = (*(name for name, _ in RECIPES), *ADDED)  # what texts show how to add


def exists(dotted: str) -> bool:
    """Whether a dotted path leads to a module, or to what a module itself defines."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:count])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.is_file():
            tree = ast.parse(file.read_text("utf-8"))
            targets = [
                node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            ]
            defined = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
            names = {*(node.id for node in targets), *(node.name for node in defined)}
            return count == len(parts) or parts[count] in names
    return False


def absent(text: str) -> list[str]:
    """The files, modules and names of evalkit that a text names and that do not exist."""
    files = re.findall(r"(?<![\w/.-])((?:evalkit|tests|benchmarks|conf|docs)/[\w./-]*\w)", text)
    dotted = re.findall(r"(?<![\w/.-])(evalkit(?:\.\w+)+)", text)
    found = [name for name in files if not (ROOT / name).exists()] + [name for name in dotted if not exists(name)]
    return [name for name in found if not name.startswith(EXAMPLES)]


def test_every_place_that_is_named_exists() -> None:
    assert [f"{path}: {name}" for path in sorted(TEXTS) for name in absent(path.read_text("utf-8"))] == []


def test_a_place_that_does_not_exist_is_seen() -> None:
    text = "see evalkit/voices.py, `evalkit.bootstrap` and evalkit.stats.bootstrap.nothing, not evalkit/cli.py,"
    text += " evalkit.evaluate, evalkit.stats, or evalkit.stats.bootstrap.interval."
    assert absent(text) == ["evalkit/voices.py", "evalkit.bootstrap", "evalkit.stats.bootstrap.nothing"]
