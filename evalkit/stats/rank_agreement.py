"""Rank correlations over few items, such as systems, with intervals that hold for other items, and their differences.

All three coefficients come from the signs of differences between items, sign(x_i − x_j), as Daniels (1944, "The
Relation Between Measures of Correlation in the Universe of Sample Permutations") has it: Kendall's tau-b is the
correlation of the signs, Spearman's rho that of their sums, which are the ranks but for a constant, and pairwise
accuracy the share of pairs that differ in y which x orders alike, pairs that are equal in x counting half: (1 + d) / 2
of Somers' (1962) d.

An interval is Student's t of Fisher's z. Of few items a resample shows too little spread: of five that both order
alike it shows none at all. So its variance is the jackknife's over items, but never less than that of normally
distributed ones: (1 + r²/2) / (n − 3) for rho (Bonett and Wright 2000, "Sample Size Requirements for Estimating
Pearson, Kendall and Spearman Correlations") and 0.437 / (n − 4) for tau and accuracy (Fieller, Hartley and Pearson
1957, "Tests for Rank Correlation Coefficients I").

Noise of ratings that is each item's own is in that already. What raters and prompts do to all items alike, as where
some raters care more for what a metric measures, is not: `of_panels` is added. docs/agree.md has the measured coverage.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit  # the quantiles of scipy.stats, which takes a second to import

from evalkit.stats.estimate import Estimate

NAMES = ("spearman", "kendall", "accuracy")
LEAST = 5  # items, with fewer of which there is no interval: the variance of tau has n − 4 below it
EXACT = 5040  # permutations, of up to seven items, that are all looked at; of more items as many are drawn
DRAWN = 9999
LEAST_KNOWN = 0.9  # share of resampled panels that must have a value
NUMBERS = 2**22  # signs that are in memory at once


def signs(values: np.ndarray) -> np.ndarray:
    """Compute the signs of the differences of items, (…, items) to (…, items, items)."""
    found: np.ndarray = np.sign(values[..., :, None] - values[..., None, :])
    return found


def coefficients(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute Spearman's rho, Kendall's tau-b and Somers' d of x given y, (…, 3); NaN where either is all the same.

    Args:
        x, y: (…, items), of shapes that fit each other.
    """
    sx, sy = signs(x), signs(y)
    rx, ry = sx.sum(axis=-1), sy.sum(axis=-1)
    both, of_x, of_y = (sx * sy).sum(axis=(-2, -1)), (sx**2).sum(axis=(-2, -1)), (sy**2).sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = (rx * ry).sum(axis=-1) / np.sqrt((rx**2).sum(axis=-1) * (ry**2).sum(axis=-1))
        tau, d = both / np.sqrt(of_x * of_y), both / np.where(of_x > 0, of_y, 0.0)
    return np.stack(np.broadcast_arrays(rho, tau, d), axis=-1)


def accuracy(d: float) -> float:
    """Compute pairwise accuracy from Somers' d."""
    return (1 + d) / 2


def fisher(found: np.ndarray, n: int) -> np.ndarray:
    """Compute Fisher's z of coefficients of n items, which end at 1 − 1/n: beyond, n items do not tell them apart."""
    z: np.ndarray = np.arctanh(np.clip(found, 1 / n - 1, 1 - 1 / n))
    return z


