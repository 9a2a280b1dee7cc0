"""Divergence and similarity of paired vectors: pure functions, float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from scipy.special import xlogy

CLIPS = 4096  # whose sums of probabilities are in memory at once


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


Direction = Literal["reference_generated", "generated_reference", "both"]
DIRECTIONS = get_args(Direction)


def directed_kl(generated: np.ndarray, reference: np.ndarray, direction: Direction, epsilon: float) -> np.ndarray:
    """Compute KL(reference ‖ generated) of each row, the other way round, or "both", their sum: (n,), in nats."""
    forwards, backwards = (generated, reference), (reference, generated)
    if direction == "both":
        return kl_divergence(*forwards, epsilon) + kl_divergence(*backwards, epsilon)
    return kl_divergence(*(forwards if direction == "reference_generated" else backwards), epsilon)


def cosine_similarity(a: np.ndarray, b: np.ndarray, epsilon: float = 1e-8) -> np.ndarray:
    """Compute the cosine of the angle between rows of two arrays (n, d); norms are at least `epsilon`, as in torch."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    norms = [np.maximum(np.linalg.norm(x, axis=-1), epsilon) for x in (a, b)]
    similarity: np.ndarray = (a * b).sum(axis=-1) / (norms[0] * norms[1])
    return similarity


def splits(clips: Sequence[int], number: int, seed: int) -> list[np.ndarray]:
    """Divide the numbers of clips at random into parts of about equal size."""
    return np.array_split(np.random.default_rng(seed).permutation(clips), number)


def blocks(clips: int) -> list[slice]:
    """Divide clips into blocks of which each is in memory by itself."""
    return [slice(start, start + CLIPS) for start in range(0, clips, CLIPS)]


def inception_scores(
    counts: np.ndarray,
    sums: Callable[[np.ndarray], np.ndarray],
    negentropies: np.ndarray,
    parts: Sequence[np.ndarray],
    weights: np.ndarray,
) -> np.ndarray:
    """Compute the inception score of each resample, averaged over parts of the clips, (resamples,).

    Salimans et al. 2016, "Improved Techniques for Training GANs": the exponential of the mean KL divergence of a
    segment's label probabilities from their mean. NaN where a resample leaves a part empty.

    Args:
        counts, negentropies: of each clip the number of segments, and the sum of p log p over segments and labels,
            (clips,).
        sums: gives of some clips, by their numbers, the sums of their segments' probabilities, (clips, labels).
        parts: the numbers of the clips of each part.
        weights: how often each clip counts, (resamples, clips).
    """
    scores = []
    for part in parts:
        drawn = weights[:, part]
        with np.errstate(invalid="ignore"):
            n = drawn @ counts[part]
            marginal = sum(drawn[:, some] @ sums(part[some]) for some in blocks(len(part))) / n[:, None]
            scores.append(np.exp(drawn @ negentropies[part] / n - xlogy(marginal, marginal).sum(axis=1)))
    mean: np.ndarray = np.mean(scores, axis=0)
    return mean
