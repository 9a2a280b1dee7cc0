"""The options that dataclasses of evalkit hold, read from their source: importing it would take too long."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2]


class Field(NamedTuple):
    """An option: what is said of it, and its values where there are only some."""

    about: str
    values: tuple[str, ...]


def fields(target: str) -> dict[str, Field]:
    """The fields of a dataclass that is given by its dotted name; nothing for one that is not evalkit's."""
    module, _, name = target.rpartition(".")
    if module.partition(".")[0] != PACKAGE.name:
        return {}
    path = PACKAGE.joinpath(*module.split(".")[1:])
    path = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, SyntaxError):
        return {}
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    return _fields(classes[name], classes) if name in classes else {}


def _fields(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, Field]:
    about = attributes(ast.get_docstring(node) or "")
    found = {}
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and not one.target.id.startswith("_"):
            named = {part.id for part in ast.walk(one.annotation) if isinstance(part, ast.Name)}
            found[one.target.id] = Field(about.get(one.target.id, ""), _values(named, classes))
    return found


def _values(named: set[str], classes: dict[str, ast.ClassDef]) -> tuple[str, ...]:
    """The values of a truth or of an enumeration."""
    if named == {"bool"}:
        return ("true", "false")
    for name in named & classes.keys():
        if any(isinstance(base, ast.Name) and base.id == "Enum" for base in classes[name].bases):
            members = [one.targets[0] for one in classes[name].body if isinstance(one, ast.Assign)]
            return tuple(member.id for member in members if isinstance(member, ast.Name))
    return ()


def attributes(document: str) -> dict[str, str]:
    """What the docstring of a dataclass says of each of its fields."""
    found: dict[str, str] = {}
    for line in document.partition("\nAttributes:\n")[2].splitlines():
        if match := re.fullmatch(r"    (\w+(?:, \w+)*): (.*)", line):
            names = match[1].split(", ")
            found |= dict.fromkeys(names, match[2])
        elif found:
            last = list(found)[-1]
            found[last] += f" {line.strip()}"
    return found
