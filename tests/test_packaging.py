"""The package as users install it: what is in it, and whether it works away from the checkout."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from evalkit import __version__
from evalkit.config import compose

from .conftest import ROOT

NOT_SOURCE = (".git", ".venv", ".*_cache", "__pycache__", "dist", "build", "runs", "multirun", "outputs")

# Run inside the second environment: where everything lies, and whether the default run can be composed there.
INSPECT = """
import json
import evalkit, evalkit.config

config = evalkit.config.compose(["experiment=demo"])
print(json.dumps({"package": evalkit.__file__, "conf": str(evalkit.settings.conf_dir()), "models": list(config.model)}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, with nothing in the environment that leads to the checkout."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain copy of the checkout."""
    return Path(
        shutil.copytree(ROOT, tmp_path_factory.mktemp("copy") / "evalkit", ignore=shutil.ignore_patterns(*NOT_SOURCE))
    )


@pytest.fixture(scope="module")
def dist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, checkout, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return next(dist.glob("*.whl"))


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that leads to all installed packages except evalkit, so that nothing is installed twice."""
    folder = tmp_path_factory.mktemp("dependencies")
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(site).iterdir():
            # a .pth file could lead back to an editable checkout
            if "evalkit" not in entry.name and entry.suffix != ".pth" and entry.name != "__pycache__":
                (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture(params=["wheel", "checkout"])
def second(request: pytest.FixtureRequest, dependencies: Path, tmp_path: Path) -> Path:
    """A second environment with evalkit installed into it."""
    environment = tmp_path / "second"
    venv.create(environment, symlinks=True)
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "-q")
    run(*pip, "--no-index", "--no-deps", "--no-build-isolation", request.getfixturevalue(request.param), cwd=tmp_path)
    return environment


def test_the_distributions_hold_every_file(dist: Path, wheel: Path) -> None:
    wanted = {p.relative_to(ROOT).as_posix() for p in (ROOT / "evalkit").rglob("*") if is_source(p)}
    conf = {p.relative_to(ROOT).as_posix() for p in (ROOT / "conf").rglob("*") if is_source(p)}
    assert "evalkit/data/demo.csv" in wanted
    assert "conf/config.yaml" in conf
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == wanted | {f"evalkit/{name}" for name in conf}
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    assert source >= wanted | conf | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "CHANGELOG.md"} | {
        *("CONTRIBUTING.md", "SECURITY.md", "CITATION.cff", ".pre-commit-config.yaml", "docs/metrics.md"),
    }


def test_the_citation_has_what_its_schema_requires_and_says_what_the_project_says() -> None:
    """That is CFF 1.2.0; its schema allows no other keys of an author that is no person."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert cited.keys() >= {"cff-version", "message", "authors", "title"} and cited["cff-version"] == "1.2.0"
    assert (cited["type"], cited["version"], cited["license"]) == ("software", __version__, table["license"])
    assert cited["authors"] == table["authors"] and cited["keywords"] == table["keywords"]


def test_the_hooks_before_a_commit_are_those_of_make_lint() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert repo["repo"] == "local"  # so that nothing is fetched, and the versions are those that are pinned
    entries = [hook["entry"].removeprefix(".venv/bin/").replace(" --force-exclude", "") for hook in repo["hooks"]]
    lint = (ROOT / "Makefile").read_text("utf-8").partition("lint: ")[2].split("\n\n")[0]
    assert entries == [line.partition("/")[2].replace(" --check", "") for line in lint.splitlines()[1:]]


def is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def test_it_works_away_from_the_checkout(second: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "evalkit run experiment=demo" in run(second / "bin" / "evalkit", "--help", cwd=empty)
    found = json.loads(run(second / "bin" / "python", "-c", INSPECT, cwd=empty))
    for place in (found["package"], found["conf"]):
        assert Path(place).is_relative_to(second), "this is not the installed copy"
    assert found["models"] == list(compose(["experiment=demo"]).model)
    assert not any(empty.iterdir()), "help and composing leave nothing behind"


def project() -> dict[str, list[str]]:
    """The requirements that pyproject.toml declares, by the extra's name or ''."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    found: dict[str, str] = {}
    for line in lines:
        # a local version (+cpu) or a place would fit one kind of machine only
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9a-z.]+)", line)
        assert match, f"constraints.txt: '{line}' is not an exact public version"
        found[canonicalize_name(match[1])] = match[2]
    return found


def test_the_constraints_pin_every_requirement() -> None:
    pinned = pins()
    for requirement in (Requirement(r) for group in project().values() for r in group):
        if requirement.name == "evalkit":  # an extra that takes in others
            continue
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: the constraint is {version}"


WITH_TORCH = {"triton"}  # which torch's wheels for CUDA require in the version that they were built with
# groups of dependencies that the package itself imports
RUNTIME = (
    "",
    "aesthetics",
    "mad",
    "diffusers",
    "melody",
    "search",
    "ray",
    "slurm",
    "tensorboard",
    "mlflow",
    "wandb",
    "trackio",
)


def test_every_import_is_a_declared_dependency() -> None:
    groups = project()
    declared = {canonicalize_name(Requirement(r).name) for name in RUNTIME for r in groups[name]} | WITH_TORCH
    providers = metadata.packages_distributions()
    for path, name in imports(ROOT / "evalkit"):
        found = {canonicalize_name(d) for d in providers.get(name, [])}
        assert found & declared, f"{path.relative_to(ROOT)} imports {name}, which pyproject.toml does not name"


def imports(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every top-level module from elsewhere that the code imports, at its top or inside a function."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            else:
                continue
            for top in {m.partition(".")[0] for m in modules} - sys.stdlib_module_names - {"evalkit"}:
                yield path, top
