"""The command line finds its commands, and says what they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import evalkit as package
from evalkit import commands
from evalkit.commands import files

from .conftest import Run


def test_help_answers_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "evalkit.cli"], capture_output=True, text=True, check=True
    )
    assert "evalkit run model=NAME prompts=NAME" in done.stdout
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "evalkit" in loaded
    assert not loaded & {"torch", "transformers", "pandas", "hydra", "numpy", "rich"}


@pytest.mark.parametrize("command", sorted(files()))
def test_every_command_is_described_and_has_help_of_its_own(evalkit: Run, command: str) -> None:
    _, overview, _ = evalkit("--help")
    call, summary = commands.described(files()[command].read_text("utf-8").split('"""')[1])
    assert call.startswith(f"evalkit {command} ")
    assert f"  {call}\n      {summary}\n" in overview
    code, out, err = evalkit(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: {call}") and summary in " ".join(out.split())


def test_version(evalkit: Run) -> None:
    assert evalkit("--version") == (0, f"evalkit {package.__version__}\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["fetch", "--list", "model=synth", "prompts=demo"]]
)
def test_an_output_that_cannot_be_written_is_one_line(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "evalkit.cli", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    expected = "evalkit: cannot write the output: No space left on device: make room, or write it elsewhere\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_an_unknown_command_is_one_line_with_the_nearest(evalkit: Run) -> None:
    expected = f"evalkit: unknown command 'rnu': did you mean 'run'? available: {', '.join(sorted(files()))}"
    code, out, err = evalkit("rnu")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(expected)


def test_a_new_command_is_one_file(evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greet.py").write_text(
        '"""Greet somebody.\n\nevalkit greet NAME\n"""\n\n'
        "from evalkit.errors import EvalkitError\n\n"
        "def main(arguments):\n"
        "    if not arguments:\n"
        "        raise EvalkitError('nobody to greet: give a name')\n"
        "    print('hello', *arguments)\n"
    )
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "evalkit.commands.greet", raising=False)
    assert "  evalkit greet NAME\n      Greet somebody.\n" in evalkit("--help")[1]
    assert evalkit("greet", "Ada") == (0, "hello Ada\n", "")
    assert evalkit("greet") == (2, "", "evalkit: nobody to greet: give a name\n")


@pytest.mark.parametrize("command", sorted(files()))
def test_what_a_command_takes_is_known_without_waiting_for_packages(command: str) -> None:
    code = (
        f"import sys, evalkit.commands.{command} as command\n"
        "parsers = list(command.parsers().values()) if hasattr(command, 'parsers') else [command.parser()]\n"
        "assert all(parser.format_help() for parser in parsers)\n"
        "print({'torch', 'transformers', 'pandas', 'hydra', 'omegaconf', 'numpy', 'rich'} & {*sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
