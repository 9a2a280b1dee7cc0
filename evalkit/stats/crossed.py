"""How sure a number is that comes from ratings: other raters would have rated otherwise, and so would other prompts.

Raters and prompts are both drawn from larger populations, and cross: a rater hears many prompts, a prompt is heard by
many raters. A bootstrap over ratings, or over raters alone, takes what all ratings of a prompt have in common for
something that more raters would average out.

The bootstrap here is Owen's (2007, "The Pigeonhole Bootstrap", Annals of Applied Statistics 1:2): raters are drawn with
replacement, and prompts are, independently; a rating counts as often as its rater times as often as its prompt was
drawn. The design need not be complete: cells without a rating stay empty.

Its variance V is V_R + V_P + V_RP: that over raters alone, that over prompts alone, and what a bootstrap over cells
would give. Of what cells do not have in common it holds three times too much, so that intervals are up to √3 times too
wide where raters give few answers each, as for choices between two. So V_RP, which is what V exceeds V_R + V_P by, is
taken off twice, which leaves the two-way clustered variance V_R + V_P − V_RP (Cameron, Gelbach and Miller 2011, "Robust
Inference with Multiway Clustering", JBES 29:2; Miglioretti and Heagerty 2007); it is never less than either part alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evalkit.stats.estimate import Estimate, student

FEW = 10  # raters or prompts
LEAST_KNOWN = 0.9  # share of draws that must have a value

# How often each rater, (draws, raters), and each prompt, (draws, prompts), counts, to values (draws, K).
Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Draws:
    """How often each draw has each rater and each prompt.

    Attributes:
        raters: (draws, raters).
        prompts: (draws, prompts).
    """

    raters: np.ndarray
    prompts: np.ndarray


def draws(raters: int, prompts: int, number: int, seed: int) -> Draws:
    """Draw raters with replacement, and prompts independently of them."""
    rng = np.random.default_rng([seed, raters, prompts])
    return Draws(
        rng.multinomial(raters, np.full(raters, 1 / raters), number).astype(np.float64),
        rng.multinomial(prompts, np.full(prompts, 1 / prompts), number).astype(np.float64),
    )


def resampled(statistic: Statistic, drawn: Draws, size: int = 500) -> np.ndarray:
    """Compute statistics on draws of both raters and prompts, (draws, K), `size` at a time."""
    starts = range(0, len(drawn.raters), size)
    return np.concatenate([statistic(drawn.raters[k : k + size], drawn.prompts[k : k + size]) for k in starts])


def estimates(statistic: Statistic, drawn: Draws) -> list[Estimate]:
    """Compute statistics of all ratings, (K,), each with its standard error and degrees of freedom.

    Few raters show less spread than there is: the parts of the variance that are due to raters and to prompts are
    multiplied by R / (R − 1) and P / (P − 1), and bounds are Student's t with Satterthwaite's (1946) degrees of freedom
    of the two parts, R − 1 and P − 1. With fewer than `FEW` raters or prompts these are no more than the fewer of the
    two, less one, as Cameron and Miller (2015, "A Practitioner's Guide to Cluster-Robust Inference") have it for all:
    what so few say of their own spread is too little for tests of many differences. docs/listening.md has the measured
    coverage.

    An estimate has no error where the statistic has no value on more than a tenth of the draws, or where there are
    fewer than two raters or prompts.
    """
    raters, prompts = drawn.raters.shape[1], drawn.prompts.shape[1]
    if min(raters, prompts) < 2:
        return without_errors(statistic, drawn)
    once_r, once_p = np.ones_like(drawn.raters), np.ones_like(drawn.prompts)
    values = statistic(once_r[:1], once_p[:1])[0]
    both = variance_over(resampled(statistic, drawn))
    of_raters = variance_over(resampled(statistic, Draws(drawn.raters, once_p))) * raters / (raters - 1)
    of_prompts = variance_over(resampled(statistic, Draws(once_r, drawn.prompts))) * prompts / (prompts - 1)
    variance = np.maximum(2 * (of_raters + of_prompts) - both, np.maximum(of_raters, of_prompts))
    with np.errstate(invalid="ignore", divide="ignore"):
        df = (of_raters + of_prompts) ** 2 / (of_raters**2 / (raters - 1) + of_prompts**2 / (prompts - 1))
    fewer = min(raters, prompts)
    df = np.where(np.isnan(df), fewer - 1, df if fewer >= FEW else np.minimum(df, fewer - 1))
    return [student(float(v), float(e), float(d)) for v, e, d in zip(values, np.sqrt(variance), df, strict=True)]


def without_errors(statistic: Statistic, drawn: Draws) -> list[Estimate]:
    """Compute statistics of all ratings, (K,), of whose errors nothing is said."""
    values = statistic(np.ones_like(drawn.raters[:1]), np.ones_like(drawn.prompts[:1]))[0]
    return [student(float(value), np.nan, np.nan) for value in values]


def variance_over(values: np.ndarray) -> np.ndarray:
    """Compute the variance over draws that have a value, (K,); NaN where too few have one."""
    known = np.isfinite(values)
    enough = known.mean(axis=0) >= LEAST_KNOWN
    number = np.maximum(known.sum(axis=0), 2)
    mean = np.where(known, values, 0.0).sum(axis=0) / number
    squares = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
    return np.where(enough, squares / (number - 1), np.nan)


def totals(cells: np.ndarray, raters: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """Add up cells (K, raters, prompts), each as often as its rater times its prompt counts, (draws, K)."""
    kinds, n, _ = cells.shape
    by_prompt = (raters @ cells.transpose(1, 0, 2).reshape(n, -1)).reshape(len(raters), kinds, -1)
    return np.einsum("bkp,bp->bk", by_prompt, prompts)
