"""One file per network; here is what they share: filling a network with weights, and grouping clips.

An encoder is a frozen dataclass with `reads` ("audio", "text" or "prompt"), `version` (raised when the
same input would give other features), for audio `hears` (an `Input`), and `load(cache, device)`, which
gives a function from a list of clips (samples,), captions or prompts to a list of float32 arrays
(frames, dimensions), in order. Clips are (2, samples) for an encoder that hears stereo.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from evalkit.audio import RESAMPLERS
from evalkit.errors import EvalkitError, unknown

Channels = Literal["mean", "first", "side", "stereo"]


@dataclass(frozen=True)
class Input:
    """What an encoder of audio is given of a clip.

    Attributes:
        sample_rate: Hz.
        channels: "mean" of all channels; the "first" one; "side", half the difference of left and
            right; or "stereo", both (a mono clip is on both sides).
        resampler: see `evalkit.audio.resample`.
        level: as the "protocol" sets it, or as "stored".
        remove_dc: subtract the mean of a clip before it is resampled.
    """

    sample_rate: int
    channels: Channels = "mean"
    resampler: str = "julius"
    level: Literal["protocol", "stored"] = "protocol"
    remove_dc: bool = False

    def __post_init__(self) -> None:
        if self.resampler not in RESAMPLERS:
            raise unknown("resampler", self.resampler, RESAMPLERS)
        if self.channels not in get_args(Channels):
            raise unknown("channels", self.channels, get_args(Channels))


def mono_input(sample_rate: int, channels: str, resampler: str, remove_dc: bool) -> Input:
    """What an encoder of one channel is given. Raises EvalkitError for names that are not known, and for stereo."""
    names = [name for name in get_args(Channels) if name != "stereo"]
    if channels not in names:
        raise unknown("channels", str(channels), names)
    return Input(sample_rate, channels, resampler, remove_dc=remove_dc)  # type: ignore[arg-type]


def fill(network: Any, state: Any, name: str, path: Path) -> None:
    """Load a state dict strictly; EvalkitError names what is missing, unexpected or of another shape."""
    import torch

    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise EvalkitError(f"{name}: '{path}' holds no state dict of tensors: it is another file")
    own = network.state_dict()
    problems = {
        "missing": own.keys() - state.keys(),
        "unexpected": state.keys() - own.keys(),
        "of another shape": {k for k in own.keys() & state.keys() if own[k].shape != state[k].shape},
    }
    found = [
        f"{len(keys)} {kind} ({', '.join(sorted(keys)[:3])}{', …' if len(keys) > 3 else ''})"
        for kind, keys in problems.items()
        if keys
    ]
    if found:
        raise EvalkitError(f"{name}: '{path}' does not fit the network: {'; '.join(found)}")
    network.load_state_dict(state)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Draw torch's random numbers on the CPU from `seed`, and leave its generator as it was.

    With None the numbers are any: packages draw initial weights that a checkpoint then replaces.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed CUDA too
        yield


def randomize(network: Any, gain: float) -> None:
    """Draw all linear and convolutional weights with variance gain² / fan-in (He et al. 2015: gain² = 2), biases zero.

    The packages' own initial weights are made for training: their outputs hardly depend on the input.
    """
    import torch

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
                module.weight.normal_(0, gain / module.weight[0].numel() ** 0.5)
                if module.bias is not None:
                    module.bias.zero_()


def by_length(clips: Sequence[np.ndarray], samples: int) -> Iterator[list[int]]:
    """Group the indices of clips of equal length, with at most `samples` samples (or one clip) in a group."""
    lengths = [len(clip) for clip in clips]
    for length in sorted(set(lengths)):
        same = [i for i, other in enumerate(lengths) if other == length]
        size = max(1, samples // max(1, length))
        for start in range(0, len(same), size):
            yield same[start : start + size]


def on_threads(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Apply a function to each item, on as many threads as torch takes for one operation, each computing alone.

    So the bits of a result depend neither on the number of threads nor on the other items; and one
    item per thread is faster than all threads on each item.
    """
    import torch

    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(threads)  # what a worker sets for itself is also inherited by later threads


def in_batches(
    network: Callable[[Any], Any], clips: Sequence[np.ndarray], device: str, together: int
) -> list[np.ndarray]:
    """Apply a network to clips: it takes a tensor (n, …) on the device, and gives a tensor of n results.

    Clips of one length go together, at most `together` of their samples at once; on a CPU each goes
    alone, on a thread of its own. The results are in the order of the clips.
    """
    import torch

    alone = torch.device(device).type == "cpu"
    groups = list(by_length(clips, 1 if alone else together))

    def forward(group: list[int]) -> np.ndarray:
        with torch.inference_mode():  # which holds for one thread only
            batch = torch.from_numpy(np.stack([clips[i] for i in group])).to(device)
            result: np.ndarray = network(batch).cpu().numpy()
            return result

    results = on_threads(forward, groups) if alone else [forward(group) for group in groups]
    found = {i: row for group, rows in zip(groups, results, strict=True) for i, row in zip(group, rows, strict=True)}
    return [found[i] for i in range(len(clips))]
