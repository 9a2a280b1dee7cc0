"""`evalkit compare`: two sides that are made or loaded, the exit status, the forms, and one line for every mistake."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

import evalkit as package
from evalkit import comparing
from evalkit.commands import compare as command
from evalkit.commands import files
from evalkit.config import compose
from evalkit.errors import EvalkitError
from evalkit.results import gate as gates
from evalkit.results.comparison import Comparison
from evalkit.results.result import Result

from ..conftest import ROOT, Run

BASE = """\
# the cheapest run there is: no network, no references
prompts=synthetic
prompts.count=60
model=synth
metric=[silence,stereo]
sampling.duration=1
uncertainty.resamples=0
"""
GATE = """\
metrics:
  mono_share: {tier: critical, margin: 0.1}
  silence_share: {tier: critical, margin: 0.1}
slices: [tag]
swaps: 100
"""
MONO = "model.synth.mono=true\n"  # what the gate is to notice


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def compared(
    evalkit: Run, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run `evalkit compare` in an empty folder with the gate above; clips are kept from test to test."""
    monkeypatch.setenv("EVALKIT_CACHE", str(cache))
    (tmp_path / "gate.yaml").write_text(GATE)
    (tmp_path / "base.txt").write_text(BASE)

    def run(*arguments: str) -> tuple[int, str, str]:
        return evalkit("compare", *arguments, "--gate", "gate.yaml")

    return run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, Result]:
    """Finished runs by what is said beside BASE."""
    said = {
        "base": [],
        "mono": [MONO.strip()],
        "other_seed": ["sampling.seed=1"],
        "few": ["prompts.first=5"],
        "two_rows": ["+model.other._target_=evalkit.models.synth.synth.Synth", "prompts.first=30"],
    }
    folder = tmp_path_factory.mktemp("results")
    base = [line for line in BASE.splitlines() if not line.startswith("#")]
    return {
        name: package.evaluate(
            *base,
            *more,
            f"cache_dir={cache}",
            f"output_dir={folder}",
            f"name={name}",
            quiet=True,
        )
        for name, more in said.items()
    }


def made(place: Path, kind: str) -> list[Path]:
    return sorted((place / "results" / kind).glob("*")) if (place / "results" / kind).is_dir() else []


def test_a_run_against_itself_is_a_go(compared: Run, tmp_path: Path) -> None:
    (tmp_path / "link.xml").symlink_to("deep/junit.xml")
    status, out, err = compared("base.txt", "base.txt", "--junit", "link.xml")
    assert status == 0, err
    assert (tmp_path / "link.xml").is_symlink()
    assert "GO" in out and "identical" in out.lower()
    (folder,) = made(tmp_path, "comparisons")
    assert folder.name.endswith("-synth-vs-synth") and out.splitlines()[-1] == f"comparison: {folder}"
    suite = ET.parse(tmp_path / "deep/junit.xml").getroot()
    assert suite.get("failures") == suite.get("errors") == "0" and int(suite.get("tests", "0")) >= 3


def test_what_a_file_does_not_say_is_as_in_the_result(
    compared: Run, results: dict[str, Result], tmp_path: Path
) -> None:
    (tmp_path / "mono.txt").write_text(MONO)
    status, out, err = compared(str(results["base"].path), "mono.txt", "--junit", "junit.xml")
    assert status == 1, err
    assert "NO-GO" in out and "Collapsed to mono" in out
    (run,) = made(tmp_path, "runs")
    theirs, ours = results["base"].config, Result.load(run).config
    shared = [key for key in theirs if key not in ("model", "name", "output_dir", "cache_dir", "engine")]
    assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}
    assert ours["model"] == {"synth": {**theirs["model"]["synth"], "mono": True}}
    comparison = package.load(made(tmp_path, "comparisons")[0])
    assert isinstance(comparison, Comparison) and comparison.outcome == "NO-GO"
    assert comparison.metrics.set_index("metric").verdict["mono_share"] == "BREACH"
    root = ET.parse(tmp_path / "junit.xml").getroot()
    failed = [case.get("classname") for case in root.iter("testcase") if case.find("failure") is not None]
    assert "critical.mono_share" in failed and root.get("errors") == "0"


