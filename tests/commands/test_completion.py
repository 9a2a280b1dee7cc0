"""`evalkit completion`: what shells are offered, found quickly, and real shells that complete with it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.commands import files
from evalkit.commands.completing import candidates as completing
from evalkit.commands.completing import line
from evalkit.commands.completing.candidates import goes_on
from evalkit.commands.completing.fields import fields
from evalkit.commands.completing.groups import Configuration
from evalkit.settings import Sampling, conf_dir
from evalkit.sweeping.checking import SEARCHES

from ..conftest import ROOT, Run


def offered(*words: str) -> list[str]:
    return [one for one, _ in completing.candidates(list(words))]


def test_commands_and_actions() -> None:
    assert offered("") == sorted(["--help", "--version", *files()])
    assert offered("sto") == ["store"] and offered("store", "") == ["--help", "gc", "ls", "rm", "verify"]
    assert offered("no_command", "") == [] == offered("store", "no_action", "--")


def test_options_and_their_values() -> None:
    assert {"--read-data", "--repair", "--quiet", "--json", "--cache"} <= set(offered("store", "verify", "-"))
    assert offered("table", "x", "--across") == ["--across-protocols"]
    assert offered("table", "--format", "ma") == ["markdown"] and offered("table", "--format=ma") == [
        "--format=markdown"
    ]
    assert offered("run", "--cfg", "") == ["all", "hydra", "job"]
    assert offered("completion", "") == ["bash", "fish", "zsh"] and offered("completion", "zsh", "") == []
    assert offered("export", "x", "--to", "la") == ["latex"]
    assert offered("sweep", "--search", "") == list(SEARCHES)
    assert offered("sweep", "--objectives", "fad,kl") == ["fad,kld", "fad,kld_directions", "fad,kld_panns"]
    assert offered("power", "x", "--margin", "fad_i") == ["fad_inf="]
    assert offered("run", "--cfg", "job", "--package", "") == []


def test_groups_keys_and_values_of_a_run() -> None:
    assert offered("run", "mod") == ["model.", "model="]
    assert offered("run", "model=musicgen_s") == [
        *("model=musicgen_small", "model=musicgen_stereo_large", "model=musicgen_stereo_medium"),
        *("model=musicgen_stereo_melody", "model=musicgen_stereo_melody_large", "model=musicgen_stereo_small"),
    ]
    assert "model=[" in offered("run", "model=") and "model=[" not in offered("run", "model=m")
    assert offered("run", "metric=[fad,kl") == [
        "metric=[fad,kld",
        "metric=[fad,kld_directions",
        "metric=[fad,kld_panns",
    ]
    assert "metric=[fad,fad" not in offered("run", "metric=[fad,fa")  # it is there already
    assert offered("run", "sampling.to") == ["sampling.top_k=", "sampling.top_p="]
    assert offered("run", "engine.dtype=f") == ["engine.dtype=float16", "engine.dtype=float32"]
    assert offered("run", "++engine.cuda_graphs=") == ["++engine.cuda_graphs=false", "++engine.cuda_graphs=true"]
    assert offered("run", "metric.fad.encoder.weights.pa") == ["metric.fad.encoder.weights.path="]
    assert offered("run", "references=") == ["references=instrumental", "references=original"]
    assert offered("run", "references.separator.weights.pa") == ["references.separator.weights.path="]
    assert offered("run", "prompts.random") == ["prompts.random=", "prompts.random_seed="]
    assert offered("run", "prompts=table", "prompts.subset") == [] != offered("run", "prompts.subset")
    assert offered("run", "protocol.clap.w") == ["protocol.clap.weights."]
    assert offered("run", "model=tiny_stereo", "model.") == ["model.tiny_stereo."]
    assert offered("sweep", "experiment=sw") == [
        f"experiment=sweep_{x}" for x in ("guidance", "offline", "temperature", "top_k")
    ]
    assert offered("run", "experiment=demo", "slices=[voice,lab") == ["slices=[voice,label"]
    assert offered("reproduce", "musicgen_l") == ["musicgen_large"] and offered("reproduce", "x", "name") == ["name="]


def test_every_group_and_name_is_offered_and_is_described_as_the_package_has_it() -> None:
    configuration = Configuration()
    assert configuration.folders == [conf_dir()]
    for group in configuration.groups():
        assert set(configuration.names(group)) == {path.stem for path in (conf_dir() / group).glob("*.yaml")}
        assert f"{group}=" in offered("run", group)
    assert set(fields("evalkit.settings.Sampling")) == set(vars(Sampling()))
    assert fields("evalkit.settings.Engine")["attention"].values == ("auto", "triton", "sdpa")
    assert fields("evalkit.settings.Sampling")["top_k"].about.startswith("tokens are drawn from the k most")
    assert fields("os.path.join") == {} == fields("evalkit.absent.Absent")


def test_names_of_a_folder_of_one_s_own(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# My model.\nmine:\n  _target_: my.Model\n  size: 3\n")
    (tmp_path / "model" / "half.yaml").write_text("half: [\n")
    own = ["--config-dir", str(tmp_path)]
    assert completing.candidates(["run", *own, "model=mi"]) == [("model=mine", "My model.")]
    assert offered("run", f"--config-dir={tmp_path}", "model=mine", "model.mine.") == ["model.mine.size="]
    assert offered("run", *own, "model.half.") == []
    assert offered("run", "model=mi") == []


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("clips a", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "list.csv").write_text("")
    (tmp_path / "clear\x1b[2J").write_text("")
    assert offered("table", "") == ["clips a/", "list.csv"] and offered("table", ".h") == [".hidden/"]
    assert offered("run", "--config-dir", "") == ["clips a/"]
    assert offered("run", "prompts.references=") == ["prompts.references=clips a/", "prompts.references=list.csv"]
    assert offered("run", "prompts.references=~/cl") == ["prompts.references=~/clips a/"]
    assert offered("score", "x", "li") == ["list.csv"] and offered("score", "x", "y", "metric=fad_i") == [
        "metric=fad_inf"
    ]
    assert offered("table", "absent/") == []
    (tmp_path / "cache" / "features").mkdir(parents=True)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    assert offered("store", "rm", "fe") == ["features"] and offered("store", "ls", "fe") == []


@pytest.mark.parametrize(
    ("text", "before", "last", "quote"),
    [
        ("evalkit ", ["evalkit"], "", ""),
        ("evalkit run 'metric=[fad,", ["evalkit", "run"], "metric=[fad,", "'"),
        ('evalkit  "a b" c\\ d', ["evalkit", "a b"], "c d", ""),
        ('x "a\\"b\\c$', ["x"], 'a"b\\c$', '"'),
        ("x '' a=\"\"", ["x", ""], "a=", ""),
    ],
)
def test_a_line_is_read_as_a_shell_does(text: str, before: list[str], last: str, quote: str) -> None:
    assert line.read(text) == (before, last, quote)


def test_bash_replaces_what_it_breaks_off() -> None:
    def put(text: str, replaced: str, candidate: str) -> str:
        return line.for_bash(candidate, line.read(text), replaced)

    assert put("evalkit run metric=[fad,k", "[fad,k", "metric=[fad,kld") == "[fad,kld"
    assert put("evalkit run 'metric=[fad,k", "metric=[fad,k", "metric=[fad,kld") == "metric=[fad,kld"
    assert put("evalkit run metric=\\[fad,k", "\\[fad,k", "metric=[fad,kld") == "[fad,kld"
    assert put("evalkit table a", "a", "a b's$") == "a\\ b\\'s\\$"
    assert put("evalkit table ", "", "[ab].csv") == "\\[ab\\].csv"
    assert put("evalkit table '", "", "[ab].csv") == "[ab].csv"
    assert put("evalkit table 'a", "a", "a b's$") == "a b'\\''s$"
    assert put('evalkit table "a', "a", "a b's$") == "a b's\\$"


def test_no_space_comes_after_what_goes_on() -> None:
    assert all(map(goes_on, ("model=", "model.", "clips/", "metric=[fad", "metric=[")))
    assert not any(map(goes_on, ("store", "model=synth", "metric=[fad]")))


def test_it_is_quick_and_imports_little(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "evalkit.cli", "__complete", "zsh"]
    command += ["run", "model=musicgen_small", "model.musicgen_small.checkpoint."]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "model.musicgen_small.checkpoint.path=\t" in done.stdout
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "yaml" in loaded
    assert not loaded & {"torch", "transformers", "pandas", "hydra", "omegaconf", "numpy", "rich", "soundfile"}
    begun = os.times()
    subprocess.run([command[0], *command[3:]], capture_output=True, check=True, cwd=tmp_path)
    ended = os.times()
    used = ended.children_user + ended.children_system - begun.children_user - begun.children_system
    assert used < 0.3  # of processor time; 0.06 s where nothing else runs


@pytest.mark.parametrize("arguments", [[], ["bash"], ["zsh", "\udcff", ""], ["zsh", "run", "a" * 5000], ["tcsh", "x"]])
def test_what_cannot_be_completed_is_silent(evalkit: Run, arguments: list[str]) -> None:
    code, out, err = evalkit("__complete", *arguments)
    assert (code, out.strip(), err) == (0, "", "")


def test_scripts_are_printed(evalkit: Run) -> None:
    for shell in ("bash", "zsh", "fish"):
        code, out, err = evalkit("completion", shell)
        assert (code, err) == (0, "") and out.startswith("#") and "evalkit __complete" in out
    code, out, err = evalkit("completion", "tcsh")
    assert (code, out) == (2, "") and err.startswith("evalkit: unknown shell 'tcsh'")
    assert "source <(evalkit completion bash)" in " ".join(evalkit("completion", "--help")[1].split())


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables of a shell that finds this evalkit, and no settings of whoever runs the tests."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "home").mkdir()
    program = tmp_path / "bin" / "evalkit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m evalkit.cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "home" / ".zshrc").write_text("autoload -Uz compinit; compinit -u -D\nPS1='$ '\n")
    (tmp_path / "clips a").mkdir()
    home = str(tmp_path / "home")
    own = {
        "HOME": home,
        "ZDOTDIR": home,
        "XDG_CONFIG_HOME": home,
        "XDG_DATA_HOME": home,
        "TERM": "dumb",
        "COLUMNS": "200",
    }
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    return {**os.environ, **own, "PATH": path, "PYTHONPATH": str(ROOT), "PS1": "$ ", "HISTFILE": ""}


class Shell:
    """A shell on a terminal, to which keys are sent."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path):
        self.process, self.terminal = pty.fork()
        if not self.process:
            os.chdir(folder)
            os.execvpe(command[0], command, environment)
        self.shown = ""

    def type(self, keys: str, expected: str, seconds: float = 40.0) -> None:
        """Send keys, and wait until something is shown that was not there before."""
        self.shown = ""
        os.write(self.terminal, keys.encode())
        end = time.monotonic() + seconds
        while expected not in self.shown:
            ready, _, _ = select.select([self.terminal], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no '{expected}' after {keys!r} in {self.shown!r}"
            self.shown += os.read(self.terminal, 1 << 16).decode(errors="replace")

    def end(self) -> None:
        os.close(self.terminal)
        os.waitpid(self.process, 0)


CLEAR = "\x15"  # Ctrl-U


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Iterator[Shell]:
    """A real shell with evalkit's completion."""
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not on this machine")
    found = Shell([name, *(["--norc", "--noprofile"] if name == "bash" else []), "-i"], environment, tmp_path)
    try:
        found.type(f"source <(evalkit completion {name}); echo ready$((40 + 2))\n", "ready42")
        yield found
    finally:
        found.end()


def test_a_shell_completes(shell: Shell) -> None:
    shell.type("evalkit stor\t", "store ")
    shell.type("veri\t", "verify ")
    shell.type(f"{CLEAR}evalkit run model=musicgen_sma\t", "model=musicgen_small ")
    shell.type(f"{CLEAR}evalkit run 'metric=[kld,fad_enc\t", "'metric=[kld,fad_encodec")
    shell.type(f"{CLEAR}evalkit run prompts.refer\t", "prompts.references=")
    shell.type("cl\t", "clips\\ a/")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not on this machine")
def test_bash_does_not_take_names_for_patterns(environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("[ab].csv", "a.csv"):
        (tmp_path / "clips a" / name).write_text("")
    script = 'source <(evalkit completion bash); COMP_LINE="evalkit table " COMP_POINT=14; _evalkit evalkit "" table'
    command = ["bash", "--norc", "-c", f"{script}; printf '%s\\n' \"${{COMPREPLY[@]}}\""]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path / "clips a")
    assert (done.stdout.splitlines(), done.stderr) == (["\\[ab\\].csv", "a.csv"], "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not on this machine")
def test_fish_completes(environment: dict[str, str], tmp_path: Path) -> None:
    def fish(typed: str) -> list[str]:
        script = 'source (evalkit completion fish | psub); complete -C "$typed"'
        command = ["fish", "--no-config", "-c", script]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**environment, "typed": typed}, cwd=tmp_path, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [line.partition("\t")[0] for line in done.stdout.splitlines()]

    assert fish("evalkit stor") == ["store"]
    assert fish("evalkit run model=musicgen_sma") == ["model=musicgen_small"]
    assert fish("evalkit run 'metric=[kld,fad_enc") == ["metric=[kld,fad_encodec"]
    assert fish("evalkit run prompts.references=cl") == ["prompts.references=clips a/"]
    assert "--read-data" in fish("evalkit store verify --")
