"""How the steps of generation are computed on a device: chosen once, checked there, and never left to chance."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from evalkit.decoding.conditions import Text
from evalkit.decoding.memory import Memory, Ranged, Shape, Sliced
from evalkit.decoding.network import added, added_in_one
from evalkit.errors import EvalkitError, out_of_memory, reason
from evalkit.settings import Attention

log = logging.getLogger(__name__)

CUDA_BUCKET = 64  # positions by which the part of memory that is read grows; each length is a CUDA graph
ERROR = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}  # relative, of attention to random vectors


@dataclass(frozen=True)
class Backend:
    """How the steps of generation are computed.

    Attributes:
        attention: "triton" for evalkit's kernels, and "efficient" for what comes before the first step; "efficient" or
            "math" for one of torch's on a GPU; "torch" for whatever torch takes, on a CPU.
        graphs: whether steps are recorded and replayed as CUDA graphs.
        bucket: torch's attention reads memory up to the next multiple of it, where 1 is exactly as far as it is filled.
        refused: why a faster attention is not used; empty where there is none.
    """

    attention: str = "torch"
    graphs: bool = False
    bucket: int = 1
    refused: str = ""

    @property
    def kernels(self) -> bool:
        return self.attention == "triton"

    @contextlib.contextmanager
    def used_on(self, device: torch.device) -> Iterator[None]:
        """Have torch use this device and this attention, and no other, for what is within."""
        with contextlib.ExitStack() as stack:
            if device.type == "cuda":
                stack.enter_context(torch.cuda.device(device))  # what is recorded goes to the current one
            torchs = "efficient" if self.kernels and device.type == "cuda" else self.attention
            if torchs in NAMES:
                from torch.nn.attention import SDPBackend, sdpa_kernel

                stack.enter_context(sdpa_kernel(getattr(SDPBackend, NAMES[torchs])))
            yield


NAMES = {"efficient": "EFFICIENT_ATTENTION", "math": "MATH"}
TORCH = Backend()


def choose(wanted: Attention, graphs: bool, device: torch.device, dtype: torch.dtype, heads: int, size: int) -> Backend:
    """Choose the fastest attention that gives the right numbers on a device, for `heads` heads of `size` dimensions.

    What was chosen before for the same is not checked again. Where a faster one cannot be used, one warning says why.
    Raises EvalkitError where an attention is asked for by name and cannot be used.
    """
    if device.type == "cpu" and wanted is not Attention.triton:
        return TORCH
    attention, refused = _chosen(wanted, device, dtype, heads, size)
    cuda = device.type == "cuda"
    return Backend(attention, graphs and cuda, 1 if attention == "triton" else CUDA_BUCKET, refused)


@functools.cache
def _chosen(wanted: Attention, device: torch.device, dtype: torch.dtype, heads: int, size: int) -> tuple[str, str]:
    tried = {
        Attention.auto: ("triton", "efficient", "math"),
        Attention.triton: ("triton",),
        Attention.sdpa: ("efficient", "math"),
    }[wanted]
    refusals: list[str] = []
    for name in tried:
        refusal = refuse(name, device, dtype, heads, size)
        if not refusal:
            if refusals:
                log.warning("generation uses torch's %s attention, which is slower: %s", name, "; ".join(refusals))
            return name, "; ".join(refusals)
        refusals.append(f"{name}: {refusal}")
    raise EvalkitError(f"engine.attention={wanted.value} cannot be used on {device}: {'; '.join(refusals)}")


def refuse(attention: str, device: torch.device, dtype: torch.dtype, heads: int, size: int) -> str:
    """Say why an attention cannot be used on a device; empty where it gives the right numbers there.

    A batch with padding, captions of different lengths, a prefix and single steps is computed with it and in float64.
    Raises an error that says so where there is too little memory.
    """
    try:
        backend = Backend(attention, bucket=1 if attention == "triton" else CUDA_BUCKET)
        if backend.kernels:
            from evalkit.decoding import kernels

            if unsupported := kernels.unsupported(size, dtype):
                return unsupported
        with torch.inference_mode(), backend.used_on(device):
            error = _error(backend, device, dtype, heads, size)
    except Exception as failure:  # a compiler, a driver or a kernel may raise anything
        if out_of_memory(failure):
            raise
        return reason(failure)
    if not error <= ERROR[dtype]:
        return f"its numbers are wrong by {error:.1e} of their size, more than {ERROR[dtype]:.1e}"
    return ""


CLIPS, PREFIX, STEPS, TOKENS = 2, 70, 3, (9, 64)


def _error(backend: Backend, device: torch.device, dtype: torch.dtype, heads: int, size: int) -> float:
    """The largest relative error of a layer's attention, and of sums that are normalised, against float64."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    hidden, rows, positions = heads * size, 2 * CLIPS, PREFIX + STEPS
    first = [0, 1, 33, PREFIX]
    states = [random(1, n, 2 * hidden) for n in TOKENS]  # stands for what a layer makes of the captions
    texts = [Text([row], one, [n]) for row, (one, n) in enumerate(zip(states, TOKENS, strict=True))]
    if not backend.kernels:
        padded = torch.cat([torch.nn.functional.pad(one, (0, 0, 0, max(TOKENS) - one.shape[1])) for one in states])
        texts = [Text(range(CLIPS), padded, TOKENS)]
    kind: Any = Ranged if backend.kernels else Sliced
    shape = Shape(rows, CLIPS, positions, kind.text_of(texts), 1, heads, size, dtype, device)
    memory: Memory = Ranged(shape) if backend.kernels else Sliced(shape, backend.bucket)
    memory.begin(torch.tensor(first, device=device), texts, lambda _, x: x.view(*x.shape[:2], 2, heads, size))
    qkv, query = random(rows, positions, 3 * hidden), random(CLIPS, hidden)
    music = [range(PREFIX), *([PREFIX + i] for i in range(STEPS))]
    made = []
    for part in music:
        memory.place(torch.tensor(part, device=device), part[-1] + 1)
        made.append(memory.music(0, qkv[:, part[0] : part[-1] + 1].flatten(0, 1)).view(rows, len(part), -1))
    found = torch.cat(made, dim=1)

    queries, keys, values = qkv.double().view(rows, positions, 3, heads, size).transpose(1, 3).unbind(2)
    places = torch.arange(positions, device=device)
    mask = (places <= places[:, None]) & (places >= torch.tensor(first, device=device)[:, None, None])
    seen = _exact(queries, keys, values, mask[:, None]).transpose(1, 2).flatten(2)
    errors = [_relative(found[row, start:], seen[row, start:]) for row, start in enumerate(first)]
    for row, text in enumerate(states):
        key, value = text.double().view(1, -1, 2, heads, size).transpose(1, 3).unbind(2)
        own = query[row].double().view(1, 1, heads, size).transpose(1, 2)
        errors.append(_relative(memory.text(0, query)[row], _exact(own, key, value, None).flatten()))
    errors.append(_error_of_norm(added_in_one if backend.kernels else added, qkv[:, 0], query, device))
    return math.nan if any(map(math.isnan, errors)) else max(errors)


def _error_of_norm(add: Callable[..., torch.Tensor], rows: torch.Tensor, more: torch.Tensor, device: Any) -> float:
    x = rows[:, : more.shape[1]].clone()
    norm = torch.nn.LayerNorm(x.shape[1], device=device, dtype=x.dtype)
    exact = x.double()
    exact[: len(more)] += more.double()
    found = add(x[: len(more)], more, norm, x)
    return max(_relative(x, exact), _relative(found, torch.nn.functional.layer_norm(exact, exact.shape[1:])))


def _exact(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ value


def _relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())
