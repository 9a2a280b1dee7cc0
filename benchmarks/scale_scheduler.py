"""What handing out work costs and loses: 1 to 1,024 simulated workers in virtual time, and real processes."""

from __future__ import annotations

import heapq
import math
import os
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from benchmarks.interval_coverage_report import table
from benchmarks.parts import Row
from benchmarks.scale_jobs import Nothing
from evalkit.parallel.local import Local
from evalkit.parallel.scheduler import ROUNDS, Scheduler, units
from evalkit.parallel.units import Done, Unit

WORKERS = (1, 4, 16, 64, 256, 1024)
BATCH = 16
SEEDS = 5
SHARED = 0.8  # of a clip's seconds, where clips are done in batches
START = 20.0  # seconds until a worker is ready
JOB = Nothing()

ABOUT = f"""\
A simulated clip takes 1 s in the mean, by a log-normal law with a long tail: of 100 clips one takes longer than 6 s. \
Where clips are done in batches, a unit of n takes {SHARED} + {1 - SHARED:.1f} n times the mean of its clips' seconds. \
A batch is at most {BATCH} clips. Means of {SEEDS} seeds."""

Seconds = Callable[[Unit], float]


def one_by_one(clips: np.ndarray) -> Seconds:
    """Seconds of a unit whose clips are done one after the other."""
    return lambda unit: float(sum(clips[int(id)] for id in unit.ids))


def in_batches(clips: np.ndarray) -> Seconds:
    """Seconds of a unit whose clips are done together, which most of the time is spent on at once."""
    return lambda unit: (SHARED / len(unit.ids) + 1 - SHARED) * one_by_one(clips)(unit)


def drawn(seed: int, clips: int) -> np.ndarray:
    """Seconds of clips, of mean 1."""
    return np.random.default_rng(seed).lognormal(-0.5, 1.0, clips)


def ids(clips: int) -> list[str]:
    """Ids of clips, which are their numbers."""
    return [str(i) for i in range(clips)]


def cut_to(clips: int, size: int) -> list[Unit]:
    """Units of one size."""
    names = tuple(ids(clips))
    return [Unit(JOB, names[i : i + size]) for i in range(0, clips, size)]


@dataclass
class Simulation:
    """Workers in virtual time, which a scheduler keeps busy.

    Attributes:
        seconds: that a unit takes.
        joins: when each worker starts.
        start: seconds until it is ready, each time that it starts.
        lives: mean seconds until a worker dies, after which it starts again.
        poison: ids that kill their worker.
        tried: how often each id was given to a worker.
        lost: how many ids were lost with a worker, each time.
    """

    seconds: Seconds
    joins: Sequence[float]
    start: float = 0.0
    lives: float = math.inf
    poison: Collection[str] = ()
    seed: int = 0
    tried: Counter[str] = field(default_factory=Counter)
    lost: list[int] = field(default_factory=list)

    def run(self, cut: Sequence[Unit]) -> float:
        """Run until each id is settled, once; return when that was."""
        rng, scheduler = np.random.default_rng(self.seed), Scheduler(cut)
        dies: dict[int, float] = {}
        held: dict[int, Unit] = {}
        idle: list[int] = []
        settled: list[Done | None] = []
        events = [(join + self.start, worker, "ready") for worker, join in enumerate(self.joins)]
        heapq.heapify(events)

        def ask(worker: int) -> None:
            if dies[worker] <= now:  # it did while it was idle
                heapq.heappush(events, (max(now, dies[worker] + self.start), worker, "ready"))
            elif unit := scheduler.next(worker):
                held[worker] = unit
                self.tried.update(unit.ids)
                end = now + self.seconds(unit)
                dead = end > dies[worker] or (self.poison and not set(self.poison).isdisjoint(unit.ids))
                heapq.heappush(events, (min(end, dies[worker]), worker, "dead" if dead else "done"))
            else:
                idle.append(worker)

        while not scheduler.finished:
            now, worker, what = heapq.heappop(events)
            if what == "ready":
                dies[worker] = now + rng.exponential(self.lives) if self.lives < math.inf else math.inf
            elif what == "done":
                settled.append(scheduler.done(worker, Done(held.pop(worker).ids)))
            else:
                self.lost.append(len(held.pop(worker).ids))
                settled.append(scheduler.lost(worker, "dead"))
                heapq.heappush(events, (now + self.start, worker, "ready"))
            if what != "dead":
                ask(worker)
            if scheduler.waiting and idle:
                asking, idle[:] = idle[:], []
                for other in asking:
                    ask(other)
        answers = [id for answer in settled if answer for id in (*answer.ids, *answer.failed)]
        if sorted(answers) != sorted(id for unit in cut for id in unit.ids):
            raise AssertionError("an id was not settled once")
        return now


