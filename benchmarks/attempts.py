"""Attempts at a command, each in a process of its own that can be killed at any moment, and what they leave.

A process that has imported everything already is forked for each, so that an attempt takes about as long as what the
command does. What it computes, and each change that it makes to files, is written down in its journal meanwhile, of
which a kill takes nothing away.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["benchmarks.preloaded"])

# of Python's audit events, those of changes to files, each before the change; "open" counts where it is for writing
CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod", "os.utime", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

TEXTS = ("out", "err")

POLL = 0.002  # seconds


Note = Callable[[str, Any], None]


@dataclass(frozen=True)
class Moment:
    """When an attempt is killed by what it does itself.

    Attributes:
        change: the number of the change to a file, counted from 1, before which it is killed.
        torn: the bytes of the next file after which it is killed while that is written; None for before the change.
    """

    change: int
    torn: int | None = None


@dataclass(frozen=True)
class Ended:
    """What came of an attempt.

    Attributes:
        status: the exit status, negative for the number of the signal that it died of.
        out, err: what it printed.
        journal: what it noted: changes to files ("change"), stages of a run ("stage"), the ids of the clips of each
            batch that it began to compute, by what ("codes", "features of vggish"), and at the end for how many seconds
            it has "worked".
    """

    status: int
    out: str
    err: str
    journal: Sequence[tuple[str, Any]]

    @property
    def killed(self) -> bool:
        """Whether it was killed, rather than ended by itself."""
        return -self.status in (signal.SIGKILL, signal.SIGXFSZ)

    @property
    def changes(self) -> int:
        """How many changes to files it made or began."""
        return sum(what == "change" for what, _ in self.journal)

    @property
    def stage(self) -> str:
        """The stage of a run that it was in when it ended; "start" before the first."""
        return next((value for what, value in reversed(self.journal) if what == "stage"), "start")

    @property
    def worked(self) -> float:
        """For how many seconds it has computed, if it was not killed."""
        return next(value for what, value in self.journal if what == "worked")

    def computed(self) -> Counter[tuple[str, str]]:
        """How often it began to compute something of a clip: what, such as "features of vggish", and the clip's id."""
        return Counter(
            (what, i) for what, ids in self.journal if isinstance(ids, list) and what != "change" for i in ids
        )


class Attempt:
    """A command that runs beside this process.

    Args:
        arguments: of the command line, after "evalkit".
        place: the folder that it runs in; its journal, and what it prints, are kept below `place`/attempts.
        at: when it is killed by what it does; None for no such moment.
        clock: seconds that its clock is ahead of the true time.
    """

    _number = 0

    def __init__(self, arguments: Sequence[str], place: Path, at: Moment | None = None, clock: float = 0.0):
        Attempt._number += 1
        self.folder = place / "attempts" / str(Attempt._number)
        self.folder.mkdir(parents=True)
        self._process: ForkServerProcess = CONTEXT.Process(
            target=_run, args=(list(arguments), str(place), str(self.folder), at, clock)
        )
        self._process.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    @property
    def worked(self) -> float:
        """Seconds that it has computed so far, which other work on the machine does not change."""
        pid = self._process.pid
        assert pid is not None
        try:
            return time.clock_gettime(~pid << 3 | 2)  # as clock_getcpuclockid of Linux numbers a process's own clock
        except OSError:
            return math.inf  # it has ended

    def kill(self) -> None:
        """Kill it if it has not ended yet."""
        self._process.kill()

    def end(self, after: float = math.inf) -> Ended:
        """Wait for its end; it is killed when it has worked for `after` seconds."""
        while self._process.is_alive() and after < math.inf:
            if self.worked >= after:
                self.kill()
                break
            time.sleep(POLL)
        self._process.join()
        status = self._process.exitcode
        assert status is not None
        out, err = ((self.folder / name).read_text("utf-8") if (self.folder / name).exists() else "" for name in TEXTS)
        return Ended(status, out, err, list(_journal(self.folder)))


def _journal(folder: Path) -> Iterator[tuple[str, Any]]:
    path = folder / "journal"
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        what, value = json.loads(line)
        yield what, value


def attempt(
    arguments: Sequence[str], place: Path, after: float = math.inf, at: Moment | None = None, clock: float = 0.0
) -> Ended:
    """Make an attempt and wait for its end; see `Attempt` and `Attempt.end` for the arguments."""
    return Attempt(arguments, place, at, clock).end(after)


def _run(arguments: list[str], place: str, folder: str, at: Moment | None, clock: float) -> None:
    """Run a command in this process, which was forked for it."""
    os.chdir(place)
    for number, name in enumerate(TEXTS, 1):
        handle = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    journal = os.open(os.path.join(folder, "journal"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(what: str, value: Any) -> None:
        os.write(journal, f"{json.dumps([what, value])}\n".encode())

    if clock:
        _shift(clock)
    _note_work(note)
    _note_changes(note, place, at)
    sys.argv = ["evalkit", *arguments]
    from evalkit import cli

    try:
        cli.main()
    finally:
        note("worked", time.process_time())


def _shift(seconds: float) -> None:
    true, true_ns = time.time, time.time_ns
    time.time = lambda: true() + seconds
    time.time_ns = lambda: true_ns() + round(seconds * 1e9)


def _note_changes(note: Note, place: str, at: Moment | None) -> None:
    """Note each change to a file of the folder before it is made, and end the process when its moment has come."""
    seen = 0
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # else Python makes an error of a write beyond the limit

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in CHANGES or (event == "open" and not (arguments[2] or 0) & WRITING):
            return
        path = arguments[0]
        if isinstance(path, int) or not os.path.abspath(os.fsdecode(path)).startswith(place):
            return
        if event == "os.mkdir" and os.path.isdir(path):  # asked for in case that it is not there
            return
        seen += 1
        note("change", [event, os.path.relpath(os.fsdecode(path), place)])
        if at is not None and seen >= at.change:
            if at.torn is None:
                os.kill(os.getpid(), signal.SIGKILL)
            elif event == "open":
                resource.setrlimit(resource.RLIMIT_FSIZE, (at.torn, at.torn))  # writing beyond it ends a process

    sys.addaudithook(hook)


def _note_work(note: Note) -> None:
    """Note the stages of a run, and what it computes, before that begins."""
    from evalkit import pipeline
    from evalkit.decoding.model import Model
    from evalkit.features.extractor import Extractor
    from evalkit.scoring import scores

    def noted(owner: Any, name: str, said: Any) -> None:
        before = getattr(owner, name)

        def after(*arguments: Any, **named: Any) -> Any:
            note(*said(*arguments))
            return before(*arguments, **named)

        setattr(owner, name, after)

    for name, stage in (("clips_of_run", "generation"), ("embed", "embedding"), ("recorded", "record")):
        noted(pipeline, name, lambda *_, stage=stage: ("stage", stage))
    noted(scores, "score_if_any", lambda *_: ("stage", "scoring"))
    noted(Model, "codes", lambda _, prompts, *__: ("codes", [prompt.id for prompt in prompts]))
    noted(Extractor, "_features", lambda _, encoder, __, ids: (f"features of {encoder.kind}", list(ids)))
