"""Which of many candidates may be the best, and which are on the Pareto front, when all share their prompts.

Candidates are compared on the same prompts, so that their values go up and down together. What is known of this is
each candidate's influences: how each of the same groups of prompts moves its value, (candidates, groups), of mean 0
over groups, as `evalkit.stats.jackknife.influences` gives them. One set of draws then serves all candidates and
metrics: the groups' influences are added with random signs and sizes (the multiplier bootstrap: Giné and Zinn 1990,
"Bootstrapping General Empirical Measures"), divided by the root of a chi-square as Student's t is.

Candidates of which an estimate or an influence is NaN are unknown: nothing is said of them, and they count for no
other. Nor is anything claimed of two that differ by the same in all groups: what others would show is not known.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betainc, stdtrit  # of scipy.stats, which takes a second to import

from evalkit.stats import clusters as grouped
from evalkit.stats.paired import effective_number

ROUNDING = 1e-12  # a share of the largest value, or influence, that is nothing but rounding


def multipliers(groups: int, draws: int, seed: int) -> np.ndarray:
    """Draw how much each group of prompts counts in each draw, (draws, groups).

    The product with influences (groups,) is a draw of the error of an estimate: Student's t with `groups` - 1 degrees
    of freedom, times the standard error.
    """
    rng = np.random.default_rng([seed, groups])
    normal = rng.standard_normal((draws, groups))
    normal -= normal.mean(axis=1, keepdims=True)  # influences that are all the same have no error
    chi_square = rng.chisquare(groups - 1, (draws, 1))
    # so that the variance is that of `evalkit.stats.means.standard_error`
    return normal / np.sqrt(groups * chi_square)


def not_worse(
    estimates: np.ndarray, influences: np.ndarray, drawn: np.ndarray, level: float, lower_is_better: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the candidates that are not worse than the best beyond noise: whether each is, and a p-value, (K,).

    A candidate is left out where another is better by more standard errors than the best of as many equal ones would
    be, in 1 - level of draws. So the truly best one is among those chosen with probability `level`, whichever it is
    (subset selection: Gupta 1965; with its own threshold for each candidate, Hsu 1981, "Simultaneous Confidence
    Intervals for All Distances from the Best"). Where differences are skewed, as those from a candidate with a rare
    fault are, standard errors are those that Hall's transformation leaves, as in `evalkit.stats.means.mean_interval`.

    Args:
        estimates: of each candidate, (K,).
        influences: (K, groups).
        drawn: from `multipliers`.
    """
    known = np.isfinite(estimates) & np.isfinite(influences).all(axis=1)
    own, moved = estimates[known], influences[known]
    excess, spread = _distances(own, moved, lower_is_better)
    noise = _noise(moved, drawn, lower_is_better)
    observed = _ratio(excess, spread, _skewness(moved, lower_is_better)).max(axis=1, initial=0.0)
    p = np.full(len(estimates), np.nan)
    reached = [(_noise_of(i, noise, spread).max(axis=1, initial=0.0) >= most).sum() for i, most in enumerate(observed)]
    # of the best estimate no other is better: whatever the draws say, it is one of those chosen
    p[known] = np.where(observed > 0, (1 + np.array(reached)) / (1 + len(drawn)), 1.0)
    return p > 1 - level, p


