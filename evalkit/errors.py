"""The one exception that a user sees as a single line, and what other packages raise, in its form."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class EvalkitError(Exception):
    """A user's mistake or a missing prerequisite; the message says what is wrong and what to do."""


class NothingThere(EvalkitError):
    """A folder that has nothing of what is looked for, which may come yet."""


def unknown(kind: str, name: str, available: Iterable[str]) -> EvalkitError:
    """Make the error for a name that does not exist, with the nearest existing one."""
    choices = sorted(available)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return EvalkitError(f"unknown {kind} '{name}': {hint}available: {', '.join(choices)}")


# how torch, cuBLAS, cuDNN, Triton and the C library say that they could not have the memory that they asked for
OUT_OF_MEMORY = (
    "out of memory",
    "out_of_memory",
    "alloc_failed",
    "allocation_failed",
    "cudaerrormemoryallocation",
    "allocate memory",
    "not enough memory",
    "bad_alloc",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of any package says that there was too little memory, of the device or of the machine.

    It does not where a kernel asks for more shared memory than a multiprocessor has, which less work would not mend.
    """
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    return not isinstance(error, EvalkitError) and any(word in said for word in OUT_OF_MEMORY)


def reason(error: Exception) -> str:
    """What another package's error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if lines[0].startswith("Weights only load failed"):  # torch goes on with advice to load it nonetheless
        return "it holds more than tensors, and is not read"
    return " ".join(lines[:2]) if lines[0].endswith(":") and len(lines) > 1 else lines[0]


def failure(component: str, error: Exception) -> str:
    """Say in one line that a component raised something that is no EvalkitError."""
    said = f": {reason(error)}" if str(error).strip() else ""
    return f"{component}: {type(error).__name__}{said} (the traceback is in run.log)"


@contextlib.contextmanager
def loading(what: str) -> Iterator[None]:
    """Turn whatever is raised while files are loaded into one EvalkitError; `what` says which, such as "'FOLDER'".

    The packages that load them raise errors of many kinds for damaged ones. EvalkitErrors, and those
    of memory, pass as they are.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, EvalkitError) or out_of_memory(error):
            raise
        if isinstance(error, NotADirectoryError):
            raise EvalkitError(f"{what}: a single file is given: give the folder that holds all of them") from error
        raise EvalkitError(f"{what} cannot be loaded: delete it and get it again ({reason(error)})") from error
