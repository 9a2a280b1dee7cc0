"""One metric on both sides, and what a gate says of its difference."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from evalkit.errors import reason
from evalkit.results import verdicts
from evalkit.results.differences import Difference, Sets, Sums
from evalkit.results.gate import Direction, Gate, Limit, absolute
from evalkit.stats.estimate import Estimate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compared:
    """One metric on both sides.

    Attributes:
        limit: what the gate says of it; None where it says nothing.
        material, difference: None where there is none, for the `reason`.
    """

    name: str
    title: str
    direction: Direction
    limit: Limit | None
    material: Sums | Sets | None = None
    difference: Difference | None = None
    reason: str = ""


def failed(metric: str, error: Exception) -> str:
    """Log a metric's error that is no EvalkitError, and say in one line what it was."""
    log.info("metric.%s failed", metric, exc_info=error)
    return f"metric.{metric}: {type(error).__name__}: {reason(error)}"


def changes(direction: Direction) -> tuple[str, str]:
    """What an increase and a decrease are called."""
    words: dict[Direction, tuple[str, str]] = {
        "same": ("higher", "lower"),
        "higher": ("better", "worse"),
        "lower": ("worse", "better"),
    }
    return words[direction]


def judged(one: Compared, difference: Difference, gate: Gate) -> dict[str, Any]:
    """What the gate says of a difference, by the columns of frames; without a limit only what can be seen."""
    if one.limit is None or one.material is None:
        return {"mde": difference.estimate.detectable(gate.level, gate.power)}
    margin, estimate = absolute(one.limit.margin, difference.unbiased), difference.estimate
    if one.limit.margin.relative and difference.scaled:
        estimate = _of_a_share(difference, difference.scaled, one.limit.margin.amount, margin, one.direction)
    said = verdicts.judge(
        one.limit, margin, one.direction, estimate, difference.n, gate, difference.note, one.material.identical,
        difference.clusters,
    )  # fmt: skip
    apart = one.material.left_out
    if said.verdict == "PASS" and apart:  # these may be the worst
        why = f"{apart:,} prompts have a value on one side only, of which nothing is known"
        said = replace(said, verdict="INSUFFICIENT_EVIDENCE", reason=why)
    return {
        "margin": margin,
        "p_breach": said.p_breach,
        "mde": said.mde,
        "n_needed": said.n_needed,
        "verdict": said.verdict,
        "reason": said.reason,
    }


def _of_a_share(
    difference: Difference, scaled: Callable[[float], Estimate], share: float, margin: float, direction: Direction
) -> Estimate:
    """The difference, as unsure as it is together with a margin that is a share of the baseline's value.

    That value is measured as well, on the same prompts: that the candidate's is at most so many times the baseline's
    is judged as one difference.

    Args:
        margin: the same in the metric's own unit.
    """
    share = math.copysign(share, difference.unbiased)
    above, below = _moved_by(scaled(1 + share), margin), _moved_by(scaled(1 - share), -margin)
    if direction != "same":
        return above if direction == "lower" else below

    def either(tail: float) -> tuple[float, float]:
        lows, highs = zip(above.bounds(tail), below.bounds(tail), strict=True)
        return min(lows), max(highs)

    return replace(above if above.error >= below.error else below, value=difference.estimate.value, bounds=either)


def _moved_by(estimate: Estimate, by: float) -> Estimate:
    def bounds(tail: float) -> tuple[float, float]:
        low, high = estimate.bounds(tail)
        return low + by, high + by

    return replace(estimate, value=estimate.value + by, bounds=bounds)
