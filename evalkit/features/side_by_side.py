"""What encoders are given is made ahead of them; on a GPU they run side by side, each on a stream of its own."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from evalkit.batching import torch_threads_kept

Batch = TypeVar("Batch", bound=Sized)
Job = Callable[[], object]

HELD = 2  # batches that encoders have: the one that slow encoders are at, and the next for those that are done with it


def on_gpu(device: str) -> bool:
    """Whether networks run on a GPU, which several of them fill better than one; they share the cores of a CPU."""
    import torch

    return torch.device(device).type != "cpu"


def made_ahead(function: Callable[[Any], Any], chunks: Iterable[Sequence[Any]], threads: int) -> Iterator[list[Any]]:
    """Apply a function to all items of each chunk, on threads which each compute alone, and are one chunk ahead."""
    import torch

    with (
        torch_threads_kept(),
        ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        ahead: list[Future[Any]] = []
        for chunk in itertools.chain(chunks, [[]]):
            current, ahead = ahead, [pool.submit(function, item) for item in chunk]
            if current:
                yield [future.result() for future in current]
                give_back_memory()


def give_back_memory() -> None:
    """Return to the system what has been freed.

    glibc keeps the holes that sounds of many lengths leave in its threads' heaps: without this the
    process grows by about a megabyte per clip at first, and never shrinks.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)


def one_by_one(batches: Iterable[Batch], jobs_of: Callable[[Batch], Sequence[Job]]) -> Iterator[int]:
    """Do the jobs of each batch in order; gives the number of items of each batch that is finished."""
    for batch in batches:
        for job in jobs_of(batch):
            job()
        yield len(batch)


def side_by_side(batches: Iterable[Batch], jobs_of: Callable[[Batch], Sequence[Job]], device: str) -> Iterator[int]:
    """Do the jobs of each batch at the same time; gives the number of items of each batch that is finished, in order.

    The first jobs of all batches are done one after the other on one thread, so are the second ones, and so on. At most
    HELD batches are under way, while `batches` may make the next one. What a job raises is raised here, and no job
    begins after it.

    Args:
        jobs_of: the jobs of a batch, as many for each; called on the thread that asks for batches.
    """
    lanes: list[ThreadPoolExecutor] = []
    held: deque[tuple[int, list[Future[object]]]] = deque()

    def begin(batch: Batch) -> None:
        jobs = jobs_of(batch)
        while len(lanes) < len(jobs):
            lanes.append(ThreadPoolExecutor(1, initializer=_compute_alone))
        futures = [lanes[i].submit(_on_stream, device, i, job) for i, job in enumerate(jobs)]
        held.append((len(batch), futures))

    def finish() -> int:
        size, futures = held.popleft()
        for future in futures:
            future.result()
        return size

    with torch_threads_kept():
        try:
            for batch in batches:
                begin(batch)
                del batch  # its jobs hold it, until they are done
                if len(held) == HELD:
                    yield finish()
            while held:
                yield finish()
        finally:
            for lane in lanes:
                lane.shutdown(wait=False, cancel_futures=True)
            for lane in lanes:
                lane.shutdown()


def _compute_alone() -> None:
    import torch

    torch.set_num_threads(1)


def _on_stream(device: str, lane: int, job: Job) -> object:
    """Do a job on the stream of its lane. It must wait for its own results, as copying them to the CPU does."""
    if not device.startswith("cuda"):
        return job()
    import torch

    stream = _stream(device, lane)
    with torch.cuda.stream(stream):  # which holds for this thread only, and makes its device the current one
        # weights were copied, and laid out anew, on the stream of the thread that loaded them
        stream.wait_stream(torch.cuda.default_stream(stream.device))
        return job()


@functools.cache
def _stream(device: str, lane: int) -> Any:
    """One stream for each lane as long as the process lives: torch has 32, and hands them out again and again."""
    import torch

    return torch.cuda.Stream(torch.device(device))
