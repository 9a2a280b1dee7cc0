"""The types of a comparison's record: what differs, how sure that is, and what a gate says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.results.gate import Outcome

SCHEMA = 1  # of what is stored: raise it with a change, and read the older ones too

# The columns of each frame with their types.
METRICS = {
    "metric": "str", "title": "str", "tier": "str", "direction": "str",
    "baseline": "float64", "candidate": "float64", "raw_difference": "float64", "unbiased_baseline": "float64",
    "difference": "float64", "low": "float64", "high": "float64", "error": "float64", "df": "float64", "n": "int64",
    "margin": "float64", "margin_asked": "str", "p": "float64", "test": "str", "p_breach": "float64",
    "better": "float64", "worse": "float64", "delta": "float64", "effect": "str",
    "mde": "float64", "n_needed": "float64", "method": "str", "verdict": "str", "reason": "str", "note": "str",
}  # fmt: skip
SLICES = {
    "slice": "str", "group": "str", "metric": "str", "title": "str",
    "baseline": "float64", "candidate": "float64", "difference": "float64", "low": "float64", "high": "float64",
    "n": "int64", "p": "float64", "p_adjusted": "float64", "change": "str",
    "gated": "bool", "margin": "float64", "p_breach": "float64", "verdict": "str", "reason": "str", "note": "str",
}  # fmt: skip
MOVED = {
    "metric": "str", "title": "str", "id": "str", "caption": "str",
    "baseline": "float64", "candidate": "float64", "difference": "float64", "change": "str",
    "baseline_path": "str", "baseline_sha256": "str", "candidate_path": "str", "candidate_sha256": "str",
    "reference_path": "str", "reference_sha256": "str",
}  # fmt: skip


@dataclass(frozen=True)
class SideInfo:
    """One result of one side.

    Attributes:
        row: the row of its table.
        path: the folder of the result when it was compared.
        sha256: of its result.json, which names the digests of all else.
        checkpoint: what the weights were read from, in words; empty where nothing was.
        digest: of the checkpoint; empty where it is not known.
        commit: of evalkit.
        random: whether random weights made the clips.
        generated: whether the run made the clips.
    """

    row: str
    path: str
    sha256: str
    checkpoint: str
    digest: str
    commit: str
    random: bool
    generated: bool


@dataclass(frozen=True, eq=False)  # frames have no truth value
class ComparisonRecord:
    """What differs between a baseline and a candidate, and what a gate says of it.

    Attributes:
        outcome: "GO", "NO-GO" or "INCONCLUSIVE".
        reasons: why it is this one, the weightiest first, one sentence each.
        warnings: what must be read first, such as that the clips are identical.
        remarks: what else a reader must know, one sentence each.
        baseline, candidate: the results of either side: one, or several that count as clusters.
        dataset, subset: of the prompts.
        protocol: as the tables show it.
        prompts: number of prompts compared.
        prompts_total: number of prompts that either side has.
        gate: as it was read, all defaults filled in, a JSON-like value.
        random: the networks and models with random weights.
        metrics: one row per metric. `baseline` and `candidate` are the values as each side's own table has them, but
            over the compared prompts; `raw_difference` is theirs. `difference`, `low` and `high` are candidate -
            baseline as the decision takes it: of metrics whose value is a function of how clips are distributed, such
            as FAD, corrected for bias by the jackknife. `error` is the difference's standard error and `df` its degrees
            of freedom, infinite for shares. `margin` is absolute; where a share was asked for, it is one of
            `unbiased_baseline`, the baseline's value corrected likewise, because few prompts make a raw one too large,
            and the margin with it. `p` is of no difference, by `test`; `p_breach` of a
            damage of at most the margin. `better` and `worse`: shares of prompts; NaN where neither direction is
            better. `delta`: Cliff's, positive where the candidate is better, or higher; `effect`: the same in words.
            `mde`: the smallest difference that this comparison can see; `n_needed`: prompts needed for a PASS where
            nothing changed. `method`: how the interval was computed.
        slices: one row per group of prompts and metric: `p` by swapping, `p_adjusted` over all slices and metrics
            (max-T), `change`: "worse" or "better", or where neither is better "higher" or "lower", where that is
            significant, else empty.
        moved: one row per metric and prompt, of those that moved most: the worst first.
        path: the folder that holds the record.
        clusters: how many clusters the compared prompts belong to; 0 where each stands by itself.
    """

    outcome: Outcome
    reasons: Sequence[str]
    warnings: Sequence[str]
    remarks: Sequence[str]
    baseline: Sequence[SideInfo]
    candidate: Sequence[SideInfo]
    dataset: str
    subset: str
    protocol: str
    prompts: int
    prompts_total: int
    gate: Mapping[str, Any]
    random: Sequence[str]
    metrics: pd.DataFrame
    slices: pd.DataFrame
    moved: pd.DataFrame
    path: Path
    schema: int = SCHEMA
    clusters: int = 0
