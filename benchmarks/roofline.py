"""The least time of a step of MusicGen's decoder: what it must read, and compute, on the machine at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Machine:
    """What was measured of a device.

    Attributes:
        bandwidth: bytes per second of a copy, reading and writing counted.
        rate: floating-point operations per second of a large matrix product.
    """

    bandwidth: float
    rate: float


def measure(device: str, dtype: torch.dtype) -> Machine:
    """The best of a few copies and products, with as many threads as torch has."""
    cuda = torch.device(device).type == "cuda"
    source = torch.ones((4 if cuda else 1) << 28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = _best(device, lambda: target.copy_(source))
    size = 8192 if cuda else 2048
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return Machine(2 * len(source) / copy, 2 * size**3 / _best(device, lambda: left @ right))


def _best(device: str, work: Callable[[], Any], times: int = 7) -> float:
    seconds = []
    for _ in range(times):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def synchronize(device: str) -> None:
    """Wait for a GPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def cost(config: Any, clips: int, text: float, length: float, size: int) -> tuple[float, float]:
    """The bytes and operations that a step cannot do without, with guidance, for a decoder's configuration.

    Weights are read once, keys and values of both halves as far as they are filled, those of the text
    for the conditional half, which alone attends to it; they are computed before the first step.

    Args:
        clips: made at once, each of which is two sequences.
        text: tokens of a caption, on average.
        length: of the music so far, in steps, this one included.
        size: bytes of a number.
    """
    hidden, layers = config.hidden_size, config.num_hidden_layers
    own = layers * (4 * hidden**2 + 2 * hidden * config.ffn_dim) + config.num_codebooks * config.vocab_size * hidden
    cross = layers * 2 * hidden**2
    rows = 2 * clips
    seen = layers * 2 * hidden * (rows * length + clips * text)  # keys and values
    return size * (own + cross + seen), 2 * (rows * own + clips * cross + seen)


def floor(config: Any, clips: int, text: float, steps: int, size: int, machine: Machine) -> dict[str, float]:
    """Seconds of a step, on average over `steps` of them, and what bounds it: bytes, operations."""
    costs = [cost(config, clips, text, length, size) for length in range(1, steps + 1)]
    return {
        "seconds": sum(max(b / machine.bandwidth, o / machine.rate) for b, o in costs) / steps,
        "bytes": sum(b for b, _ in costs) / steps,
        "operations": sum(o for _, o in costs) / steps,
    }
