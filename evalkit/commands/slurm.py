"""Share a run among the tasks of a SLURM array, and write its record in a job that comes after them.

evalkit slurm OPTION=VALUE ... --shards N --time LIMIT [--partition NAME] [--gpus-per-task N] [--cpus-per-task N]
                [--mem SIZE] [--account NAME] [--qos NAME] [--constraint LIST] [--slurm KEY=VALUE] [--setup LINE]
                [--timeouts N] [--sweep] [--no-confirm] [--write FOLDER] [--config-dir DIR] [--quiet]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import re
import shlex
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit import commands
from evalkit.commands import INCOMPLETE, fail, one_line_errors, parse, parser_for
from evalkit.errors import EvalkitError
from evalkit.parallel import slurm
from evalkit.parallel.slurm import Resources, Task

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

EPILOG = """Options are those of 'evalkit run', or with --sweep of 'evalkit sweep'. Each task puts its share of what the
run needs into the cache, which must lie on a file system that all nodes share; the last job is an ordinary run with the
same options, which finds it there. A script of your own calls the tasks one by one: 'evalkit slurm --task I --of N
OPTION=VALUE ...', with I from 0. Exit status of a task: 0 where its share is in the cache, 3 where some of it could not
be made, 2 where it could not begin."""
FLAGS = {
    "partition": ("NAME", "of nodes"),
    "gpus-per-task": ("N", "GPUs of each task, or TYPE:N"),
    "cpus-per-task": ("N", "CPU cores of each task"),
    "mem": ("SIZE", "memory of each task, such as 32G"),
    "account": ("NAME", "that is charged"),
    "qos": ("NAME", "quality of service"),
    "constraint": ("LIST", "features that nodes must have"),
}
TOKENS = "slurm"  # folder of the cache: a task looks there for a file that who submitted it has put there
MOST = 100_000  # tasks of an array; most clusters allow fewer, and say so


@dataclass(frozen=True)
class Options:
    """What a run is made of: every process that takes part composes its configuration anew.

    Attributes:
        overrides: KEY=VALUE.
        config_dir: a folder of the user's YAMLs.
        sweep: whether `evalkit sweep` makes the record, else `evalkit run`.
        confirm: whether that sweep measures its winner again.
    """

    overrides: tuple[str, ...]
    config_dir: str | None = None
    sweep: bool = False
    confirm: bool = True

    @property
    def common(self) -> list[str]:
        """The options that are the same on the command lines of a task and of the record."""
        return [*self.overrides, *(["--config-dir", self.config_dir] if self.config_dir is not None else [])]


@dataclass(frozen=True)
class Share:
    """Fill the cache with one of `count` shares of a run.

    Attributes:
        token: the name of a file that must lie in the cache; None where nobody has put one there.
    """

    options: Options
    index: int
    count: int
    token: str | None = None

    @property
    def words(self) -> list[str]:
        """The command line that does the same, without the number of the share."""
        own = ["--of", str(self.count), *(["--token", self.token] if self.token else [])]
        return [*own, *(["--sweep"] if self.options.sweep else []), *self.options.common]

    def __call__(self) -> None:
        """Do it, and say how much it was; exits as the command does."""
        made = found = encoded = 0
        failed: dict[str, str] = {}
        with one_line_errors(), _logged():
            from evalkit.filling import share  # here, because importing torch takes seconds

            configs = configurations(self.options)
            require_token(configs[0], self.token)
            for number, config in enumerate(configs, 1):
                try:
                    done = share(config, self.index, self.count)
                except EvalkitError as error:
                    if len(configs) == 1:
                        raise
                    failed[f"point {number} of the sweep"] = str(error)  # which is no reason to leave out the others
                    continue
                made, found, encoded = made + done.made, found + done.found, encoded + done.encoded
                failed |= done.failed
            for one, why in failed.items():
                log.warning("%s: %s", one, why)
            clips = f"{made:,} clips made, {found:,} found, {len(failed):,} failed"
            print(f"share {self.index} of {self.count}: {clips}; {encoded:,} features made")
        if failed:
            one, why = next(iter(failed.items()))
            fail(f"{len(failed):,} failed, such as {one}: {why}", INCOMPLETE)


@dataclass(frozen=True)
class Record:
    """Make the record, by the command that does so without a cluster."""

    options: Options

    @property
    def words(self) -> list[str]:
        """The name of that command, and its arguments."""
        command = ["sweep", *([] if self.options.confirm else ["--no-confirm"])] if self.options.sweep else ["run"]
        return [*command, *self.options.common]

    def __call__(self) -> None:
        """Do it; exits as the command does."""
        command, *arguments = self.words
        with one_line_errors():
            importlib.import_module(f"evalkit.commands.{command}").main(arguments)


@dataclass(frozen=True)
class Run:
    """A run that was checked, and can be shared.

    Attributes:
        options: with the cache's folder.
        name: of its result.
        root: the cache's folder.
        output_dir: where the folder of its result will be.
        token: the name of the file in it.
    """

    options: Options
    name: str
    root: Path
    output_dir: Path
    token: str


def main(arguments: list[str]) -> None:
    """Run `evalkit slurm`."""
    parsed = parse(parser(), arguments)
    config_dir = None if parsed.config_dir is None else str(Path(parsed.config_dir).absolute())
    options = Options(tuple(parsed.options), config_dir, parsed.sweep, not parsed.no_confirm)
    if parsed.task is not None or parsed.of is not None:
        if parsed.task is None or parsed.of is None:
            raise EvalkitError("--task and --of belong together, as in --task 0 --of 16")
        if not 0 <= parsed.task < parsed.of:
            raise EvalkitError(f"--task {parsed.task} --of {parsed.of}: tasks count from 0 to one less than --of")
        Share(options, parsed.task, parsed.of, parsed.token)()
        return
    if parsed.shards is None or parsed.time is None:
        raise EvalkitError("give --shards N, the number of tasks, and --time LIMIT, as in --shards 16 --time 4:00:00")
    if not 1 <= parsed.shards <= MOST:
        raise EvalkitError(f"--shards {parsed.shards}: must be between 1 and {MOST:,}")
    resources = Resources(slurm.minutes(parsed.time), flags(parsed), tuple(parsed.setup), parsed.timeouts)
    if parsed.write is None:
        slurm.require_programs()  # before what takes longer
    run = checked(options)
    if parsed.write is None:
        submit(run, parsed.shards, resources)
    else:
        write(run, parsed.shards, resources, parsed.write)


def flags(parsed: argparse.Namespace) -> dict[str, str | bool]:
    """The options of sbatch that were given. Raises EvalkitError for one that is given twice."""
    given = [(name, getattr(parsed, name.replace("-", "_"))) for name in FLAGS]
    pairs: list[tuple[str, str | bool]] = [(name, value) for name, value in given if value is not None]
    for text in parsed.slurm:
        key, equals, value = text.partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9-]*", key):
            raise EvalkitError(f"--slurm {text}: write KEY=VALUE, an option of sbatch without its dashes, or KEY")
        pairs.append((key, value if equals else True))
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise EvalkitError(f"--slurm {twice[0]}: it is given twice")
    return dict(pairs)


def configurations(options: Options) -> list[DictConfig]:
    """The configuration of a run, or of each point of a sweep. Raises EvalkitError for what is wrong with them."""
    from evalkit.config import compose

    if not options.sweep:
        return [compose(options.overrides, options.config_dir)]
    from evalkit.sweeping.checking import Asked, alike, check

    found = check(options.overrides, Asked(confirm=options.confirm), options.config_dir)
    points = [one for one in found.space.combinations() if found.default is None or not alike(one, found.default)]
    if found.default is not None:
        points.insert(0, {})  # where nothing is swept
    return [compose(found.space.options(point), options.config_dir) for point in points]


def checked(options: Options) -> Run:
    """Check a run as far as it checks itself before its first step. Raises EvalkitError for what cannot be run."""
    from evalkit.config import in_quotes  # here, because importing torch takes seconds that help need not wait for
    from evalkit.scoring.rows import ready
    from evalkit.store.cache import Cache
    from evalkit.store.known import known_digests

    configs = configurations(replace(options, overrides=(*options.overrides, *elsewhere(options))))
    root = Cache(configs[0].cache_dir).root
    with known_digests(root):
        plan, _, _ = ready(configs[0])  # the other points of a sweep were checked when they were read
    if not any(option.startswith("cache_dir=") for option in options.overrides):  # else a node's environment says it
        options = replace(options, overrides=(*options.overrides, f"cache_dir={in_quotes(str(root))}"))
    return Run(options, plan.name, root, Path(plan.output_dir).expanduser().absolute(), uuid.uuid4().hex)


def elsewhere(options: Options) -> list[str]:
    """What replaces options in a check on a machine without the GPU that nodes have, such as one for logins."""
    import torch

    if torch.cuda.is_available():
        return []
    needs_one = ("engine.device=cuda", "engine.attention=triton")
    found = (option.lstrip("+") for option in options.overrides)
    return [f"{option.partition('=')[0]}=auto" for option in found if option.startswith(needs_one)]


def require_token(config: DictConfig, token: str | None) -> None:
    """Raise EvalkitError where the cache is not the one of who submitted the task."""
    from evalkit.store.cache import Cache

    root = Cache(config.cache_dir).root
    if token is not None and not (root / TOKENS / Path(token).name).is_file():
        raise EvalkitError(
            f"'{root}' is not the folder that it is on the machine that submitted this: set cache_dir to one on a "
            "file system that all nodes share"
        )


def put_token(run: Run) -> None:
    """Put the file into the cache that each task looks for."""
    from evalkit.store.files import write_bytes

    write_bytes(run.root / TOKENS / run.token, b"")


def submit(run: Run, count: int, resources: Resources) -> None:
    """Submit the tasks and the job after them, and say what to look at."""
    from evalkit.store.runs import RunFolder

    here = str(Path.cwd())
    folder = RunFolder(run.output_dir / "slurm", run.name)
    try:
        executor = slurm.executor(folder.path, resources, f"evalkit-{run.name}")
        put_token(run)
        tasks = [Task(Share(run.options, index, count, run.token), here) for index in range(count)]
        jobs = slurm.submit(executor, tasks, Task(Record(run.options), here))
    except EvalkitError:
        for path in folder.path.iterdir():  # what submitit has put there
            path.unlink()
        folder.discard()
        raise
    print(f"job {jobs.array}: {count} tasks, each of which makes its share")
    print(f"job {jobs.last}: starts when they have ended, prints the table, and says where the result lies")
    print(f"logs: {folder.path}")
    print(f"to look at: squeue --jobs={jobs.array},{jobs.last}; {folder.path / f'{jobs.last}_0_log.out'}")


def write(run: Run, count: int, resources: Resources, folder: Path) -> None:
    """Write the scripts of the tasks, of the job after them, and one that submits both."""
    from evalkit.store.files import write_folder

    folder = folder.expanduser().absolute()
    logs, here, name = folder / "logs", Path.cwd(), f"evalkit-{run.name}"
    share = Share(run.options, 0, count, run.token)
    task = f'evalkit slurm --task "$SLURM_ARRAY_TASK_ID" {shlex.join(share.words)}'
    texts = {
        "tasks.sh": slurm.script(
            "evalkit: each task puts its share of a run into the cache.", task, resources, name, logs, here, count
        ),
        "record.sh": slurm.script(
            "evalkit: makes the record of what the tasks have put into the cache.",
            f"evalkit {shlex.join(Record(run.options).words)}", resources, name, logs, here,
        ),
        "submit.sh": SUBMIT.format(folder=shlex.quote(str(folder))),
    }  # fmt: skip

    def fill(partial: Path) -> None:
        (partial / "logs").mkdir()
        for name, text in texts.items():
            (partial / name).write_text(text, "utf-8")

    put_token(run)
    write_folder(folder, fill)
    print(f"scripts: {folder}")
    print(f"submit them with: sh {shlex.quote(str(folder / 'submit.sh'))}")
    print(f"logs: {logs}, of which that of the last job holds the table and says where the result lies")


SUBMIT = """\
#!/bin/sh
# submits the tasks, and the job that starts when they have ended, however they ended
set -e
cd {folder}
tasks=$(sbatch --parsable tasks.sh)
tasks=${{tasks%%;*}}
record=$(sbatch --parsable --dependency="afterany:$tasks" record.sh)
echo "job $tasks, and job ${{record%%;*}} after it"
"""


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Write what evalkit logs inside the block to stderr, which is the log of a task."""
    handler, logger = logging.StreamHandler(sys.stderr), logging.getLogger("evalkit")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False  # packages that evalkit imports put a handler of their own on the root
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("slurm", __doc__)
    found.epilog = EPILOG
    commands.takes_options(found)
    found.add_argument("--shards", type=int, metavar="N", help="tasks of the array: shares of the run")
    found.add_argument("--time", metavar="LIMIT", help="time limit of each task, such as 4:00:00")
    for name, (value, about) in FLAGS.items():
        found.add_argument(f"--{name}", metavar=value, help=about)
    found.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE", help="any other option of sbatch, without dashes"
    )
    found.add_argument(
        "--setup",
        action="append",
        default=[],
        metavar="LINE",
        help="a line of shell that comes first, such as 'module load cuda'",
    )
    found.add_argument(
        "--timeouts",
        type=int,
        default=3,
        metavar="N",
        help="how often a task goes on that has reached its time limit; 3",
    )
    found.add_argument("--sweep", action="store_true", help="make the record of 'evalkit sweep', of every combination")
    found.add_argument("--no-confirm", action="store_true", help="of --sweep: do not measure the winner again")
    found.add_argument("--write", type=Path, metavar="FOLDER", help="write scripts for sbatch, and submit nothing")
    found.add_argument("--task", type=int, metavar="I", help="do one share here and now, the I-th from 0")
    found.add_argument("--of", type=int, metavar="N", help="of so many")
    found.add_argument("--token", metavar="NAME", help="a file that must lie in the cache, as evalkit writes it")
    commands.shows_progress(found)
    return found
