"""`evalkit slurm`: nothing is submitted that cannot run, and what is submitted ends in the record of a plain run."""

from __future__ import annotations

import filecmp
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from submitit import LocalExecutor
from submitit.core.utils import DelayedSubmission

from evalkit import filling
from evalkit.commands.slurm import Options, Record, Share
from evalkit.errors import EvalkitError
from evalkit.parallel.slurm import Task

from ..conftest import ROOT, Run
from ..parallel.clusters import Cluster

BASE = ["model=synth", "model.synth.seed=1", "prompts=demo", "prompts.first=6", "metric=[chroma,stereo]"]
BASE += ["random_weights=0", "sampling.duration=1", "engine.batch_size=2", "uncertainty.resamples=100", "name=x"]
ASK = ["--shards", "3", "--time", "4:00:00"]
SWEPT = "sampling.top_k=50,250"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path / "cluster", monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (BASE, "give --shards N, the number of tasks, and --time LIMIT"),
        ([*BASE, "--shards", "3"], "give --shards N"),
        ([*BASE, *ASK, "--shards", "0"], "--shards 0: must be between 1 and 100,000"),
        ([*BASE, *ASK, "--time", "4h"], "--time 4h: write HOURS:MINUTES:SECONDS"),
        ([*BASE, *ASK, "--slurm", "array=0-3"], "--slurm array: evalkit sets"),
        ([*BASE, *ASK, "--slurm", "--qos=x"], "see 'evalkit slurm --help'"),
        ([*BASE, *ASK, "--slurm", "=x"], "--slurm =x: write KEY=VALUE"),
        ([*BASE, *ASK, "--qos", "x", "--slurm", "qos=y"], "--slurm qos: it is given twice"),
        ([*BASE, *ASK, "--nope"], "see 'evalkit slurm --help'"),
        ([*BASE, *ASK, "sampling.topk=1"], "there is no option 'sampling.topk': did you mean 'sampling.top_k'?"),
        ([*BASE, *ASK, "sampling.top_k=-1"], "sampling.top_k=-1: must not be negative"),
        ([*BASE, *ASK, "model=musicgen_smal"], "unknown model 'musicgen_smal'"),
        ([*BASE[2:], *ASK, "model=musicgen_small", "random_weights=null"], "facebook/musicgen-small"),
        ([*BASE, *ASK, SWEPT], "'sampling.top_k=50,250' is several values"),
        ([*BASE, *ASK, "--sweep"], "nothing is swept: give an option several values"),
        ([*BASE, *ASK, "--sweep", "sampling.top_k=50,-1"], "sampling.top_k=-1: must not be negative; nothing was run"),
        ([*BASE, *ASK, "--config-dir", "absent"], "the folder of configurations"),
        ([*BASE, "--task", "3", "--of", "3"], "--task 3 --of 3: tasks count from 0"),
        ([*BASE, "--task", "0"], "--task and --of belong together"),
    ],
    ids=lambda value: " ".join(value[len(BASE) :]) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_status_2_and_nothing_is_submitted(
    evalkit: Run, tmp_path: Path, cluster: Cluster, arguments: list[str], expected: str
) -> None:
    code, out, err = evalkit("slurm", *arguments)
    assert (code, out) == (2, ""), err
    assert expected in err and err.startswith("evalkit: ") and err.count("\n") == 1, err
    assert cluster.calls == [] and not (tmp_path / "results").exists() and not (tmp_path / "cache" / "slurm").exists()


def test_without_slurm_one_line_says_what_to_do(evalkit: Run, tmp_path: Path) -> None:
    code, out, err = evalkit("slurm", *BASE, *ASK)
    assert (code, out, err) == (
        2, "", "evalkit: sbatch is not on this machine: submit from a node of the cluster, or --write FOLDER\n",
    )  # fmt: skip


def test_what_slurm_refuses_leaves_no_folder(evalkit: Run, tmp_path: Path, cluster: Cluster) -> None:
    cluster.refuse(1001, "invalid partition specified: gpu")
    code, out, err = evalkit("slurm", *BASE, *ASK, "--partition", "gpu")
    assert (code, out) == (2, "") and err.endswith("sbatch: error: invalid partition specified: gpu\n")
    assert not (tmp_path / "results").exists()


