"""Statistics of features: pure functions, float64."""

from __future__ import annotations

import numpy as np
import scipy.linalg


def gaussian(frames: np.ndarray, ddof: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Fit a Gaussian to frames (n, d): mean (d,) and covariance (d, d), divided by n - ddof.

    Raises ValueError for fewer than ddof + 1 frames.
    """
    frames = np.asarray(frames, dtype=np.float64)
    n = len(frames)
    if n <= ddof:
        raise ValueError(f"{n} frames are too few for a covariance")
    mean = frames.mean(axis=0)
    centred = frames - mean
    return mean, centred.T @ centred / (n - ddof)


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
