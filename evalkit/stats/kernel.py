"""Maximum mean discrepancy with a Gaussian kernel: pure functions, float64, in tiles of the kernel's matrix."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from scipy.spatial.distance import pdist

from evalkit.stats.threads import side_by_side

FRAMES = 2048  # rows and columns of a tile of the kernel's matrix
TILES = 1024  # whose sums are in memory at once


def median_distance(clips: Sequence[np.ndarray], limit: int, seed: int) -> float:
    """Compute the median Euclidean distance of all pairs of frames.

    Of more than `limit` frames, all pairs among a seeded sample of `limit` frames count.

    Args:
        clips: arrays (frames, d), at least two frames in all.
    """
    lengths = np.array([len(clip) for clip in clips])
    chosen = np.arange(lengths.sum())
    if len(chosen) > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(len(chosen), limit, replace=False))
    parts = np.split(chosen, np.searchsorted(chosen, np.cumsum(lengths)[:-1]))
    starts = np.cumsum(lengths) - lengths
    frames = [clip[part - start] for clip, part, start in zip(clips, parts, starts, strict=True)]
    return float(np.median(pdist(np.concatenate(frames, dtype=np.float64))))


def unbiased_mmd(
    x: Sequence[np.ndarray],
    y: Sequence[np.ndarray],
    x_weights: np.ndarray,
    y_weights: np.ndarray,
    bandwidth: float,
) -> np.ndarray:
    """Estimate the squared maximum mean discrepancy of each resample of two sets of clips without bias, (resamples,).

    Gretton et al. 2012, equation 3: no frame is paired with itself, so the value may be negative. A
    clip that is drawn twice counts as two clips, whose frames are compared with each other. Kernel
    exp(-|a - b|² / (2 bandwidth²)).

    Args:
        x, y: arrays (frames, d), at least two frames on each side.
        x_weights, y_weights: how often each clip of that side counts, (resamples, clips); the same array where
            clips are paired.
    """
    centre = sum(clip.sum(axis=0, dtype=np.float64) for clip in y) / sum(map(len, y))
    weighted = ((x, x_weights), (y, y_weights))
    n, m = (weights @ np.array([float(len(clip)) for clip in clips]) for clips, weights in weighted)
    with np.errstate(divide="ignore", invalid="ignore"):
        result: np.ndarray = (
            (kernel_sums(x, x, x_weights, x_weights, bandwidth, centre) - n) / (n * (n - 1))
            + (kernel_sums(y, y, y_weights, y_weights, bandwidth, centre) - m) / (m * (m - 1))
            - 2 * kernel_sums(x, y, x_weights, y_weights, bandwidth, centre) / (n * m)
        )
    return result


def kernel_sums(
    x: Sequence[np.ndarray],
    y: Sequence[np.ndarray],
    x_weights: np.ndarray,
    y_weights: np.ndarray,
    bandwidth: float,
    centre: np.ndarray,
) -> np.ndarray:
    """Sum the kernel over all pairs of a frame of x and a frame of y; each row of weights says how often a clip counts.

    Only a tile of the frames' kernel and its sums per pair of clips are in memory at once. Where x
    is y, with the same weights, half of the tiles are computed.

    Args:
        centre: a point amid the frames (d,); the nearer, the smaller the rounding.
    """

    alike = x is y and x_weights is y_weights

    def tile(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        rows, columns = pair
        (a, a_norms), (b, b_norms) = _frames(x, rows, centre, bandwidth), _frames(y, columns, centre, bandwidth)
        # one product gives the exponent a·b - |a|²/2 - |b|²/2
        kernel = np.column_stack([a, -a_norms, np.ones(len(a))]) @ np.column_stack([b, np.ones(len(b)), -b_norms]).T
        np.exp(kernel, out=kernel)
        sums = np.add.reduceat(np.add.reduceat(kernel, _starts(y, columns), axis=1), _starts(x, rows), axis=0)
        total: np.ndarray = ((x_weights[:, rows] @ sums) * y_weights[:, columns]).sum(axis=1)
        return 2 * total if alike and rows is not columns else total

    groups_x = _groups(x)
    groups_y = groups_x if alike else _groups(y)
    pairs = ((a, b) for i, a in enumerate(groups_x) for b in (groups_y[i:] if alike else groups_y))
    result = np.zeros(len(x_weights))
    with side_by_side() as each:
        while some := list(islice(pairs, TILES)):
            for part in each(tile, some):
                result += part
    return result


def _groups(clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Indices of the clips that have frames, in groups of about `FRAMES` frames."""
    present = np.array([i for i, clip in enumerate(clips) if len(clip)])
    ends = np.cumsum([len(clips[i]) for i in present])
    return np.split(present, np.flatnonzero(np.diff(ends // FRAMES)) + 1)


def _frames(
    clips: Sequence[np.ndarray], indices: np.ndarray, centre: np.ndarray, bandwidth: float
) -> tuple[np.ndarray, np.ndarray]:
    """The frames of clips in units of the bandwidth (n, d), and half of their squared norms (n,)."""
    frames = (np.concatenate([clips[i] for i in indices], dtype=np.float64) - centre) / bandwidth
    return frames, (frames**2).sum(axis=1) / 2


def _starts(clips: Sequence[np.ndarray], indices: np.ndarray) -> np.ndarray:
    """Where each clip's frames begin in the group."""
    lengths = [len(clips[i]) for i in indices]
    return np.cumsum(lengths) - lengths