def test_tasks_and_the_job_after_them_are_submitted_with_the_same_options(
    evalkit: Run, tmp_path: Path, cluster: Cluster
) -> None:
    code, out, err = evalkit("slurm", *BASE, *ASK, "--partition", "gpu", "--gpus-per-task", "1", "--slurm", "nice")
    assert (code, err) == (0, "")
    assert {"--array=0-2%3", "--time=240", "--partition=gpu", "--gpus-per-task=1", "--nice"} <= {*cluster.options(1001)}
    assert "--dependency=afterany:1001" in cluster.options(1002)
    (logs,) = tmp_path.glob("results/runs/slurm/*-x")
    assert f"logs: {logs}\n" in out and f"squeue --jobs=1001,1002; {logs}/1002_0_log.out\n" in out
    options = Options((*BASE, f'cache_dir="{tmp_path / "cache"}"'))
    (token,) = (tmp_path / "cache" / "slurm").iterdir()
    tasks = [DelayedSubmission.load(logs / f"1001_{index}_submitted.pkl") for index in range(3)]
    assert [one.function for one in tasks] == [
        Task(Share(options, index, 3, token.name), str(tmp_path)) for index in range(3)
    ]
    assert {one._timeout_countdown for one in tasks} == {3} and {one._timeout_min for one in tasks} == {240}
    assert DelayedSubmission.load(logs / "1002_submitted.pkl").function == Task(Record(options), str(tmp_path))


