"""A gate: by how much a candidate may be worse than its baseline, metric by metric, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Tier = Literal["critical", "supporting", "advisory"]
Direction = Literal["lower", "higher", "same"]  # what is better; "same" where neither is
Verdict = Literal["PASS", "BREACH", "INSUFFICIENT_EVIDENCE", "MISSING"]
Outcome = Literal["GO", "NO-GO", "INCONCLUSIVE"]

STATUS: Mapping[Outcome, int] = {"GO": 0, "NO-GO": 1, "INCONCLUSIVE": 2}  # exit status of `evalkit compare`
MISTAKE = 4  # exit status for what cannot be compared at all


@dataclass(frozen=True)
class Margin:
    """By how much a metric may be worse: in its own unit, or as a share of the baseline's value."""

    amount: float
    relative: bool = False


@dataclass(frozen=True)
class Limit:
    """What a gate says of one metric.

    Attributes:
        tier: "critical": a BREACH is a NO-GO. "supporting": must PASS for a GO, but its BREACH is no NO-GO.
            "advisory": shown, and never decides.
        margin: by how much it may be worse.
        direction: what is better; None for what the metric says itself.
        least_n: number of prompts below which there is no verdict but INSUFFICIENT_EVIDENCE.
        optional: whether it may be absent from all results.
        slices: groups of prompts that are gated too, such as "voice:vocal", with the same margin.
        because: why the margin is this one.
    """

    tier: Tier
    margin: Margin
    direction: Direction | None = None
    least_n: int = 30
    optional: bool = False
    slices: Sequence[str] = ()
    because: str = ""


@dataclass(frozen=True)
class Gate:
    """What must hold for a GO.

    Attributes:
        metrics: the gated metrics by name.
        level: of the intervals; a bound is wrong in half of what is left.
        power: with which what a comparison can see is computed.
        swaps: how many times baseline and candidate are swapped within prompts.
        groups: of prompts that are left out together in the jackknife of metrics of sets.
        seed: of swaps and groups.
        slices: kinds of groups of prompts to look at, such as "tag".
        may_differ: conditions, by the names in `evalkit.results.pairing.CONDITIONS`, in which the sides may differ.
    """

    metrics: Mapping[str, Limit]
    level: float = 0.95
    power: float = 0.8
    swaps: int = 1000
    groups: int = 50
    seed: int = 0
    slices: Sequence[str] = ("voice", "caption_length", "tag", "label")
    may_differ: Sequence[str] = field(default=())
