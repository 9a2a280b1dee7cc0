"""Steps recorded as CUDA graphs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Protocol

import torch

HIGHEST = -1  # priority of a stream: kernels of what goes on beside, such as the codec, give way


class Graph(Protocol):
    """A recorded step."""

    def replay(self) -> None:
        """Do what was recorded."""


@functools.cache
def _stream(device: torch.device) -> Any:
    """The stream that everything is recorded on, one per process and device.

    Torch hands out 32 streams in turn, so that the next one of a new recording would sooner or later be one on
    which something else is going on; and each stream keeps a workspace for cuBLAS.
    """
    return torch.cuda.Stream(device, priority=HIGHEST)


def new_pool() -> Any:
    """A pool of memory which recorded steps of one batch share."""
    return torch.cuda.graph_pool_handle()


def record(step: Callable[[], None], pool: Any, device: torch.device) -> Graph:
    """Record a step without taking it. Raises what went wrong first, with the current stream as it was before."""
    before = torch.cuda.current_stream(device)
    graph = torch.cuda.CUDAGraph()
    first: list[Exception] = []
    try:
        # other threads go on using the GPU
        with torch.cuda.graph(graph, pool=pool, stream=_stream(device), capture_error_mode="thread_local"):
            try:
                step()
            except Exception as error:
                first.append(error)
                raise
    except Exception as error:
        # where the end fails, torch's allocator is not told that there was one
        with contextlib.suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(device.index or 0, pool)
        # the end of a recording that failed, fails too, and says less than what came before
        raise (first[0] if first else error) from None
    finally:
        torch.cuda.set_stream(before)  # where the end fails, torch leaves the recording's the current one
        first.clear()  # it would keep this frame alive, and the step's with what it holds
    return graph
