"""Functions of tensors that are compiled into a few kernels on a GPU, and run as they are where that fails."""

from __future__ import annotations

import contextlib
import logging
import types
from collections.abc import Callable
from typing import Any

import torch

from evalkit.errors import out_of_memory, reason

log = logging.getLogger(__name__)

# in this process, one after the other: a pool of compilers outlives what it was for, and breaks in a fork
OPTIONS = {"triton.cudagraphs": False, "compile_threads": 1}

_failed = False  # in this process, for whichever function


class Fused:
    """A function of tensors that `torch.compile` makes into few kernels, once for each set of shapes.

    On a CPU it is the function itself. It is that too, for this and every other Fused, once one could not
    be compiled, which is said once. Compilation happens at the first call of a shape, never while a CUDA graph
    is recorded, so that call has to come before the recording. What a call depends on besides shapes must be
    in tensors: a number would be compiled into the kernel.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self._compiled: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *args: torch.Tensor) -> Any:
        """Call the function.

        Raises:
            Exception: what the function itself raises, and whatever the compiler raises for lack of memory.
        """
        global _failed
        if _failed or not compiles_on(args[0].device):
            return self.function(*args)
        shapes = tuple((arg.shape, arg.dtype, arg.device) for arg in args)
        if shapes not in self._compiled:
            self._compiled[shapes] = torch.compile(
                _copy(self.function), dynamic=False, fullgraph=True, options=dict(OPTIONS)
            )
        device = args[0].device
        try:
            with torch.compiler.set_stance("fail_on_recompile") if records(device) else contextlib.nullcontext():
                return self._compiled[shapes](*args)
        except Exception as error:
            if _for_memory(error):
                raise
            _failed = True
            log.warning("tokens are chosen without torch.compile, which is slower: %s", reason(error))
        return self.function(*args)


def compiles_on(device: torch.device) -> bool:
    """Whether a Fused tries to compile there."""
    return device.type == "cuda"


def records(device: torch.device) -> bool:
    """Whether what is launched there is recorded in a CUDA graph."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def failed() -> bool:
    """Whether something could not be compiled in this process, so that all of it runs as it is."""
    return _failed


def _copy(function: Any) -> Callable[..., Any]:
    """The same function with a code object of its own.

    torch counts recompilations by code object, and after eight it compiles no more.
    """
    made = types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _for_memory(error: BaseException | None) -> bool:
    """Whether an error is one for lack of memory, or was raised for one, as torch wraps errors of its compiler."""
    while error is not None:
        if out_of_memory(error):
            return True
        error = error.__cause__ or error.__context__
    return False