def test_too_few_prompts_are_inconclusive(compared: Run, results: dict[str, Result], tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("sampling.seed=0\nmodel.synth.seed=1\n")
    status, out, err = compared(str(results["few"].path), "other.txt")
    assert status == 2, err
    assert "INCONCLUSIVE" in out and "INSUFFICIENT" in out


def test_finished_results_need_no_run(compared: Run, results: dict[str, Result], tmp_path: Path) -> None:
    status, _, err = compared(str(results["base"].path), str(results["mono"].path))
    assert status == 1, err
    assert made(tmp_path, "runs") == []
    assert err == ""


def test_one_row_of_several(compared: Run, results: dict[str, Result], tmp_path: Path) -> None:
    both = str(results["two_rows"].path)
    (tmp_path / "mono.txt").write_text(MONO)
    status, _, err = compared(f"{both}::synth", "mono.txt")
    assert status == 1, err
    assert list(Result.load(made(tmp_path, "runs")[0]).rows) == ["synth"]  # the model of that row alone
    status, out, err = compared(both, "mono.txt")
    assert (status, out) == (4, "") and "synth" in err and "other" in err
    status, _, err = compared(f"{both}::sinth", "mono.txt")
    assert status == 4 and "did you mean 'synth'" in err


def test_several_results_of_a_side(compared: Run, results: dict[str, Result], tmp_path: Path) -> None:
    several = f"{results['base'].path},{results['other_seed'].path}"
    (tmp_path / "a.txt").write_text(MONO)
    (tmp_path / "b.txt").write_text(f"{MONO}sampling.seed=1\n")
    status, _, err = compared(several, "a.txt,b.txt")
    assert status in (1, 2), err
    comparison = Comparison.load(made(tmp_path, "comparisons")[0])
    assert (len(comparison.baseline), len(comparison.candidate)) == (2, 2)
    assert [Result.load(run).config["sampling"]["seed"] for run in made(tmp_path, "runs")] == [0, 1]


def test_a_comparison_is_printed_again(evalkit: Run, compared: Run, results: dict[str, Result], tmp_path: Path) -> None:
    sides = [str(results["base"].path), str(results["mono"].path)]
    status, out, err = compared(*sides, "--format", "json", "--output", "elsewhere")
    assert status == 1 and json.loads(out)["outcome"] == "NO-GO"
    (folder,) = (tmp_path / "elsewhere").iterdir()
    assert err == f"comparison: {folder}\n"
    assert evalkit("table", str(folder), "--format", "json") == (0, out, "")
    status, shown, _ = evalkit("table", str(folder))
    assert status == 0 and "NO-GO" in shown
    status, out, err = evalkit("table", str(folder), sides[0])
    assert (status, out) == (2, "") and "a comparison, a sweep or a listening test is a table by itself" in err


def test_from_python(results: dict[str, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gate.yaml").write_text(GATE)
    base, mono = results["base"], results["mono"]
    by_object = package.compare(base, mono, "gate.yaml", quiet=True)
    by_path = package.compare(
        base.path, [f"{mono.path}::synth"], tmp_path / "gate.yaml", output_dir="there", quiet=True
    )
    assert by_object.outcome == by_path.outcome == "NO-GO"
    assert by_object.metrics.equals(by_path.metrics)
    assert package.load(by_path.path).metrics.equals(by_path.metrics) and by_path.path.parent == tmp_path / "there"


MISTAKES = [
    ("", "the following arguments are required: BASELINE, CANDIDATE: see 'evalkit compare --help'"),
    ("base.txt", "the following arguments are required: CANDIDATE"),
    ("base.txt base.txt third.txt", "unrecognized arguments: third.txt"),
    ("base.txt base.txt --gtae x", "unrecognized arguments: --gtae"),
    ("nowhere base.txt", "'nowhere' does not exist: give the folder of a result, or a file of options"),
    ("base.txt,, base.txt", "'' does not exist"),
    ("base.txt base.txt,base.txt", "the candidate has '.*base.txt' twice"),
    ("base.txt wrong.txt", r"'wrong.txt', line 2: .*did you mean 'sampling.seed'\?"),
    ("wrong_base.txt base.txt", "'wrong_base.txt', line 8: there is no option 'sampling.sede'"),
    ("base.txt bad_value.txt", r"'bad_value.txt', line 1: synth: silence=7: must be a number from 0 to 1"),
    ("base.txt clip.wav", "'clip.wav' is no text"),
    ("base.txt empty", "'.*empty' holds no finished result"),
    ("base.txt results.zip", "is an archive: unpack it"),
    (
        "base.txt two.txt",
        "'two.txt', line 1: it runs synth, tiny_stereo: say which of them to compare, as in FILE::synth",
    ),
    ("base.txt base.txt::sinth", "'base.txt', line 4: unknown row 'sinth': did you mean 'synth'"),
    ("base.txt base.txt --format pdf", "unknown format 'pdf'"),
    ("base.txt base.txt --gate nowhere.yaml", "nowhere.yaml"),
    (
        "base.txt base.txt --gate wrong_gate.yaml",
        "the gate '.*wrong_gate.yaml': unknown key in metrics.mono_share 'tyer': did",
    ),
    (
        "base.txt base.txt --gate misspelt.yaml",
        "the gate names a metric that there is not: .*did you mean 'mono_share'",
    ),
    ("base.txt base.txt --junit empty", "--junit .*empty: no file can be written there"),
    ("base.txt base.txt --junit clip.wav/junit.xml", "--junit .*: no file can be written there"),
    ("base.txt base.txt --junit itself", "--junit .*itself: no file can be written there"),
    ("base.txt base.txt --config-dir nowhere", "the folder of configurations 'nowhere' does not exist"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake_is_one_line_of_its_own_status_and_nothing_is_made(
    evalkit: Run, compared: Run, tmp_path: Path, arguments: str, message: str
) -> None:
    (tmp_path / "wrong.txt").write_text("# comment\nsampling.sede=1\n")
    (tmp_path / "wrong_base.txt").write_text(f"{BASE}sampling.sede=1\n")
    (tmp_path / "bad_value.txt").write_text("model.synth.silence=7\n")
    (tmp_path / "two.txt").write_text("model=[synth,tiny_stereo]\n")
    (tmp_path / "wrong_gate.yaml").write_text("metrics:\n  mono_share: {tyer: critical, margin: 0.1}\n")
    (tmp_path / "misspelt.yaml").write_text("metrics:\n  mono_sahre: {tier: critical, margin: 0.1}\n")
    (tmp_path / "clip.wav").write_bytes(b"RIFF\xff\xfe")
    (tmp_path / "results.zip").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    (tmp_path / "itself").symlink_to("itself")
    before = {path.name for path in tmp_path.iterdir()}
    more = [] if "--junit" in arguments or not arguments else ["--junit", "out/junit.xml"]
    status, out, err = evalkit("compare", *arguments.split(), *more)
    assert (status, out) == (gates.MISTAKE, ""), err
    assert re.fullmatch(rf"evalkit: .*(?:{message}).*\n", err), err
    assert {path.name for path in tmp_path.iterdir()} - before <= {"cache"}


def test_several_results_in_a_folder_are_listed(compared: Run, results: dict[str, Result]) -> None:
    folder = results["base"].path.parent
    status, _, err = compared(str(folder), "base.txt")
    assert status == 4 and f"holds {len(results)} results: give one, or several with commas: " in err
    listed = err.rpartition(": ")[2].strip().split(",")
    assert listed == sorted(str(result.path) for result in results.values())


def test_two_folders_cannot_complete_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compared: Run) -> None:
    import numpy as np
    import soundfile

    for side in ("ours", "theirs"):
        (tmp_path / side).mkdir()
        for name in "ab":
            soundfile.write(tmp_path / side / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    result = package.score("ours", "theirs", "metric=[chroma]", "random_weights=0", quiet=True)
    (tmp_path / "mono.txt").write_text(MONO)
    status, _, err = compared(str(result.path), "mono.txt")
    assert status == 4 and "compares two folders: make the other side with evalkit score too" in err


def test_what_a_result_says_of_trust_and_places_is_not_taken(results: dict[str, Result]) -> None:
    result = results["two_rows"]
    stranger = dataclasses.replace(result, config={**result.config, "allow_targets": ["theirs"], "cache_dir": "/there"})
    base = comparing.shared_by(comparing.Part(stranger, "synth"))
    assert {"allow_targets", "cache_dir"} & {*base} == set() and list(base["model"]) == ["synth"]
    assert base["prompts"] == result.config["prompts"]


def test_a_bug_does_not_end_with_the_status_of_a_verdict(compared: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **named: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(comparing, "compare", broken)
    status, _, err = compared("base.txt", "base.txt")
    assert status == 4 and "Traceback" in err and "ValueError: a bug" in err


def test_a_run_that_fails_leaves_no_comparison(
    compared: Run, results: dict[str, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(config: object) -> None:
        raise EvalkitError("the disk is full")

    monkeypatch.setattr("evalkit.pipeline.evaluate", failing)
    status, out, err = compared(str(results["base"].path), "base.txt", "--junit", "junit.xml")
    assert (status, out, err) == (4, "", "evalkit: the disk is full\n")
    assert not (tmp_path / "junit.xml").exists() and made(tmp_path, "comparisons") == []


def test_the_help_says_what_the_statuses_are(evalkit: Run) -> None:
    status, out, _ = evalkit("compare", "--help")
    assert status == 0 and "0 GO, 1 NO-GO, 2 INCONCLUSIVE, 4 where nothing was compared" in " ".join(out.split())


@pytest.mark.slow
def test_the_lines_of_the_readme_show_every_outcome(tmp_path: Path, cache: Path) -> None:
    """As they are written, but on 100 prompts: half of the time, and enough for FAD in one of the caption lengths."""
    section = (ROOT / "README.md").read_text("utf-8").partition("## Compare two checkpoints")[2]
    written = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0].replace(
        "synthetic ", "synthetic prompts.count=100 "
    )
    shim = tmp_path / "bin" / "evalkit"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\n"{sys.executable}" -m evalkit.cli "$@"\necho "status $?"\n')
    shim.chmod(0o755)
    own = {"PATH": f"{shim.parent}:{os.environ['PATH']}", "EVALKIT_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        ["sh", "-ec", written], cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True
    )
    same, worse, few, rest = run.stdout.split("status ")
    assert (worse[0], few[0], rest[0]) == ("0", "1", "2"), run.stderr
    assert same.startswith("GO: ") and "the same on both sides, byte for byte" in " ".join(same.split())
    assert "NO-GO: " in worse and "FAD: BREACH" in worse and "Slices that moved most" in worse
    assert "caption_length" in worse.partition("Slices that moved most")[2]
    said = " ".join(few.split())
    assert "INCONCLUSIVE: " in said and re.search(
        r"20 prompts, .*: with no change about [\d,]+ prompts are needed", said
    )


PAGE = (ROOT / "docs/compare.md").read_text("utf-8")
YAMLS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def scripts(value: object) -> list[str]:
    """The lines of shell in a CI file."""
    if isinstance(value, dict):
        return [
            line
            for key, part in value.items()
            for line in (scripts(part) if key not in ("run", "script") else lines(part))
        ]
    return [line for part in value for line in scripts(part)] if isinstance(value, list) else []


def lines(value: object) -> list[str]:
    return [line for part in (value if isinstance(value, list) else [value]) for line in str(part).splitlines()]


def test_the_commands_of_the_pages_ci_files_exist() -> None:
    found = [
        shlex.split(line) for text in YAMLS for line in scripts(yaml.safe_load(text)) if line.startswith("evalkit ")
    ]
    assert {words[1] for words in found} == {"run", "compare"} and len(found) == 4
    for _, name, *arguments in found:
        assert name in files()
        if name == "compare":
            asked = command.parser().parse_args(arguments)
            assert asked.junit and asked.gate
        else:
            assert list(compose(arguments).model) == ["audiocraft"]


def test_the_pages_ci_files_keep_the_report_and_take_the_gate_from_the_base_branch() -> None:
    github, gitlab = (
        next(yaml.safe_load(text) for text in YAMLS if mark in text and "compare:" in text)
        for mark in ("runs-on", "artifacts:")
    )
    steps = github["jobs"]["compare"]["steps"]
    assert steps[-1]["if"] == "always()" and steps[-1]["uses"].startswith("actions/upload-artifact")
    assert "git show FETCH_HEAD:gate.yaml" in steps[1]["run"] and "base_ref" in steps[1]["env"]["BASE"]
    assert "${{" not in "".join(step.get("run", "") for step in steps)  # a branch's name would be run as shell
    assert gitlab["compare"]["artifacts"]["when"] == "always"
    assert any("git show FETCH_HEAD:gate.yaml" in line for line in gitlab["compare"]["script"])


def test_the_pages_gate_is_read(tmp_path: Path) -> None:
    (text,) = (text for text in YAMLS if text.startswith(("# gate.yaml", "metrics:")))
    (tmp_path / "gate.yaml").write_text(text)
    gate = gates.load(tmp_path / "gate.yaml")
    assert {limit.tier for limit in gate.metrics.values()} == {"critical", "supporting", "advisory"}
    assert os.path.isfile(ROOT / "conf/gate/default.yaml")