def shares_not_worse(
    has: np.ndarray, level: float, lower_is_better: bool, clusters: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `not_worse`, of shares of prompts that have something, which may be too few for errors to be normal.

    By McNemar's exact test, one-sided, of each pair of candidates: a candidate is left out where another is better by
    that at 1 - (1 - level) / (K - 1), so that the truly best one is among those chosen with probability `level`.

    Args:
        has: whether each prompt has it, (K, prompts), 0 or 1, or its share of several clips.
        clusters: the number of each prompt's, (prompts,); None where each prompt stands by itself. Else the test is of
            as many prompts as `evalkit.stats.paired.effective_number` says, and a single cluster leaves nobody out.
    """
    number = len(has)
    p = np.ones(number)
    for i in range(number):
        worse, better = has[i] * (1 - has), (1 - has[i]) * has
        if not lower_is_better:
            worse, better = better, worse
        more, fewer = worse.sum(axis=1), better.sum(axis=1)
        if clusters is not None:
            share = np.array([_effective(*pair, clusters, level) for pair in zip(worse, better, strict=True)])
            more, fewer = more * share, fewer * share
        more[i] = fewer[i] = 0.0  # shares of several clips differ from themselves
        single = np.where(more > fewer, betainc(np.maximum(more, 1e-9), fewer + 1, 0.5), 1.0)
        p[i] = min(1.0, (number - 1) * single.min()) if number > 1 else 1.0
    return p > 1 - level, p


def dominated(
    estimates: np.ndarray,
    influences: np.ndarray,
    drawn: np.ndarray,
    level: float,
    lower_is_better: np.ndarray,
    margins: np.ndarray,
) -> np.ndarray:
    """Find candidates that another one beats in every metric, by more than a margin and beyond noise.

    A candidate that no other truly beats in every metric is among those found with probability 1 - `level` at most:
    each metric's thresholds are those of `not_worse`, at 1 - (1 - level) / metrics.

    Args:
        estimates: (metrics, K).
        influences: (metrics, K, groups).
        lower_is_better, margins: of each metric, (metrics,).

    Returns for each candidate the number of the one that beats it by most, or -1, (K,).
    """
    number = estimates.shape[1]
    known = np.isfinite(estimates).all(axis=0) & np.isfinite(influences).all(axis=(0, 2))
    beyond = np.full((number, number), np.inf)  # by how much the other is better than it must be, in standard errors
    share = 1 - (1 - level) / len(estimates)
    for own, moved, lower, margin in zip(estimates, influences, lower_is_better, margins, strict=True):
        own, moved = own[known], moved[known]
        excess, spread = _distances(own, moved, bool(lower))
        noise = _noise(moved, drawn, bool(lower))
        ratio = _ratio(excess - margin, spread, _skewness(moved, bool(lower)))
        thresholds = [np.quantile(_noise_of(i, noise, spread).max(axis=1, initial=0.0), share) for i in range(len(own))]
        beyond[np.ix_(known, known)] = np.minimum(
            beyond[np.ix_(known, known)], ratio - np.array(thresholds).reshape(-1, 1)
        )
    beyond[~known] = beyond[:, ~known] = -np.inf
    np.fill_diagonal(beyond, -np.inf)
    by = beyond.argmax(axis=1)
    return np.where(beyond.max(axis=1) > 0, by, -1)


def on_front(
    estimates: np.ndarray, influences: np.ndarray, drawn: np.ndarray, lower_is_better: np.ndarray
) -> np.ndarray:
    """Compute the share of draws in which each candidate is on the Pareto front: none is better in every metric, (K,).

    As good in some metrics and better in another is better.

    Args:
        estimates: (metrics, K).
        influences: (metrics, K, groups).
        lower_is_better: of each metric, (metrics,).
    """
    known = np.isfinite(estimates).all(axis=0) & np.isfinite(influences).all(axis=(0, 2))
    own, moved = estimates[:, known], influences[:, known]
    signs = np.where(lower_is_better, 1.0, -1.0)
    # lower is better in all of these, (draws, metrics, K)
    values = signs[:, None] * (own + np.einsum("bg,mkg->bmk", drawn, moved))
    rounding = ROUNDING * np.abs(own).max(axis=1, initial=0.0)[:, None]
    share = np.full(estimates.shape[1], np.nan)
    for place, i in enumerate(np.flatnonzero(known)):
        difference = values - values[:, :, place : place + 1]
        difference[np.abs(difference) <= rounding] = 0.0  # equal candidates do not beat each other
        beaten = (difference <= 0).all(axis=1) & (difference < 0).any(axis=1)
        share[i] = 1 - beaten.any(axis=1).mean()
    return share


def _effective(worse: np.ndarray, better: np.ndarray, clusters: np.ndarray, level: float) -> float:
    """The share of prompts that counts as independent; less where few clusters leave the variance unsure, as Korn and
    Graubard (1998) have it."""
    n = len(clusters)
    if grouped.count(n, clusters) < 2:
        return 0.0
    df = grouped.degrees_of_freedom(grouped.sizes(n, clusters))
    unsure = float((stdtrit(n - 1, level) / stdtrit(df, level)) ** 2)
    return min(1.0, effective_number(worse, better, clusters) / n * unsure)


def _distances(estimates: np.ndarray, influences: np.ndarray, lower_is_better: bool) -> tuple[np.ndarray, np.ndarray]:
    """By how much each candidate is worse than each other, (K, K), and the standard errors of that."""
    excess = (1.0 if lower_is_better else -1.0) * (estimates[:, None] - estimates[None, :])
    excess[np.abs(excess) <= ROUNDING * np.abs(estimates).max(initial=0.0)] = 0.0
    squares = np.array([((moved - influences) ** 2).mean(axis=1) for moved in influences]).reshape(excess.shape)
    squares[np.sqrt(squares) <= ROUNDING * np.abs(influences).max(initial=0.0)] = 0.0
    return excess, np.sqrt(squares / (influences.shape[1] - 1))


def _noise(influences: np.ndarray, drawn: np.ndarray, lower_is_better: bool) -> np.ndarray:
    """By how much each draw makes each candidate worse, (draws, K)."""
    noise: np.ndarray = (1.0 if lower_is_better else -1.0) * (drawn @ influences.T)
    return noise


def _skewness(influences: np.ndarray, lower_is_better: bool) -> np.ndarray:
    """Of by how much groups make each candidate worse than each other, (K, K), divided by the root of their number."""
    sign, (number, groups) = 1.0 if lower_is_better else -1.0, influences.shape
    skewness = np.zeros((number, number))
    for i, moved in enumerate(influences):
        apart = sign * (moved - influences)
        variances, cubes = (apart**2).mean(axis=1), (apart**3).mean(axis=1)
        skewness[i] = np.divide(cubes, variances**1.5, out=np.zeros(number), where=variances > 0)
    return skewness / np.sqrt(groups)


def _ratio(excess: np.ndarray, spread: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """A difference in standard errors, or what Hall's transformation makes of it where that is less: 0 without error.

    Hall 1992, "On the Removal of Skewness by Transformation".

    Args:
        skewness: of what the difference is the mean of, by the root of how many these are.
    """
    plain = np.divide(excess, spread, out=np.zeros_like(excess), where=spread > 0)
    # grows with `plain`, since it is a cube of a straight line but for constants
    straight = plain + skewness * plain**2 / 3 + skewness**2 * plain**3 / 27 + skewness / 6
    return np.where(spread > 0, np.minimum(plain, straight), 0.0)


def _noise_of(i: int, noise: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """By how many standard errors each draw makes a candidate worse than each other, (draws, K)."""
    apart = noise[:, i : i + 1] - noise
    return np.divide(apart, spread[i], out=np.zeros_like(apart), where=spread[i] > 0)
