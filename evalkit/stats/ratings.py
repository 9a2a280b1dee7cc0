"""Means of ratings per system, and differences between systems that were heard on the same page.

What is rated is an array (systems, raters, prompts) of sums of ratings, and one of how many there are: designs may be
incomplete, and a rater may hear an item twice. `evalkit.stats.crossed` says how sure the numbers are.
"""

from __future__ import annotations

import numpy as np

from evalkit.stats.crossed import Statistic, totals

SINGULAR = 1e-9  # a share of the largest singular value


def means(sums: np.ndarray, counts: np.ndarray) -> Statistic:
    """Give the mean of all ratings of each system, as a statistic: (draws, systems).

    Args:
        sums, counts: (systems, raters, prompts).
    """

    def statistic(raters: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return totals(sums, raters, prompts) / totals(counts, raters, prompts)

    return statistic


def effects(sums: np.ndarray, counts: np.ndarray) -> Statistic:
    """Give how far each system lies above the mean of all, within pages, as a statistic: (draws, systems).

    Least squares of an additive model, rating = page + system, where a page is one rater's hearing of one prompt: the
    intra-block analysis of an incomplete block design (Yates 1936, "Incomplete Randomized Blocks"; Cochran and Cox
    1957, chapter 9). How strict a rater is, and how hard a prompt is, cancels. Where every page has every system once
    it is the mean of paired differences. NaN where systems are not connected by pages.

    Args:
        sums, counts: (systems, raters, prompts).
    """
    systems = len(sums)
    page = counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(page > 0, counts / page, 0.0)
    within = sums - share * sums.sum(axis=0)
    # how pages join systems: the reduced normal matrix, diag(n_s) − n_s n_t / n_page
    joined = -share[:, None] * counts[None]
    joined[range(systems), range(systems)] += counts
    flat = joined.reshape(systems**2, *counts.shape[1:])

    def statistic(raters: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        matrix = totals(flat, raters, prompts).reshape(-1, systems, systems)
        right = totals(within, raters, prompts)
        size = np.trace(matrix, axis1=1, axis2=2)[:, None, None] / systems
        bordered = matrix + size / systems  # the sum of effects is 0
        known = (size[:, 0, 0] > 0) & _connected(matrix)
        solved = np.full(right.shape, np.nan)
        solved[known] = np.linalg.solve(bordered[known], right[known][..., None])[..., 0]
        return solved

    return statistic


def _connected(matrix: np.ndarray) -> np.ndarray:
    """Whether the systems are joined by pages, (draws,): all eigenvalues but that of the mean are above 0."""
    if matrix.shape[-1] < 2:
        return np.ones(len(matrix), bool)
    values = np.linalg.eigvalsh((matrix + matrix.transpose(0, 2, 1)) / 2)
    return values[:, 1] > SINGULAR * np.maximum(values[:, -1], np.finfo(float).tiny)


def contrasts(statistic: Statistic, pairs: list[tuple[int, int]]) -> Statistic:
    """Give the differences of a statistic's values, the first of a pair − the second: (draws, pairs)."""
    first, second = np.array(pairs, int).reshape(-1, 2).T

    def differences(raters: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        values = statistic(raters, prompts)
        return values[:, first] - values[:, second]

    return differences
