"""Writes docs/cli.md, the command line's reference, from the parsers and docstrings of the commands.

python docs/cli.py
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from evalkit import commands

PAGE = Path(__file__).parent / "cli.md"
BEGIN = """\
# Command line

<!-- Written by docs/cli.py: change the commands, or that file, and run it. -->

`evalkit COMMAND --help` says the same in a terminal; `evalkit run --help` also lists every group and option of a run,
which all commands with `OPTION=VALUE` take. Options stand anywhere among the arguments.

| command | what it does |
|---|---|
"""
COMMON = """\
## In every command

- `--quiet`, of commands that take a while, shows neither progress nor warnings; errors are said all the same, and
  `run.log` has the warnings.
- `--format NAME` prints a table in another form, `--json` as JSON. In any form but that of the terminal, stdout holds
  nothing but the table: what else is said, such as where a result lies, goes to stderr.
- Progress is a bar on a terminal, and elsewhere a line every 30 seconds on stderr. `NO_COLOR=1` takes colours away,
  `TERM=dumb` the bar too, and `COLUMNS=80` sets the width of tables.
- A mistake is one line on stderr that says what is wrong and what to do.

## Exit statuses

| status | command | when |
|---|---|---|
"""
SCORED = "`run`, `score`, `reproduce`, `sweep`, `slurm --task`"
ENDED = "`compare`, `store`, `doctor`, `references status` and `verify`"
# what each status means; a test provokes each
STATUSES = [
    (0, "all", "what was asked for is done; of `compare`: GO"),
    (0, ENDED, "the same where the reader of the output, such as `head`, has gone: the status is what was found"),
    (1, "`compare`", "NO-GO"),
    (1, "`store verify`", "something is lost: damaged or missing"),
    (1, "`doctor`", "something that is needed is missing or damaged"),
    (1, "`references status`", "fewer references can be used than a run wants"),
    (1, "`references verify`", "the pack is not of that audio, or its features are not equal to the last bit"),
    (1, "others", "a bug, with a traceback; or the reader of the output has gone before its end"),
    (2, "`compare`", "INCONCLUSIVE"),
    (2, "`store`, `doctor`, `references status` and `verify`", "a mistake, or a bug"),
    (2, "others", "a mistake, or something that is missing; no record was written"),
    (3, SCORED, "a record was written, or a share made, and some of what was asked for could not be measured"),
    (3, "`agree`", "fewer than five systems match, of which nothing is claimed"),
    (4, "`compare`", "nothing was compared: a mistake, or a bug"),
    (130, "all", "interrupted by Ctrl-C, of which the program dies; the same command goes on from there"),
]
COMPLETION = """
## Completion in shells

`evalkit completion SHELL` prints a script that completes commands, options, groups (`model=`), names (`metric=[fad,`),
keys (`sampling.`, `prompts.`) and paths. To install it:

| shell | where | what |
|---|---|---|
| bash | `~/.bashrc` | `source <(evalkit completion bash)` |
| zsh | `~/.zshrc`, after `compinit` | `source <(evalkit completion zsh)`; square brackets need quotes there |
| fish | once, in a terminal | `evalkit completion fish > ~/.config/fish/completions/evalkit.fish` |
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


def page() -> str:
    """The whole page."""
    known = {name: _described(path) for name, path in commands.files().items()}
    lines = [f"| [{name}](#evalkit-{name}) | {_cell(about)} |" for name, (_, about, _) in known.items()]
    statuses = [f"| {status} | {command} | {_cell(when)} |" for status, command, when in STATUSES]
    parts = [BEGIN + "\n".join(lines), "\n" + COMMON + "\n".join(statuses), COMPLETION.rstrip()]
    for name, (call, about, more) in known.items():
        parts += ["", f"## evalkit {name}", "", about, *(["", more] if more else []), "", f"```text\n{call}\n```"]
        module = importlib.import_module(f"evalkit.commands.{name}")
        if not hasattr(module, "parsers"):
            parts += _table(module.parser())
            continue
        for action, parser in module.parsers().items():
            about = " ".join((parser.description or "").split())
            parts += ["", f"### evalkit {name} {action}", "", about, *_table(parser)]
    return "\n".join(parts) + "\n"


def _described(path: Path) -> tuple[str, str, str]:
    """How a command is called, what it does, and what else its docstring says."""
    document = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    call, about = commands.described(document)
    more = document.split("\n\n", 2)[2:]
    return call, about, "\n".join(more).strip()


def _table(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The arguments of a parser, and what else is said of them."""
    rows = [
        f"| {_named(action)} | {_cell((action.help or '').replace('%%', '%'))} |"
        for action in parser._actions
        if _shown(action)
    ]
    if rows:
        yield from ["", "| argument | what it is |", "|---|---|", *rows]
    if parser.epilog:
        yield from ["", " ".join(parser.epilog.split()).replace("<", "&lt;")]


def _shown(action: argparse.Action) -> bool:
    return action.help != argparse.SUPPRESS and "--help" not in action.option_strings


def _named(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    value = (
        "" if action.nargs == 0 else f" {action.metavar or '|'.join(map(str, action.choices or [action.dest.upper()]))}"
    )
    names = sorted(action.option_strings, key=lambda name: (not name.startswith("--"), name))
    return ", ".join(f"`{name}{value}`".replace("|", "\\|") for name in names)


def _cell(text: str) -> str:
    """A text in a cell of a table; what Markdown would take for HTML or for the end of the cell is escaped."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").strip()


if __name__ == "__main__":
    main()
