"""Progress with rate and time left, on stderr so that tables can be piped: a bar, or lines where none can be drawn."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

log = logging.getLogger(__name__)

INTERVAL = 30.0  # seconds from one line to the next


class _Rate(ProgressColumn):
    def __init__(self, unit: str):
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.2f} {self.unit}/s" if speed else f"– {self.unit}/s")


_quiet = False


@contextmanager
def silenced(quiet: bool) -> Iterator[None]:
    """Show no progress while the block runs, if that is asked for; the log gets its lines all the same."""
    global _quiet
    before, _quiet = _quiet, _quiet or quiet
    try:
        yield
    finally:
        _quiet = before


@dataclass
class Block:
    """How long a block with progress took.

    Attributes:
        title: of the progress.
        steps: of each time that something was finished, after how many seconds that was, and how much.
        seconds: that the whole block took.
    """

    title: str
    steps: list[tuple[float, int]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """How much was finished."""
        return sum(count for _, count in self.steps)

    @property
    def rate(self) -> float:
        """How much is finished in a second: without the first step, in which networks are loaded, if there are more."""
        if len(self.steps) < 2:
            return self.done / max(self.seconds, 1e-9)
        first, count = self.steps[0]
        return (self.done - count) / max(self.seconds - first, 1e-9)


_recorded: list[Block] | None = None


@contextmanager
def recording() -> Iterator[list[Block]]:
    """Collect how long each block with progress takes, in the order in which they end, while this block runs."""
    global _recorded
    before, _recorded = _recorded, []
    try:
        yield _recorded
    finally:
        _recorded = before


def has_bars() -> bool:
    """Whether bars are shown: stderr is a terminal that can redraw a line, and progress is wanted."""
    return not _quiet and Console(stderr=True).is_interactive


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; the block calls what it is given with how many are done.

    The log, and stderr where no bar can be shown, get a line every `INTERVAL` seconds, however many blocks follow
    each other in that time. The log gets one line at the end as well.
    """
    start = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn())
    console = Console(stderr=True)
    block = Block(title)

    def line() -> str:
        done, elapsed = block.done, time.monotonic() - start
        text = f"{title}: {done} of {total} {unit} in {_clock(elapsed)}"
        return text + (
            f", {done / elapsed:.2f} {unit}/s, {_clock((total - done) * elapsed / done)} left" if done else ""
        )

    with (
        Progress(*columns, console=console, disable=_quiet or not console.is_interactive) as bar,
        _lines(line, on_stderr=not (_quiet or console.is_interactive)),
    ):
        task = bar.add_task(title, total=total)

        def advance(count: int) -> None:
            block.steps.append((time.monotonic() - start, count))
            bar.advance(task, count)

        yield advance
    block.seconds = elapsed = time.monotonic() - start
    if _recorded is not None:
        _recorded.append(block)
    log.info("%s: %d %s in %.1f s (%.2f %s/s)", title, block.done, unit, elapsed, block.done / max(elapsed, 1e-9), unit)


def say(text: str, always: bool = False) -> None:
    """Write a line to the log, and where progress is shown to stderr; `always`: to stderr in any case."""
    log.info("%s", text)
    if always or not _quiet:
        print(text, file=sys.stderr, flush=True)


_due = 0.0  # when the next line is written, by the monotonic clock; in the past where nothing has run for a while


@contextmanager
def _lines(line: Callable[[], str], on_stderr: bool) -> Iterator[None]:
    """Write a line whenever one is due while the block runs, also while the block itself is waiting for something."""
    finished = threading.Event()

    def write() -> None:
        global _due
        now = time.monotonic()
        if _due < now - INTERVAL:
            _due = now + INTERVAL
        while not finished.wait(max(0.0, _due - time.monotonic())):
            _due = time.monotonic() + INTERVAL
            text = line()
            log.info("%s", text)
            if on_stderr:
                print(text, file=sys.stderr, flush=True)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _clock(seconds: float) -> str:
    """A time as H:MM:SS."""
    return str(timedelta(seconds=round(seconds)))
