"""Each id is settled once, whatever workers do; what fails is found by halving, and holds up nothing else."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from evalkit.parallel.scheduler import ATTEMPTS, CULPRITS, GIVE_UP, ROUNDS, SUSPECT, Scheduler, units
from evalkit.parallel.units import Done, Hopeless, Unit, Work


@dataclass(frozen=True)
class Toy:
    """A job that is never begun here; as the real ones it may hold what cannot be hashed."""

    settings: Sequence[str]
    title: str = "making things"
    counts: str = "things"

    def begin(self) -> Work:
        raise NotImplementedError


JOB = Toy(["a"])
ALL = tuple("abcdefgh")


def work(scheduler: Scheduler, worker: str, bad: str = "") -> Iterator[Done]:
    """Let one worker do all that there is; it fails at units that hold a bad id."""
    while unit := scheduler.next(worker):
        answer = scheduler.broke(worker, "oh") if set(bad) & set(unit.ids) else scheduler.done(worker, Done(unit.ids))
        if answer:
            yield answer


def settled(answers: Sequence[Done]) -> tuple[list[str], dict[str, str]]:
    """What is done, and what is failed; nothing is settled twice."""
    done = [id for answer in answers for id in answer.ids]
    failed = [item for answer in answers for item in answer.failed.items()]
    assert max(Counter([*done, *(id for id, _ in failed)]).values()) == 1
    return sorted(done), dict(failed)


def test_units_come_in_their_order_and_each_id_is_done_once() -> None:
    scheduler = Scheduler([Unit(JOB, ("c", "a")), Unit(JOB, ()), Unit(Toy(["b"]), ("a",)), Unit(JOB, ("b",))])
    assert (scheduler.waiting, scheduler.finished) == (3, False)
    given = [scheduler.next(worker) for worker in range(4)]
    assert [unit and unit.ids for unit in given] == [("c", "a"), ("a",), ("b",), None]
    assert [scheduler.done(2, Done(("b",))), scheduler.done(0, Done(("a", "c")))] == [Done(("b",)), Done(("c", "a"))]
    assert (scheduler.waiting, scheduler.finished) == (0, False)
    assert scheduler.done(1, Done(("a",), {}, ("line",))) == Done(("a",), {}, ("line",))
    assert scheduler.finished


def test_a_worker_has_one_unit_at_a_time() -> None:
    scheduler = Scheduler(units(JOB, ALL, 1, 1))
    scheduler.next("w")
    with pytest.raises(ValueError, match="'w' has not said"):
        scheduler.next("w")


@pytest.mark.parametrize("bad", ["a", "d", "h", "af", "abcdefg"])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_what_breaks_units_is_found_by_halving_and_fails_in_the_end(bad: str, size: int) -> None:
    # something of the job is done at first, so that it is not given up whatever breaks
    scheduler = Scheduler([Unit(JOB, ("first",)), *units(JOB, ALL, 1, size)])
    done, failed = settled(list(work(scheduler, "w", bad)))
    assert scheduler.finished
    assert done == sorted({*ALL, "first"} - set(bad))
    assert failed == {id: f"oh (tried {ATTEMPTS} times)" for id in bad}


def test_an_id_is_given_out_as_often_as_is_allowed_and_all_others_come_first() -> None:
    scheduler = Scheduler([Unit(JOB, ("x",)), Unit(JOB, ("a", "b")), Unit(JOB, ("c", "d"))])
    given = []
    while unit := scheduler.next("w"):
        given.append("".join(unit.ids))
        scheduler.lost("w", "oh") if "b" in unit.ids else scheduler.done("w", Done(unit.ids))
    assert given == ["x", "ab", "cd", "a", "b", *["b"] * (ATTEMPTS - 1)]


def test_a_loss_costs_an_attempt_only_of_a_single_id() -> None:
    scheduler = Scheduler([Unit(JOB, ("x",)), Unit(JOB, ALL)])
    assert scheduler.next("first") and scheduler.done("first", Done(("x",)))
    for i in range(ATTEMPTS):  # the unit of a, of which eight, four and two are lost with as many workers
        assert (unit := scheduler.next(i)) and "a" in unit.ids and scheduler.lost(i, "gone") is None
        for j in range(scheduler.waiting - 2):
            assert (unit := scheduler.next("w")) and "a" not in unit.ids and scheduler.done("w", Done(unit.ids)), j
    for i in range(ATTEMPTS - 1):
        while (unit := scheduler.next(i)) != Unit(JOB, ("a",)):
            assert unit and scheduler.done(i, Done(unit.ids))
        assert scheduler.lost(i, "gone") is None
    assert (unit := scheduler.next("w")) and scheduler.done("w", Done(unit.ids)) == Done(("a",))
    assert scheduler.finished


def test_a_worker_that_was_thought_lost_answers_in_vain() -> None:
    scheduler = Scheduler([Unit(JOB, ("a",))])
    scheduler.next("late")
    assert scheduler.lost("late", "gone") is None
    assert scheduler.done("late", Done(("a",))) is None
    assert scheduler.waiting == 1
    assert scheduler.next("other") == Unit(JOB, ("a",))
    assert scheduler.done("late", Done(("a",))) is None
    assert scheduler.broke("late", "oh") is None
    assert scheduler.done("other", Done((), {"a": "no"})) == Done((), {"a": "no"})
    assert scheduler.done("other", Done(("a",))) is None
    assert scheduler.finished
    assert scheduler.lost("idle", "gone") is None


def test_only_what_a_unit_holds_is_settled_and_what_is_not_said_is_asked_again() -> None:
    scheduler = Scheduler([Unit(JOB, ("a", "b", "c", "d"))])
    scheduler.next("w")
    assert scheduler.done("w", Done(("a", "z", "c"), {"c": "no", "y": "no"})) == Done(("a",), {"c": "no"})
    for _ in range(ATTEMPTS - 1):
        for id in "bd":
            assert scheduler.next("w") == Unit(JOB, (id,))
            assert scheduler.done("w", Done(())) == Done(())
    assert scheduler.next("w") == Unit(JOB, ("b",))
    assert scheduler.done("w", Done(())) == Done((), {"b": f"the worker said nothing of it (tried {ATTEMPTS} times)"})


def test_a_worker_that_fails_at_everything_gets_little_while_others_work() -> None:
    ids = [str(i) for i in range(400)]
    scheduler = Scheduler(units(JOB, ids, 1, 4))
    answers, given = [], Counter[str]()
    while not scheduler.finished:
        unit = scheduler.next("good")
        while scheduler.next("bad"):  # it fails at once, whatever it gets, while the other does one unit
            given["bad"] += 1
            assert scheduler.broke("bad", "broken device") is None
        if unit:
            given["good"] += 1
            answers.append(scheduler.done("good", Done(unit.ids)))
    assert settled(answers) == (sorted(ids), {})
    assert SUSPECT < given["bad"] < SUSPECT + 5 < given["good"]


def test_a_worker_that_rests_is_used_again_once_it_is_the_only_one() -> None:
    scheduler = Scheduler(units(JOB, ALL, 1, 1))
    assert scheduler.next("other")
    for _ in range(SUSPECT):
        assert scheduler.next("w")
        scheduler.broke("w", "oh")
    assert scheduler.next("w") is None
    scheduler.lost("other", "gone")
    assert (unit := scheduler.next("w")) and scheduler.done("w", Done(unit.ids))
    assert scheduler.next("other") and scheduler.next("w")  # what it has done speaks for it


@pytest.mark.parametrize("size", [1, 64])
def test_a_job_that_fails_whatever_is_tried_is_given_up(size: int) -> None:
    ids = [str(i) for i in range(1000)]
    scheduler = Scheduler([Unit(JOB, ("x",)), *units(Toy(["b"]), ids, 1, size)])
    scheduler.next(0)
    scheduler.done(0, Done(("x",)))  # another job can be done
    tried = Counter[int]()
    with pytest.raises(Hopeless, match=f"making things: {GIVE_UP} attempts in a row failed .* the last: no device"):
        while not scheduler.finished:
            for worker in range(4):
                if unit := scheduler.next(worker):
                    tried[len(unit.ids)] += 1
                    assert scheduler.lost(worker, "no device") is None
    assert tried.total() <= 4 * GIVE_UP
    assert tried[1] > 1  # it was not only that units are too large


def test_as_long_as_nothing_was_done_halves_come_first_in_their_order() -> None:
    scheduler = Scheduler([Unit(JOB, ("a", "b", "c", "d")), Unit(JOB, ("e",))])
    given = []
    for _ in range(7):
        unit = scheduler.next("w")
        given.append("".join(unit.ids if unit else ()))
        scheduler.broke("w", "oh")
    assert given == ["abcd", "ab", "a", "b", "cd", "c", "d"]


def test_a_job_is_not_given_up_while_another_worker_may_still_do_it() -> None:
    scheduler = Scheduler(units(JOB, [str(i) for i in range(160)], 1, 8))
    for _ in range(GIVE_UP - 1):
        assert scheduler.next("w")
        scheduler.broke("w", "oh")
    assert scheduler.next("w") and (late := scheduler.next("late"))
    scheduler.broke("w", "oh")
    assert scheduler.next("w") is None
    assert scheduler.done("late", Done(late.ids))
    for _ in range(2 * GIVE_UP):  # the other worker is gone: this goes on alone, and the job is known to work
        assert scheduler.next("w")
        scheduler.broke("w", "oh")


@pytest.mark.parametrize(("batch", "workers", "most"), [(8, 1, 60), (8, 8, 60), (128, 8, 80), (128, 64, 200 + 64)])
def test_work_that_has_begun_is_given_up_where_nothing_works_any_more(batch: int, workers: int, most: int) -> None:
    scheduler = Scheduler(units(JOB, [str(i) for i in range(5521)], workers, batch))
    assert (first := scheduler.next(0)) and scheduler.done(0, Done(first.ids))
    lost = 0
    with pytest.raises(Hopeless, match=r"making things: nothing works any more: .*; the last: no device"):
        while True:
            for worker in [worker for worker in range(workers) if scheduler.next(worker)]:
                lost += 1
                assert scheduler.lost(worker, "no device") is None
    assert lost <= most


@pytest.mark.parametrize("workers", [1, 8])
def test_bad_ids_that_are_left_to_the_end_fail_and_a_node_that_is_lost_costs_nothing_else(workers: int) -> None:
    ids = [str(i) for i in range(1900)]
    bad = set(ids[-1:150:-85][:CULPRITS])  # in a row at the end, each in a unit of its own, thrice
    scheduler = Scheduler(units(JOB, ids, workers, 128))
    first = scheduler.next(0)
    answers = [scheduler.done(0, Done(first.ids if first else ()))]
    for _ in range(2):  # all workers are lost, and once more as soon as they are back
        for worker in [worker for worker in range(workers) if scheduler.next(worker)]:
            assert scheduler.lost(worker, "gone") is None
    while not scheduler.finished:
        for worker, unit in [(worker, unit) for worker in range(workers) if (unit := scheduler.next(worker))]:
            said = scheduler.lost(worker, "oh") if bad & set(unit.ids) else scheduler.done(worker, Done(unit.ids))
            answers.append(said)
    done, failed = settled([said for said in answers if said])
    assert (len(done), set(failed)) == (1900 - CULPRITS, bad)


@pytest.mark.parametrize("seed", range(20))
def test_every_id_is_settled_once_whatever_workers_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    jobs = [Toy([str(i)]) for i in range(3)]
    count, bad = int(rng.integers(50, 400)), {str(i) for i in rng.integers(0, 400, 3)}
    scheduler = Scheduler(
        [unit for job in jobs for unit in units(job, [str(i) for i in range(count)], 4, int(rng.integers(1, 20)))]
    )
    answers: dict[int, list[Done]] = {0: [], 1: [], 2: []}
    busy: dict[int, Unit] = {}
    names = list(range(int(rng.integers(1, 30))))
    while not scheduler.finished:
        for worker in names:
            if worker not in busy and (unit := scheduler.next(worker)):
                busy[worker] = unit
        worker = int(rng.choice(list(busy)))
        unit = busy.pop(worker)
        which = jobs.index(unit.job)
        poisoned = which == 1 and bad & set(unit.ids)
        if poisoned or (rng.random() < 0.1 and len(unit.ids) > 1):
            answer = scheduler.lost(worker, "gone") if rng.random() < 0.5 else scheduler.broke(worker, "oh")
            if rng.random() < 0.5:
                assert scheduler.done(worker, Done(unit.ids)) is None  # too late
        else:
            answer = scheduler.done(worker, Done(unit.ids))
        if answer:
            answers[which].append(answer)
    for which, job_answers in answers.items():
        done, failed = settled(job_answers)
        expected = bad & {str(i) for i in range(count)} if which == 1 else set()
        assert set(failed) == expected
        assert done == sorted({str(i) for i in range(count)} - expected)


@pytest.mark.parametrize(
    ("ids", "workers", "batch", "sizes"),
    [
        *((5521, 1, 16, {15, 16}), (5521, 8, 16, {15, 16}), (5521, 8, 512, {345, 346}), (5521, 256, 16, {10, 11})),
        *((5521, 1024, 16, {2, 3}), (10, 64, 16, {1}), (7, 1, 100, {3, 4}), (32, 2, 2, {2})),
    ],
)
def test_units_are_batches_but_for_many_workers(ids: int, workers: int, batch: int, sizes: set[int]) -> None:
    names = [str(i) for i in range(ids)]
    cut = units(JOB, names, workers, batch)
    assert {len(unit.ids) for unit in cut} == sizes
    assert [id for unit in cut for id in unit.ids] == names
    assert len(cut) >= min(ids, ROUNDS * workers)
    assert units(JOB, [], workers, batch) == []


def test_a_million_ids_and_a_thousand_workers_cost_little() -> None:
    scheduler = Scheduler([Unit(JOB, (str(i),)) for i in range(100_000)])
    started = time.process_time()
    for i in range(1024):
        scheduler.next(i)
    i = 0
    while not scheduler.finished:
        scheduler.done(i % 1024, Done(("",)) if i % 64 == 0 else Done((str(i),)))
        scheduler.next(i % 1024)
        i += 1
    assert time.process_time() - started < 5  # 0.5 s where nothing else runs
