"""Correlations of a metric's values with ratings: over all items, or within groups such as the clips of one prompt.

Within groups a coefficient is about how values order the items of one group, whatever groups are like: Pearson's of
values minus their group's mean, Spearman's of ranks within groups minus their mean, Kendall's of pairs within groups
(tau-b: Kendall 1945, "The Treatment of Ties in Ranking Problems"). Of one group they are the usual ones.
"""

from __future__ import annotations

import numpy as np

NAMES = ("pearson", "spearman", "kendall")


def coefficients(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, groups: np.ndarray, pairs: np.ndarray | None
) -> np.ndarray:
    """Compute Pearson's, Spearman's and Kendall's coefficient, (3,); NaN where either is all the same.

    Args:
        x, y: values of items, (items,); they may be NaN where the weight is 0.
        weights: how often each item counts, (items,): of one group all items as often, or never.
        groups: of each item, from 0, (items,).
        pairs: items that are in one group, each two once, (2, pairs), from `pairs_within`; None for no Kendall.
    """
    there = (weights > 0) & np.isfinite(x) & np.isfinite(y)
    weights = np.where(there, weights, 0.0)
    if not there.any():
        return np.full(3, np.nan)
    x, y = np.where(there, x, 0.0), np.where(there, y, 0.0)
    # a group that counts twice is two groups; within one, all items count alike, but in a single group of all
    alike = weights if len(np.unique(groups)) == 1 else there.astype(np.float64)
    rx, ry = (_ranks(values, alike, groups) for values in (x, y))
    moments = [
        _pearson(_centred(a, weights, groups), _centred(b, weights, groups), weights) for a, b in ((x, y), (rx, ry))
    ]
    return np.array([*moments, np.nan if pairs is None else _kendall(x, y, weights, alike, pairs)])


def concordance(x: np.ndarray, y: np.ndarray, weights: np.ndarray, pairs: np.ndarray) -> float:
    """Compute Somers' (1962) d of x given y: of pairs that differ in y, those that x orders alike − those it does not.

    (1 + d) / 2 is pairwise accuracy, where pairs that are equal in x count half. NaN where none differs in y.

    Args:
        x, y, weights, pairs: as of `coefficients`.
    """
    there = (weights > 0) & np.isfinite(x) & np.isfinite(y)
    first, second = pairs
    many = np.where(there[first] & there[second], weights[first], 0.0)
    x, y = np.where(there, x, 0.0), np.where(there, y, 0.0)
    sx, sy = np.sign(x[first] - x[second]), np.sign(y[first] - y[second])
    of_y = many @ sy**2
    return float(many @ (sx * sy) / of_y) if of_y > 0 else float("nan")


def pairs_within(groups: np.ndarray) -> np.ndarray:
    """List all pairs of items of the same group, each once, (2, pairs)."""
    found = []
    for group in np.unique(groups):
        items = np.flatnonzero(groups == group)
        first, second = np.triu_indices(len(items), 1)
        found.append(np.stack([items[first], items[second]]))
    return np.concatenate(found, axis=1) if found else np.empty((2, 0), int)


def fisher(coefficients: np.ndarray, n: int) -> np.ndarray:
    """Compute Fisher's z of Pearson's and of rank coefficients, (…, K).

    Its error hardly depends on their size (Fisher 1921).

    Z of 1 is infinite. Rank coefficients reach it: of n groups of two items, a resample has it whenever all groups that
    it holds agree, and such resamples alone would make the spread. So z of these ends at 1 - 1/(2n), which is a quarter
    of a group from agreement in all, as in Haldane's and Anscombe's logits of shares.

    Args:
        n: groups, or items where all are one group.
    """
    most = np.array([1 - 1e-12, *[1 - 1 / (2 * n)] * (coefficients.shape[-1] - 1)])
    return np.arctanh(np.clip(coefficients, -most, most))


def perfect(coefficients: np.ndarray, n: int) -> np.ndarray:
    """Say which coefficients are so close to 1 or -1 that n groups cannot show how far others would be, (K,).

    Args:
        coefficients: Pearson's first, then those of ranks.
    """
    return np.abs(coefficients) >= np.array([1 - 1e-9, *[1 - 1 / n] * (len(coefficients) - 1)])


def _pearson(dx: np.ndarray, dy: np.ndarray, weights: np.ndarray) -> float:
    spread = (weights @ dx**2) * (weights @ dy**2)
    return float(weights @ (dx * dy) / np.sqrt(spread)) if spread > 1e-20 else float("nan")


def _kendall(x: np.ndarray, y: np.ndarray, weights: np.ndarray, alike: np.ndarray, pairs: np.ndarray) -> float:
    first, second = pairs
    many = weights[first] * alike[second]
    sx, sy = np.sign(x[first] - x[second]), np.sign(y[first] - y[second])
    spread = (many @ sx**2) * (many @ sy**2)
    return float(many @ (sx * sy) / np.sqrt(spread)) if spread > 0 else float("nan")


def _centred(values: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Values minus the mean of their group, over its spread so that what is no more than rounding is 0."""
    many = np.maximum(np.bincount(groups, weights), np.finfo(float).tiny)
    centred = values - (np.bincount(groups, weights * values) / many)[groups]
    scale = np.abs(values).max(initial=0.0)
    return np.where((weights > 0) & (np.abs(centred) > 1e-12 * scale), centred / (scale or 1.0), 0.0)


def _ranks(values: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Rank items within their groups, each so often as its weight says; equal ones have the mean of their ranks."""
    order = np.lexsort((values, groups))
    new = np.ones(len(values), bool)
    new[1:] = (np.diff(values[order]) != 0) | (np.diff(groups[order]) != 0)
    place = np.cumsum(new) - 1
    many = np.bincount(place, weights[order])
    result = np.empty(len(values))
    result[order] = (np.cumsum(many) - many / 2 + 0.5)[place]
    return result
