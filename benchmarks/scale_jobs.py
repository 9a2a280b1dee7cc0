"""Jobs that do nothing, for measuring what surrounds them; in a module that imports little, since workers import it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.parallel.units import Done, Work


@dataclass(frozen=True)
class Nothing:
    """A job that takes so many seconds for each unit, and makes nothing."""

    seconds: float = 0.0
    title: str = "doing nothing"
    counts: str = "clips"

    def begin(self) -> Work:
        def work(ids: Sequence[str]) -> Done:
            if self.seconds:
                time.sleep(self.seconds)
            return Done(tuple(ids))

        return work