def variances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the variances of Fisher's z of the coefficients over items, (3,), of at least `LEAST` items."""
    n = len(x)
    kept = ~np.eye(n, dtype=bool)
    items = np.broadcast_to(np.arange(n), (n, n))[kept].reshape(n, n - 1)
    whole, without = fisher(coefficients(x, y), n), fisher(coefficients(x[items], y[items]), n - 1)
    without = np.where(np.isnan(without), whole, without)  # where all items but one are the same
    jackknife = (n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    normal = np.array([(1 + np.tanh(whole[0]) ** 2 / 2) / (n - 3), 0.437 / (n - 4), 0.437 / (n - 4)])
    return np.maximum(normal, jackknife)


def of_panels(x: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Compute the variance of Fisher's z over panels, of raters and prompts, that all items have in common, (3,).

    Tau is a mean over pairs of items. Noise of one item's ratings moves the pairs that the item is in; what moves pairs
    without a common item together is common to all. So its variance is the mean covariance, over resampled panels, of
    such pairs of pairs, at least 0. Rho's follows from it as of normally distributed items.

    Args:
        x: values of items, (items,), at least `LEAST`.
        drawn: what other panels say of items, (draws, items); draws without a value for an item do not count.

    Returns NaN where nine tenths of the draws have no value.
    """
    known = drawn[np.isfinite(drawn).all(axis=1)]
    if len(known) < LEAST_KNOWN * len(drawn) or len(known) < 2:
        return np.full(3, np.nan)
    n, concordant = len(x), signs(x) * signs(known)
    moved = concordant - concordant.mean(axis=0)
    # of all pairs of pairs, less those that share one item, to which a pair with itself belongs twice
    whole, of_items = moved.sum(axis=(1, 2)) / 2, moved.sum(axis=2)
    apart = whole**2 - (of_items**2).sum(axis=1) + (moved**2).sum(axis=(1, 2)) / 2
    pairs = n * (n - 1) / 2 * (n - 2) * (n - 3) / 2
    tau = max(0.0, float(apart.sum() / (len(known) - 1) / pairs))
    r = np.clip(coefficients(x, known.mean(axis=0)), 1 / n - 1, 1 - 1 / n)
    normal = np.sin(np.pi / 2 * r[1]) ** 2  # the squared correlation of normal data with this tau
    rho = tau * 2.25 * (1 - normal) / (1 - normal / 4)
    return np.array([rho, tau, tau]) / (1 - r**2) ** 2


def p_values(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Compute two-sided p-values of x and y having nothing to do with each other, (3,), by permuting y.

    All permutations of up to seven items, `DRAWN` of more, the observed one counting as one of them. Whatever noise
    is in either makes no difference, as long as items are independent of each other.
    """
    n = len(x)
    if exact := math.factorial(n) <= EXACT:
        orders = np.array(list(itertools.permutations(range(n))))
    else:
        rng = np.random.default_rng([seed, n])
        orders = rng.permuted(np.broadcast_to(np.arange(n), (DRAWN, n)), axis=1)
    sx, sy = (signs(values).astype(np.float32) for values in (x, y))  # whose sums are exact
    rx, ry = sx.sum(axis=1), sy.sum(axis=1)
    # what stands below the coefficients is the same in every order, so that what stands above them is enough
    observed = np.abs(np.array([rx @ ry, (sx * sy).sum()]))
    far, size = np.zeros(2), max(1, NUMBERS // n**2)
    for start in range(0, len(orders), size):
        order = orders[start : start + size]
        moved = sy[order[:, :, None], order[:, None, :]].reshape(len(order), -1)
        above = np.stack([ry[order] @ rx, moved @ sx.ravel()], axis=1)
        far += (np.abs(above) >= observed - 0.5).sum(axis=0)
    rho, tau = far / len(orders) if exact else (1 + far) / (1 + len(orders))
    return np.where(np.isnan(coefficients(x, y)), np.nan, np.array([rho, tau, tau]))


def estimates(x: np.ndarray, y: np.ndarray, more: np.ndarray, p: np.ndarray) -> list[Estimate]:
    """Estimate the three coefficients, with bounds for other items of the same kind.

    Where a permutation test tells a coefficient from 0, its interval does not reach across 0: of few items the test is
    the sharper of the two.

    Args:
        x, y: (items,), at least `LEAST` of them.
        more: variances of Fisher's z that do not come from the choice of items, (3,).
        p: of `p_values`.
    """
    n = len(x)
    found, errors = coefficients(x, y), np.sqrt(variances(x, y) + more)
    return [_estimate(float(r), float(e), n, float(q)) for r, e, q in zip(found, errors, p, strict=True)]


def _estimate(value: float, error: float, n: int, p: float) -> Estimate:
    z = float(fisher(np.array(value), n))

    def bounds(tail: float) -> tuple[float, float]:
        if math.isnan(value) or math.isnan(error):
            return math.nan, math.nan
        away = float(stdtrit(n - 2, 1 - tail)) * error
        low, high = math.tanh(z - away), math.tanh(z + away)
        # what n items do not tell from 1 may be 1
        low, high = (-1.0 if value <= 1 / n - 1 else low), (1.0 if value >= 1 - 1 / n else high)
        if p <= 2 * tail < 1:
            low, high = (max(0.0, low), high) if value > 0 else (low, min(0.0, high))
        return min(low, value), max(high, value)

    return Estimate(value, error, n - 2, bounds)


def shared(of_first: float, of_second: float, between: float) -> float:
    """Compute how the errors of two correlations with one variable are correlated (Pearson and Filon 1898).

    Args:
        of_first, of_second: the two correlations.
        between: that of the two variables with each other.
    """
    a, b, c = of_first, of_second, between
    spread = (1 - a**2) * (1 - b**2)
    if not spread > 0:
        return 0.0
    found = ((c - a * b / 2) * (1 - a**2 - b**2 - c**2) + c**3) / spread
    return float(np.clip(found, -1.0, 1.0))


def difference(first: Estimate, second: Estimate, correlation: float) -> Estimate:
    """Estimate by how much the first coefficient exceeds the second, from the intervals of both.

    Zou 2007, "Toward Using Confidence Intervals to Compare Correlations", Psychological Methods 12:4.

    Args:
        correlation: of the errors of the two, see `shared`.
    """
    value = first.value - second.value

    def bounds(tail: float) -> tuple[float, float]:
        (low, high), (lower, higher) = first.bounds(tail), second.bounds(tail)
        down, up = first.value - low, high - first.value
        below, above = second.value - lower, higher - second.value
        return (
            value - math.sqrt(max(0.0, down**2 + above**2 - 2 * correlation * down * above)),
            value + math.sqrt(max(0.0, up**2 + below**2 - 2 * correlation * up * below)),
        )

    return Estimate(value, math.nan, min(first.df, second.df), bounds)


def correlation_of_errors(first: np.ndarray, second: np.ndarray, y: np.ndarray) -> float:
    """Compute how the errors of two metrics' correlations with y are correlated, from their Spearman's coefficients.

    Args:
        first, second, y: (items,).
    """
    n = len(y)
    pairs: Sequence[tuple[np.ndarray, np.ndarray]] = ((first, y), (second, y), (first, second))
    found = [float(np.clip(coefficients(a, b)[0], 1 / n - 1, 1 - 1 / n)) for a, b in pairs]
    return 0.0 if any(map(math.isnan, found)) else shared(*found)
