"""Workers, with one progress bar and one log for all of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from evalkit.filling.launching import launched, number_of_workers
from evalkit.parallel.units import Unit
from evalkit.progress import progress
from evalkit.settings import Engine

log = logging.getLogger(__name__)

# of a worker's log: date, time, level, module, text
LINE = re.compile(r"\S+ (\S+) (\w+) ([\w.]+): (.*)", re.DOTALL)


class Workers:
    """Processes that do units; the launcher starts them when there is something to do for the first time.

    Raises EvalkitError where they cannot be started, as far as that is known before.

    Attributes:
        count: how many there are, by which work should be cut.
    """

    def __init__(self, engine: Engine, count: int, store: Path):
        self.count, self._launcher = count, launched(engine, count, store)
        self._told: set[str] = set()

    def do(self, units: Sequence[Unit], title: str, counts: str) -> dict[str, str]:
        """Have units done; return why ids could not be, by id. Raises EvalkitError for what no worker can do.

        Args:
            title, counts: what progress calls the work, and what its ids are.
        """
        failed: dict[str, str] = {}
        with progress(title, sum(len(unit.ids) for unit in units), counts) as advance:
            for done in self._launcher.run(units):
                failed |= done.failed
                for line in done.log:
                    self._tell(line)
                advance(len(done.ids) + len(done.failed))
        return failed

    def _tell(self, line: str) -> None:
        """Log what a worker has logged; a warning that many of them may give is one only once."""
        match = LINE.fullmatch(line)
        when, level, module, said = match.groups() if match else ("", "INFO", "", line)
        if module == progress.__module__:
            return  # one bar is for all
        warns = level not in ("DEBUG", "INFO") and said not in self._told
        if warns:
            self._told.add(said)
        log.log(logging.WARNING if warns else logging.INFO, "%s (a worker%s)", said, f" at {when}" if when else "")

    def close(self) -> None:
        """Stop the workers, if any were started."""
        self._launcher.close()


@contextmanager
def workers_of(engine: Engine, store: Path) -> Iterator[Workers | None]:
    """Give the workers that the engine asks for, and stop them at the end; None where this process does all itself.

    Raises EvalkitError where there cannot be so many.

    Args:
        store: the folder of the cache.
    """
    count = number_of_workers(engine)
    if count is None:
        yield None
        return
    workers = Workers(engine, count, store)
    try:
        yield workers
    finally:
        workers.close()
