"""Tasks of an array as submitit runs them: what is submitted, and what becomes of a task that is stopped.

SLURM itself is not here. Its programs are replaced by ones that note what they are given, and tasks run under
submitit's own executor for this machine, which signals and requeues them in processes as the one for SLURM does.
"""

from __future__ import annotations

import os
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

from evalkit.errors import EvalkitError
from evalkit.parallel import slurm
from evalkit.parallel.slurm import Resources, Task

from .clusters import Cluster

ROOT = Path(__file__).parents[2]
FILES = 6
HANGS = (2, 4)  # files before which the work hangs, once each, as if it took long


@dataclass(frozen=True)
class Work:
    """Write files into a folder, as work that is found again where it was stopped."""

    folder: str

    def __call__(self) -> None:
        folder = Path(self.folder)
        for number in range(FILES):
            if (folder / f"file-{number}").exists():
                continue
            if number in HANGS and not (folder / f"hung-{number}").exists():
                (folder / f"hung-{number}").write_text(str(os.getpid()))
                time.sleep(60)
            (folder / f"file-{number}").write_text(f"{os.getpid()} in {os.getcwd()}")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "work").mkdir()
    return Work(str(tmp_path / "work"))


def hanging(work: Work, number: int) -> int:
    """Wait until work hangs, and give the id of its process."""
    path = Path(work.folder) / f"hung-{number}"
    until(lambda: path.exists() and path.read_text() != "", f"the work did not get to file {number}")
    return int(path.read_text())


def until(met: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + 60
    while not met():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)


def written(work: Work) -> list[int]:
    """The processes that wrote the files, in the order of the files."""
    files = [Path(work.folder) / f"file-{number}" for number in range(FILES)]
    return [int(file.read_text().split()[0]) for file in files if file.exists()]


def local(folder: Path, minutes: int, restarts: int = 3) -> LocalExecutor:
    executor = LocalExecutor(folder, max_num_timeout=restarts)
    executor.update_parameters(timeout_min=minutes)
    return executor


def ended(job: Any) -> None:
    """Wait until the process ends that runs a job."""
    job._process.wait(timeout=60)


# submitit takes the signal for a time limit where most of the time is over: of 5 minutes always, of 60 not at once
@pytest.mark.parametrize(("minutes", "restarts"), [(5, 2), (60, 0)], ids=["time-out", "preemption"])
def test_a_task_that_is_stopped_goes_on_from_what_it_has_made(
    work: Work, tmp_path: Path, minutes: int, restarts: int
) -> None:
    job = local(tmp_path / "logs", minutes, restarts).submit(Task(work, str(tmp_path)))
    for number in HANGS:
        os.kill(hanging(work, number), signal.SIGUSR2)
    ended(job)
    assert job.exception() is None
    first, second = hanging(work, HANGS[0]), hanging(work, HANGS[1])
    third = written(work)[-1]
    assert written(work) == [first, first, second, second, third, third] and len({first, second, third}) == 3
    assert (Path(work.folder) / "file-0").read_text().endswith(f" in {tmp_path}")


def test_a_task_that_times_out_too_often_fails_and_says_so(work: Work, tmp_path: Path) -> None:
    job = local(tmp_path / "logs", 5, restarts=1).submit(Task(work, str(tmp_path)))
    for number in HANGS:
        os.kill(hanging(work, number), signal.SIGUSR2)
    ended(job)
    assert "timed-out too many times" in str(job.exception())
    assert len(written(work)) == HANGS[1]


def test_a_task_that_is_killed_goes_on_when_it_is_submitted_again(work: Work, tmp_path: Path) -> None:
    task = Task(work, str(tmp_path))
    job = local(tmp_path / "logs", 60).submit(task)
    os.kill(hanging(work, HANGS[0]), signal.SIGKILL)
    ended(job)
    assert not job.paths.result_pickle.exists() and len(written(work)) == HANGS[0]
    (Path(work.folder) / f"hung-{HANGS[1]}").touch()
    again = task.checkpoint()  # what submitit puts back into the queue, and SLURM where a node is lost
    assert isinstance(again, DelayedSubmission)
    job = local(tmp_path / "logs", 60).submit(again.function, *again.args, **again.kwargs)
    ended(job)
    assert job.exception() is None and len(written(work)) == FILES


