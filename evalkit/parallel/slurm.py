"""An array of SLURM jobs that share work, and one more that comes after them: submitted, or written as scripts."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import EvalkitError, reason

if TYPE_CHECKING:
    from submitit import Executor
    from submitit.core.utils import DelayedSubmission

INSTALL = (
    "evalkit slurm submits with submitit 1.5 or later: pip install 'evalkit[slurm]', or write scripts with --write"
)
WARNING = 90  # seconds before its time limit at which SLURM tells a job, which then goes back into the queue
SHORTEST = 5  # minutes of a job: a shorter one would be told before it has loaded anything
# options of sbatch that are set here
OURS = (
    *("array", "chdir", "dependency", "error", "job-name", "nodes", "ntasks", "open-mode", "output", "requeue"),
    *("signal", "time"),
)


@dataclass(frozen=True)
class Resources:
    """What SLURM is asked for, for each task of the array and for the job after it.

    Attributes:
        minutes: the time limit.
        flags: options of sbatch by their names, such as "gpus-per-task"; True for one without a value.
        setup: lines of shell that come before the work, such as "module load cuda".
        restarts: how many times a job that reaches its time limit goes on.
    """

    minutes: int
    flags: Mapping[str, str | bool] = field(default_factory=dict)
    setup: Sequence[str] = ()
    restarts: int = 3

    def __post_init__(self) -> None:
        if self.minutes < SHORTEST:
            raise EvalkitError(f"--time: {self.minutes} minutes are too few: give at least {SHORTEST}")
        if self.restarts < 0:
            raise EvalkitError(f"--timeouts {self.restarts}: must not be negative")
        if taken := [name for name in self.flags if name in OURS]:
            raise EvalkitError(f"--slurm {taken[0]}: evalkit sets it itself: leave it out")


@dataclass(frozen=True)
class Task:
    """A call as submitit makes it on a node, and makes again where a time limit or a preemption has ended it.

    What it has done by then lies in the store, so that the same call goes on from there.

    Attributes:
        call: what is called; it can be pickled.
        folder: the working directory, against which relative paths are read.
    """

    call: Callable[[], None]
    folder: str

    def __call__(self) -> None:
        os.chdir(self.folder)
        self.call()

    def checkpoint(self) -> DelayedSubmission:
        """Give what submitit puts back into the queue; without this method a job fails at its time limit."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)


@dataclass(frozen=True)
class Submitted:
    """Ids of jobs: of the array, and of the job after it."""

    array: str
    last: str


def require_programs() -> None:
    """Raise EvalkitError where submitit or SLURM is not installed."""
    if importlib.util.find_spec("submitit") is None:
        raise EvalkitError(INSTALL)
    if absent := [program for program in ("sbatch", "srun") if shutil.which(program) is None]:
        raise EvalkitError(f"{absent[0]} is not on this machine: submit from a node of the cluster, or --write FOLDER")


def executor(logs: Path, resources: Resources, name: str) -> Executor:
    """Make the executor that submits jobs to SLURM.

    Args:
        logs: where it keeps pickled tasks and their logs, on a file system that all nodes share.

    Raises EvalkitError as `require_programs` does.
    """
    require_programs()
    from submitit import SlurmExecutor

    made = SlurmExecutor(logs, max_num_timeout=resources.restarts)
    srun = [f"--{key}={resources.flags[key]}" for key in ("cpus-per-task",) if key in resources.flags]
    made.update_parameters(
        job_name=name,
        time=resources.minutes,
        signal_delay_s=WARNING,
        setup=list(resources.setup) or None,
        stderr_to_stdout=True,  # one log for each task
        wckey=None,  # submitit's own name is none that a cluster knows
        srun_args=srun or None,  # which does not take it from sbatch in every version of SLURM
        additional_parameters={"ntasks": 1, "requeue": True, **resources.flags},
    )
    return made


def submit(executor: Executor, tasks: Sequence[Task], last: Task) -> Submitted:
    """Submit tasks as an array, and a job that starts when all of them have ended, however they ended.

    Raises EvalkitError for what SLURM refuses; then nothing is left in its queue.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    refused = (FailedJobError, FailedSubmissionError, OSError)
    executor.update_parameters(array_parallelism=len(tasks))
    try:
        array = executor.submit_array(list(tasks))[0].job_id.partition("_")[0]
    except refused as error:
        raise EvalkitError(f"nothing was submitted: {reason(error)}") from error
    # after those that failed too: what they have not made, the last one makes or says why it cannot
    executor.update_parameters(dependency=f"afterany:{array}")
    try:
        return Submitted(array, executor.submit(last).job_id)
    except refused as error:
        subprocess.run(["scancel", array], check=False, capture_output=True)
        raise EvalkitError(f"the last job was not submitted, and the others were cancelled: {reason(error)}") from error


SCRIPT = """\
#!/bin/bash
# {about}
{header}
{setup}
# a while before its time limit, or where it is preempted, the job goes back into the queue: what it has made is kept
again() {{
    if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; then
        scontrol requeue "{job}"
    else  # it has the rest of its time
        wait "$work"
        exit
    fi
}}
trap again {signal}

{command} &
work=$!
wait "$work"
"""


def script(
    about: str, command: str, resources: Resources, name: str, logs: Path, folder: Path, count: int | None = None
) -> str:
    """Write a batch script that needs nothing but what it calls.

    Args:
        about: what it does, in one line.
        command: a line of shell.
        folder: the working directory.
        count: of an array's tasks; None for a single job.
    """
    flags: dict[str, Any] = {"job-name": name, "nodes": 1, "ntasks": 1, "time": resources.minutes, **resources.flags}
    if count is not None:
        flags["array"] = f"0-{count - 1}"
    flags |= {"chdir": folder, "output": logs / ("%j.log" if count is None else "%A_%a.log"), "open-mode": "append"}
    flags |= {"requeue": True, "signal": f"B:USR2@{WARNING}"}
    return SCRIPT.format(
        about=about,
        header="\n".join(_flag(key, value) for key, value in flags.items()),
        setup="".join(f"\n{line}" for line in resources.setup) + "\n",
        restarts=resources.restarts,
        # the bare id of a task may be that of the whole array
        job="$SLURM_JOB_ID" if count is None else "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}",
        signal="USR2",
        command=command,
    )


def _flag(key: str, value: object) -> str:
    return f"#SBATCH --{key}" if value is True else f"#SBATCH --{key}={shlex.quote(str(value))}"


def minutes(text: str) -> int:
    """Read a time limit as SLURM writes it, such as 4:00:00, 90 or 2-12, in minutes that are rounded up.

    Raises EvalkitError for anything else.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        raise EvalkitError(f"--time {text}: write HOURS:MINUTES:SECONDS, DAYS-HOURS or MINUTES, such as 4:00:00")
    days, first, second, third = (None if part is None else int(part) for part in match.groups())
    if days is not None:  # days-hours[:minutes[:seconds]]
        seconds = ((days * 24 + (first or 0)) * 60 + (second or 0)) * 60 + (third or 0)
    elif third is not None:  # hours:minutes:seconds
        seconds = ((first or 0) * 60 + (second or 0)) * 60 + third
    else:  # minutes[:seconds]
        seconds = (first or 0) * 60 + (second or 0)
    return -(-seconds // 60)