def ideal(work: float, ready: Sequence[float]) -> float:
    """When work is done that workers share to the last bit, from when each is ready."""
    ready = sorted(ready)
    for n in range(1, len(ready) + 1):
        end = (work + sum(ready[:n])) / n
        if n == len(ready) or end <= ready[n]:
            return end
    raise ValueError("no workers")


def measure_cost() -> Iterator[Row]:
    """The scheduler's own processor time, where all goes well, and the memory of all that waits."""
    for clips in (10_000, 100_000, 1_000_000):
        for workers in WORKERS:
            for size in (1, BATCH):
                cut = cut_to(clips, size)
                answers = [Done(unit.ids) for unit in cut]
                tracemalloc.start()
                scheduler = Scheduler(cut)
                kept = tracemalloc.get_traced_memory()[0]
                tracemalloc.stop()
                started = time.process_time()
                for worker in range(workers):
                    scheduler.next(worker)
                for i, answer in enumerate(answers):
                    scheduler.done(i % workers, answer)
                    scheduler.next(i % workers)
                used = time.process_time() - started
                if not scheduler.finished:
                    raise AssertionError("units are left")
                yield {
                    "clips": clips,
                    "workers": workers,
                    "unit": size,
                    "us_per_unit": 1e6 * used / len(cut),
                    "us_per_clip": 1e6 * used / clips,
                    "bytes_per_unit": kept / len(cut),
                }


def measure_sizes() -> Iterator[Row]:
    """How well workers are used, by how many units there are for each, against full batches that end all at once."""
    for clips in (1000, 5521, 50_000):
        for name, law in (("one by one", one_by_one), ("in batches", in_batches)):
            best = 1.0 if law is one_by_one else SHARED / BATCH + 1 - SHARED
            for workers in WORKERS:
                for rounds in (1, 2, 4, 8):
                    cut, shares = units(JOB, ids(clips), workers, BATCH, rounds), []
                    for seed in range(SEEDS):
                        luck = drawn(seed, clips)
                        took = Simulation(law(luck), [0.0] * workers).run(cut)
                        shares.append(ideal(best * float(luck.sum()), [0.0] * workers) / took)
                    yield {
                        "clips": clips,
                        "law": name,
                        "workers": workers,
                        "rounds": rounds,
                        "unit": max(len(unit.ids) for unit in cut),
                        "efficiency": float(np.mean(shares)),
                    }


SCENES: dict[str, tuple[float, bool, int]] = {  # mean life in seconds, half of them join late, ids that kill
    "nothing happens": (math.inf, False, 0),
    "a worker lives 2,000 s": (2000.0, False, 0),
    "a worker lives 200 s": (200.0, False, 0),
    "half of them join late": (math.inf, True, 0),
    "10 clips kill workers": (math.inf, False, 10),
    "all of this, 2,000 s": (2000.0, True, 10),
}


