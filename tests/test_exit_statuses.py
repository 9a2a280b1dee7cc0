"""docs/cli.md: it is what docs/cli.py writes, and every exit status in its table is what commands end with."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.metrics.silence import SilenceStart

from .conftest import ROOT, Run

PAGE = ROOT / "docs" / "cli.md"
QUICK = ["model=synth", "sampling.duration=1", "uncertainty.resamples=0"]
SILENT = ["prompts=synthetic", "prompts.count=40", "metric=[silence,stereo]", *QUICK]
GATE = """\
metrics:
  mono_share: {tier: critical, margin: 0.1}
swaps: 100
"""


def test_the_page_is_what_the_commands_say_today() -> None:
    found = importlib.util.spec_from_file_location("cli_page", ROOT / "docs" / "cli.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    assert PAGE.read_text("utf-8") == module.page(), "run: python docs/cli.py"


def table() -> set[tuple[int, str]]:
    """Status and command of every row of the page's table."""
    section = PAGE.read_text("utf-8").partition("## Exit statuses")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", section, re.MULTILINE)
    return {(int(status), command.replace("`", "")) for status, command in rows}


class Provoked:
    """A command that ends in some way, in an empty folder."""

    def __init__(self, evalkit: Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.run = evalkit
        self.folder = folder
        self.monkeypatch = monkeypatch

    def compared(self, candidate: str, *more: str) -> int:
        (self.folder / "gate.yaml").write_text(GATE)
        (self.folder / "base.txt").write_text("\n".join(SILENT) + "\n")
        (self.folder / "candidate.txt").write_text(candidate)
        return self.run("compare", "base.txt", "candidate.txt", "--gate", "gate.yaml", *more)[0]

    def go(self) -> int:
        return self.run("--version")[0] or self.compared("sampling.seed=0\n")

    def no_go(self) -> int:
        return self.compared("model.synth.mono=true\n")

    def inconclusive(self) -> int:
        few = "\n".join(["prompts.first=3", "sampling.seed=1"])
        return self.compared(f"{few}\n", "--common-prompts")

    def nothing_compared(self) -> int:
        self.monkeypatch.setattr("evalkit.comparing.compare", broken)
        assert self.compared("") == self.run("compare", "base.txt")[0]  # a bug, and a mistake
        return self.compared("")

    def lost(self) -> int:
        place = self.folder / "cache" / "clips" / ("0" * 32)
        assert self.run("run", *SILENT, "prompts.count=2")[0] == 0
        place = next(path for path in (self.folder / "cache" / "clips").rglob("*") if path.is_file())
        for path in (self.folder / "cache" / "clips").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:-10])
        assert place.is_file()
        return self.run("store", "verify")[0]

    def lacking(self) -> int:
        return self.run("doctor", "--device", "cuda:77")[0]

    def bug(self) -> int:
        code = "import evalkit.results.loading as l, evalkit.cli as c, sys\nl.load = None\n"
        code += "sys.argv = ['evalkit', 'table', '.']\nc.main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=self.folder)
        assert "Traceback" in done.stderr
        return done.returncode

    def mistake_or_bug(self) -> int:
        status = self.run("store", "lss")[0]
        assert self.run("doctor", "--nope")[0] == status
        self.monkeypatch.setattr("evalkit.store.sizes.measure", broken)
        (self.folder / "cache").mkdir()
        assert self.run("store", "ls")[0] == status
        return status

    def mistake(self) -> int:
        for arguments in (["nope"], ["table", "absent"], ["run", "model=nope"], ["completion", "tcsh"], ["sweep"]):
            code, out, err = self.run(*arguments)
            assert (code, out, err.count("\n")) == (2, "", 1), err
        return 2

    def incomplete(self) -> int:
        self.monkeypatch.setattr(SilenceStart, "__call__", broken)
        code, out, err = self.run("run", *SILENT, "prompts.count=2")
        assert "result: " in out and " has no score of " in err.splitlines()[-1]
        return code

    def interrupted(self) -> int:
        code = "import os, signal, sys, evalkit.cli as c, evalkit.commands.table as t\n"
        code += "t.main = lambda arguments: os.kill(os.getpid(), signal.SIGINT)\n"
        code += "sys.argv = ['evalkit', 'table']\nc.main()"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            env=os.environ,
        )
        assert done.stderr.startswith("evalkit: interrupted")
        return 128 - done.returncode


def broken(*arguments: object, **options: object) -> None:
    raise ZeroDivisionError("a bug")


PROVOKE: dict[tuple[int, str], Callable[[Provoked], int]] = {
    (0, "all"): Provoked.go,
    (1, "compare"): Provoked.no_go,
    (1, "store verify"): Provoked.lost,
    (1, "doctor"): Provoked.lacking,
    (1, "others"): Provoked.bug,
    (2, "compare"): Provoked.inconclusive,
    (2, "store, doctor"): Provoked.mistake_or_bug,
    (2, "others"): Provoked.mistake,
    (3, "run, score, reproduce, sweep, slurm --task"): Provoked.incomplete,
    (4, "compare"): Provoked.nothing_compared,
    (130, "all"): Provoked.interrupted,
}


def test_each_row_of_the_table_is_provoked() -> None:
    assert table() == PROVOKE.keys()


@pytest.mark.parametrize("row", PROVOKE, ids=[f"{status} {command.split(',')[0]}" for status, command in PROVOKE])
def test_a_command_ends_with_it(
    row: tuple[int, str], evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PROVOKE[row](Provoked(evalkit, tmp_path, monkeypatch)) == row[0]
