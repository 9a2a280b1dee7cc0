"""`evalkit run`: one line for every mistake, and what is printed."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalkit import evaluate, load
from evalkit.commands import run
from evalkit.config import Config
from evalkit.errors import EvalkitError
from evalkit.settings import Engine, Sampling, Uncertainty, conf_dir

from ..conftest import Run

BASE = ["run", "model=synth", "prompts=demo", "random_weights=0"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run"], " is selected for "),
        (["run", "model=synth"], "nothing is selected for prompts: set prompts=NAME"),
        (["run", "model=musicgen_smal", "prompts=demo"], "unknown model 'musicgen_smal': did you mean 'musicgen_"),
        (["run", "model=[synth,musicgen_lage]", "prompts=demo"], "did you mean 'musicgen_large'?"),
        (["run", "model=synth", "prompts=musicap"], "unknown prompts 'musicap': did you mean 'musiccaps'?"),
        ([*BASE, "metric=fda"], "unknown metric 'fda': did you mean 'fad'? available: audiobox_aesthetics, "),
        ([*BASE, "metric=[fad,klt]"], "unknown metric 'klt': did you mean 'kld'?"),
        ([*BASE, "protocol=musicgn"], "unknown protocol 'musicgn': did you mean 'musicgen'?"),
        ([*BASE, "experiment=dmeo"], "unknown experiment 'dmeo': did you mean 'demo'?"),
        ([*BASE, "prompts.subset=balancd"], "did you mean 'balanced'?"),
        ([*BASE, "sampling.topk=3"], "there is no option 'sampling.topk': did you mean 'sampling.top_k'?"),
        ([*BASE, "sampling.top_k=many"], "sampling.top_k=many: must be a whole number"),
        ([*BASE, "sampling.top_k=null"], "evalkit: sampling.top_k=null: field 'sampling.top_k' cannot be null"),
        ([*BASE, "engine.dtype=float8"], "evalkit: engine.dtype=float8: Invalid value 'float8', expected one of [auto"),
        ([*BASE, "engine.dtype=float64"], "float64"),
        ([*BASE, "engine.batch_size=0"], "engine.batch_size=0: must be between 1 and 2,048"),
        ([*BASE, "sampling.duration=0"], "sampling.duration=0: must be between 1 and 600 seconds"),
        ([*BASE, "sampling.duration=601"], "sampling.duration=601: must be between 1 and 600 seconds"),
        ([*BASE, "engine.device=cuda:7"], "engine.device=cuda:7"),
        ([*BASE, "engine.device=gpu"], "engine.device=gpu"),
        ([*BASE, "model.synth.sede=1"], "there is no option 'model.synth.sede': did you mean 'model.synth.seed'?"),
        ([*BASE, "+model.synth.sede=1"], "unknown option of Synth 'sede': did you mean 'seed'?"),
        (["run", "model=tiny_stereo", "prompts=demo", "model.tiny_stereo.sead=1"], "mean 'model.tiny_stereo.seed'?"),
        (["run", "experiment=demo", "model.noise.nois=1"], "did you mean 'model.noise.noise'?"),
        (["run", "experiment=demo", "model.noise.low_pas=1"], "did you mean '+model.noise.low_pass'?"),
        ([*BASE, "metric.fad.encoder.weights.pth=x"], "did you mean 'metric.fad.encoder.weights.path'?"),
        ([*BASE, "model.folder.path=x"], "there is no option 'model.folder.path': below 'model' there are synth"),
        ([*BASE, "prompts.frist=1"], "there is no option 'prompts.frist': did you mean 'prompts.first'?"),
        ([*BASE, "+foo=bar"], "there is no option 'foo': 'evalkit run --help' lists them"),
        ([*BASE, "++sampling.foo=1"], "there is no option 'sampling.foo': below 'sampling' there are duration, "),
        ([*BASE, "-m", "+foo=bar"], "there is no option 'foo'"),
        ([*BASE, "-m", "hydra.sweep.dir=x", "sampling.seed=1,2"], "made in output_dir: use output_dir=DIR"),
        ([*BASE, "-m", "sampling.seed=range(2,1)"], "sampling.seed=range(2,1) holds no value"),
        ([*BASE, "sampling.samples_per_prompt=1000000000"], "must be between 1 and 100"),
        ([*BASE, "uncertainty.resamples=100000000"], "must be between 100 and 20,000"),
        ([*BASE, "model.synth._target_=os.system"], "not part of evalkit"),
        (["run", "model=synth", "prompts=table"], "prompts"),
        (["run", "model=synth", "prompts=table", "prompts.path=absent.csv"], "absent.csv"),
        (["run", "model=synth", "prompts=[demo"], "cannot read the option 'prompts=[demo'"),
        ([*BASE, "metric.fad.encoder.weights.random_seed=null", "metric=fad"], "run 'evalkit fetch'"),
        (["run", "model=musicgen_small", "prompts=demo", "random_weights=0"], "MusicGen small is not on this machine"),
        ([*BASE, "model.synth.seed=x"], "seed"),
        ([*BASE, "model.synth=null"], "where a component with a _target_ is due"),
        ([*BASE, "model.synth._target_=evalkit.assets.Asset"], "unknown option of Asset 'seed'"),
        ([*BASE, "metric.chroma.encoder=null"], "metric.chroma has no encoder"),
        ([*BASE, "metric.chroma._target_=evalkit.metrics.nope.X"], "'evalkit.metrics.nope.X', which cannot be found"),
        ([*BASE, "sampling=null"], "must be a string or a list"),
        ([*BASE, "name=${nope}"], "nope"),
        (["run", "model=synth", "prompts=demo,table"], "several values: use 'prompts=[demo,table]'"),
        ([*BASE, "output_dir="], "output_dir is empty"),
        ([*BASE, "--nope"], "--nope: see 'evalkit run --help'"),
        ([*BASE, "engine.batch_size=1000000"], "engine.batch_size=1000000: must be between 1 and 2,048"),
        ([*BASE, "engine.device=meta"], "engine.device=meta: use cpu, cuda"),
        ([*BASE, "metric.fad.ddof=x", "metric=fad"], "FAD: ddof='x': must be int"),
        ([*BASE, "sampling.duration=0.1", "metric=kld"], "sampling.duration=0.1: must be between 1 and 600"),
        (["run", "model=tiny_stereo", "prompts=demo", "model.tiny_stereo.seed=x"], "seed='x': must be int"),
        (["run", "model=synth", "prompts=musiccaps", f"prompts.path={'x' * 300}"], "xxx"),
        ([*BASE, "--config-dir", "/absent"], "/absent"),
        ([*BASE, "cache_dir=/dev/null", "metric=chroma"], "/dev/null"),
        ([*BASE, "output_dir=/proc/nowhere"], "cannot write '/proc/nowhere"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_mistake_is_one_line_and_status_2(evalkit: Run, arguments: list[str], expected: str) -> None:
    code, out, err = evalkit(*arguments)
    assert code == 2, (out, err)
    assert expected in err
    assert err.startswith("evalkit: ") and err.count("\n") == 1, err
    assert out == ""


@pytest.mark.parametrize("schema", [Config, Sampling, Engine, Uncertainty])
def test_every_option_says_what_it_is_and_no_other_is_described(schema: type) -> None:
    described = run.attributes(schema)
    assert list(described) == [field.name for field in dataclasses.fields(schema)]
    assert all(len(text) > 5 for text in described.values())


def test_help_of_run_says_what_groups_and_options_are_in_80_columns(evalkit: Run) -> None:
    code, out, _ = evalkit("run", "--help")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    groups = sorted(path.name for path in conf_dir().iterdir() if path.is_dir() and path.name not in run.HIDDEN)
    assert [line.strip(" =") for line in out.splitlines() if re.fullmatch(r"  \w+=", line)] == groups
    for expected in (
        "  metric=\n      what is measured, each a column of the table\n      audiobox_aesthetics, chroma, ",
        "musicgen_stereo_melody_large",
        "  sampling.top_k=250\n      tokens are drawn from the k most likely ones; 0 for all\n",
        "  sampling.seed=0\n",
        "  engine.dtype=auto\n",
        "  engine.attention=auto\n",
        "  engine.cuda_graphs=true\n",
        "  name=null\n",
        "      caption_kind, caption_length, label, language, region, tag, voice\n",
    ):
        assert expected in out


def test_help_lists_what_a_folder_of_one_s_own_adds(evalkit: Run, tmp_path: Path) -> None:
    for group in ("model", "slice", "calibration"):
        (tmp_path / "own" / group).mkdir(parents=True)
        (tmp_path / "own" / group / f"my_{group}.yaml").write_text("x: 1  # what x is\n")
    code, out, _ = evalkit("run", "--help", "--config-dir", "own", "model=[my_model,folder]", "prompts=table")
    assert code == 0
    for group in ("model", "slice", "calibration"):
        assert f"      in own: my_{group}\n" in out
    for expected in (
        "model=my_model\n  x: 1  # what x is\n",
        "    path: null  # of the clips;",
        "  path: null  # CSV, TSV",
    ):
        assert expected in out
    assert evalkit("run", "--help", "--config-dir", "absent")[0] == 2


def test_a_sweep_with_a_bad_value_runs_nothing(evalkit: Run, tmp_path: Path) -> None:
    options = ["run", "-m", "model=synth", "prompts=demo", "random_weights=0", "metric=chroma", "sampling.duration=1"]
    for swept, named in (
        ("sampling.seed=0,1 sampling.top_k=1,-1", "sampling.seed=0 sampling.top_k=-1: sampling.top_k=-1: must not be"),
        ("model.synth.seed=1,x", "model.synth.seed=x: Synth: seed='x': must be int"),
        ("prompts.first=1,99", "prompts.first=99: must be between 1 and 12"),
        ("protocol=musicgen,fadtkk", "protocol=fadtkk: unknown protocol 'fadtkk': did you mean 'fadtk'?"),
        ("slices=[voice],[tag:none]", "slices=[tag:none]: slices: no prompt has the tag 'none'"),
        ("metric=chroma,fad random_weights=0,null", "random_weights=null metric=fad: VGGish weights "),
    ):
        code, out, err = evalkit(*options, *swept.split())
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith(f"evalkit: {named}") and err.endswith("; nothing was run\n")
    assert not (tmp_path / "results").exists()


def test_a_run_that_has_done_nothing_leaves_no_folder(evalkit: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = evalkit(*BASE, "metric=chroma", "prompts.references=empty")
    assert code == 2 and "holds no audio" in err
    assert not (tmp_path / "results").exists()
    (tmp_path / "results").mkdir()
    evalkit(*BASE, "metric=chroma", "prompts.references=empty")
    assert list((tmp_path / "results").iterdir()) == []  # which was there before


@pytest.mark.parametrize("options", [["model=nonesuch", "prompts=demo"], ["model=synth", "sampling.topk=1"]])
def test_python_gets_the_same_line(options: list[str]) -> None:
    with pytest.raises(EvalkitError) as error:
        evaluate(*options)
    assert "\n" not in str(error.value)


def test_paths_need_no_quotes_and_flags_may_stand_anywhere(evalkit: Run, tmp_path: Path) -> None:
    folder = tmp_path / "é (1) it's, a=b"
    folder.mkdir()
    code, _, err = evalkit(
        "run", "model=synth", "--config-dir", str(tmp_path), *BASE[2:], f"prompts.references={folder}"
    )
    assert code == 2 and f"'{folder}' holds no audio" in err


@pytest.mark.parametrize("sweep", [[], ["-m"]])
def test_a_run_finds_the_yamls_of_one_s_own_that_it_reads_later(evalkit: Run, tmp_path: Path, sweep: list[str]) -> None:
    (tmp_path / "slice").mkdir()
    (tmp_path / "slice" / "mine.yaml").write_text("_target_: evalkit.slices.tag.Tag\nmost: 1\n")
    code, _, err = evalkit(*BASE, *sweep, "--config-dir", str(tmp_path), "slices=[mine:nonesuch]")
    assert code == 2 and "no prompt has the mine 'nonesuch'" in err


@pytest.mark.slow
def test_a_sweep_of_runs_ends_in_its_record(evalkit: Run, tmp_path: Path) -> None:
    options = ["metric=chroma", "prompts.first=3", "sampling.duration=1", "uncertainty.resamples=0"]
    code, out, err = evalkit(*BASE, *options, "-m", "model.synth.noise=0.0,0.3", "sampling.samples_per_prompt=1,2")
    assert code == 0, err
    assert [line.partition(":")[0] for line in err.splitlines()] == [f"point {number}" for number in (1, 2, 3, 4)]
    (folder,) = tmp_path.glob("results/runs/*-synth")
    assert out.endswith(f"sweep: {folder}\n")
    sweep = load(folder)
    assert [*sweep.points["name"]] == [f"noise={n}, samples_per_prompt={s}" for n in ("0", "0.3") for s in (1, 2)]
    assert [*sweep.points["status"]] == ["ok"] * 4
    assert sweep.default == 1  # which is one of the grid's
    assert [sweep.result(point).config["model"]["synth"]["noise"] for point in (1, 3)] == [0.0, 0.3]
    assert sweep.result(4).sampling["samples_per_prompt"] == 2
    assert [path.name for path in sorted(tmp_path.glob("results/runs/*"))] == [folder.name]


def test_the_default_is_no_point_of_a_sweep_of_runs_that_leaves_it_out(evalkit: Run, tmp_path: Path) -> None:
    options = ["metric=chroma", "prompts.first=3", "sampling.duration=1", "engine.quiet=true"]
    code, out, err = evalkit(*BASE, *options, "-m", "model.synth.noise=0.1,0.3")
    assert (code, err) == (0, "")
    sweep = load(*tmp_path.glob("results/runs/*-synth"))
    assert sweep.default is None and len(sweep.points) == 2
    assert "no point is the default: model.synth.noise=0.0 was not measured" in " ".join(out.split())


def test_each_model_of_a_run_is_a_point_of_the_sweep(evalkit: Run, tmp_path: Path) -> None:
    options = ["prompts=demo", "prompts.first=3", "random_weights=0", "metric=chroma", "sampling.duration=1"]
    code, _, err = evalkit(
        "run", "-m", "model=[synth,tiny_stereo]", *options, "sampling.seed=1,2", "calibration=silence"
    )
    assert code == 0, err
    sweep = load(*tmp_path.glob("results/runs/*-synth_tiny_stereo"))
    assert [*sweep.points["options"]] == [
        {"model": model, "sampling.seed": seed} for seed in (1, 2) for model in ("synth", "tiny_stereo")
    ]
    assert [*sweep.points["row"]] == ["synth", "tiny_stereo"] * 2
    assert sweep.default is None


def test_a_run_of_a_sweep_that_fails_is_a_row_and_status_3(evalkit: Run, tmp_path: Path) -> None:
    options = ["metric=kld", "prompts.first=3", "sampling.duration=1", "uncertainty.resamples=0"]
    code, _, err = evalkit(*BASE, *options, "-m", "model.synth.noise=0.0,1e308")
    assert code == 3 and err.splitlines()[-1].endswith("1 of 2 points failed: 2")
    sweep = load(*tmp_path.glob("results/runs/*-synth"))
    assert [*sweep.points["status"]] == ["ok", "failed"]
    assert "NaN or infinity" in sweep.points["reason"][1]


def test_a_weight_file_that_is_given_is_read_although_weights_are_random(evalkit: Run, tmp_path: Path) -> None:
    for file, said in (("absent.pt", "does not exist"), ("junk.pt", "cannot be read as a checkpoint")):
        (tmp_path / "junk.pt").write_bytes(b"junk")
        code, _, err = evalkit(*BASE, "metric=kld", f"metric.kld.encoder.weights.path={tmp_path / file}")
        assert code == 2 and err.startswith("evalkit: PaSST weights: ") and said in err


def test_a_terminal_without_arrows_still_gets_the_table(tmp_path: Path) -> None:
    options = [*BASE, "metric=chroma", "prompts.first=2", "sampling.duration=1", f"output_dir={tmp_path}"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "EVALKIT_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "evalkit.cli", *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "similarity" in done.stdout and f"result: {tmp_path}" in done.stdout


def test_a_full_disk_is_one_line(evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk, the log cannot be written either."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr("logging.FileHandler.close", full)
    monkeypatch.setattr("logging.StreamHandler.flush", full)
    code, out, err = evalkit(*BASE, "metric=chroma", "sampling.duration=1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no space left to write" in err


def test_a_bug_is_a_traceback(evalkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("evalkit.pipeline.evaluate", broken)
    with pytest.raises(ZeroDivisionError):
        evalkit(*BASE)


@pytest.mark.parametrize("more", [[], ["hydra.job.name=x"], ["--config-dir", "."], ["--cfg", "job"]])
def test_hydra_composes_again_only_what_is_asked_of_it(
    more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "once", lambda arguments, config, form: asked.append(config))
    run.main([*BASE[1:], "sampling.top_k=7", *more])
    (config,) = asked
    if more in ([], ["--config-dir", "."]):
        assert config.sampling.top_k == 7 and (config.config_dir is None) == (not more)
    else:
        assert config is None