def measure_losses() -> Iterator[Row]:
    """What is done again, and how much later all is done, where workers die, join late, or are killed by clips."""
    clips = 50_000
    for scene, (lives, late, poison) in SCENES.items():
        for workers in WORKERS[1:]:
            cut, rows, largest = units(JOB, ids(clips), workers, BATCH), [], 0
            for seed in range(SEEDS):
                luck = drawn(seed, clips)
                work = float(luck.sum())
                joins = np.zeros(workers)
                if late:
                    joins[workers // 2 :] = work / workers  # when all would be done by all
                bad = {str(i) for i in np.random.default_rng(seed).choice(clips, poison, replace=False)}
                simulated = Simulation(one_by_one(luck), list(joins), START, lives, bad, seed)
                took = simulated.run(cut)
                again = sum(times - 1 for times in simulated.tried.values())
                if again > sum(simulated.lost):
                    raise AssertionError("more was done again than was lost")
                largest = max(largest, *simulated.lost) if simulated.lost else largest
                rows.append((len(simulated.lost), again, ideal(work, list(joins + START)) / took))
            losses, doubled, efficiency = np.mean(rows, axis=0)
            yield {
                "clips": clips,
                "scene": scene,
                "workers": workers,
                "losses": float(losses),
                "again": float(doubled),
                "largest": largest,
                "efficiency": float(efficiency),
            }


def measure_parent() -> Iterator[Row]:
    """How many empty units this process gives to local workers in a second, and what each costs it."""
    for workers in (1, 2, 4, 8, 16, 32, 64):
        with closing(Local(workers)) as launcher:
            waiting = Nothing(2.0 + 0.2 * workers)  # until all are started
            for _ in launcher.run(units(waiting, ids(workers), workers, 1)):
                pass
            for size in (1, BATCH):
                count = 4000
                cut = cut_to(count * size, size)
                for _ in launcher.run(cut[: 4 * workers]):  # the job is sent
                    pass
                wall, used = time.perf_counter(), time.process_time()
                done = sum(len(answer.ids) for answer in launcher.run(cut))
                used, wall = time.process_time() - used, time.perf_counter() - wall
                if done != count * size:
                    raise AssertionError("clips are missing")
                yield {
                    "workers": workers,
                    "unit": size,
                    "units_per_second": count / wall,
                    "parent_us_per_unit": 1e6 * used / count,
                    "load": os.getloadavg()[0],
                }


MEASURED: dict[str, Callable[[], Iterator[Row]]] = {
    "scheduler_cost": measure_cost,
    "scheduler_sizes": measure_sizes,
    "scheduler_losses": measure_losses,
    "scheduler_parent": measure_parent,
}


def tables(record: Mapping[str, list[Row]]) -> list[str]:
    """What was measured, in Markdown."""
    costs, losses = record["scheduler_cost"], record["scheduler_losses"]
    sizes = {(row["law"], row["clips"], row["workers"], row["rounds"]): row for row in record["scheduler_sizes"]}
    rounds = sorted({row["rounds"] for row in sizes.values()})
    return [
        *("## Handing out work", "", ABOUT, ""),
        *("Processor time of the scheduler for a unit, where none fails, and memory of one that waits:", ""),
        *table(
            ["clips", "workers", "clips of a unit", "µs a unit", "µs a clip", "bytes a unit"],
            (cost_of(row) for row in costs if row["workers"] in (1, 64, 1024)),
            left=0,
        ),
        "How much of the time workers are of use, against workers that do full batches and end all at once, by the "
        f"least number of units for each worker, of which evalkit takes {ROUNDS}; no time to start:",
        "",
        *table(
            ["clips are done", "clips", "workers", *(f"{n} (clips of a unit)" for n in rounds)],
            (
                [law, f"{clips:,}", f"{workers:,}", *(use_of(sizes[law, clips, workers, n]) for n in rounds)]
                for law, clips, workers, first in sizes
                if first == rounds[0]
            ),
        ),
        f"{losses[0]['clips']:,} clips, one by one, where workers are lost: each takes {START:.0f} s to start, at "
        "first and again. *Late* is when all would be done if all were there. *Use* is against workers that are "
        "there as long, are never lost, and share the work to the last bit:",
        "",
        *table(
            ["what happens", "workers", "losses", "clips given out again", "most at one loss", "use"],
            (loss_of(row) for row in losses),
        ),
        *("Empty units that one process gives to local workers, all on the cores of this machine:", ""),
        *table(
            ["workers", "clips of a unit", "units a second", "µs of the parent a unit", "load of the machine"],
            (parent_of(row) for row in record["scheduler_parent"]),
            left=0,
        ),
    ]


def cost_of(row: Row) -> list[object]:
    us_per_unit, us_per_clip = f"{row['us_per_unit']:.1f}", f"{row['us_per_clip']:.2f}"
    kept = f"{row['bytes_per_unit']:.0f}"
    return [f"{row['clips']:,}", f"{row['workers']:,}", row["unit"], us_per_unit, us_per_clip, kept]


def use_of(row: Row) -> str:
    return f"{100 * row['efficiency']:.0f} % ({row['unit']})"


def loss_of(row: Row) -> list[object]:
    counts = [f"{row[name]:,.0f}" for name in ("workers", "losses", "again", "largest")]
    return [row["scene"], *counts, f"{100 * row['efficiency']:.0f} %"]


def parent_of(row: Row) -> list[object]:
    measured = [f"{row[name]:,.0f}" for name in ("units_per_second", "parent_us_per_unit", "load")]
    return [row["workers"], row["unit"], *measured]
