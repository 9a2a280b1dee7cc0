"""Whether a score reproduces a published value, and if that cannot be told, what would decide it.

What the published value fixes has been looked at before, by `evalkit.results.comparable`: here is what numbers say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evalkit.report.numbers import number, places, signed
from evalkit.results.gate import absolute
from evalkit.results.published import Published
from evalkit.stats.equivalence import MOST_SEEDS, decide, missing_error, over_seeds, seeds_needed

Verdict = Literal["REPRODUCED", "DIFFERS (higher)", "DIFFERS (lower)", "UNDECIDED", "NOT COMPARABLE"]

LEVEL = 0.95  # of the two-sided interval: either claim is wrong in at most 2.5 % of cases, whatever a run asks for
LEAST_SEEDS = 3  # of fewer, whose standard deviation is a guess, nothing is said
LEAST_NOISE = 1e-9  # of the value: a smaller standard deviation over seeds is that of rounding
LEAST_SHARE = 0.9  # of the published number of prompts, below which nothing is said either
MORE_SEEDS = f"{LEAST_SEEDS} seeds or more are needed: sampling.samples_per_prompt={LEAST_SEEDS}"
NO_NOISE = "all seeds give the same value, so that nothing is known of their noise"
NO_SPREAD = "which prompts are missing from either value changes it by nobody knows how much: there is no interval"
NO_TOLERANCE = "its source is given no tolerance by which to judge a difference"
NOBODY_CHECKS = "nobody can check how clips were made that were there already, or of weights that are not known"


@dataclass(frozen=True)
class Measured:
    """A score of the clips that a published value is of, as far as that is known.

    Attributes:
        value: mean over `sets` of one clip per prompt, each of which is a sampling seed of its own.
        seed_sd: standard deviation over sets; NaN for one.
        spread: standard deviation over prompts of how each moves the value; NaN where that is not known.
        n: number of prompts.
        checkable: whether the run made the clips, of a checkpoint that is on record.
    """

    value: float
    sets: int
    seed_sd: float
    spread: float
    n: int
    checkable: bool


@dataclass(frozen=True)
class Judged:
    """What is said of a score beside a published value.

    Attributes:
        reason: why it is this verdict, and what would decide it.
        rounding, tolerance: of the published value, absolute; NaN where none is known.
        low, high: bounds of measured - published, which rounding has widened; NaN where there are none.
    """

    verdict: Verdict
    reason: str
    rounding: float = math.nan
    tolerance: float = math.nan
    low: float = math.nan
    high: float = math.nan


def not_comparable(reasons: Sequence[str], published: Published | None = None) -> Judged:
    """Say why a score cannot be judged, and by what it would have been."""
    rounding, tolerance = _tolerance(published)
    return Judged("NOT COMPARABLE", "; ".join(reasons), rounding, tolerance)


def judge(measured: Measured, published: Published) -> Judged:
    """Judge a score whose clips came about as those of a published value, but for prompts without a reference.

    It is reproduced where the whole interval of the difference lies within the tolerance, and differs where all of it
    lies beyond (`evalkit.stats.equivalence`). What varies is the noise of sampling seeds given the prompts, and which
    prompts either value is of, where these are not all. Of fewer prompts than were published on, of clips that
    were there already, and of weights that are not known, nothing is reproduced, but a difference can be seen.

    Args:
        published: with a value, n, prompts and a tolerance.
    """
    assert published.value is not None and published.n is not None and published.prompts is not None
    rounding, tolerance = _tolerance(published)
    judged = Judged("UNDECIDED", MORE_SEEDS, rounding, tolerance)
    if measured.sets < LEAST_SEEDS:
        return judged
    if measured.seed_sd <= LEAST_NOISE * abs(measured.value):
        return replace(judged, reason=NO_NOISE)
    total = max(published.prompts.n, published.n, measured.n)
    error = _error_of_prompts(measured.spread, measured.n, published.n, total)
    if math.isnan(error):
        return replace(judged, reason=NO_SPREAD)

    difference = measured.value - published.value
    estimate = over_seeds(difference, measured.seed_sd, measured.sets, published.runs, error)
    low, high = estimate.interval(LEVEL)
    judged = replace(judged, low=low - rounding, high=high + rounding)
    decision = decide(estimate, tolerance, rounding, LEVEL)
    missing = max(0, published.n - measured.n)
    more = f"{missing:,} more reference{'s' if missing > 1 else ''}" if missing else ""
    verdict: Verdict = "UNDECIDED"
    if decision in ("above", "below"):
        verdict = "DIFFERS (higher)" if decision == "above" else "DIFFERS (lower)"
        why = ""
    elif not measured.checkable:
        why = NOBODY_CHECKS
    elif decision == "undecided":
        # as it would be with all references
        error = _error_of_prompts(measured.spread, max(measured.n, published.n), published.n, total)
        why = _what_would_decide(measured, published, error, more)
    elif missing:
        why = f"{more} would decide"
    else:
        verdict, why = "REPRODUCED", ""
    shown = places(tolerance)
    where = {"within": "within", "undecided": "neither within nor beyond"}.get(decision, "beyond")
    interval = f"[{number(judged.low, shown)}, {number(judged.high, shown)}]"
    text = f"difference {signed(difference, shown)} {interval} is {where} ±{number(tolerance, shown)}"
    if published.runs > 1:
        text += f", the published value being taken for a mean of {published.runs:,} runs"
    return replace(judged, verdict=verdict, reason=": ".join(filter(None, [text, why])))


def _what_would_decide(measured: Measured, published: Published, error: float, more: str) -> str:
    """Say which references and seeds would decide, were difference and noise as they are.

    Args:
        error: of which prompts the values are of, if all references were there.
        more: those that are missing, in words.
    """
    assert published.value is not None
    rounding, tolerance = _tolerance(published)
    noise = (measured.seed_sd, tolerance, rounding, LEVEL, published.runs, error)
    needed = seeds_needed(measured.value - published.value, *noise)
    if needed is not None:
        seeds = f"{needed:,} seeds" if needed > measured.sets else ""
        return f"{' and '.join(filter(None, [more, seeds]))} would decide, if nothing else changes"
    _, best = over_seeds(0.0, measured.seed_sd, MOST_SEEDS, published.runs, error).interval(LEVEL)
    known = number(best + rounding, places(tolerance))
    runs = f"{published.runs:,} run{'s' if published.runs > 1 else ''}"
    return f"no number of seeds would decide, since the published value, of {runs} and rounded, is known to ±{known}"


def _tolerance(published: Published | None) -> tuple[float, float]:
    """The rounding and the tolerance of a published value, absolute; NaN where none are known."""
    if published is None or published.tolerance is None or published.value is None:
        return math.nan, math.nan
    return published.tolerance.rounding, absolute(published.tolerance.margin, published.value)


def _error_of_prompts(spread: float, n: int, published: int, total: int) -> float:
    """The standard error from prompts that either value is not of: none where both are of all."""
    return 0.0 if n == published == total else missing_error(spread, n, published, total)
