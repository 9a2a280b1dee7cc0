"""Intervals and p-values that hold for many differences at once.

A difference has bounds for any tail (`evalkit.stats.estimate.Estimate`). Of K differences the tail is taken at which
not one of the K intervals misses, in as many samples as asked for. How much the differences have in common is known
from their influences on the same units, such as prompts: their statistics are drawn from the normal distribution of
that correlation, and the largest of each draw says which tail is needed (the single-step max-T method: Westfall and
Young 1993, "Resampling-Based Multiple Testing"; Hothorn, Bretz and Westfall 2008, "Simultaneous Inference in General
Parametric Models"). Groups of unlike sizes keep intervals of their own kind, with their own degrees of freedom.
docs/limits.md has the measured error rates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri  # the functions of scipy.stats, which takes a second to import

from evalkit.stats.estimate import Estimate

DRAWS = 20_000


def largest(influences: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Draw the largest of K standard normal statistics without sign, (draws,), with the correlation of influences.

    Args:
        influences: how each unit moves each difference, (K, units). A difference that nothing moves counts as one that
            has nothing in common with the others.
    """
    number = len(influences)
    if not number:
        return np.zeros(draws)
    norms = np.sqrt((influences**2).sum(axis=1))
    scaled = np.divide(influences, norms[:, None], out=np.zeros_like(influences, float), where=norms[:, None] > 0)
    correlations = scaled @ scaled.T
    np.fill_diagonal(correlations, 1.0)
    values, vectors = np.linalg.eigh(correlations)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    rng = np.random.default_rng([seed, number])
    found: np.ndarray = np.abs(rng.standard_normal((draws, number)) @ root.T).max(axis=1)
    return found


def tail(level: float, drawn: np.ndarray) -> float:
    """Compute the tail that each interval leaves out at either end, so that all hold at once with confidence `level`.

    Args:
        drawn: from `largest`.
    """
    return float(ndtr(-np.quantile(drawn, level)))


def adjusted(ps: Sequence[float], drawn: np.ndarray) -> list[float]:
    """Adjust two-sided p-values for their number: how often the largest statistic of all says as much; NaN stays.

    Args:
        ps: of each difference by itself, (K,).
        drawn: from `largest`.
    """
    ordered = np.sort(drawn)
    needed = -ndtri(np.clip(np.asarray(ps, float), 0.0, 1.0) / 2)
    reached = len(ordered) - np.searchsorted(ordered, needed, "left")
    return [float(p) if np.isnan(p) else float((1 + k) / (1 + len(ordered))) for p, k in zip(ps, reached, strict=True)]


def intervals(estimates: Sequence[Estimate], level: float, drawn: np.ndarray) -> list[tuple[float, float]]:
    """Give each difference its bounds, all of which hold at once with confidence `level`."""
    left_out = tail(level, drawn)
    return [one.bounds(left_out) for one in estimates]
