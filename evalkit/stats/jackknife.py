"""The jackknife over groups of prompts: takes the bias out of a value of a set, and says how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evalkit.stats.clusters import degrees_of_freedom
from evalkit.stats.estimate import Estimate, student
from evalkit.stats.means import standard_error


def groups(ids: Sequence[str], number: int, seed: int) -> np.ndarray:
    """Divide prompts at random into groups of about equal size: which group each id is in, (ids,), from 0.

    It depends on which ids there are, not on their order. The same id is always in the same group; each id has its own
    where there are no more than `number`.
    """
    names, which = np.unique(np.array(ids), return_inverse=True)
    own = np.random.default_rng(seed).permutation(len(names)) % number
    result: np.ndarray = own[which]
    return result


def corrected(value: float, without: np.ndarray, sizes: np.ndarray, clustered: bool = False) -> Estimate:
    """Estimate a value of a set without its bias of order 1/n, from the values that leave out each group of prompts.

    Bounds are Student's t with one degree of freedom less than there are groups. Arguments are those of `influences`.
    Everything is NaN where any of the values is, and for fewer than two groups.
    """
    if len(without) < 2:
        return student(math.nan, math.nan, math.nan)
    estimate, influence = influences(value, without, sizes, clustered)
    df = degrees_of_freedom(sizes) if clustered else len(without) - 1
    return student(estimate, standard_error(influence), df)


def difference(
    values: np.ndarray, without: np.ndarray, sizes: np.ndarray, clustered: bool = False
) -> tuple[Estimate, np.ndarray]:
    """Estimate by how much a candidate's value of a set exceeds its baseline's, and both values, (2,), without bias.

    The correction leaves a bias of order 1/n², which counts where prompts are few for the number of dimensions. Bounds
    are farther apart, on either side, by what it may be: what was taken from the difference, times the larger share
    that was taken from a value.

    Args:
        values: the baseline's and the candidate's, of all prompts, (2,).
        without: the same without each group of prompts, (2, groups).
        sizes, clustered: as of `influences`.
    """
    estimate = corrected(float(values[1] - values[0]), without[1] - without[0], sizes, clustered)
    each = np.array([corrected(float(value), rest, sizes).value for value, rest in zip(values, without, strict=True)])
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.abs(values - each) / np.abs(values)
    left = abs(values[1] - values[0] - estimate.value) * min(1.0, float(np.nan_to_num(shares, nan=0.0).max()))

    def bounds(tail: float) -> tuple[float, float]:
        low, high = estimate.bounds(tail)
        return low - left, high + left

    return Estimate(estimate.value, estimate.error, estimate.df, bounds), each


def influences(
    value: float, without: np.ndarray, sizes: np.ndarray, clustered: bool = False
) -> tuple[float, np.ndarray]:
    """Compute a value of a set without its bias of order 1/n, and how each group of prompts moves it, (groups,).

    Busing, Meijer and van der Leeden 1999, "Delete-m Jackknife for Unequal m"; with groups of one, Quenouille's and
    Tukey's jackknife, whose pseudovalues less the estimate the influences then are. `standard_error` of them is that
    of the estimate. They take prompts for independent, so that a value without a large group is the surer one of that;
    where prompts belong together, each value counts alike, with Bell and McCaffrey's correction for its size.

    Args:
        value: of all prompts.
        without: of all prompts but those of each group, (groups,), at least two.
        sizes: number of prompts in each group, (groups,), at least 1.
        clustered: whether groups are of whole clusters of prompts, of which each may have several.
    """
    number, times = len(without), sizes.sum() / sizes
    estimate = number * value - float(((1 - 1 / times) * without).sum())
    if clustered:
        left = 1 - 1 / times
        moved = (number - 1) * (float((left * without).sum() / left.sum()) - without)
        # that of a mean is 1 / (1 - its share) times too large, and the correction of its error the root of that
        return estimate, moved * np.sqrt(left / (1 - 1 / number))
    pseudovalues = times * value - (times - 1) * without
    return estimate, (pseudovalues - estimate) * np.sqrt((number - 1) / (times - 1))
