"""Many items through one function: groups of equal length, and one thread for each item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np


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


def of_parts(
    network: Callable[[Any], Any], clips: Sequence[Sequence[np.ndarray]], device: str, together: int, dimensions: int
) -> list[np.ndarray]:
    """Apply a network to the parts of clips as `in_batches` does: for each clip an array (parts, dimensions)."""
    rows = in_batches(network, [part for parts in clips for part in parts], device, together)
    result = np.stack(rows) if rows else np.empty((0, dimensions), np.float32)
    return np.split(result, np.cumsum([len(parts) for parts in clips])[:-1])
