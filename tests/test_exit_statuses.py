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

from evalkit import cli
from evalkit.metrics.silence import SilenceStart
from evalkit.packing.verifying import Verified
from evalkit.packs.files import write_pack
from evalkit.results.gate import STATUS, Outcome

from .agreeing import made as agreeing
from .conftest import ROOT, Run
from .packs.test_joining import pack
from .results.made_comparison import comparison

PAGE = ROOT / "docs" / "cli.md"
QUICK = ["model=synth", "sampling.duration=1", "uncertainty.resamples=0"]
SILENT = ["prompts=synthetic", "prompts.count=40", "metric=[silence,stereo]", *QUICK]


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

    def compared(self, outcome: Outcome) -> int:
        """Compare what has this outcome; runs that have each are compared in tests/commands/test_compare.py."""
        found = comparison(outcome=outcome).save(self.folder / "compared")
        self.monkeypatch.setattr("evalkit.comparing.compare", lambda *_, **__: found)
        return self.run("compare", "a", "b")[0]

    def go(self) -> int:
        return self.run("--version")[0] or self.compared("GO")

    def no_go(self) -> int:
        return self.compared("NO-GO")

    def inconclusive(self) -> int:
        return self.compared("INCONCLUSIVE")

    def nothing_compared(self) -> int:
        self.monkeypatch.setattr("evalkit.comparing.compare", broken)
        assert self.run("compare", "a", "b")[0] == self.run("compare", "base.txt")[0]  # a bug, and a mistake
        return self.run("compare", "a", "b")[0]

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
        return self.run("doctor", "model=[]", "metric=[]", "--device", "cuda:77")[0]

    def too_few(self) -> int:
        return self.run("references", "status", "prompts=demo", "prompts.references=null")[0]

    def not_verified(self) -> int:
        write_pack(self.folder / "a.safetensors", pack({"a": None}))
        nothing = Verified({}, {}, [], ("cpu", "cpu"))
        self.monkeypatch.setattr("evalkit.packing.verifying.verify", lambda *_: nothing)
        return self.run("references", "verify", "a.safetensors", "prompts=demo")[0]

    def unread(self) -> int:
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "evalkit.cli", "store", "ls", "--cache", str(self.folder)]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
        os.close(writing)
        assert done.stderr == ""
        return done.returncode

    def bug(self) -> int:
        code = "import evalkit.results.loading as l, evalkit.cli as c, sys\nl.load = None\n"
        code += "sys.argv = ['evalkit', 'table', '.']\nc.main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=self.folder)
        assert "Traceback" in done.stderr
        return done.returncode

    def mistake_or_bug(self) -> int:
        status = self.run("store", "lss")[0]
        assert self.run("doctor", "--nope")[0] == status
        assert self.run("references", "status")[0] == self.run("references", "verify")[0] == status
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

    def too_few_systems(self) -> int:
        systems, how_good = agreeing.names(4), agreeing.quality(4)
        agreeing.saved(agreeing.measured(systems, how_good), self.folder / "record")
        agreeing.table(self.folder / "ratings.csv", systems, agreeing.rated(systems, how_good))
        return self.run("agree", "record", "ratings.csv")[0]

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
    (0, "compare, store, doctor, references status and verify"): Provoked.unread,
    (1, "compare"): Provoked.no_go,
    (1, "store verify"): Provoked.lost,
    (1, "doctor"): Provoked.lacking,
    (1, "references status"): Provoked.too_few,
    (1, "references verify"): Provoked.not_verified,
    (1, "others"): Provoked.bug,
    (2, "compare"): Provoked.inconclusive,
    (2, "store, doctor, references status and verify"): Provoked.mistake_or_bug,
    (2, "others"): Provoked.mistake,
    (3, "run, score, reproduce, sweep, slurm --task"): Provoked.incomplete,
    (3, "agree"): Provoked.too_few_systems,
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


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_verdict_is_the_status_also_where_nobody_reads_it(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = comparison(outcome="NO-GO").save(tmp_path / "c")
    monkeypatch.setattr("evalkit.comparing.compare", lambda *_, **__: found)
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "argv", ["evalkit", "compare", "a", "b", *flags])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == STATUS[found.outcome] == 1