@pytest.mark.parametrize("option", ["engine.device=cuda", "engine.attention=triton"])
def test_a_machine_without_a_gpu_can_submit_what_needs_one(
    evalkit: Run, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, err = evalkit("slurm", *BASE, *ASK, option)
    assert code == 0, err
    (pickled,) = tmp_path.glob("results/runs/slurm/*/1002_submitted.pkl")
    function: Any = DelayedSubmission.load(pickled).function
    assert option in function.call.options.overrides
    code, _, err = evalkit("slurm", *BASE, *ASK, "engine.device=cdua")
    assert code == 2 and "engine.device=cdua: use cpu, cuda" in err


def scripts(evalkit: Run, *arguments: str) -> tuple[str, str]:
    code, out, err = evalkit("slurm", *arguments, "--write", "scripts")
    assert (code, err) == (0, ""), err
    return out, Path("scripts/tasks.sh").read_text()


def called(script: str) -> list[str]:
    """The arguments of evalkit in a script."""
    (line,) = (line for line in script.splitlines() if line.startswith("evalkit "))
    return shlex.split(line.removesuffix(" &"))[1:]


def test_scripts_are_written_that_need_only_evalkit(evalkit: Run, tmp_path: Path, cluster: Cluster) -> None:
    out, tasks = scripts(evalkit, *BASE, *ASK, "--mem", "32G", "--timeouts", "1")
    assert cluster.calls == [] and out.startswith(f"scripts: {tmp_path}/scripts\nsubmit them with: sh ")
    assert "#SBATCH --array=0-2\n" in tasks and "#SBATCH --mem=32G\n" in tasks and " -lt 1 ]" in tasks
    cache = f'cache_dir="{tmp_path / "cache"}"'
    (token,) = (tmp_path / "cache" / "slurm").iterdir()
    share = ["--task", "$SLURM_ARRAY_TASK_ID", "--of", "3", "--token", token.name]
    assert called(tasks) == ["slurm", *share, *BASE, cache]
    assert called(Path("scripts/record.sh").read_text()) == ["run", *BASE, cache]
    subprocess.run(["sh", "scripts/submit.sh"], check=True, cwd=tmp_path)
    assert cluster.calls == ["sbatch --parsable tasks.sh", "sbatch --parsable --dependency=afterany:1001 record.sh"]
    assert cluster.script(1001) == tasks
    code, _, err = evalkit("slurm", *BASE, *ASK, "--write", "scripts")
    assert code == 2 and "scripts" in err and err.count("\n") == 1


def test_a_task_on_a_node_with_another_cache_says_so(evalkit: Run, tmp_path: Path) -> None:
    arguments = called(scripts(evalkit, *BASE, *ASK)[1])
    arguments[2] = "0"
    shutil.rmtree(tmp_path / "cache" / "slurm")
    code, out, err = evalkit(*arguments)
    assert (code, out) == (2, "")
    assert err == (
        f"evalkit: '{tmp_path / 'cache'}' is not the folder that it is on the machine that submitted this: set "
        "cache_dir to one on a file system that all nodes share\n"
    )


def kept(folder: Path, name: str) -> Path:
    """Move the only result in a folder elsewhere, under another name."""
    (made,) = (path for path in folder.iterdir() if path.name != "slurm")
    return made.rename(folder.parent / name)


def assert_same_record(one: Path, other: Path) -> None:
    """All that is in a result, but for its log, is the same to the last bit."""
    names = sorted(path.name for path in one.iterdir() if path.name != "run.log")
    assert len(names) > 5 and [path.name for path in sorted(other.iterdir()) if path.name != "run.log"] == names
    assert filecmp.cmpfiles(one, other, names, shallow=False) == (names, [], [])


def generated(log: Path) -> bool:
    """Whether a run made anything, by its log."""
    return "generating" in log.read_text() or "features of" in log.read_text()


def test_shares_and_an_ordinary_run_end_in_the_record_of_a_plain_run(evalkit: Run, tmp_path: Path) -> None:
    options = [*BASE, f"cache_dir={tmp_path / 'cache'}"]
    assert evalkit("run", *options)[0] == 0
    plain = kept(tmp_path / "results" / "runs", "plain")
    shutil.rmtree(tmp_path / "cache")
    said = [evalkit("slurm", "--task", str(index), "--of", "3", *options) for index in range(3)]
    assert [code for code, _, _ in said] == [0, 0, 0], said
    again = evalkit("slurm", "--task", "1", "--of", "3", *options)[1]
    assert again.startswith("share 1 of 3: 0 clips made, ") and again.endswith(" found, 0 failed; 0 features made\n")
    assert evalkit("run", *options)[0] == 0
    merged = kept(tmp_path / "results" / "runs", "merged")
    assert_same_record(merged, plain)
    assert generated(plain / "run.log") and not generated(merged / "run.log")


def test_a_task_of_which_something_cannot_be_made_ends_with_status_3(evalkit: Run) -> None:
    options = [*BASE, "model.synth.noise=1e39"]  # with which some clips hold infinity
    code, out, err = evalkit("slurm", "--task", "0", "--of", "1", *options)
    assert code == 3 and " 3 failed; " in out, out
    assert "the model's output holds NaN or infinity" in err.splitlines()[-1]


def test_the_tasks_of_a_sweep_know_that_it_is_one(evalkit: Run) -> None:
    tasks = scripts(evalkit, *BASE, *ASK, "sampling.top_k=50,100", "--sweep", "--no-confirm")[1]
    assert "--sweep" in called(tasks) and "--no-confirm" not in called(tasks)
    assert called(Path("scripts/record.sh").read_text())[:2] == ["sweep", "--no-confirm"]


def test_a_sweep_is_shared_point_by_point_and_one_that_fails_does_not_keep_a_task_from_the_others(
    evalkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = []

    def share(config: Any, index: int, count: int) -> filling.Filled:
        points.append((config.sampling.top_k, index, count))
        assert len(config.metric) > 4  # a sweep adds some to those of BASE
        if config.sampling.top_k == 50:
            raise EvalkitError("it broke")
        return filling.Filled(made=4, found=1, encoded=3, failed={})

    monkeypatch.setattr(filling, "share", share)
    code, out, err = evalkit("slurm", "--task", "1", "--of", "3", *BASE, "sampling.top_k=50,100", "--sweep")
    assert points == [(250, 1, 3), (50, 1, 3), (100, 1, 3)]  # what is the default comes first
    assert (code, out) == (3, "share 1 of 3: 8 clips made, 2 found, 1 failed; 6 features made\n")
    assert err.splitlines()[-1] == "evalkit: 1 failed, such as point 2 of the sweep: it broke"


TINY = ["model=tiny_stereo", "prompts=demo", "prompts.first=5", "metric=[chroma,stereo]", "random_weights=0", "name=x"]
TINY += ["sampling.duration=4", "engine.batch_size=1", "uncertainty.resamples=100"]


def evalkit_process(folder: Path, *arguments: str) -> None:
    """Run the command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "evalkit.cli", *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def clips_in(cache: Path) -> int:
    return sum(1 for _ in (cache / "clips").rglob("*.flac"))


def waits_for_it(process: int, number: int) -> bool:
    """Whether a process has been given a signal that it has not taken yet."""
    pending = re.search(r"ShdPnd:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
    return pending is not None and bool(int(pending[1], 16) >> (number - 1) & 1)


def until(met: Callable[[], bool], job: Any) -> None:
    end = time.monotonic() + 120
    while not met():
        assert time.monotonic() < end, job.stdout()
        time.sleep(0.05)


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@dataclass(frozen=True)
class Plain:
    """A run that nothing has stopped."""

    folder: Path
    options: list[str]
    result: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    folder = tmp_path_factory.mktemp("plain")
    options = [*TINY, f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}"]
    evalkit_process(folder, "run", *options)
    return Plain(folder, options, kept(folder / "runs", "plain"))


@pytest.mark.slow
@pytest.mark.parametrize("stop", ["time limit", "preemption", "kill"])
def test_tasks_that_are_stopped_in_the_middle_end_in_the_record_of_a_plain_run(
    plain: Plain, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    """Under submitit's executor for this machine, which signals a task at its time limit, and requeues it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.rmtree(plain.cache)
    limit = 9 if stop == "time limit" else 60  # minutes; of less than 10 all count as over
    after = 60 if stop == "time limit" else 3000  # seconds until the executor gives the signal
    executor: Any = LocalExecutor(plain.folder / "logs", max_num_timeout=3 if stop == "time limit" else 0)
    executor.update_parameters(timeout_min=limit, signal_delay_s=60 * limit - after, stderr_to_stdout=True)

    def submitted(call: Callable[[], None], stopped: bool = False) -> Any:
        job = executor.submit(Task(call, str(plain.folder)))
        if stopped:
            until(lambda: clips_in(plain.cache) >= 2, job)
            (task,) = children(job._process.pid)
            if stop == "time limit":  # it stands still until then, however fast this machine is
                os.kill(task, signal.SIGSTOP)
                until(lambda: waits_for_it(task, signal.SIGUSR2), job)
                os.kill(task, signal.SIGCONT)
            else:
                os.kill(task, signal.SIGKILL if stop == "kill" else signal.SIGUSR2)
        job._process.wait(timeout=300)
        return job

    share = Share(Options(tuple(plain.options)), 0, 1)
    job = submitted(share, stopped=True)
    if stop == "kill":
        assert not job.paths.result_pickle.exists()
        assert 2 <= clips_in(plain.cache) < 5
        job = submitted(share)
    log = job.stdout()
    assert job.paths.result_pickle.exists(), log
    assert {"time limit": "this job is timed-out", "preemption": "this job is preempted", "kill": ""}[stop] in log
    said = re.search(r"share 0 of 1: (\d+) clips made, (\d+) found, 0 failed", log)
    assert said is not None and int(said[1]) > 0 and int(said[2]) > 0, log
    job = submitted(Record(Options(tuple(plain.options))))
    merged = kept(plain.folder / "runs", f"merged after {stop}")
    assert f"result: {plain.folder / 'runs'}" in job.stdout()
    assert_same_record(merged, plain.result)
    assert not generated(merged / "run.log")


@pytest.mark.slow
def test_the_scripts_that_are_written_end_in_the_record_of_a_plain_run(
    evalkit: Run, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    options = [*BASE, f"cache_dir={tmp_path / 'cache'}"]
    evalkit_process(tmp_path, "run", *options)
    plain = kept(tmp_path / "results" / "runs", "plain")
    shutil.rmtree(tmp_path / "cache")
    scripts(evalkit, *options, "--shards", "2", "--time", "4:00:00")
    subprocess.run(["sh", "scripts/submit.sh"], check=True)
    for number, environment in ((1001, {"SLURM_ARRAY_TASK_ID": "1"}), (1001, {"SLURM_ARRAY_TASK_ID": "0"}), (1002, {})):
        subprocess.run(["bash", str(cluster.folder / f"{number}.sh")], env={**os.environ, **environment}, check=True)
    merged = kept(tmp_path / "results" / "runs", "merged")
    assert_same_record(merged, plain)
    assert not generated(merged / "run.log")
