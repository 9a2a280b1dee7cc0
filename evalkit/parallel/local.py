"""Workers that are processes of this machine, such as one for each GPU."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.parallel.scheduler import Scheduler
from evalkit.parallel.serving import BOOT, DONE, HOPELESS, READY, Answer, pickled
from evalkit.parallel.units import Done, Hopeless, Unit

log = logging.getLogger(__name__)

STARTS = 3  # processes in a row that may die before they are ready
PRINTED = 2**16  # bytes that are kept of what a worker prints, at most, of each unit
SECONDS = 1.0  # that workers have to end before they are killed
GPUS = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """Name the GPUs that this process may use, as CUDA_VISIBLE_DEVICES does: by index, or by UUID if it has those."""
    import torch

    count = torch.cuda.device_count()
    given = os.environ.get(GPUS)
    names = [str(i) for i in range(count)] if given is None else [name.strip() for name in given.split(",")]
    return names[:count]


class Local:
    """Runs units in processes of this machine, which are started when they are first needed and kept for later ones.

    A process in which something broke is not used again: another takes its place, as that of one that died. What
    workers print goes into the log of what they were doing, and nowhere else.

    Args:
        workers: number of processes.
        devices: GPUs as CUDA_VISIBLE_DEVICES names them, of which each worker sees one, in turns; None to let every
            worker see what this process sees.
    """

    def __init__(self, workers: int, devices: Sequence[str] | None = None) -> None:
        self._devices = {name: devices[name % len(devices)] if devices else None for name in range(workers)}
        self._workers: dict[int, _Process] = {}  # those that there are now
        self._failed_starts = 0  # in a row

    def run(self, units: Sequence[Unit]) -> Generator[Done, None, None]:
        """Do units, see `Launcher`; raises EvalkitError for a job that cannot be sent, and if no process can start."""
        scheduler, jobs = Scheduler(units), _pickled(units)
        try:
            while not scheduler.finished:
                self._employ(scheduler, jobs)
                for name in self._answering():
                    settled = self._heard(name, scheduler)
                    self._give(name, scheduler, jobs)  # before others, which may be idle because they rest
                    if settled is not None:
                        yield settled
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop all workers: those that do not end at once are killed."""
        try:
            for process in self._workers.values():
                process.terminate()
            until = time.monotonic() + SECONDS
            for process in self._workers.values():
                process.wait(until - time.monotonic())
        finally:
            for process in self._workers.values():
                process.kill()
            self._workers.clear()

    def _employ(self, scheduler: Scheduler, jobs: Mapping[int, bytes]) -> None:
        """Give idle workers something to do, and start others if there is more than that."""
        for name in self._workers:
            self._give(name, scheduler, jobs)
        more = scheduler.waiting - sum(process.starting for process in self._workers.values())
        for name in [name for name in self._devices if name not in self._workers][: max(0, more)]:
            with _no_ctrl_c():  # until it is known which process has to be stopped
                self._workers[name] = _Process(self._devices[name])

    def _give(self, name: int, scheduler: Scheduler, jobs: Mapping[int, bytes]) -> None:
        process = self._workers.get(name)
        if process is not None and process.idle and (unit := scheduler.next(name)):
            process.ask(jobs[id(unit.job)], unit.ids)

    def _answering(self) -> list[int]:
        """Wait until workers have answered or died, and say which."""
        at: dict[Any, int] = {process.connection: name for name, process in self._workers.items()}
        while True:
            if ready := wait(list(at), timeout=1.0):
                return [at[connection] for connection in ready]
            # a process that a worker has started may hold the worker's end of the connection
            if dead := [name for name, process in self._workers.items() if process.dead]:
                return dead

    def _heard(self, name: int, scheduler: Scheduler) -> Done | None:
        """Take note of what a worker has answered, or of its death, and say what is settled thereby."""
        process = self._workers[name]
        answer = process.answer()
        if answer is None:
            why, printed = process.death()
            del self._workers[name]
            log.warning("worker %d %s", name, why)
            log.info("worker %d printed:\n%s", name, "\n".join(printed))
            self._failed_starts += process.starting
            if self._failed_starts >= STARTS:
                raise EvalkitError(f"workers cannot be started: the process {why}")
            return scheduler.lost(name, f"its worker {why}")
        kind, what = answer
        if kind == READY:
            self._failed_starts = 0
            return None
        printed = process.printed()
        if kind == DONE:
            said = scheduler.done(name, what)
            return said and replace(said, log=(*said.log, *(f"worker {name} printed: {line}" for line in printed)))
        if kind == HOPELESS:
            raise Hopeless(what)
        why, trace = what
        log.info("worker %d broke:\n%s", name, "\n".join([*printed, trace]))
        process.kill()
        del self._workers[name]
        return scheduler.broke(name, why)


