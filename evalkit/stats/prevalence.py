"""How common something is, from how often a detector of known errors finds it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtri  # the quantile of scipy.stats, which takes a second to import


@dataclass(frozen=True)
class Rate:
    """A share, and how many independent clips it is of."""

    share: float
    n: float


@dataclass(frozen=True)
class Prevalence:
    """What a rate is without the detector's errors, with bounds; NaN where the detector tells nothing."""

    value: float
    low: float
    high: float


UNKNOWN = Prevalence(math.nan, math.nan, math.nan)


def corrected(found: Rate, sensitivity: Rate, specificity: Rate, level: float) -> Prevalence:
    """Correct the share of clips in which a detector finds something by its errors.

    The value is Rogan and Gladen's (1978, "Estimating Prevalence from the Results of a Screening Test"): what is found
    beyond false alarms, by what would be found at most beyond them, between 0 and 1. Bounds are those of Lang and
    Reiczigel (2014, "Confidence Limits for Prevalence of Disease Adjusted for Estimated Sensitivity and Specificity"),
    which carry the uncertainty of all three shares; docs/limits.md has their measured coverage.

    Args:
        found: the share in which it was found.
        sensitivity: the share of clips with it in which it is found.
        specificity: the share of clips without it in which it is not.
        level: confidence.

    Everything is NaN where the detector finds it no more often in clips with it than in clips without, or where that
    cannot be told at this level.
    """
    if min(found.n, sensitivity.n, specificity.n) < 1 or not telling(sensitivity, specificity, level):
        return UNKNOWN
    youden = sensitivity.share + specificity.share - 1
    value = min(1.0, max(0.0, (found.share + specificity.share - 1) / youden))
    z = float(ndtri((1 + level) / 2))
    a = _shrunk(found, z**2)
    se, sp = _shrunk(sensitivity, 2.0), _shrunk(specificity, 2.0)
    youden = se.share + sp.share - 1
    middle = (a.share + sp.share - 1) / youden
    of_se, of_sp = se.share * (1 - se.share) / se.n, sp.share * (1 - sp.share) / sp.n
    moved = middle + 2 * z**2 * (middle * of_se - (1 - middle) * of_sp)
    variance = a.share * (1 - a.share) / a.n + middle**2 * of_se + (1 - middle) ** 2 * of_sp
    error = math.sqrt(variance) / youden
    low, high = (min(1.0, max(0.0, moved + sign * z * error)) for sign in (-1, 1))
    return Prevalence(value, min(low, value), max(high, value))


def telling(sensitivity: Rate, specificity: Rate, level: float) -> bool:
    """Whether a detector finds something more often where it is than where it is not, beyond chance."""
    z = float(ndtri((1 + level) / 2))
    se, sp = _shrunk(sensitivity, 2.0), _shrunk(specificity, 2.0)
    error = math.sqrt(se.share * (1 - se.share) / se.n + sp.share * (1 - sp.share) / sp.n)
    return se.share + sp.share - 1 > z * error


def _shrunk(rate: Rate, more: float) -> Rate:
    """A share as if `more` clips had been seen of which half have it."""
    return Rate((rate.n * rate.share + more / 2) / (rate.n + more), rate.n + more)
