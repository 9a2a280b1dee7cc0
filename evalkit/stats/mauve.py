"""MAUVE, the area below the divergence curve of two sets of points that are clustered: pure functions, float64.

Pillutla et al. 2021, "MAUVE: Measuring the Gap Between Neural Text and Human Text using Divergence Frontiers", and
2023, "MAUVE Scores for Generative Models: Theory and Practice". Constants are those of the package mauve-text.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.special import xlogy

SCALING = 5.0  # c of the papers: a divergence is shown as exp(-c KL)
MIXTURES = np.linspace(1e-6, 1 - 1e-6, 25)  # how much of each mixture of the curve is of the first set
VARIANCE = 0.9  # share of it that principal components keep
ATTEMPTS, ITERATIONS, SEED = 5, 500, 27  # of k-means, of whose attempts the best counts


def directions(points: np.ndarray) -> np.ndarray:
    """Bring points (n, d) to length 1, float64; those of length 0 stay where they are."""
    exact = np.asarray(points, np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    result: np.ndarray = exact / np.where(lengths > 0, lengths, 1)
    return result


def components(points: np.ndarray, share: float = VARIANCE, weights: np.ndarray | None = None) -> np.ndarray:
    """Compute the fewest principal components of points (n, d) that have a share of the variance, (n, k).

    Of points that are all the same there is one.

    Args:
        weights: how often each point counts where the components are sought, (n,); None for once.
    """
    from threadpoolctl import threadpool_limits

    counts = np.ones(len(points)) if weights is None else weights
    centred = points - counts @ points / counts.sum()
    with threadpool_limits(1, user_api="blas"):  # so that bits do not depend on the number of cores
        variances, axes = np.linalg.eigh((centred.T * counts) @ centred)
        explained = np.cumsum(np.maximum(variances[::-1], 0))
        kept = 1 + int(np.searchsorted(explained, share * explained[-1]))
        found: np.ndarray = (centred @ axes[:, -kept:])[:, ::-1]  # reversed before, NumPy would not call BLAS
    return found


def clustered(points: np.ndarray, number: int, seed: int = SEED, weights: np.ndarray | None = None) -> np.ndarray:
    """Divide points (n, d) into clusters by k-means: the number of each point's cluster, (n,).

    By faiss, in float32, on one thread, so that the number of cores does not matter.

    Args:
        weights: how often each point counts where the clusters are sought, (n,), whole numbers; None for once.
    """
    import faiss  # of the extra "mad"
    from threadpoolctl import threadpool_limits

    values = np.ascontiguousarray(points, np.float32)
    kmeans = faiss.Kmeans(
        values.shape[1],
        number,
        niter=ITERATIONS,
        nredo=ATTEMPTS,
        seed=seed,
        update_index=True,
        min_points_per_centroid=1,  # of fewer faiss would warn, and changes nothing
    )
    with threadpool_limits(1):
        kmeans.train(values if weights is None else np.repeat(values, weights.astype(int), axis=0))
        _, nearest = kmeans.index.search(values, 1)
    labels: np.ndarray = nearest[:, 0]
    return labels


def shares(labels: np.ndarray, number: int, weights: np.ndarray) -> np.ndarray:
    """Compute which share of the points is in each cluster where points count several times, (resamples, number).

    NaN for a resample in which no point counts.

    Args:
        labels: of each point, (n,).
        weights: how often each point counts, (resamples, n).
    """
    ones, points = np.ones(len(labels)), np.arange(len(labels))
    counts = (csr_array((ones, (labels, points)), (number, len(labels))) @ weights.T).T
    with np.errstate(invalid="ignore"):
        result: np.ndarray = counts / counts.sum(axis=1, keepdims=True)
    return result


def divergence_curve(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Compute the divergence curve of two histograms, (resamples, points, 2), which falls from (1, 0) to (0, 1).

    Between these ends its points are exp(-c KL(q ‖ r)) and exp(-c KL(p ‖ r)) of mixtures r of p and q.

    Args:
        p, q: shares of each cluster, (resamples, clusters).
    """
    own, other = xlogy(p, p).sum(axis=1), xlogy(q, q).sum(axis=1)
    curve = np.zeros((len(p), len(MIXTURES) + 2, 2))
    curve[:, 0, 0] = curve[:, -1, 1] = 1
    for number, part in enumerate(MIXTURES, 1):
        mixture = part * p + (1 - part) * q
        logs = np.log(np.where(mixture > 0, mixture, 1))
        curve[:, number, 0] = np.exp(-SCALING * np.maximum(0, other - (q * logs).sum(axis=1)))
        curve[:, number, 1] = np.exp(-SCALING * np.maximum(0, own - (p * logs).sum(axis=1)))
    curve[np.isnan(own + other)] = np.nan
    return curve


def area(curve: np.ndarray) -> np.ndarray:
    """Compute the area below curves (resamples, points, 2) by trapezoids, (resamples,): MAUVE."""
    x, y = curve[..., 0], curve[..., 1]
    result: np.ndarray = ((x[:, :-1] - x[:, 1:]) * (y[:, :-1] + y[:, 1:])).sum(axis=1) / 2
    return result


def log_slopes(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Compute how the share of each cluster in p moves the logarithm of MAUVE, (clusters,).

    The derivative in a share of p, up to a constant that all have in common; 0 for clusters that p has none of.

    Args:
        p, q: shares of each cluster, (clusters,).
    """
    curve = divergence_curve(p[None], q[None])
    (x, y), inside = curve[0].T, slice(1, -1)
    mixture = MIXTURES[:, None] * p + (1 - MIXTURES[:, None]) * q
    mixture = np.where(mixture > 0, mixture, 1)
    of_other = -MIXTURES[:, None] * q / mixture
    of_own = np.log(np.where(p > 0, p, 1) / np.where(p > 0, mixture, 1)) - MIXTURES[:, None] * p / mixture
    moved = (y[2:] - y[:-2]) * x[inside] @ of_other + (x[:-2] - x[2:]) * y[inside] @ of_own
    result: np.ndarray = np.where(p > 0, -SCALING * moved / 2 / area(curve), 0)
    return result
