"""The groups of the configuration, the names in them, and the keys below each, from the YAMLs alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from evalkit.commands.completing.fields import PACKAGE, Field, fields

HIDDEN = ("published", "encoder", "slice", "gate")  # no groups to select from
SEVERAL = ("model", "metric", "calibration")  # of which several can be selected
ONE = ("prompts", "references")  # of which one can be selected
SCHEMAS = {"sampling": "Sampling", "engine": "Engine", "uncertainty": "Uncertainty"}
OWN = ("config_dir",)  # no options
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Configuration:
    """What can be selected and set, with the words of a command line that were given before.

    Args:
        own: the user's folder of YAMLs, if one is given.
    """

    def __init__(self, own: Path | None = None, given: Mapping[str, str] | None = None):
        # as evalkit.settings.conf_dir, which imports OmegaConf
        places = [next(p for p in (PACKAGE / "conf", PACKAGE.parent / "conf") if p.is_dir()), own]
        self.folders = [folder for folder in places if folder is not None and folder.is_dir()]
        self.given = given or {}

    def groups(self) -> list[str]:
        """The groups that can be selected from."""
        return sorted({p.name for folder in self.folders for p in folder.iterdir() if p.is_dir()} - set(HIDDEN))

    def names(self, group: str) -> list[str]:
        """The names in a group."""
        return sorted({p.stem for folder in self.folders for p in (folder / group).glob("*.yaml")})

    def about(self, group: str, name: str) -> str:
        """The first line of comment in a YAML, which says what it is."""
        path = self._path(group, name)
        try:
            first = path.read_text("utf-8").partition("\n")[0] if path else ""
        except (OSError, UnicodeDecodeError):
            return ""
        return first.removeprefix("#").strip() if first.startswith("#") and "@package" not in first else ""

    def chosen(self, group: str) -> list[str]:
        """The names that are selected of a group, as far as the words before say."""
        return [name for name in re.findall(r"[\w-]+", self.given.get(group, "")) if self._path(group, name)]

    def children(self, path: list[str]) -> dict[str, Field | None]:
        """What there is below a key of the configuration; None in place of what has keys below itself."""
        if not path:
            own = fields("evalkit.config.Config")
            scalars = {name: field for name, field in own.items() if name not in (*self.groups(), *SCHEMAS, *OWN)}
            below = [*SEVERAL, *ONE, "protocol", *SCHEMAS]
            return {**scalars, **dict.fromkeys(below)}
        first, *rest = path
        if first in SCHEMAS:
            return {} if rest else dict(fields(f"evalkit.settings.{SCHEMAS[first]}"))
        if first in SEVERAL and not rest:
            return dict.fromkeys(self.chosen(first) or self.names(first))
        if first in ONE:
            usual = ["musiccaps"] if first == "prompts" else []
            return _below(self._node(first, [*self.chosen(first), *usual, *self.names(first)][0]), rest)
        if first == "protocol":
            return _below(self._node(first, "musicgen"), rest)
        if first in SEVERAL:
            return _below(self._node(first, rest[0]).get(rest[0]), rest[1:])
        return {}

    def _path(self, group: str, name: str) -> Path | None:
        return next((p for folder in self.folders if (p := folder / group / f"{name}.yaml").is_file()), None)

    def _node(self, group: str, name: str) -> dict[str, Any]:
        """What a YAML holds, with what the defaults of it put in their places."""
        path = self._path(group, name)
        try:
            node = yaml.load(path.read_text("utf-8"), LOADER) if path else {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return {}
        node = node if isinstance(node, dict) else {}
        for default in node.pop("defaults", None) or []:
            for key, value in default.items() if isinstance(default, dict) else ():
                if match := re.fullmatch(r"/?(\w+)@([\w.]+)", str(key)):
                    _merge(node, match[2].split("."), self._node(match[1], str(value)))
        return node


def _merge(node: dict[str, Any], place: list[str], more: dict[str, Any]) -> None:
    """Put what a default brings into its place, below what stands there."""
    for part in place:
        node = node.setdefault(part, {}) if isinstance(node.get(part, {}), dict) else {}
    for key, value in more.items():
        node.setdefault(key, value)


def _below(node: Any, path: list[str]) -> dict[str, Field | None]:
    """The keys below a node: those of the YAML, and those of what it is made into."""
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        return {}
    known = fields(str(node.get("_target_", "")))
    keys = {**dict.fromkeys(key for key in map(str, node) if not key.startswith("_")), **dict.fromkeys(known)}
    return {key: None if isinstance(node.get(key), dict) else known.get(key, _of(node.get(key))) for key in keys}


def _of(value: Any) -> Field:
    return Field("", ("true", "false") if isinstance(value, bool) else ())
