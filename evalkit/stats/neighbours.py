"""Nearest neighbours among clips: pure functions, float64, distances in chunks of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist

ROWS = 256  # points whose distances to all others are in memory at once, at most
DISTANCES = 2**22  # that are in memory at once


def clip_means(clips: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Average the frames of each clip: which clips have any, (clips,) bool, and their means (n, d), float64.

    Args:
        clips: arrays (frames, d).
    """
    present = np.array([len(clip) > 0 for clip in clips])
    chosen = [clip for clip in clips if len(clip)]
    means = np.empty((len(chosen), *(chosen[0].shape[1:] if chosen else ())))
    for clip, mean in zip(chosen, means, strict=True):
        clip.mean(axis=0, dtype=np.float64, out=mean)
    return present, means


def nearest_distances(points: np.ndarray, k: int, among: np.ndarray | None = None) -> np.ndarray:
    """Compute the distance of each point (n, d) to its k-th nearest of m points (m, d), (n,).

    Without `among` the m points are the same ones, and none is its own neighbour. Raises ValueError
    if there are fewer than k.
    """
    own = among is None
    others = points if among is None else among
    if len(others) - own < k:
        raise ValueError(f"{len(others)} points are too few for {k} nearest neighbours")
    result = np.empty(len(points))
    for rows in _blocks(points, others):
        distances = cdist(points[rows], others)
        if own:
            np.fill_diagonal(distances[:, rows.start :], np.inf)
        distances.partition(k - 1, axis=1)
        result[rows] = distances[:, k - 1]
    return result


def _blocks(points: np.ndarray, others: np.ndarray) -> list[slice]:
    """Divide points (n, d) so that the distances of each block to all others (m, d) are in memory by themselves."""
    size = max(1, min(ROWS, DISTANCES // max(1, len(others))))
    return [slice(start, start + size) for start in range(0, len(points), size)]


def balls_around(queries: np.ndarray, centres: np.ndarray, radii: np.ndarray, closed: bool) -> np.ndarray:
    """Count the balls that each query (n, d) lies in, (n,).

    Args:
        centres, radii: of the balls, (m, d) and (m,).
        closed: whether a ball's surface belongs to it.
    """
    inside = np.less_equal if closed else np.less
    counts = [inside(cdist(queries[rows], centres), radii).sum(axis=1) for rows in _blocks(queries, centres)]
    return np.concatenate(counts)


def near_set(points: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """Find which points (n, d) lie near a set (m, d): no farther from one of it than its k-th neighbour in it, (n,).

    Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models".
    """
    return balls_around(points, others, nearest_distances(others, k), closed=True) > 0


def densities(points: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """Count the balls, each from one of a set (m, d) to its k-th neighbour in it, around points (n, d), over k, (n,).

    Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models".
    """
    return balls_around(points, others, nearest_distances(others, k), closed=False) / k


def covered(points: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """Find in which balls, each from one of a set (m, d) to its k-th neighbour in it, lies any of the points, (m,).

    Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models".
    """
    inside: np.ndarray = nearest_distances(others, 1, among=points) < nearest_distances(others, k)
    return inside
