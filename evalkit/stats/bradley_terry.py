"""Strengths of systems from choices between two of them, ties included.

Davidson's model (1970, "On Extending the Bradley-Terry Model to Accommodate Ties in Paired Comparison Experiments",
JASA 65:329): with strengths π and a readiness to call ties ν, the first of two is chosen with probability
π_i / D, the second with π_j / D, and neither with ν √(π_i π_j) / D, where D is the sum of the three numerators. Without
ties it is the model of Bradley and Terry (1952).
"""

from __future__ import annotations

import numpy as np

from evalkit.stats.crossed import Statistic, totals

RIDGE = 0.05  # of the penalty: about a twentieth of one choice, which keeps strengths of who never loses finite
STEPS = 50
LARGEST = 2.0  # step of a log-strength
CLOSE = 1e-9


def fit(wins: np.ndarray, ties: np.ndarray, ridge: float = RIDGE) -> tuple[np.ndarray, np.ndarray]:
    """Fit log-strengths log π of mean 0, (…, systems), and log ν, (…,), by Newton's method.

    The log-likelihood is that of a log-linear model, and concave. From it `ridge` / 2 times the sum of squares of all
    parameters is taken. log ν is −inf where there are no ties.

    Args:
        wins: how often the first, by row, was preferred to the second, by column, (…, systems, systems).
        ties: how often two were said to be alike, symmetric, (…, systems, systems).
    """
    shape, n = wins.shape[:-2], wins.shape[-1]
    wins, ties = wins.reshape(-1, n, n), ties.reshape(-1, n, n)
    played = wins + wins.transpose(0, 2, 1) + ties
    # what the data say of each parameter: a tie is half a win of both
    observed = np.concatenate([wins.sum(axis=2) + ties.sum(axis=2) / 2, ties.sum(axis=(1, 2))[:, None] / 2], axis=1)
    none = ~(observed[:, -1] > 0)
    found = np.zeros((len(wins), n + 1))
    for _ in range(STEPS):
        step = _step(found, played, observed, none, ridge)
        found += np.clip(step, -LARGEST, LARGEST)
        if np.abs(step).max(initial=0.0) < CLOSE:
            break
    strengths = found[:, :n] - found[:, :n].mean(axis=1, keepdims=True)
    return strengths.reshape(*shape, n), np.where(none, -np.inf, found[:, -1]).reshape(shape)


def _step(found: np.ndarray, played: np.ndarray, observed: np.ndarray, none: np.ndarray, ridge: float) -> np.ndarray:
    """Newton's step of each fit, (fits, systems + 1); nothing moves log ν where there are no ties."""
    n = found.shape[1] - 1
    win, tie = probabilities(found[:, :n], np.where(none, -np.inf, found[:, n]))
    share = win + tie / 2  # what the first gets of a choice, on average
    expected = np.concatenate([(played * share).sum(axis=2), (played * tie).sum(axis=(1, 2))[:, None] / 2], axis=1)
    gradient = observed - expected - ridge * found
    spread = win + tie / 4 - share**2  # the variance of that
    curvature = np.zeros((len(found), n + 1, n + 1))
    own = (played * spread).sum(axis=2)
    curvature[:, :n, :n] = -played * spread
    curvature[:, range(n), range(n)] += own
    mixed = (played * tie * (0.5 - share)).sum(axis=2)
    curvature[:, :n, n] = curvature[:, n, :n] = mixed
    curvature[:, n, n] = (played * tie * (1 - tie)).sum(axis=(1, 2)) / 2
    curvature[:, range(n + 1), range(n + 1)] += max(ridge, 1e-12)
    if ridge == 0:  # only differences of strengths matter: their mean stays where it is
        curvature[:, :n, :n] += own.mean(axis=1)[:, None, None] / n
    gradient[none, n], curvature[none, n, :n], curvature[none, :n, n], curvature[none, n, n] = 0.0, 0.0, 0.0, 1.0
    return np.linalg.solve(curvature, gradient[..., None])[..., 0]


def probabilities(strengths: np.ndarray, tie: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute how likely the first, by row, is preferred to the second, by column, and that they are alike.

    Args:
        strengths: log π, (…, systems).
        tie: log ν, (…,).
    """
    lead = strengths[..., :, None] - strengths[..., None, :]
    up, down = np.exp(lead / 2), np.exp(-lead / 2)
    alike = np.exp(tie)[..., None, None]
    every = up + down + alike
    return up / every, alike / every


def shares(strengths: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """Compute what share of choices each system gets against all others, a tie as half a choice, (…, systems)."""
    win, alike = probabilities(strengths, tie)
    n = strengths.shape[-1]
    return ((win + alike / 2).sum(axis=-1) - 0.5) / (n - 1)


def strengths(wins: np.ndarray, ties: np.ndarray, ridge: float = RIDGE) -> Statistic:
    """Give log-strengths of mean 0 as a statistic for `evalkit.stats.crossed`: (draws, systems).

    Args:
        wins, ties: of each rater and prompt, (systems, systems, raters, prompts).
    """
    n = len(wins)
    flat = np.concatenate([part.reshape(n * n, *part.shape[2:]) for part in (wins, ties)])

    def statistic(raters: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        counts = totals(flat, raters, prompts).reshape(-1, 2, n, n)
        return fit(counts[:, 0], counts[:, 1], ridge)[0]

    return statistic


def connected(played: np.ndarray) -> bool:
    """Whether choices join all systems, directly or by way of others: else strengths cannot be compared.

    Args:
        played: how often each two were compared, symmetric, (systems, systems).
    """
    return bool(joined(played).all())


def joined(played: np.ndarray) -> np.ndarray:
    """Which systems the largest group holds that choices join, directly or by way of others, (systems,).

    Of several groups of that size it is the one of the first system.

    Args:
        played: how often each two were compared, symmetric, (systems, systems).
    """
    reached: np.ndarray = np.linalg.matrix_power((played > 0) | np.eye(len(played), dtype=bool), max(1, len(played)))
    return reached[reached.sum(axis=1).argmax()] if len(played) else np.ones(0, bool)
