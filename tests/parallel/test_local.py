"""Local workers, real processes: what kills or breaks them, who ends them, and what they say."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from evalkit.errors import EvalkitError
from evalkit.parallel import local, serving
from evalkit.parallel.local import Local, visible_gpus
from evalkit.parallel.scheduler import ATTEMPTS, GIVE_UP
from evalkit.parallel.units import Done, Hopeless, Unit
from tests.conftest import ROOT
from tests.parallel.toys import Toy

MAKE = [f"make-{i}" for i in range(40)]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


@contextlib.contextmanager
def workers(number: int, devices: Sequence[str] | None = None) -> Iterator[Local]:
    with contextlib.closing(Local(number, devices)) as launcher:
        yield launcher


def cut(toy: Toy, ids: Sequence[str], size: int) -> list[Unit]:
    return [Unit(toy, tuple(ids[i : i + size])) for i in range(0, len(ids), size)]


def run(toy: Toy, ids: Sequence[str], number: int = 2, batch: int = 8) -> tuple[list[str], dict[str, str], list[str]]:
    """Run ids of a toy: what is done, what is failed, what was logged; nothing comes twice, and no process is left."""
    with workers(number) as launcher:
        answers = list(launcher.run(cut(toy, ids, batch)))
    done = [id for answer in answers for id in answer.ids]
    failed = {id: why for answer in answers for id, why in answer.failed.items()}
    assert sorted([*done, *failed]) == sorted(ids)
    assert sum(len(answer.failed) for answer in answers) == len(failed)
    assert gone(toy)
    return sorted(done), failed, [line for answer in answers for line in answer.log]


def gone(toy: Toy, seconds: float = 0.0) -> bool:
    """Whether all processes that ever tried something have ended, within some time."""
    until = time.monotonic() + seconds
    pids = {pid for pid, _ in toy.noted("tried")}
    assert pids
    while living := [pid for pid in pids if alive(pid)]:
        if time.monotonic() > until:
            print(living)
            return False
        time.sleep(0.01)
    return True


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(toy: Toy, *ids: str) -> dict[str, int]:
    """Wait until ids have been tried, and say by which processes."""
    until = time.monotonic() + 60
    while not set(ids) <= {id for _, id in toy.noted("tried")}:
        assert time.monotonic() < until
        time.sleep(0.01)
    return {id: pid for pid, id in toy.noted("tried")}


@pytest.mark.parametrize("number", [1, 2, 5])
def test_all_is_done_once_by_as_many_processes(number: int, toy: Toy) -> None:
    done, failed, _ = run(toy, [*MAKE, "impossible"], number)
    assert (done, failed) == (sorted(MAKE), {"impossible": "it is too large"})
    assert Counter(id for _, id in toy.noted("tried")) == Counter([*MAKE, "impossible"])
    pids = [pid for pid, _ in toy.noted("begun")]
    assert len(pids) == len(set(pids)) <= number
    assert sorted(toy.noted("sent")) == sorted(toy.noted("begun"))
    assert os.getpid() not in pids


def test_no_more_processes_are_started_than_there_are_units(toy: Toy) -> None:
    with workers(8) as launcher:
        list(launcher.run(cut(toy, MAKE[:2], 1)))
        assert len(launcher._workers) <= 2


def test_a_unit_whose_worker_is_killed_is_done_again_and_nothing_else(toy: Toy) -> None:
    ids = [*MAKE[:20], "hang_once", *MAKE[20:]]

    def kill() -> None:
        os.kill(wait_for(toy, "hang_once")["hang_once"], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done, failed, _ = run(toy, ids)
    killer.join()
    assert (done, failed) == (sorted(ids), {})
    twice = [id for id, times in Counter(id for _, id in toy.noted("tried")).items() if times > 1]
    (unit,) = (unit.ids for unit in cut(toy, ids, 8) if "hang_once" in unit.ids)
    assert "hang_once" in twice and set(twice) <= set(unit)


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ("killed", "its worker was killed (SIGKILL), as the system does where memory runs out: last words"),
        ("segfault", "its worker died of signal 11 (Segmentation fault): Fatal Python error: Segmentation fault"),
        ("exit", "its worker ended with exit status 7"),
        ("broken", "ValueError: a bug"),
    ],
)
@pytest.mark.parametrize("number", [1, 2])
def test_an_id_that_always_fails_is_told_and_all_others_are_done(
    action: str, why: str, number: int, toy: Toy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "evalkit")
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    done, failed, _ = run(toy, [*MAKE[:9], action, *MAKE[9:12]], number, batch=4)
    assert done == sorted(MAKE[:12])
    assert failed == {action: f"{why} (tried {ATTEMPTS} times)"}
    tried = [pid for pid, id in toy.noted("tried") if id == action]
    assert len(tried) == len(set(tried)) == ATTEMPTS + 2  # in units of four and two before; never by one process twice
    said = caplog.text
    assert ("ValueError: a bug\nin two lines" in said) == ("INFO evalkit.toys: logged" in said) == (action == "broken")
    assert ("last words" in said) == (action == "killed")


def test_what_no_worker_can_do_stops_all_with_one_line(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    with workers(2) as launcher:
        with pytest.raises(Hopeless, match=r"^the file of the toys is missing: fetch it$"):
            list(launcher.run([*cut(toy, ["hang"], 1), *cut(Toy(tmp_path, begins=False), MAKE, 1)]))
        assert gone(toy)
        assert list(launcher.run(cut(toy, ["make"], 1))) == [Done(("make",))]  # it can be used again


def test_a_job_that_always_kills_its_workers_is_given_up(toy: Toy) -> None:
    with workers(1) as launcher, pytest.raises(Hopeless, match=f"making toys: {GIVE_UP} attempts in a row failed"):
        list(launcher.run(cut(toy, [f"exit-{i}" for i in range(100)], 8)))
    assert len(toy.noted("begun")) == GIVE_UP


def test_the_death_of_a_worker_is_seen_though_its_child_lives_on(toy: Toy) -> None:
    started = time.monotonic()
    try:
        assert run(toy, ["killed_leaving_a_child", "make"])[:2] == (["killed_leaving_a_child", "make"], {})
        assert time.monotonic() - started < 20
    finally:
        for pid, _ in toy.noted("child"):
            os.kill(pid, signal.SIGKILL)


def test_processes_and_their_job_are_kept_for_the_next_run(toy: Toy) -> None:
    with workers(1) as launcher:
        for _ in range(2):
            assert list(launcher.run(cut(toy, ["make"], 1))) == [Done(("make",))]
        assert len(toy.noted("begun")) == 1
        ((pid, _),) = toy.noted("begun")
        os.kill(pid, signal.SIGKILL)  # while it is idle
        assert list(launcher.run(cut(toy, ["make", "make-1"], 2))) != []
        assert len(toy.noted("begun")) == 2


def test_processes_outlive_the_thread_that_started_them(toy: Toy) -> None:
    with workers(1) as launcher:
        thread = threading.Thread(target=lambda: list(launcher.run(cut(toy, ["make"], 1))))
        thread.start()
        thread.join()
        time.sleep(0.1)
        assert list(launcher.run(cut(toy, ["make"], 1))) == [Done(("make",))]
        assert len(toy.noted("begun")) == 1


def test_closing_the_iterator_stops_all(toy: Toy) -> None:
    with workers(2) as launcher:
        answers = launcher.run(cut(toy, ["make", "hang"], 1))
        assert next(answers) == Done(("make",))
        wait_for(toy, "hang")
        started = time.monotonic()
        answers.close()
        assert gone(toy)
        assert time.monotonic() - started < 2


def test_what_workers_log_and_print_comes_back_and_goes_nowhere_else(
    toy: Toy, capfd: pytest.CaptureFixture[str]
) -> None:
    _, _, lines = run(toy, ["say", "make"], 1, batch=1)
    assert [line.split(" ", 2)[2] for line in lines[:1]] == ["INFO evalkit.toys: logged"]
    assert sorted(lines[1:]) == [f"worker 0 printed: {text}" for text in ("100 %", "from a program", "printed")]
    assert capfd.readouterr() == ("", "")


def test_a_worker_imports_no_torch_by_itself(toy: Toy) -> None:
    run(toy, ["modules"])
    ((_, modules),) = toy.noted("modules")
    assert "evalkit.parallel.units" in modules.split()
    assert {"torch", "numpy", "pandas"} & set(modules.split()) == set()


def test_a_process_that_cannot_start_is_told_in_one_line(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "BOOT", "import nosuchmodule")
    line = "workers cannot be started: the process ended with exit status 1: ModuleNotFoundError: No module named"
    with workers(2) as launcher, pytest.raises(EvalkitError, match=line):
        list(launcher.run(cut(toy, MAKE, 1)))


def test_ctrl_c_does_not_reach_a_process_that_is_starting(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    monkeypatch.setattr(local, "BOOT", pressed + serving.BOOT)
    assert run(toy, ["make"])[0] == ["make"]


@pytest.mark.parametrize("threads", [0, 1])
def test_ctrl_c_while_a_process_is_started_leaves_none(toy: Toy, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(real(*arguments, **options))
        os.kill(os.getpid(), signal.SIGINT)
        return started[0]

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
    ended = threading.Event()
    for _ in range(threads):  # which gets the signal where this one blocks it
        threading.Thread(target=ended.wait, daemon=True).start()
    try:
        with workers(1) as launcher:
            with pytest.raises(KeyboardInterrupt):
                list(launcher.run(cut(toy, MAKE, 8)))
            assert not alive(started[0].pid)
    finally:
        ended.set()
        signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class Threads(Toy):
    """It notes how many threads torch has, which this module imports."""

    def work(self, ids: Sequence[str]) -> Done:
        return Done(tuple(ids), {}, (str(torch.get_num_threads()),))


def test_torch_has_as_many_threads_as_here(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 2)
    try:
        with workers(1) as launcher:
            assert list(launcher.run([Unit(Threads(tmp_path), ("a",))])) == [Done(("a",), {}, (str(before + 2),))]
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Unsendable(Toy):
    def __reduce__(self) -> NoReturn:
        raise TypeError("an open file")


@dataclass(frozen=True)
class Unreadable(Toy):
    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


def test_a_job_that_cannot_be_sent_is_told_in_one_line(tmp_path: Path) -> None:
    with workers(1) as launcher:
        with pytest.raises(EvalkitError, match=r"^making toys: .* cannot be sent to workers, .*\(an open file\)$"):
            list(launcher.run(cut(Unsendable(tmp_path), MAKE, 1)))
        assert launcher._workers == {}
        with pytest.raises(Hopeless, match=r"^a worker cannot read its job: ValueError: invalid literal"):
            list(launcher.run(cut(Unreadable(tmp_path), MAKE, 1)))


@pytest.mark.parametrize(("devices", "seen"), [(["3", "GPU-8a"], ["3", "3", "GPU-8a"]), (None, ["3,1"] * 3)])
def test_each_worker_sees_one_gpu(
    devices: list[str] | None, seen: list[str], toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    with workers(3, devices) as launcher:
        list(launcher.run(cut(toy, ["gpus_of_three-0", "gpus_of_three-1", "gpus_of_three-2"], 1)))
    assert sorted(gpus for _, gpus in toy.noted("gpus")) == seen


@pytest.mark.parametrize(
    ("given", "count", "names"),
    [
        *((None, 0, []), (None, 2, ["0", "1"]), ("", 0, []), ("3,1", 2, ["3", "1"]), ("0,1", 0, [])),
        *(("GPU-8a, GPU-9b", 2, ["GPU-8a", "GPU-9b"]), ("2,-1,0", 1, ["2"])),
    ],
)
def test_visible_gpus_are_those_that_this_process_may_use(
    given: str | None, count: int, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == names


SCRIPT = """
import sys
from dataclasses import dataclass
from pathlib import Path
from evalkit.parallel.local import Local
from evalkit.parallel.scheduler import units
from tests.parallel.toys import Toy

