"""Failures of memory and of the GPU, told apart from bugs."""

from __future__ import annotations

from evalkit.errors import EvalkitError


def out_of_memory(error: Exception) -> bool:
    words = ("out of memory", "can't allocate memory", "alloc_failed")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def explained(error: Exception, clips: int) -> Exception:
    """An EvalkitError for a failure of memory or of the GPU, which are not bugs; others as they are."""
    if out_of_memory(error):
        return EvalkitError(
            f"out of memory with {clips} clips at once: lower engine.batch_size, or, if it is 1 already, use a larger "
            "device or a shorter sampling.duration; finished clips are kept"
        )
    if "cuda error" in str(error).lower():
        reason = str(error).splitlines()[0]
        return EvalkitError(f"the GPU failed ({reason}): finished clips are kept, run the same command again")
    return error
