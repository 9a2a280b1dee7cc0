"""The jackknife over groups of prompts: takes the bias out of a value of a set, and says how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evalkit.stats.estimate import Estimate, student


def groups(ids: Sequence[str], number: int, seed: int) -> np.ndarray:
    """Divide prompts at random into groups of about equal size: which group each id is in, (ids,), from 0.

    It depends on which ids there are, not on their order. The same id is always in the same group; each id has its own
    where there are no more than `number`.
    """
    names, which = np.unique(np.array(ids), return_inverse=True)
    own = np.random.default_rng(seed).permutation(len(names)) % number
    result: np.ndarray = own[which]
    return result


def corrected(value: float, without: np.ndarray, sizes: np.ndarray) -> Estimate:
    """Estimate a value of a set without its bias of order 1/n, from the values that leave out each group of prompts.

    Busing, Meijer and van der Leeden 1999, "Delete-m Jackknife for Unequal m"; with groups of one, Quenouille's and
    Tukey's jackknife. Bounds are Student's t with one degree of freedom less than there are groups.

    Args:
        value: of all prompts.
        without: of all prompts but those of each group, (groups,).
        sizes: number of prompts in each group, (groups,), at least 1.

    Everything is NaN where any of the values is, and for fewer than two groups.
    """
    number = len(without)
    if number < 2:
        return student(math.nan, math.nan, math.nan)
    times = sizes.sum() / sizes
    estimate = number * value - float(((1 - 1 / times) * without).sum())
    pseudovalues = times * value - (times - 1) * without
    error = math.sqrt(float(((pseudovalues - estimate) ** 2 / (times - 1)).mean()))
    return student(estimate, error, number - 1)
