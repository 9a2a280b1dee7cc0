"""Many items through one function: groups of equal length that the memory holds, and one thread for each item."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from evalkit.errors import out_of_memory
from evalkit.stats.threads import cores

log = logging.getLogger(__name__)

ON_CPU, ON_GPU = 16, 64  # items at once where nobody says how many
SECONDS_ON_GPU = 1200.0  # of clips at once, where nobody says how many: below 1 GB for the usual encoders


def items_at_once(device: str, wanted: int | None) -> int:
    """How many clips or captions go through the encoders at once: as wanted, or what suits the device.

    A GPU gets more of them, so that encoders of different speed have work beside each other, and more clips
    are of equal length. How many of these one forward takes is each encoder's own matter.
    """
    return wanted or (ON_CPU if _is_cpu(device) else ON_GPU)


def threads_beside(device: str) -> int:
    """How many threads work for networks on a device: all cores for a GPU, on a CPU as many as one operation takes.

    On a CPU the networks themselves need the cores; beside a GPU nothing else does, whatever OMP_NUM_THREADS says.
    """
    import torch

    return torch.get_num_threads() if _is_cpu(device) else cores()


def _is_cpu(device: str) -> bool:
    import torch

    return torch.device(device).type == "cpu"


@contextlib.contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Restore torch's number of threads, which threads inherit from whichever has set it for itself last."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def on_threads(function: Callable[[Any], Any], items: Iterable[Any], device: str = "cpu") -> list[Any]:
    """Apply a function to each item, on `threads_beside(device)` threads, each computing alone.

    So the bits of a result depend neither on the number of threads nor on the other items; and one
    item per thread is faster than all threads on each item.
    """
    import torch

    with (
        torch_threads_kept(),
        ThreadPoolExecutor(threads_beside(device), initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        return list(pool.map(function, items))


class Room:
    """How many samples the device of one network takes at once: fewer after its memory has not held them.

    Attributes:
        samples: of all items together.
    """

    def __init__(self, samples: int):
        self.samples = samples
        self._warned = False

    def run(self, forward: Callable[[Any], Iterable[Any]], items: Sequence[Any], length: int) -> list[Any]:
        """Apply a function to slices of `items`, of `length` samples each: the results of all, in order.

        What runs out of memory is tried again with half as many items. Raises what the function raises for one item.
        """
        results: list[Any] = []
        while len(results) < len(items):
            size = max(1, self.samples // max(1, length))
            part = items[len(results) : len(results) + size]
            try:
                results.extend(forward(part))
                continue
            except Exception as error:
                if len(part) == 1 or not out_of_memory(error):
                    raise
            # only here, where the error has gone and with it the frames that hold tensors, can memory be given back
            self._shrink(len(part) // 2, length)
        return results

    def _shrink(self, items: int, length: int) -> None:
        import torch

        self.samples = items * length
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        log.log(
            logging.INFO if self._warned else logging.WARNING,
            "out of memory: an encoder goes on with %d at once, and is slower; others may hold the device's memory",
            items,
        )
        self._warned = True


def by_length(clips: Sequence[np.ndarray]) -> dict[int, list[int]]:
    """The indices of clips, by their length, the shortest first."""
    found: dict[int, list[int]] = {}
    for i, clip in enumerate(clips):
        found.setdefault(len(clip), []).append(i)
    return dict(sorted(found.items()))


def in_batches(
    network: Callable[[Any], Any], clips: Sequence[np.ndarray], device: str, together: Room
) -> list[np.ndarray]:
    """Apply a network to clips: it takes a tensor (n, …) on the device, and gives a tensor of n results.

    Clips of one length go together, as many as there is room for; on a CPU each goes alone, on a thread of its own.
    So on a CPU a result depends on its clip alone; on a GPU its last bits may depend on how many others go with it.
    The results are in the order of the clips.
    """
    import torch

    def forward(group: Sequence[int]) -> np.ndarray:
        with torch.inference_mode():  # which holds for one thread only
            batch = torch.from_numpy(np.stack([clips[i] for i in group])).to(device)
            result: np.ndarray = network(batch).cpu().numpy()
            return result

    if _is_cpu(device):
        return [rows[0] for rows in on_threads(forward, [[i] for i in range(len(clips))])]
    found: dict[int, np.ndarray] = {}
    for length, group in by_length(clips).items():
        found |= zip(group, together.run(forward, group, length), strict=True)
    return [found[i] for i in range(len(clips))]


def of_parts(
    network: Callable[[Any], Any], clips: Sequence[Sequence[np.ndarray]], device: str, together: Room, dimensions: int
) -> list[np.ndarray]:
    """Apply a network to the parts of clips as `in_batches` does: for each clip an array (parts, dimensions)."""
    rows = in_batches(network, [part for parts in clips for part in parts], device, together)
    result = np.stack(rows) if rows else np.empty((0, dimensions), np.float32)
    return np.split(result, np.cumsum([len(parts) for parts in clips])[:-1])


def of_long_enough(
    network: Callable[[Any], Any],
    clips: Sequence[np.ndarray],
    shortest: int,
    device: str,
    together: Room,
    dimensions: int,
) -> list[np.ndarray]:
    """Apply a network to clips as `in_batches` does; those of fewer than `shortest` samples get (0, dimensions)."""
    heard = [i for i, clip in enumerate(clips) if len(clip) >= shortest]
    samples = [np.asarray(clips[i], np.float32) for i in heard]
    found = dict(zip(heard, in_batches(network, samples, device, together), strict=True))
    return [found[i] if i in found else np.empty((0, dimensions), np.float32) for i in range(len(clips))]
