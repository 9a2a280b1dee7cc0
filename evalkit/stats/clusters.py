"""Prompts that belong together, such as captions of one recording: cluster by cluster they are independent, not alone.

Where each prompt stands by itself, the number of each is None instead of an array, and nothing is computed otherwise
than prompt by prompt.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def numbered(names: Iterable[str]) -> np.ndarray | None:
    """Number the clusters of prompts in the order in which they come, (prompts,), from 0.

    Args:
        names: of each prompt's cluster; a prompt that stands by itself has a name of its own.

    None where no two prompts share one.
    """
    known: dict[str, int] = {}
    numbers = np.array([known.setdefault(name, len(known)) for name in names], np.int64)
    return numbers if len(known) < len(numbers) else None


def count(prompts: int, clusters: np.ndarray | None) -> int:
    """How many clusters there are: of some prompts, whose clusters are (prompts,), or None for one each."""
    return prompts if clusters is None else len(np.unique(clusters))


def totals(values: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """Add up values (..., prompts) over the prompts of each cluster, (..., clusters)."""
    if clusters is None:
        return values
    _, places = np.unique(clusters, return_inverse=True)
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(places.max(initial=-1) + 1))
    result: np.ndarray = np.add.reduceat(values[..., order], starts, axis=-1)
    return result


def sizes(prompts: int, clusters: np.ndarray | None) -> np.ndarray:
    """The number of prompts in each cluster, (clusters,), float64."""
    return totals(np.ones(prompts), clusters)


def weights(counts: np.ndarray) -> np.ndarray:
    """The share of a mean over items that is each cluster's, (clusters,), from the items of its clips in each sample.

    Args:
        counts: (samples, clusters); each sample has items.
    """
    result: np.ndarray = (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0)
    return result


def without_leverage(influence: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Take from influences (clusters,) of mean 0 that large clusters draw the mean to themselves.

    Bell and McCaffrey 2002, "Bias Reduction in Standard Errors for Linear Regression with Multi-Stage Samples": each is
    divided by √(1 - its share of the whole), here relative to clusters of equal size, which stay as they are.
    """
    number, shares = len(sizes), sizes / sizes.sum()
    result: np.ndarray = influence * np.sqrt((1 - 1 / number) / (1 - shares))
    return result


def degrees_of_freedom(sizes: np.ndarray) -> float:
    """Compute those of an error from `without_leverage`, by Satterthwaite's method, as if a cluster's clips were alike.

    Bell and McCaffrey 2002, as recommended by Imbens and Kolesár 2016, "Robust Standard Errors in Small Samples: Some
    Practical Advice". They are one less than there are clusters of equal size, and fewer where sizes (clusters,), at
    least two, differ.
    """
    shares = sizes / sizes.sum()
    squares = shares**2 / (1 - shares)
    q = float((shares**2).sum())
    p0, p1, p2 = (float((squares * shares**k).sum()) for k in range(3))
    trace = float((squares * (1 + q - 2 * shares)).sum())
    # of the matrix with elements √(s_i s_j) ((i = j) + q - w_i - w_j), with s the squares and w the shares
    of_square = q**2 * p0**2 + 2 * p0 * p2 - 4 * q * p0 * p1 + 2 * p1**2
    of_square += float((squares**2 * (1 + 2 * (q - 2 * shares))).sum())
    return trace**2 / of_square
