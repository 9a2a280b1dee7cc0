"""Tests by swapping baseline and candidate within prompts, and corrections for many tests."""

from __future__ import annotations

import numpy as np

ROUNDING = 1e-9  # a swapped value less than the observed one by such a share is equal to it
NUMBERS = 2**24  # of swaps that are in memory at once as float64


def swaps(prompts: int, number: int, seed: int) -> np.ndarray:
    """Draw in which prompts baseline and candidate change places, (number, prompts), bool."""
    rng, result = np.random.default_rng([seed, prompts]), np.empty((number, prompts), bool)
    for row in result:  # one by one, which are the same: random numbers take eight times as much memory
        row[:] = rng.random(prompts) < 0.5
    return result


def moved(swaps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Add up the values (prompts,) of those that change places in each of the swaps (swaps, prompts), (swaps,)."""
    size = max(1, NUMBERS // max(1, len(values)))
    parts = [swaps[start : start + size].astype(np.float64) @ values for start in range(0, len(swaps), size)]
    return np.concatenate(parts) if parts else np.empty(0)


def p_value(observed: float, swapped: np.ndarray) -> float:
    """Compute the two-sided p-value of a difference among those after swaps, (swaps,): (1 + k) / (1 + swaps).

    k is how many are at least as far from 0; the observed one counts as one of them (Phipson and Smyth 2010,
    "Permutation P-values Should Never Be Zero"). Swaps without a value (NaN) count as far; NaN where the observed
    difference is.
    """
    return float(max_t(np.array([observed]), swapped[:, None])[0])


def max_t(observed: np.ndarray, swapped: np.ndarray) -> np.ndarray:
    """Compute two-sided p-values adjusted for the number of hypotheses, by the step-down maximum of statistics, (K,).

    Westfall and Young 1993, "Resampling-Based Multiple Testing", algorithm 4.1 (Ge, Dudoit and Speed 2003, box 2):
    each statistic is compared with the largest, in each swap, of those that are no farther from 0. Correlations between
    hypotheses are taken into account, as one swap is of all of them. Statistics without a value (NaN) get no
    p-value and leave the others as they are; swaps without one count as far from 0.

    Args:
        observed: statistics of comparable scale, such as differences over their standard errors, (K,).
        swapped: the same after each swap, (swaps, K).
    """
    result = np.full(len(observed), np.nan)
    known = np.flatnonzero(~np.isnan(observed))
    order = known[np.argsort(-np.abs(observed[known]), kind="stable")]
    far = np.abs(swapped[:, order])
    far[np.isnan(far)] = np.inf
    largest = np.maximum.accumulate(far[:, ::-1], axis=1)[:, ::-1]
    exceeding = (largest >= np.abs(observed[order]) * (1 - ROUNDING)).sum(axis=0)
    result[order] = np.maximum.accumulate((1 + exceeding) / (1 + len(swapped)))
    return result


def holm(ps: np.ndarray) -> np.ndarray:
    """Adjust p-values (K,) for their number by Holm's (1979) step-down method; NaN stays, and does not count."""
    result = np.full(len(ps), np.nan)
    known = np.flatnonzero(~np.isnan(ps))
    order = known[np.argsort(ps[known], kind="stable")]
    result[order] = np.minimum(1.0, np.maximum.accumulate(ps[order] * np.arange(len(order), 0, -1)))
    return result
