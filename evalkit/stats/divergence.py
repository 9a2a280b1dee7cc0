"""Divergence and similarity of paired vectors: pure functions, float64."""

from __future__ import annotations

import numpy as np


def kl_divergence(predicted: np.ndarray, target: np.ndarray, epsilon: float = 1e-6) -> np.ndarray:
    """Compute KL(target ‖ predicted) of each row of two arrays of probabilities (n, classes), in nats.

    `epsilon` is added to the prediction inside its logarithm only, and nothing is renormalised, as
    in audiocraft's `kl_divergence`.
    """
    p = np.asarray(target, dtype=np.float64)
    q = np.asarray(predicted, dtype=np.float64)
    p_log_p = np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0)
    total: np.ndarray = (p_log_p - p * np.log(q + epsilon)).sum(axis=-1)
    return total


def cosine_similarity(a: np.ndarray, b: np.ndarray, epsilon: float = 1e-8) -> np.ndarray:
    """Compute the cosine of the angle between rows of two arrays (n, d); norms are at least `epsilon`, as in torch."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    norms = [np.maximum(np.linalg.norm(x, axis=-1), epsilon) for x in (a, b)]
    similarity: np.ndarray = (a * b).sum(axis=-1) / (norms[0] * norms[1])
    return similarity
