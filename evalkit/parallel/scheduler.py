"""Which unit goes to which worker, and what becomes of it if the worker fails: no processes, no clock, no chance."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise

from evalkit.parallel.units import Done, Hopeless, Job, Unit

log = logging.getLogger(__name__)

ATTEMPTS = 3  # of an id in a unit of its own
ROUNDS = 2  # units for each worker, at least, where there are ids enough
SUSPECT = 3  # failures in a row from which on a worker rests while others work
GIVE_UP = 10  # failures in a row of the only worker that has work, at a job of which nothing was ever done
CULPRITS = 20  # ids, at least, that nothing but failures must be laid to until work that had begun is given up
CULPRITS_SHARE = 100  # and one in so many of all ids, which may all be bad ones that were left to the end


def units(job: Job, ids: Sequence[str], workers: int, batch: int, rounds: int = ROUNDS) -> list[Unit]:
    """Cut the ids of a job, in their order, into units of like sizes, with which so many workers are busy to the end.

    A unit is what is lost with a worker, and what the last worker still does when others have nothing left. So it is at
    most a batch, and where there are few ids, so small that there are `rounds` for each worker. Yet smaller ones end a
    little more evenly where ids are done one by one, and cost up to twice the time where they are done in batches,
    which are then not full (docs/scale.md).
    """
    number = max(-(-len(ids) // batch), min(len(ids), rounds * workers))
    edges = [i * len(ids) // max(1, number) for i in range(number + 1)]
    return [Unit(job, tuple(ids[start:end])) for start, end in pairwise(edges)]


@dataclass(frozen=True)
class _Task:
    """A unit, how often it has failed as a unit of a single id, its number, and that of the one it is a half of."""

    unit: Unit
    number: int
    parent: int = -1
    attempts: int = 0


class Scheduler:
    """Hands out units in their order, and again what workers failed at, until each id is done or failed, once.

    A launcher asks with `next` what a worker shall do, and says with `done`, `broke` or `lost` what came of it. These
    return what is settled thereby, for the launcher to pass on, or None. What a worker failed at is given out again in
    halves; an id that has failed `ATTEMPTS` times in a unit of its own is failed. Each call takes constant time, but
    for what the length of a unit costs.

    A worker has a name, such as a number, and does one unit at a time. One that was lost may come back: by its name if
    no answer to what it did before can arrive any more, by another name otherwise.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self._waiting = deque(_Task(unit, number) for number, unit in enumerate(units) if unit.ids)
        self._numbers = count(len(units))
        self._size = sum(len(unit.ids) for unit in units)
        self._most = 0  # workers that had a unit at once
        self._blamed: set[int] = set()  # units that failed since the last answer, and of which no half did
        self._held: dict[Hashable, _Task] = {}
        self._answers = 0
        self._failures: Counter[Hashable] = Counter()  # in a row, by worker
        self._rests_until: dict[Hashable, int] = {}  # so many answers
        self._begun: dict[int, Job] = {}  # jobs of which something was done, by identity: not all can be hashed

    @property
    def waiting(self) -> int:
        """How many units no worker has; idle workers should ask for one whenever there are any."""
        return len(self._waiting)

    @property
    def finished(self) -> bool:
        """Whether each id is done or failed."""
        return not self._waiting and not self._held

    def next(self, worker: Hashable) -> Unit | None:
        """Give a worker a unit; None if there is none for it now, which what others do can change.

        A worker that fails again and again may be what is broken, and would fail at everything fast while others work.
        It rests until they have done twice as many units as the last time, or until none of them has any.
        """
        if worker in self._held:
            raise ValueError(f"worker {worker!r} has not said what became of its unit")
        if not self._waiting or (self._held and self._answers < self._rests_until.get(worker, 0)):
            return None
        task = self._held[worker] = self._waiting.popleft()
        self._most = max(self._most, len(self._held))
        return task.unit

    def done(self, worker: Hashable, said: Done) -> Done | None:
        """Take a worker's answer; None if it was thought lost, since its unit is then given out again.

        What the answer says of other ids is left out, and those that it says nothing of are given out again.
        """
        task = self._held.pop(worker, None)
        if task is None:
            return None
        self._answers += 1
        self._blamed.clear()
        self._failures.pop(worker, None)
        self._rests_until.pop(worker, None)
        self._begun.setdefault(id(task.unit.job), task.unit.job)
        made = set(said.ids)
        failed = {id: said.failed[id] for id in task.unit.ids if id in said.failed}
        ids = tuple(id for id in task.unit.ids if id in made and id not in failed)
        if left := tuple(id for id in task.unit.ids if id not in made and id not in failed):
            task = replace(task, unit=Unit(task.unit.job, left))
            failed |= self._again(task, "the worker said nothing of it")
        return Done(ids, failed, said.log)

    def broke(self, worker: Hashable, reason: str) -> Done | None:
        """Take note that a unit raised an exception. Raises Hopeless where nothing can be done any more, it seems."""
        return self._fail(worker, reason)

    def lost(self, worker: Hashable, reason: str) -> Done | None:
        """Take note that a worker is gone, with its unit if it had one. Raises Hopeless as `broke` does.

        That need not be the unit's fault, as where a machine is taken away: it costs an attempt only of a single id.
        """
        return self._fail(worker, reason)

    def _fail(self, worker: Hashable, reason: str) -> Done | None:
        task = self._held.pop(worker, None)
        if task is None:
            return None
        self._failures[worker] += 1
        failures, job = self._failures[worker], task.unit.job
        if failures >= GIVE_UP and not self._held and id(job) not in self._begun:
            raise Hopeless(f"{job.title}: {failures} attempts in a row failed and none succeeded; the last: {reason}")
        # No two of these units share an id, so that a bad one explains one of them, however often it was tried.
        self._blamed.discard(task.parent)
        self._blamed.add(task.number)
        enough = max(CULPRITS, SUSPECT * self._most, self._size // CULPRITS_SHARE)
        if len(self._blamed) > enough and not self._held and id(job) in self._begun:
            raise Hopeless(
                f"{job.title}: nothing works any more: since the last success all failed, {len(self._blamed)} units "
                f"that share nothing; the last: {reason}"
            )
        if failures >= SUSPECT:
            self._rests_until[worker] = self._answers + 2**failures
            if failures == SUSPECT and self._held:
                log.info("worker %s failed %d times in a row and rests: %s", worker, failures, reason)
        failed = self._again(task, reason)
        return Done((), failed) if failed else None

    def _again(self, task: _Task, reason: str) -> dict[str, str]:
        """Give out a unit again; if it is a single id that was tried often enough, say that it is failed instead."""
        (job, ids), attempts = (task.unit.job, task.unit.ids), task.attempts + 1
        if len(ids) > 1:
            middle = len(ids) // 2
            halves = [_Task(Unit(job, half), next(self._numbers), task.number) for half in (ids[:middle], ids[middle:])]
            # Behind all others, so that what may kill workers holds up nothing else; before them as long as it is
            # unknown whether anything of the job can be done, since that shows soonest with a single id.
            if id(job) in self._begun:
                self._waiting.extend(halves)
            else:
                self._waiting.extendleft(reversed(halves))
        elif attempts < ATTEMPTS:
            self._waiting.append(replace(task, attempts=attempts))
        else:
            return {ids[0]: f"{reason} (tried {ATTEMPTS} times)"}
        return {}
