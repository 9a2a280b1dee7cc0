"""Which module of evalkit may import which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ROOT

# From low to high: a module imports from its own room and from the rooms before it.
ROOMS = [
    "errors", "types", "contracts", "stats",
    "settings", "compat", "containers", "audio", "progress", "audioset", "instrumental", "precision",
    "functional", "parallel", "store", "weights", "batching", "archives", "assets", "intact",
    "packs", "slices", "prompts", "encoders", "metrics",
    "report", "results", "page", "listening", "agreeing", "trackers",
    "separation", "decoding", "checkpoints", "models",
    "features", "generation", "transforms", "calibration",
    "config", "objects", "sharing", "protocols", "declared", "plan",
    "scoring", "recording", "filling", "packing", "pipeline", "comparing", "reproducing", "sweeping", "checks",
    "commands", "evalkit", "cli",
]  # fmt: skip

# Results are read where nothing can be made: no weights, no configuration, no prompts.
READING = ("report", "results", "page", "listening", "agreeing", "trackers")
MAKING = ("prompts", *ROOMS[ROOMS.index("trackers") + 1 :])


def modules() -> dict[str, Path]:
    """The file of each module of evalkit, by the module's dotted name."""
    files = sorted((ROOT / "evalkit").rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


MODULES = modules()


def room(module: str) -> str:
    """The first part of a module's name below evalkit; the package's own file is a room too."""
    return module.removeprefix("evalkit.").split(".")[0]


def imported(tree: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a file imports anywhere: in functions and for type checks as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "evalkit":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


GRAPH = {name: set(imported(ast.parse(path.read_text("utf-8")), MODULES)) for name, path in MODULES.items()}


def reached(module: str, graph: dict[str, set[str]]) -> set[str]:
    """All modules that are imported because one is: itself too, if it is in a circle."""
    found: set[str] = set()
    new = graph[module]
    while new:
        found |= new
        new = {target for name in new for target in graph[name]} - found
    return found


def only_forwards(tree: ast.Module) -> bool:
    """Whether a file imports and does nothing else, so that one name has two places."""
    body = [n for n in tree.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    exports = [n for n in body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
    imports = [n for n in body if isinstance(n, ast.Import | ast.ImportFrom) and "__future__" not in ast.unparse(n)]
    futures = [n for n in body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    return bool(imports) and len(body) == len(exports) + len(imports) + len(futures)


def test_every_module_belongs_to_a_room() -> None:
    assert sorted({room(name) for name in MODULES} - set(ROOMS)) == []


def test_no_module_imports_from_a_higher_room() -> None:
    rank = {name: number for number, name in enumerate(ROOMS)}
    upwards = [
        f"{name} imports {target}"
        for name, targets in GRAPH.items()
        for target in sorted(targets)
        if rank[room(target)] > rank[room(name)]
    ]
    assert upwards == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert [name for name in MODULES if name in reached(name, GRAPH)] == []


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in READING])
def test_what_reads_results_does_not_reach_what_makes_them(name: str) -> None:
    assert sorted(target for target in reached(name, GRAPH) if room(target) in MAKING) == []


def test_no_module_only_forwards() -> None:
    assert [name for name, path in MODULES.items() if only_forwards(ast.parse(path.read_text("utf-8")))] == []


def test_the_checks_see_what_they_look_for() -> None:
    known = {"evalkit.a": Path(), "evalkit.b": Path(), "evalkit.b.c": Path()}
    inside = ast.parse("if TYPE_CHECKING:\n    from evalkit.a import x\ndef f():\n    from evalkit.b import c, d\n")
    assert set(imported(inside, known)) == {"evalkit.a", "evalkit.b.c", "evalkit.b"}
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert reached("a", graph) == {"b", "c"} == reached("b", graph)
    assert reached("d", graph) == {"a", "b", "c"}
    assert [room(name) for name in ("evalkit", "evalkit.cli", "evalkit.stats", "evalkit.stats.kernel")] == [
        "evalkit", "cli", "stats", "stats",
    ]  # fmt: skip
    assert only_forwards(ast.parse('"""Text."""\nfrom __future__ import annotations\nfrom a import b\n__all__ = ["b"]'))
    assert not only_forwards(ast.parse('"""Only text."""'))
    assert not only_forwards(ast.parse("from a import b\nc = b(1)"))
