"""What a gate says of differences, metric by metric and over all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd

from evalkit.report.numbers import number, places
from evalkit.results.comparable import Reason
from evalkit.results.gate import Direction, Gate, Limit, Outcome, Verdict
from evalkit.stats.estimate import Estimate
from evalkit.stats.permutation import holm
from evalkit.stats.power import noise_of

ROUNDING = 1e-9  # of a difference of the same clips, where several results are averaged in another order
WEIGHTS: Sequence[Verdict] = ("BREACH", "MISSING", "INSUFFICIENT_EVIDENCE")  # against a GO, the weightiest first


@dataclass(frozen=True)
class Judged:
    """What a gate says of one difference.

    Attributes:
        verdict: "MISSING" where there is no difference.
        reason: why it is this one, in words.
        p_breach: one-sided p-value of a damage of at most the margin; NaN where there is none, or too few prompts.
        n_needed: prompts with which nothing having changed is a PASS with the gate's power; infinite where none
            suffice, NaN where that is not known.
        mde: the smallest true difference that such a comparison tells from none with the gate's power.
    """

    verdict: Verdict
    reason: str
    p_breach: float
    n_needed: float
    mde: float


def judge(
    limit: Limit,
    margin: float,
    direction: Direction,
    estimate: Estimate,
    n: int,
    gate: Gate,
    note: str = "",
    identical: bool = False,
    clusters: int = 0,
) -> Judged:
    """Judge a difference by the interval of the damage: the difference, turned so that more is worse.

    It is a PASS if the whole interval is at most the margin, and a BREACH if all of it is more (a non-inferiority test;
    each bound is wrong in at most (1 - level) / 2 of all comparisons). Where neither direction is better, a change
    either way is a damage.

    Args:
        margin: absolute.
        n: number of prompts.
        note: why there is no difference, or no interval of it, where there is none.
        identical: whether the clips of both sides are the same, so that nothing can have become worse.
        clusters: how many the prompts belong to, which then must be at least `least_n`; 0 where each stands by itself.
    """
    if math.isnan(estimate.value) or math.isnan(margin):
        why = "; ".join(filter(None, note.splitlines())) or "there is no value of it to compare"
        return Judged("MISSING", why, math.nan, math.nan, math.nan)
    mde = estimate.detectable(gate.level, gate.power)
    both = direction == "same"
    least = limit.least_n * n / clusters if clusters else float(limit.least_n)  # prompts, if more make more clusters
    needed = max(noise_of(estimate, n).needed(margin, gate.level, gate.power, both), least)
    if identical and abs(estimate.value) < ROUNDING:
        return Judged("PASS", "the clips are the same on both sides", 1.0, needed, mde)
    if (clusters or n) < limit.least_n:
        asked = f"{_prompts(n)}, and the gate asks for at least {limit.least_n:,}"
        if clusters:
            which = f"{clusters:,} cluster{'' if clusters == 1 else 's'} of {_prompts(n)}"
            asked = f"{which}, and the gate asks for at least {limit.least_n:,} clusters"
        why = f"{asked}: {_enough(needed, n, gate.power)}"
        return Judged("INSUFFICIENT_EVIDENCE", why, math.nan, needed, mde)
    verdict, why = decided(estimate, margin, direction, gate.level)
    if math.isnan(sum(estimate.interval(gate.level))):
        return Judged(verdict, note or why, math.nan, needed, mde)
    if verdict == "INSUFFICIENT_EVIDENCE":
        why += f": {_enough(needed, n, gate.power)}"
    return Judged(verdict, why, p_of_breach(estimate, margin, direction), needed, mde)


def decided(estimate: Estimate, margin: float, direction: Direction, level: float) -> tuple[Verdict, str]:
    """Say whether the interval of the damage lies within a margin, beyond it, or neither, and why."""
    low, high = estimate.interval(level)
    both = direction == "same"
    if direction == "higher":
        low, high = -high, -low
    if math.isnan(low) or math.isnan(high):
        return "INSUFFICIENT_EVIDENCE", "there is no interval of the difference"
    digits = places(high - low, margin)
    what, end = "change" if both else "damage", f"{'±' * both}{number(margin, digits)}"
    span = f"the interval of the {what}, {number(low, digits)} to {number(high, digits)},"
    if low > margin or (both and high < -margin):
        return "BREACH", f"{span} lies beyond the margin {end}"
    if high <= margin and (not both or low >= -margin):
        return "PASS", f"{span} lies within the margin {end}"
    return "INSUFFICIENT_EVIDENCE", f"{span} holds {'an end of ' if both else ''}the margin {end}"


def p_of_breach(estimate: Estimate, margin: float, direction: Direction) -> float:
    """Compute the one-sided p-value of a damage of at most a margin; of the worse way where neither is better.

    A difference cannot lie beyond both ends, so that this is as often wrong as that of one.
    """
    if direction == "same":
        return min(estimate.p_above(margin), estimate.p_below(-margin))
    return estimate.p_above(margin) if direction == "lower" else estimate.p_below(-margin)


def _enough(needed: float, n: int, power: float) -> str:
    """How many prompts would have been enough."""
    if math.isnan(needed):
        return f"how many prompts are needed is not known, and there are {n:,}"
    if math.isinf(needed):
        return "no number of prompts is enough to show that nothing has changed"
    if needed > n:
        return f"with no change about {needed:,.0f} prompts are needed, and there are {n:,}"
    return f"with no change {needed:,.0f} prompts pass in {power:.0%} of comparisons, and there are {n:,}"


def _prompts(n: int) -> str:
    return f"{n:,} prompt{'' if n == 1 else 's'}"


@dataclass(frozen=True)
class _Gated:
    """A gated metric, or a gated slice of one, as it was judged."""

    title: str
    critical: bool
    verdict: Verdict
    reason: str
    p_breach: float


def decide(
    metrics: pd.DataFrame,
    slices: pd.DataFrame,
    gate: Gate,
    reasons: Sequence[Reason],
    random: Sequence[str],
    allow_random: bool,
    identical: bool,
) -> tuple[Outcome, list[str], list[str]]:
    """Decide over all gated metrics: the outcome, its reasons, the weightiest first, and warnings.

    It is a GO only if all of them PASS, so that no correction for their number is due (an intersection-union test,
    Berger 1982), nothing but the checkpoints differs, and no weights are random. It is a NO-GO if a critical one is a
    BREACH after Holm's correction for their number. Everything else is INCONCLUSIVE.

    Args:
        metrics, slices: frames with columns as `evalkit.results.comparison_record` has them, of slices at least the
            gated ones. A gated metric without a row is absent from all results.
        reasons: in what else the sides differ.
        random: networks and models with random weights.
        allow_random: whether these may be so for a GO.
        identical: whether the clips of both sides are the same.
    """
    gated = list(_gated(metrics, slices, gate))
    critical = [one for one in gated if one.critical]
    adjusted = holm(np.array([one.p_breach for one in critical], np.float64))
    alpha = (1 - gate.level) / 2
    sure = sorted(
        ((p, one) for p, one in zip(adjusted, critical, strict=True) if one.verdict == "BREACH" and p <= alpha),
        key=lambda pair: float(pair[0]),
    )
    found = [f"{one.title}: BREACH: {one.reason}" for _, one in sure]
    rest = [one for one in gated if one.verdict != "PASS" and one not in [breach for _, breach in sure]]
    rest.sort(key=lambda one: (not one.critical, WEIGHTS.index(one.verdict)))
    for one in rest:
        only = ""
        if one.verdict == "BREACH":
            only = " (not after Holm's correction)" if one.critical else " (supporting: no NO-GO by itself)"
        found.append(f"{one.title}: {one.verdict}: {one.reason}{only}")
    differ = [f"{reason.condition}: {reason.text}" for reason in reasons]
    if not gated:
        differ.append("no metric is gated: nothing was decided on")
    warnings = []
    if random:
        warnings.append(f"random weights: {', '.join(random)}: the numbers mean nothing outside this comparison")
    if identical:
        warnings.append("the clips are the same on both sides, byte for byte: was one checkpoint compared with itself?")
    if differ:
        return "INCONCLUSIVE", [*differ, *found], warnings
    if sure:
        return "NO-GO", found, warnings
    if found:
        return "INCONCLUSIVE", found, warnings
    if random and not allow_random:
        why = f"random weights can give no GO: {', '.join(random)} (--allow-random lets them)"
        return "INCONCLUSIVE", [why], warnings
    return "GO", [f"{_counted(gated)} within {'its margin' if len(gated) == 1 else 'their margins'}"], warnings


def _counted(gated: Sequence[_Gated]) -> str:
    return f"the gated metric {gated[0].title} is" if len(gated) == 1 else f"all {len(gated)} gated metrics are"


def _gated(metrics: pd.DataFrame, slices: pd.DataFrame, gate: Gate) -> Iterator[_Gated]:
    """All that is gated, in the order of the gate: what has no row is missing, but for optional metrics."""
    of_metrics = {str(row["metric"]): row for row in metrics.to_dict("records")}
    of_slices = {(str(r["metric"]), f"{r['slice']}:{r['group']}".casefold()): r for r in slices.to_dict("records")}
    for name, limit in gate.metrics.items():
        row, critical = of_metrics.get(name), limit.tier == "critical"
        if limit.tier == "advisory" or (row is None and limit.optional):
            continue
        title = str(row["title"]) if row else name
        yield _judged(title, critical, row, "it is in neither result")
        for group in limit.slices:
            found = of_slices.get((name, group.casefold()))
            yield _judged(f"{title} of {group}", critical, found, "no prompt is in this group")


def _judged(title: str, critical: bool, row: Mapping[Any, Any] | None, absent: str) -> _Gated:
    if row is None:
        return _Gated(title, critical, "MISSING", absent, math.nan)
    # what has no known verdict was not judged, and passes nothing
    verdicts: Sequence[Verdict] = get_args(Verdict)
    verdict: Verdict = next((known for known in verdicts if known == row["verdict"]), "MISSING")
    return _Gated(title, critical, verdict, str(row["reason"]), float(row["p_breach"]))