print("main")

@dataclass(frozen=True)
class Mine(Toy):
    title: str = "my own"

launcher = Local(2)
for done in launcher.run(units(Mine(Path(sys.argv[1])), sys.argv[2:], 1, 1)):
    print(*done.ids)
"""


def started(how: str, toy: Toy, *ids: str) -> subprocess.Popen[str]:
    """Start a program that runs ids of a job of its own, with no guard against being imported, and never closes."""
    (toy.folder / "own_script.py").write_text(SCRIPT)
    command = {
        "script": [str(toy.folder / "own_script.py")],
        "module": ["-m", "own_script"],
        "notebook": ["-c", SCRIPT],
        "thread": ["-c", f"import threading\nthreading.Thread(target=exec, args=({SCRIPT!r}, globals())).start()"],
    }[how]
    return subprocess.Popen(
        [sys.executable, *command, str(toy.folder), *ids],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=toy.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in the background
    )


@pytest.mark.parametrize("how", ["script", "module", "notebook", "thread"])
def test_it_works_however_the_program_was_started(how: str, toy: Toy) -> None:
    process = started(how, toy, *MAKE[:4])
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[0] == "main" and sorted(out.splitlines()[1:]) == MAKE[:4]
    assert gone(toy, 2)


@pytest.mark.parametrize("how", ["script", "thread"])
def test_workers_end_with_a_parent_that_is_killed(how: str, toy: Toy) -> None:
    # what holds Python's lock is ended by the system, for which the parent's main thread must have started it
    ids = ["hang", "hang_locked" if how == "script" else "hang-1"]
    process = started(how, toy, *ids)
    wait_for(toy, *ids)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert gone(toy, 2)


def test_ctrl_c_stops_all(toy: Toy) -> None:
    process = started("script", toy, "hang", "hang_locked")
    pids = wait_for(toy, "hang", "hang_locked")
    for pid in pids.values():  # a worker lets it pass
        os.kill(pid, signal.SIGINT)
    time.sleep(0.2)
    assert all(alive(pid) for pid in pids.values())
    before = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - before < 2
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert gone(toy)
