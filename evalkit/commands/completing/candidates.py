"""Candidates for the last word of a command line, one a line, each with a tab and a few words about it.

A shell calls `evalkit __complete SHELL …`: bash with the line up to the cursor and the part of it that it replaces,
others with the finished words and the last one. Whether a space comes after what is chosen is said too: to bash in the
first line, to zsh at the end of each; fish knows.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import os

from evalkit import commands
from evalkit.commands import OneOf, described
from evalkit.commands.completing import line
from evalkit.commands.completing.groups import Configuration
from evalkit.commands.completing.options import Candidates, of_option

MOST = 1000  # files of a folder that are offered
OPEN, WHOLE = "open", "whole"  # whether a space comes after a candidate
LONGEST = 60  # characters that are said about a candidate
FOLDERS = ("DIR", "FOLDER")
NO_PATHS = ("NAME", "LIMIT", "LIST", "SIZE", "LINE", "URL", "N", "N,N,all", "A,B", "METRIC=VALUE", "KEY=VALUE")
OPTIONS = ("options",)  # as `takes_options` calls them


def main(arguments: list[str]) -> None:
    """Print candidates for a shell; nothing where something is wrong, as a shell would show that in the line."""
    with contextlib.suppress(Exception):
        shell, *words = arguments
        if shell == "bash":
            read = line.read(words[0])
            found = candidates([*read.before[1:], read.last])
            after = OPEN if any(goes_on(one) for one, _ in found) else WHOLE
            lines = [after, *sorted({line.for_bash(one, read, words[1]) for one, _ in found})]
        else:
            *before, last = words
            found = candidates([*before, line.read(last).last if shell == "fish" else last])
            told = [(one, " ".join(about.split())[:LONGEST], OPEN if goes_on(one) else WHOLE) for one, about in found]
            lines = ["\t".join(one[: 2 if shell == "fish" else 3]) for one in told]
        print("\n".join(lines), flush=True)


def goes_on(candidate: str) -> bool:
    """Whether more is to be typed in the same word, so that no space comes after it."""
    return candidate.endswith(("=", ".", "/", "[")) or candidate.rfind("[") > candidate.rfind("]")


def candidates(words: list[str]) -> list[tuple[str, str]]:
    """What the last of some words may become, and what each is."""
    *before, last = words
    found = {one: about for one, about in _all(before, last) if one.startswith(last)}
    return sorted((one, about) for one, about in found.items() if one.isprintable())


def _all(before: list[str], last: str) -> Candidates:
    if not before:
        for name, path in commands.files().items():
            _, about = described(ast.get_docstring(ast.parse(path.read_text("utf-8"))))
            yield name, about
        yield from (("--help", "what commands there are"), ("--version", "which evalkit this is"))
        return
    command, *rest = before
    if command not in commands.files():
        return
    module = importlib.import_module(f"evalkit.commands.{command}")
    if hasattr(module, "parsers"):
        parsers = module.parsers()
        if not rest:
            yield from ((name, parser.description or "") for name, parser in parsers.items())
            yield "--help", "what actions there are"
            return
        action, *rest = rest
        if action not in parsers:
            return
        parser = parsers[action]
    else:
        parser = module.parser()
    yield from _of_parser(parser, rest, last)


def _of_parser(parser: argparse.ArgumentParser, before: list[str], last: str) -> Candidates:
    """What may stand at the end of the arguments of one command."""
    options = {name: action for action in parser._actions for name in action.option_strings}
    positions = [action for action in parser._actions if not action.option_strings]
    waiting, given = None, 0
    for word in before:
        if waiting is not None:
            waiting = None
        elif word in options and options[word].nargs != 0:
            waiting = options[word]
        elif not word.startswith("-"):
            given += 1
    name, equals, value = last.partition("=")
    if waiting is not None:
        yield from _values(waiting, last, before)
    elif equals and name in options:
        yield from ((f"{name}={one}", about) for one, about in _values(options[name], value, before))
    elif last.startswith("-"):
        yield from ((one, _help(action)) for one, action in options.items())
    elif positions:
        action = positions[min(given, len(positions) - 1)]
        if given < len(positions) or action.nargs in ("*", "+"):
            yield from _values(action, last, before)


def _values(action: argparse.Action, last: str, before: list[str]) -> Candidates:
    """What an argument may be."""
    kind, metavar = action.type, str(action.metavar)
    if isinstance(kind, OneOf) or action.choices:
        yield from ((str(one), "") for one in (kind.names if isinstance(kind, OneOf) else action.choices or ()))
    elif action.dest in OPTIONS:
        yield from of_option(last, before, paths)
    elif action.dest == "places":
        yield "cache_dir=", "the cache's folder"
        yield from paths(last)
        if action.nargs == "+":  # what is to be removed may be a kind
            root = os.environ.get("EVALKIT_CACHE") or os.path.expanduser("~/.cache/evalkit")
            yield from ((os.path.basename(one[:-1]), "a kind") for one, _ in paths(f"{root}/", folders=True))
    elif metavar == "MODEL":
        configuration = Configuration()
        yield from ((name, configuration.about("model", name)) for name in configuration.names("model"))
    elif metavar == "METRIC=VALUE":
        yield from ((f"{name}=", "") for name in Configuration().names("metric"))
    elif action.dest == "objectives":
        taken = last.rpartition(",")[0]
        for name in Configuration().names("metric"):
            if name not in taken.split(","):
                yield f"{taken},{name}" if taken else name, ""
    elif metavar in FOLDERS:
        yield from paths(last, folders=True)
    elif action.dest == "device":
        yield from ((one, "") for one in ("auto", "cpu", "cuda", "cuda:0"))
    elif kind not in (int, float) and metavar.isupper() and metavar not in NO_PATHS:
        yield from paths(last)


def paths(word: str, folders: bool = False) -> Candidates:
    """Complete a path; folders end with a slash."""
    above, name = os.path.split(word)
    place = os.path.expanduser(above) if above else "."
    found: list[os.DirEntry[str]] = []
    with contextlib.suppress(OSError), os.scandir(place) as scan:
        found = [one for one in scan if one.name.startswith(name) and (name or not one.name.startswith("."))]
    for one in found[:MOST]:
        with contextlib.suppress(OSError):
            if one.is_dir() or not folders:
                yield os.path.join(above, one.name) + ("/" if one.is_dir() else ""), ""


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%") if action.help != argparse.SUPPRESS else ""
