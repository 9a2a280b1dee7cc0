"""A job whose ids say what shall happen; in a module that imports little, since workers import it."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import EvalkitError
from evalkit.parallel.units import Done, Work


@dataclass(frozen=True)
class Toy:
    """It notes which processes it was sent to, which began it, and which tried what; an id is ACTION-NUMBER."""

    folder: Path
    begins: bool = True
    title: str = "making toys"
    counts: str = "toys"

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        note(self.folder / "sent", "")

    def begin(self) -> Work:
        if not self.begins:
            raise EvalkitError("the file of the toys is missing: fetch it")
        note(self.folder / "begun", "")
        return self.work

    def work(self, ids: Sequence[str]) -> Done:
        done, failed = [], {}
        for id in ids:
            note(self.folder / "tried", id)
            try:
                ACTIONS[id.partition("-")[0]](self)
                done.append(id)
            except ArithmeticError as error:
                failed[id] = str(error)
        return Done(tuple(done), failed)

    def noted(self, file: str) -> list[tuple[int, str]]:
        """What was noted, and by which process."""
        path = self.folder / file
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split()[0]), line.partition(" ")[2]) for line in lines]

    def first(self) -> bool:
        """Whether nobody has asked before."""
        try:
            (self.folder / "first").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def note(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(f"{os.getpid()} {text}\n")


def say(toy: Toy) -> None:
    logging.getLogger("evalkit.toys").info("logged")
    print("printed")
    print("10 %\r50 %\r100 %", file=sys.stderr)
    os.system("echo from a program")


def impossible(toy: Toy) -> None:
    raise ArithmeticError("it is too large")


def broken(toy: Toy) -> None:
    say(toy)
    raise ValueError("a bug\nin two lines")


def killed(toy: Toy) -> None:
    print("last words")
    os.kill(os.getpid(), signal.SIGKILL)


def killed_leaving_a_child(toy: Toy) -> None:
    """Die while a child lives on that has the worker's files open."""
    if toy.first():
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        note(toy.folder / "child", "")
        time.sleep(60)
        os._exit(0)


def gpus_of_three(toy: Toy) -> None:
    """Note which GPUs it sees, and wait until three workers have."""
    note(toy.folder / "gpus", os.environ["CUDA_VISIBLE_DEVICES"])
    until = time.monotonic() + 60
    while len(toy.noted("gpus")) < 3 and time.monotonic() < until:
        time.sleep(0.01)


def hang(toy: Toy) -> None:
    time.sleep(600)


def hang_once(toy: Toy) -> None:
    if toy.first():
        hang(toy)


def hang_locked(toy: Toy) -> None:
    """Hang without letting any other thread of Python run."""
    ctypes.PyDLL(None).sleep(600)


ACTIONS: dict[str, Callable[[Toy], object]] = {
    "make": lambda toy: time.sleep(0.001),
    "say": say,
    "impossible": impossible,
    "broken": broken,
    "exit": lambda toy: sys.exit(7),
    "killed": killed,
    "killed_leaving_a_child": killed_leaving_a_child,
    "segfault": lambda toy: ctypes.string_at(0),
    "hang": hang,
    "hang_once": hang_once,
    "hang_locked": hang_locked,
    "gpus_of_three": gpus_of_three,
    "modules": lambda toy: note(toy.folder / "modules", " ".join(sys.modules)),
}
