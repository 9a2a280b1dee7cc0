"""Failures of memory and of the GPU, told apart from bugs."""

from __future__ import annotations

import contextlib
import gc

from evalkit.errors import EvalkitError, out_of_memory

# after these no more calls to the GPU may succeed in this process
GPU_FAILURES = ("cuda error", "triton error [cuda]", "cudnn_status_execution_failed")


def explained(error: Exception, clips: int) -> Exception:
    """An EvalkitError for a failure of memory or of the GPU, which are not bugs; others as they are."""
    if out_of_memory(error):
        what = f"out of memory with {clips} clips at once: lower engine.batch_size, or"
        if clips == 1:
            what = "out of memory with one clip at once:"
        return EvalkitError(f"{what} use a larger device or a shorter sampling.duration; finished clips are kept")
    if gpu_failed(str(error)):
        reason = str(error).splitlines()[0]
        return EvalkitError(f"the GPU failed ({reason}): finished clips are kept, run the same command again")
    return error


def gpu_failed(said: str) -> bool:
    """Whether an error's text says that the GPU failed, which no later call in this process may survive."""
    return any(word in said.lower() for word in GPU_FAILURES)


def release() -> None:
    """Give back the memory that nothing holds any more, so that libraries which do not ask torch can have it."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        with contextlib.suppress(RuntimeError):  # torch refuses while it believes that a graph is being recorded
            torch.cuda.empty_cache()
