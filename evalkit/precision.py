"""The numerical precision of everything that evalkit computes with torch, set and restored in one place.

Whatever a process did before, the same clip has the same bits and the same features: products and convolutions
of float32 are IEEE float32 (cuDNN's convolutions are in TF32 by default, which no original on a CPU has), sums of
float16 and bfloat16 products are float32, and cuDNN neither measures which algorithm is fastest nor takes one that
adds in any order. cuDNN's attention is off: it compiles a plan for each shape, and has returned wrong values for
single queries behind masks. On a CPU these are torch's defaults.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

Setting = tuple[Callable[[], Any], Callable[[Any], object], Any]  # what reads it, what sets it, and its value here
Precision = tuple[str, str]  # backend and operation, as torch names them

ROOT: Precision = ("generic", "all")
BACKENDS: list[Precision] = [("cuda", "all"), ("mkldnn", "all")]
OPERATIONS: list[Precision] = [
    (backend, operation) for backend, _ in BACKENDS for operation in ("matmul", "conv", "rnn")
]

# whether cuBLAS may divide a product's long sums among blocks, which it does by the shape of the whole product
SPLIT_SUMS = True

_lock = threading.Lock()
_inside = 0  # how many callers, of all threads, are in `fixed_precision` now
_before = ExitStack()  # what restores the flags that the first of them found


@contextmanager
def fixed_precision() -> Iterator[None]:
    """Set torch's precision for a block of code, or as a decorator for a function, and restore it afterwards.

    torch's flags hold for the whole process. Where blocks overlap, nested or on several threads, the last one to end
    restores what the first one found; each one sets all flags again when it begins, in case a model's own code
    changed them. Where torch is not loaded yet, nothing is set: there is no GPU that it was asked for, and on a CPU its
    flags will be these.
    """
    global _inside
    if "torch" not in sys.modules:
        yield
        return
    with _lock:
        if not _inside:
            _remember(_before)
        _inside += 1
    try:
        with _lock:
            _set()
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _before.close()


def holds() -> bool:
    """Whether all flags are as `fixed_precision` sets them."""
    from torch import _C

    return all(read() == value for read, _, value in _settings()) and all(
        _C._get_fp32_precision_getter(*one) == "ieee" for one in [ROOT, *BACKENDS, *OPERATIONS]
    )


def _settings() -> list[Setting]:
    """All flags but the precisions of float32."""
    from torch.backends import cuda, cudnn

    def flag(owner: Any, name: str, value: Any) -> Setting:
        return lambda: getattr(owner, name), lambda wanted: setattr(owner, name, wanted), value

    def reduction(dtype: str) -> Setting:
        name = f"allow_{dtype}_reduced_precision_reduction"
        split = f"{name}_split_k"  # whether a sum may be split, which torch 2.10 has no switch for yet
        if not hasattr(cuda.matmul, split):
            return flag(cuda.matmul, name, False)

        def read() -> tuple[bool, bool]:
            return getattr(cuda.matmul, name), getattr(cuda.matmul, split)

        return read, lambda wanted: setattr(cuda.matmul, name, wanted), (False, SPLIT_SUMS)

    return [
        reduction("fp16"),
        reduction("bf16"),
        flag(cuda.matmul, "allow_fp16_accumulation", False),
        flag(cudnn, "deterministic", True),
        flag(cudnn, "benchmark", False),
        (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp, False),
        (
            cuda.fp16_bf16_reduction_math_sdp_allowed,
            cuda.allow_fp16_bf16_reduction_math_sdp,
            False,
        ),
    ]


def _set() -> None:
    from torch import _C, set_float32_matmul_precision
    from torch.backends import cudnn

    for _, write, value in _settings():
        write(value)
    # torch has these beside the newer precisions, and refuses to be asked for them where the two disagree
    set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = False
    for one in [ROOT, *BACKENDS, *OPERATIONS]:
        _C._set_fp32_precision_setter(*one, "ieee")


def _remember(stack: ExitStack) -> None:
    """Have `stack` restore all flags when it is closed."""
    from torch import _C, get_float32_matmul_precision, set_float32_matmul_precision
    from torch.backends import cudnn

    for read, write, _ in _settings():
        stack.callback(write, read())
    for one, value in _own_precisions().items():
        stack.callback(_C._set_fp32_precision_setter, *one, value)
    for one in OPERATIONS:
        _C._set_fp32_precision_setter(*one, "ieee")
    # first to be restored, because they overwrite the precisions of operations
    stack.callback(set_float32_matmul_precision, get_float32_matmul_precision())
    try:
        stack.callback(setattr, cudnn, "allow_tf32", cudnn.allow_tf32)
    except RuntimeError:  # it is True, which disagrees with the precisions that were just set
        stack.callback(setattr, cudnn, "allow_tf32", True)


def _own_precisions() -> dict[Precision, str]:
    """What was set for each backend and operation itself, "none" where it has the value of what stands above it.

    torch tells only what results. So what stands above is set to one value and another: what does not change is an
    operation's own. Leaves what stands above changed.
    """
    from torch import _C

    get, put = _C._get_fp32_precision_getter, _C._set_fp32_precision_setter
    before = {one: get(*one) for one in [ROOT, *BACKENDS]}
    own = {ROOT: before[ROOT]}
    for above, below in (([ROOT], BACKENDS), (BACKENDS, OPERATIONS)):
        seen = []
        for value in ("ieee", "none"):
            for one in above:
                put(*one, value)
            seen.append({one: get(*one) for one in below})
        for one in below:
            fixed, free = seen[0][one], seen[1][one]
            # convolutions are in TF32 by default, unless something is set above them: torch cannot be told so again
            untouched = before[ROOT if one in BACKENDS else (one[0], "all")] == "none"
            own[one] = fixed if fixed == free else free if untouched else "none"
    return own
