"""Candidates for an option of a run: GROUP=NAME, KEY=VALUE, and several of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from evalkit.commands.completing.fields import fields
from evalkit.commands.completing.groups import SEVERAL, Configuration

Candidates = Iterator[tuple[str, str]]  # what is offered, and a few words about it
PLACES = re.compile(r"path|references|dir|folder|file|checkpoint|id$")  # in keys whose value may be a path


def of_option(word: str, words: list[str], paths: Callable[[str], Candidates]) -> Candidates:
    """Complete an option.

    Args:
        words: of the command line before.
        paths: completes a path.
    """
    configuration = Configuration(own_folder(words), given(words))
    sign = re.match(r"[+~]*", word)
    prefix = sign[0] if sign else ""
    key, equals, value = word.removeprefix(prefix).partition("=")
    found = _values(key, value, configuration, paths) if equals else _keys(key, configuration)
    for candidate, about in found:
        yield f"{prefix}{f'{key}=' if equals else ''}{candidate}", about


def own_folder(words: list[str]) -> Path | None:
    """The user's folder of YAMLs that a command line names."""
    for name, value in pairwise([*words, ""]):
        if name in ("--config-dir", "-cd") and value:
            return Path(value).expanduser()
        if name.startswith("--config-dir="):
            return Path(name.partition("=")[2]).expanduser()
    return None


def given(words: list[str]) -> dict[str, str]:
    """The options that a command line has already."""
    return {key.lstrip("+~"): value for key, equals, value in (word.partition("=") for word in words) if equals}


def _keys(key: str, configuration: Configuration) -> Candidates:
    *path, _ = key.split(".")
    above = "".join(f"{part}." for part in path)
    if not path:
        about = fields("evalkit.config.Config")
        for group in configuration.groups():
            yield f"{group}=", about[group].about if group in about else ""
    for name, field in configuration.children(path).items():
        yield (f"{above}{name}.", "") if field is None else (f"{above}{name}=", field.about)


def _values(key: str, value: str, configuration: Configuration, paths: Callable[[str], Candidates]) -> Candidates:
    if key in configuration.groups() or key == "slices":
        group = "slice" if key == "slices" else key
        before = re.match(r"(?:.*[\[,]\s*)?", value)
        kept = before[0] if before else ""
        taken = re.findall(r"[\w-]+", kept)
        for name in configuration.names(group):
            if name not in taken:
                yield f"{kept}{name}", configuration.about(group, name)
        if not value and (key in SEVERAL or key == "slices"):
            yield "[", "several, as [A,B]"
        return
    *path, name = key.split(".")
    field = configuration.children(path).get(name)
    if field is not None and field.values:
        yield from ((one, "") for one in field.values)
    elif PLACES.search(name) or value.startswith(("/", ".", "~")):
        yield from paths(value)
