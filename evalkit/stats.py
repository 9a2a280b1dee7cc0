"""Statistics of features: pure functions, float64."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.linalg

CHUNK = 64  # clips whose frames, or sums of products, are in memory at once as float64
BLOCK = 2**26  # numbers of the covariances of resamples that are in memory at once


def gaussian(clips: Sequence[np.ndarray], ddof: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Fit a Gaussian to the frames of all clips, each (frames, d): mean (d,) and covariance (d, d).

    Sums of products are divided by n - ddof. Raises ValueError for fewer than ddof + 1 frames.
    """
    n = sum(map(len, clips))
    if n <= ddof:
        raise ValueError(f"{n} frames are too few for a covariance")
    mean = sum(part.sum(axis=0) for part in _chunks(clips)) / n
    products = 0.0
    for part in _chunks(clips):
        part -= mean
        products = products + part.T @ part
    return np.asarray(mean), np.asarray(products) / (n - ddof)


def _chunks(clips: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    for start in range(0, len(clips), CHUNK):
        yield np.concatenate(clips[start : start + CHUNK], dtype=np.float64)


def resampled_gaussians(
    clips: Sequence[np.ndarray], weights: np.ndarray, ddof: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Fit a Gaussian to each resample of clips: yields means (b, d) and covariances (b, d, d), block by block.

    Every clip's sums of products are computed once, and one matrix product gives those of many
    resamples. Frames are centred on their common mean first, so that nothing cancels.

    Args:
        clips: arrays (frames, d).
        weights: how often each clip counts, (resamples, clips).
    """
    d = clips[0].shape[1]
    upper = np.triu_indices(d)
    counts = np.array([float(len(clip)) for clip in clips])
    centre = sum(part.sum(axis=0) for part in _chunks(clips)) / counts.sum()
    size = max(1, BLOCK // len(upper[0]))
    for block in (weights[start : start + size] for start in range(0, len(weights), size)):
        sums, products = np.zeros((len(block), d)), np.zeros((len(block), len(upper[0])))
        for start in range(0, len(clips), CHUNK):
            part = [np.asarray(clip, np.float64) - centre for clip in clips[start : start + CHUNK]]
            share = block[:, start : start + CHUNK]
            sums += share @ np.stack([clip.sum(axis=0) for clip in part])
            products += share @ np.stack([(clip.T @ clip)[upper] for clip in part])
        n = (block @ counts)[:, None]
        means = sums / n
        covs = np.empty((len(block), d, d))
        covs[:, upper[0], upper[1]] = (products - n * means[:, upper[0]] * means[:, upper[1]]) / (n - ddof)
        covs[:, upper[1], upper[0]] = covs[:, upper[0], upper[1]]
        yield means + centre, covs


def resampled_frechet_distances(
    generated: Sequence[np.ndarray], reference: Sequence[np.ndarray], weights: np.ndarray, ddof: int = 1
) -> np.ndarray:
    """Fréchet distance of each resample of paired clips, (resamples,)."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.array(
            [
                distance
                for (m1, c1), (m2, c2) in zip(
                    resampled_gaussians(generated, weights, ddof),
                    resampled_gaussians(reference, weights, ddof),
                    strict=True,
                )
                for distance in pool.map(frechet_distance, m1, c1, m2, c2)
            ]
        )


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """Squared Fréchet distance of two Gaussians, |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½).

    Dowson and Landau (1982), as used for FAD by Kilgour et al. (2019). The trace of the root is the
    sum of the singular values of C1^½ C2^½, which needs neither a general matrix root nor a small
    constant on the diagonal where a covariance is singular.
    """
    singular = scipy.linalg.svdvals(_root(cov1) @ _root(cov2))
    difference = mean1 - mean2
    return float(difference @ difference + np.trace(cov1) + np.trace(cov2) - 2 * singular.sum())


def _root(cov: np.ndarray) -> np.ndarray:
    """Square root of a symmetric positive semi-definite matrix.

    Eigenvalues within rounding of zero count as zero: the root would blow 1e-16 up to 1e-8.
    """
    values, vectors = scipy.linalg.eigh(cov)
    rounding = len(values) * np.finfo(np.float64).eps * values.max(initial=0.0)
    root: np.ndarray = (vectors * np.sqrt(np.where(values > rounding, values, 0.0))) @ vectors.T
    return root


def kl_divergence(predicted: np.ndarray, target: np.ndarray, epsilon: float = 1e-6) -> np.ndarray:
    """KL(target ‖ predicted) of each row of two arrays of probabilities (n, classes), in nats.

    `epsilon` is added to the prediction inside its logarithm only, and nothing is renormalised, as
    in audiocraft's `kl_divergence`.
    """
    p = np.asarray(target, dtype=np.float64)
    q = np.asarray(predicted, dtype=np.float64)
    p_log_p = np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0)
    total: np.ndarray = (p_log_p - p * np.log(q + epsilon)).sum(axis=-1)
    return total


def cosine_similarity(a: np.ndarray, b: np.ndarray, epsilon: float = 1e-8) -> np.ndarray:
    """Cosine of the angle between rows of two arrays (n, d); norms are at least `epsilon`, as in torch."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    norms = [np.maximum(np.linalg.norm(x, axis=-1), epsilon) for x in (a, b)]
    similarity: np.ndarray = (a * b).sum(axis=-1) / (norms[0] * norms[1])
    return similarity
