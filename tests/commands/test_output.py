"""--quiet, --format and --json: the same in every command that has them."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from evalkit import commands, progress
from evalkit.commands import files

from ..conftest import Run

TABLES = ("compare", "doctor", "fetch", "power", "reproduce", "run", "score", "sweep", "table")
PROGRESS = (*TABLES, "convert", "report", "slurm")


def parsers(command: str) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a command, by the names of its actions if it has any."""
    module = importlib.import_module(f"evalkit.commands.{command}")
    return module.parsers() if hasattr(module, "parsers") else {"": module.parser()}


def flags(command: str) -> dict[str, set[str]]:
    """The options of a command, or of each of its actions, by name."""
    return {name: set(parser._option_string_actions) for name, parser in parsers(command).items()}


def test_what_prints_a_table_prints_it_in_every_form() -> None:
    for command in (*TABLES, "store"):
        for action, found in flags(command).items():
            assert {"--format", "--json"} <= found, (command, action)
    assert {"--format", "--json"} <= flags("listen")["analyse"]
    assert "--json" in flags("export")[""]


def test_what_shows_progress_can_be_quiet() -> None:
    for command in (*PROGRESS, "store"):
        if command != "table":
            for action, found in flags(command).items():
                assert {"--quiet", "-q"} <= found, (command, action)
    assert {"--quiet", "-q"} <= flags("listen")["make"]


def test_every_command_with_options_of_a_run_has_a_folder_of_yamls() -> None:
    for command in files():
        for action, parser in parsers(command).items():
            if any(one.dest == "options" for one in parser._actions):
                assert "--config-dir" in flags(command)[action], command


@pytest.fixture
def noisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that prints, warns, logs and shows progress beside its table."""
    code = '''
"""Make noise.

evalkit noisy [--quiet] [--format NAME] [OPTION=VALUE ...]
"""
import argparse, logging, sys, warnings
from evalkit import commands
from evalkit.report.document import Document, Item, Listing, Quantity

def main(arguments):
    parser = commands.parser_for("noisy", __doc__)
    commands.takes_options(parser)
    commands.prints_table(parser)
    commands.shows_progress(parser)
    parsed = commands.parse(parser, arguments)
    from evalkit import progress
    print("something else")
    warnings.warn("a warning of Python")
    logging.getLogger("evalkit.noisy").warning("a warning of evalkit")
    progress.say("a line of progress")
    said = " ".join(parsed.options)
    table = Listing([[Quantity("word", "word", "word")]], [Item({"word": said}, {"word": said})])
    commands.show(Document("noisy", "all of it", table), parsed.format)
    print("result: somewhere")
'''
    (tmp_path / "noisy.py").write_text(code.lstrip())
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "evalkit.commands.noisy", raising=False)


@pytest.mark.usefixtures("noisy")
def test_a_form_for_programs_has_stdout_for_itself(evalkit: Run) -> None:
    code, out, err = evalkit("noisy", "--json", "a=b")
    assert code == 0 and json.loads(out)["table"] == [{"word": "a=b"}]
    assert "something else\n" in err and "result: somewhere\n" in err
    code, out, err = evalkit("noisy", "--format", "csv", "a=b")
    assert (code, out) == (0, "word\na=b\n")
    code, out, err = evalkit("noisy", "a=b")
    assert out.startswith("something else\n") and "all of it" in out and out.endswith("result: somewhere\n")
    assert "a line of progress\n" in err
    assert evalkit("noisy", "--json", "--format", "csv", "a=b")[1] == "word\na=b\n"  # the last one counts


def process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The noisy command in a process of its own, where nobody catches warnings."""
    code = f"import sys\nfrom evalkit import cli, commands\ncommands.__path__.append({str(folder)!r})\ncli.main()"
    command = [sys.executable, "-c", code, "noisy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.mark.usefixtures("noisy")
def test_quiet_leaves_the_table(tmp_path: Path) -> None:
    done = process(tmp_path, "a=b")
    assert all(text in done.stderr for text in ("of Python", "of evalkit", "of progress"))
    done = process(tmp_path, "--quiet", "a=b")
    assert (done.returncode, done.stderr) == (0, "")
    assert "all of it" in done.stdout
    assert "a=b engine.quiet=true" in done.stdout  # so that runs, and other processes, know


@pytest.mark.usefixtures("noisy")
def test_the_process_is_as_before_when_a_command_has_ended(evalkit: Run) -> None:
    shown, handlers = warnings.showwarning, [*logging.getLogger("evalkit").handlers]
    out = sys.stdout
    with pytest.warns(UserWarning, match="a warning of Python"):
        evalkit("noisy", "--json")
    evalkit("noisy", "--quiet", "--json")
    assert warnings.showwarning is shown and not progress._quiet and sys.stdout is out
    assert logging.getLogger("evalkit").handlers == handlers


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_cannot_be_written_is_one_line_in_every_form(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as place:
        command = [sys.executable, "-m", "evalkit.cli", "store", "ls", "--cache", str(tmp_path), "--json"]
        done = subprocess.run(command, stdout=place, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.startswith("evalkit: cannot write the output")


def test_the_log_is_not_told_to_handlers_that_packages_put_on_the_root(
    evalkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(_: list[str]) -> None:
        log = logging.getLogger("evalkit.made")
        monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(sys.stderr)])  # as basicConfig does
        monkeypatch.setattr(logging.root, "level", logging.INFO)
        log.info("measured")
        log.warning("slow")

    monkeypatch.setattr("evalkit.commands.store.main", main)
    assert evalkit("store") == (0, "", "slow\n")
    assert logging.getLogger("evalkit").propagate
