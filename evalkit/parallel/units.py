"""Units of work: what a process that shares nothing but the store with others can do alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from evalkit.errors import EvalkitError


@dataclass(frozen=True)
class Done:
    """What a worker says of a unit that it has done: never what it made, which is in the store.

    Attributes:
        ids: what was made.
        failed: why the others could not be made, by id.
        log: what the worker logged meanwhile, line by line.
    """

    ids: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    log: tuple[str, ...] = ()


Work = Callable[[Sequence[str]], Done]


class Job(Protocol):
    """One stage of a run, as every worker can do it alone: a frozen dataclass that can be pickled.

    It holds a configuration and settings, never audio, arrays or networks.
    """

    @property
    def title(self) -> str:
        """What progress calls it, such as "generating musicgen_small"."""

    @property
    def counts(self) -> str:
        """What its ids are, in the plural, such as "clips"."""

    def begin(self) -> Work:
        """Load what is needed, once in each worker, and give what does a few ids.

        That puts what it makes into the store, and says of each id that it is there, or why it cannot be. Raises
        EvalkitError, here or there, for what no worker can do, such as a checkpoint that is missing.
        """


@dataclass(frozen=True)
class Unit:
    """Some ids of a job: few enough that losing them with a worker costs little."""

    job: Job
    ids: tuple[str, ...]


class Hopeless(EvalkitError):
    """No worker can do a job, whatever its ids: trying again is of no use."""


class Worker:
    """What runs in a process of its own: it does one unit after the other, and keeps the last job loaded."""

    def __init__(self) -> None:
        self._job: Job | None = None
        self._work: Work | None = None

    def do(self, unit: Unit) -> Done:
        """Do a unit. Raises Hopeless for what no worker can do, and whatever else the work raises."""
        with _logged() as lines:
            try:
                if self._work is None or self._job != unit.job:
                    self._job, self._work = None, None  # before the next is loaded, which needs the memory
                    self._work = unit.job.begin()
                    self._job = unit.job
                done = self._work(unit.ids)
            except EvalkitError as error:
                raise Hopeless(str(error)) from error
            except Exception as error:
                error.add_note("\n".join(["logged before:", *lines]))  # which the traceback will show
                raise
        return Done(done.ids, done.failed, (*done.log, *lines))


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect what evalkit logs in the block."""
    handler, logger = _Lines(), logging.getLogger("evalkit")
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False  # packages that evalkit imports put a handler of their own on the root
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class Launcher(Protocol):
    """Where workers run, and how units reach them; the settings of the engine choose one."""

    def run(self, units: Sequence[Unit]) -> Iterator[Done]:
        """Do units of one or several jobs, and give what came of each as it comes, in any order.

        A worker that dies is replaced, and what it was doing is given out again, in halves, at most
        `evalkit.parallel.scheduler.ATTEMPTS` times each; then it is among those that `failed`. Raises Hopeless as
        soon as a worker does. Closing the iterator, or an exception in it, stops all workers.
        """

    def close(self) -> None:
        """Stop all workers; what they have finished is in the store."""
