"""Which of many candidates may be the best, and which are on the Pareto front, when all share their prompts.

Candidates are compared on the same prompts, so that their values go up and down together. What is known of this is
each candidate's influences: how each of the same groups of prompts moves its value, (candidates, groups), of mean 0
over groups, as `evalkit.stats.jackknife.influences` gives them. One set of draws then serves all candidates and
metrics: the groups' influences are added with random signs and sizes (the multiplier bootstrap: Giné and Zinn 1990,
"Bootstrapping General Empirical Measures"), divided by the root of a chi-square as Student's t is.
"""

from __future__ import annotations

import numpy as np

from evalkit.stats.means import same


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
    Intervals for All Distances from the Best").

    Args:
        estimates: of each candidate, (K,).
        influences: (K, groups).
        drawn: from `multipliers`.
    """
    excess, spread, noise = _distances(estimates, influences, drawn, lower_is_better)
    observed = _ratio(excess, spread).max(axis=1)
    largest = np.stack([_noise_of(i, noise, spread).max(axis=1) for i in range(len(estimates))], axis=1)
    p = (1 + (largest >= observed).sum(axis=0)) / (1 + len(drawn))
    # of the best estimate no other is better: whatever the draws say, it is one of those chosen
    p[observed <= 0] = 1.0
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
    beyond = np.full((number, number), np.inf)  # by how much the other is better than it must be, in standard errors
    share = 1 - (1 - level) / len(estimates)
    for own, moved, lower, margin in zip(estimates, influences, lower_is_better, margins, strict=True):
        excess, spread, noise = _distances(own, moved, drawn, bool(lower))
        ratio = _ratio(excess - margin, spread)
        for i in range(number):
            threshold = float(np.quantile(_noise_of(i, noise, spread).max(axis=1), share))
            beyond[i] = np.minimum(beyond[i], ratio[i] - max(0.0, threshold))
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
    signs = np.where(lower_is_better, 1.0, -1.0)
    # lower is better in all of these, (draws, metrics, K)
    values = signs[:, None] * (estimates + np.einsum("bg,mkg->bmk", drawn, influences))
    front = np.empty((len(drawn), estimates.shape[1]), bool)
    for i in range(estimates.shape[1]):
        difference = values - values[:, :, i : i + 1]
        front[:, i] = ~((difference <= 0).all(axis=1) & (difference < 0).any(axis=1)).any(axis=1)
    share: np.ndarray = front.mean(axis=0)
    return share


def _distances(
    estimates: np.ndarray, influences: np.ndarray, drawn: np.ndarray, lower_is_better: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By how much each candidate is worse than each other, (K, K), its standard errors, and drawn errors (draws, K)."""
    sign = 1.0 if lower_is_better else -1.0
    excess = sign * (estimates[:, None] - estimates[None, :])
    apart = influences[:, None, :] - influences[None, :, :]
    spread = np.sqrt((apart**2).mean(axis=2) / (influences.shape[1] - 1))
    scale = np.abs(influences).max(initial=0.0)
    for i, j in np.ndindex(*spread.shape):
        if same(apart[i, j], scale):
            spread[i, j] = 0.0
    return excess, spread, sign * (drawn @ influences.T)


def _ratio(excess: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """A difference in standard errors: infinite, or 0, where there is no error."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, excess / spread, np.where(excess == 0, 0.0, np.copysign(np.inf, excess)))


def _noise_of(i: int, noise: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """By how many standard errors each draw makes a candidate worse than each other, (draws, K)."""
    apart = noise[:, i : i + 1] - noise
    return np.where(spread[i] > 0, apart / np.where(spread[i] > 0, spread[i], 1.0), 0.0)