class _Process:
    """A process that was started to do units one after the other.

    Attributes:
        connection: to it.
        starting: whether it has never said anything.
        idle: whether it has answered all that it was asked.
    """

    def __init__(self, device: str | None) -> None:
        self.connection, theirs = Pipe()
        self.starting, self.idle = True, False
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # not a pipe, which would have to be read all the time
        self._read = 0  # bytes of it
        self._job: bytes | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", BOOT, str(theirs.fileno())],
                env=os.environ if device is None else {**os.environ, GPUS: device},
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=[theirs.fileno()],
            )
        finally:
            theirs.close()
        self._send((sys.path, threading.current_thread() is threading.main_thread(), _threads()))

    @property
    def dead(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def ask(self, job: bytes, ids: Sequence[str]) -> None:
        """Ask for a unit, with its job unless that is what it did last."""
        self._send((None if job == self._job else job, ids))
        self.idle, self._job = False, job

    def answer(self) -> Answer | None:
        """Read its answer; None if there is none because it is dead."""
        with contextlib.suppress(EOFError, OSError):
            if self.connection.poll():
                answer: Answer = self.connection.recv()
                self.starting, self.idle = False, True
                return answer
        return None

    def printed(self) -> list[str]:
        """Read what was printed since the last time, line by line; of bars that were drawn again only the last."""
        start, self._read = self._read, os.fstat(self._output.fileno()).st_size
        start = max(start, self._read - PRINTED)
        text = os.pread(self._output.fileno(), self._read - start, start)  # it does not move where the process writes
        lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.decode(errors="replace").split("\n"))
        return [line for line in lines if line.strip()]

    def death(self) -> tuple[str, list[str]]:
        """Say what it died of, as after "the worker", and what it printed last."""
        self.wait(SECONDS)
        code, printed = self._process.poll(), self.printed()
        if code is None:
            why = "closed its connection"
        elif code == -signal.SIGKILL:
            why = "was killed (SIGKILL), as the system does where memory runs out"
        else:
            why = (
                f"died of signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with exit status {code}"
            )
        if printed:
            why += f": {next((line for line in printed if line.startswith('Fatal Python error')), printed[-1])}"
        self.kill()
        return why, printed

    def terminate(self) -> None:
        """Tell it to end, which it does unless something holds it up."""
        self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Give it time to end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, seconds))

    def kill(self) -> None:
        """End it in any case."""
        self._process.kill()
        self._process.wait()
        self.connection.close()
        self._output.close()

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # that it is dead is seen when its answer is waited for
            self.connection.send(message)


@contextlib.contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends, here and, until they ignore it, in processes that are started inside.

    That this thread blocks the signal is not enough here: the system gives it to another thread then, for which Python
    interrupts the main one all the same.
    """
    pressed: list[tuple[int, FrameType | None]] = []
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        handler = None  # nothing is interrupted here
    else:
        signal.signal(signal.SIGINT, lambda number, frame: pressed.append((number, frame)))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if callable(handler):
            signal.signal(signal.SIGINT, handler)
            if pressed:
                handler(*pressed[0])


def _threads() -> int | None:
    """The threads of torch in this process, on which sums in float32 depend; None where nobody has loaded torch."""
    return sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None


def _pickled(units: Sequence[Unit]) -> dict[int, bytes]:
    """Pickle each job, once; they are told apart by identity, since not all can be hashed."""
    jobs = {id(unit.job): unit.job for unit in units}
    return {number: pickled(job) for number, job in jobs.items()}