RESOURCES = Resources(
    90, {"partition": "gpu", "gpus-per-task": "a100:1", "cpus-per-task": "8", "exclusive": True}, ("module load cuda",)
)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path / "cluster", monkeypatch)


def test_an_array_is_submitted_and_a_job_that_waits_for_it(cluster: Cluster, work: Work, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    executor = slurm.executor(logs, RESOURCES, "evalkit-x")
    task = Task(work, str(tmp_path))
    assert slurm.submit(executor, [task] * 4, task) == slurm.Submitted("1001", "1002")
    both = {
        "--job-name=evalkit-x", "--time=90", "--partition=gpu", "--gpus-per-task=a100:1", "--cpus-per-task=8",
        "--nodes=1", "--ntasks=1", "--exclusive", "--requeue", "--signal=USR2@90", "--open-mode=append",
    }  # fmt: skip
    assert {*cluster.options(1001)} == {*both, "--array=0-3%4", f"--output={logs}/%A_%a_0_log.out"}
    assert {*cluster.options(1002)} == {*both, "--dependency=afterany:1001", f"--output={logs}/%j_0_log.out"}
    for number in (1001, 1002):
        script = cluster.script(number)
        assert "\nmodule load cuda\n" in script and " --cpus-per-task=8 " in script.split("srun ")[1]
    assert len([call for call in cluster.calls if call.startswith("sbatch ")]) == len(cluster.calls) == 2


def test_a_single_task_is_submitted_too(cluster: Cluster, work: Work, tmp_path: Path) -> None:
    executor = slurm.executor(tmp_path / "logs", Resources(60), "evalkit-x")
    slurm.submit(executor, [Task(work, str(tmp_path))], Task(work, str(tmp_path)))
    assert "--dependency=afterany:1001" in cluster.options(1002)


def test_a_task_of_what_was_submitted_is_requeued_by_its_own_number(
    cluster: Cluster, work: Work, tmp_path: Path
) -> None:
    """The script that was submitted is run here as SLURM would run it for one task of the array."""
    (tmp_path / "others").mkdir()
    other, one = Task(Work(str(tmp_path / "others")), str(tmp_path)), Task(work, str(tmp_path))
    slurm.submit(slurm.executor(tmp_path / "logs", Resources(60), "x"), [other, other, one], other)
    environment = {"SLURM_JOB_ID": "1009", "SLURM_ARRAY_JOB_ID": "1001", "SLURM_ARRAY_TASK_ID": "2"}

    def start() -> subprocess.Popen[bytes]:
        command = ["bash", str(cluster.folder / "1001.sh")]
        return subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)

    for number in HANGS:
        process = start()
        os.kill(hanging(work, number), signal.SIGUSR2)
        assert process.wait(60) != 0
    assert start().wait(60) == 0
    assert cluster.calls[2:] == ["scontrol requeue 1001_2"] * 2
    assert len({*written(work)}) == 3 and len(written(work)) == FILES
    assert not list((tmp_path / "others").iterdir())


@pytest.mark.parametrize(
    ("number", "expected", "cancelled"),
    [
        (1001, "nothing was submitted: sbatch: error: invalid partition", []),
        (1002, "the last job was not submitted, and the others were cancelled: sbatch: error: ", ["scancel 1001"]),
    ],
)
def test_what_slurm_refuses_is_one_line_and_leaves_nothing_in_its_queue(
    cluster: Cluster, work: Work, tmp_path: Path, number: int, expected: str, cancelled: list[str]
) -> None:
    cluster.refuse(number, "invalid partition specified: gpu")
    task = Task(work, str(tmp_path))
    with pytest.raises(EvalkitError, match=expected) as error:
        slurm.submit(slurm.executor(tmp_path / "logs", RESOURCES, "x"), [task] * 2, task)
    assert str(error.value).count("\n") == 0
    assert [call for call in cluster.calls if not call.startswith("sbatch")] == cancelled


def test_without_slurm_or_submitit_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster
) -> None:
    slurm.require_programs()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)
        with pytest.raises(EvalkitError, match=r"pip install 'evalkit\[slurm\]', or write scripts with --write"):
            slurm.executor(tmp_path, RESOURCES, "x")
    (cluster.folder / "bin" / "srun").unlink()
    with pytest.raises(EvalkitError, match="srun is not on this machine: submit from a node"):
        slurm.executor(tmp_path, RESOURCES, "x")


