"""A progress bar with rate and time left, on stderr so that tables can be piped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

log = logging.getLogger(__name__)


class _Rate(ProgressColumn):
    def __init__(self, unit: str):
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.2f} {self.unit}/s" if speed else f"– {self.unit}/s")


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; the block calls what it is given with how many are done.

    Without a terminal nothing moves; the log gets one line at the end either way.
    """
    start = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn())
    console = Console(stderr=True)
    done = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.advance(task, count)

        yield advance
    elapsed = time.monotonic() - start
    log.info("%s: %d %s in %.1f s (%.2f %s/s)", title, done, unit, elapsed, done / max(elapsed, 1e-9), unit)
