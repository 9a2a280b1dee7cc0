"""How far raters agree: Krippendorff's alpha for ordinal ratings.

Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability": alpha = 1 − D_o / D_e, the disagreement within units
over that of all values whatever their unit. 1: everybody says the same of each unit. 0: no more than by chance.
"""

from __future__ import annotations

import numpy as np


def counted(values: np.ndarray) -> np.ndarray:
    """Count how often each unit was given each value, (units, different values), the lowest value first.

    Args:
        values: (raters, units); NaN where a rater did not rate a unit.
    """
    different = np.unique(values[np.isfinite(values)])
    return (
        np.stack([(values == value).sum(axis=0) for value in different], axis=1)
        if len(different)
        else np.empty((values.shape[1], 0))
    )


def ordinal_alpha(counts: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Compute alpha with the ordinal difference function; NaN where no unit has two ratings, or all values are alike.

    The difference of values c < k is the number of ratings from c to k, those of c and k themselves half, squared.

    Args:
        counts: how often each unit was given each value, (units, values), the lowest first.
        weights: how often each unit counts, (units,); once by default.
    """
    number = counts.sum(axis=1)
    pairable = number >= 2
    counts, number = counts[pairable].astype(np.float64), number[pairable]
    each = (np.ones(len(counts)) if weights is None else weights[pairable]) / (number - 1)
    # how often two raters give a unit the values c and k
    coincidences = (counts * each[:, None]).T @ counts - np.diag(each @ counts)
    totals = coincidences.sum(axis=1)
    total = totals.sum()
    middle = np.cumsum(totals) - totals / 2
    difference = (middle[:, None] - middle[None, :]) ** 2
    by_chance = totals @ difference @ totals
    if not by_chance > 0:
        return float("nan")
    return float(1 - (total - 1) * (coincidences * difference).sum() / by_chance)


def alpha_interval(counts: np.ndarray, groups: np.ndarray, draws: np.ndarray, level: float) -> tuple[float, float]:
    """Compute a bootstrap interval of alpha over groups of units that are drawn together, such as those of a prompt.

    Raters are not drawn: one that is drawn twice would agree with itself. So the interval is about these raters.

    Args:
        counts: (units, values).
        groups: the group of each unit, (units,), from 0.
        draws: how often each group is drawn, (draws, groups).
    """
    values = np.array([ordinal_alpha(counts, drawn[groups]) for drawn in draws])
    known = values[np.isfinite(values)]
    if len(known) < 0.9 * len(values) or not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