def written_script(folder: Path, command: str, restarts: int = 3, count: int | None = None) -> Path:
    resources = Resources(90, {"qos": "it's", "exclusive": True}, ("module load cuda",), restarts)
    path = folder / "script.sh"
    path.write_text(slurm.script("what it does", command, resources, "x", folder / "logs", folder, count))
    return path


def test_a_script_asks_for_the_same_as_what_is_submitted(tmp_path: Path) -> None:
    lines = written_script(tmp_path, "true", count=16).read_text().splitlines()
    assert lines[:2] == ["#!/bin/bash", "# what it does"]
    assert [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")] == [
        "job-name=x", "nodes=1", "ntasks=1", "time=90", """qos='it'"'"'s'""", "exclusive", "array=0-15",
        f"chdir={tmp_path}", f"output={tmp_path}/logs/%A_%a.log", "open-mode=append", "requeue", "signal=B:USR2@90",
    ]  # fmt: skip
    assert "array" not in written_script(tmp_path, "true").read_text().split("again")[0]


@pytest.mark.parametrize(
    ("count", "restarted", "expected"),
    [(16, 0, ["scontrol requeue 77_5"]), (None, 2, ["scontrol requeue 80"])],
)
def test_a_script_puts_its_job_back_into_the_queue_at_its_time_limit(
    cluster: Cluster, tmp_path: Path, count: int | None, restarted: int, expected: list[str]
) -> None:
    started = tmp_path / "started"
    path = written_script(tmp_path, f"sh -c 'echo begun > {started}; exec sleep 60'", count=count)
    names = {"JOB_ID": 80, "ARRAY_JOB_ID": 77, "ARRAY_TASK_ID": 5, "RESTART_COUNT": restarted}
    environment = {**os.environ, **{f"SLURM_{name}": str(value) for name, value in names.items()}}
    process = subprocess.Popen(["bash", str(path)], env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until(started.exists, "the script did not start its command")
        process.send_signal(signal.SIGUSR2)
        assert process.wait(60) != 0
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # SLURM ends what a script leaves
    assert cluster.calls == expected


@pytest.mark.parametrize("status", [0, 3])
def test_a_script_that_may_not_go_back_waits_for_what_can_be_done_in_the_rest_of_its_time(
    cluster: Cluster, tmp_path: Path, status: int
) -> None:
    begun, finished = tmp_path / "begun", tmp_path / "finished"
    path = written_script(tmp_path, f"sh -c 'touch {begun}; sleep 1; touch {finished}; exit {status}'", restarts=0)
    process = subprocess.Popen(["bash", str(path)], stderr=subprocess.DEVNULL)
    until(begun.exists, "the script did not start its command")
    process.send_signal(signal.SIGUSR2)
    assert (process.wait(60), finished.exists(), cluster.calls) == (status, True, [])


def test_a_script_ends_as_its_command_does(tmp_path: Path) -> None:
    for status in (0, 3):
        path = written_script(tmp_path, f"sh -c 'exit {status}'")
        assert subprocess.run(["bash", str(path)], stderr=subprocess.DEVNULL).returncode == status


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90:30", 91), ("4:00:00", 240), ("0:00:01", 1), ("2-12", 3600), ("1-0:30", 1470), ("1-0:0:1", 1441)],
)
def test_time_limits_are_read_as_slurm_writes_them(text: str, expected: int) -> None:
    assert slurm.minutes(text) == expected


@pytest.mark.parametrize("text", ["", "4h", "1:2:3:4", "-5", "4:00:", "1-2-3", "UNLIMITED"])
def test_other_time_limits_are_refused(text: str) -> None:
    with pytest.raises(EvalkitError, match="write HOURS:MINUTES:SECONDS"):
        slurm.minutes(text)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((4,), "--time: 4 minutes are too few: give at least 5"),
        ((60, {}, (), -1), "--timeouts -1: must not be negative"),
        ((60, {"array": "0-3"}), "--slurm array: evalkit sets it itself"),
        ((60, {"signal": "x"}), "--slurm signal: "),
    ],
)
def test_resources_that_cannot_be_are_refused(arguments: Any, expected: str) -> None:
    with pytest.raises(EvalkitError, match=expected):
        Resources(*arguments)
