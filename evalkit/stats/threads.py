"""Threads for statistics: one for each core, each of which computes alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container, by cgroup v2: microseconds per period, and the period

Each = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]  # a function and items to the results, in order


def cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no such limit; "max" is none either
        quota, period = map(int, CPU_QUOTA.read_text().split())
        allowed = min(allowed, max(1, quota // period))
    return allowed


def serial(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Apply a function to items one after the other."""
    return list(map(function, items))


@contextlib.contextmanager
def side_by_side() -> Iterator[Each]:
    """Give a function that applies another to items, one item on each core.

    BLAS takes one thread for each of them meanwhile: its own would only wait for each other. So bits do not depend
    on the number of cores either.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cores()) as pool:
        yield lambda function, items: list(pool.map(function, items))
