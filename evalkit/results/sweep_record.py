"""The types of a sweep's record: every point, how it differs from the default and the best, and which may be best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

SCHEMA = 1  # of what is stored: raise it with a change, and read the older ones too

Status = Literal["ok", "failed", "dropped"]

# The columns of each frame with their types.
POINTS = {
    "point": "int64", "name": "str", "options": "object", "default": "bool", "status": "str", "reason": "str",
    "n": "int64", "front": "float64", "silence_share": "float64", "clipped_clips": "float64",
    "row": "str", "path": "str", "sha256": "str",
}  # fmt: skip
SCORES = {
    "point": "int64", "metric": "str", "title": "str", "higher_is_better": "boolean",
    "value": "float64", "low": "float64", "high": "float64", "n": "int64",
    "to_default": "float64", "to_default_low": "float64", "to_default_high": "float64", "to_default_p": "float64",
    "best": "bool",
    "to_best": "float64", "to_best_low": "float64", "to_best_high": "float64",
    "among_best": "boolean", "p_best": "float64", "note": "str",
}  # fmt: skip
CONFIRMED = {
    "metric": "str", "title": "str", "default": "float64", "winner": "float64",
    "difference": "float64", "low": "float64", "high": "float64", "p": "float64", "n": "int64", "verdict": "str",
}  # fmt: skip
RUNGS = {"prompts": "int64", "points": "int64", "dropped": "int64", "clips": "int64"}


@dataclass(frozen=True)
class Parameter:
    """An option that is swept.

    Attributes:
        key: its whole name, such as "sampling.top_k".
        name: the shortest one that is clear, such as "top_k".
        values: those that points have, in order: numbers by size, others as they were given.
        default: what it is where nothing is swept; None where there is no such value.
        numeric: whether all values are numbers.
    """

    key: str
    name: str
    values: Sequence[Any]
    default: Any
    numeric: bool


@dataclass(frozen=True)
class Objective:
    """A metric by which points are judged.

    Attributes:
        margin: by how much a point must be worse to be dropped from a race, in the metric's own unit.
    """

    metric: str
    title: str
    higher_is_better: bool
    margin: float = 0.0


@dataclass(frozen=True, eq=False)  # frames have no truth value
class SweepRecord:
    """What was measured at each point of a sweep.

    Attributes:
        name: of the sweep.
        search: how points were chosen: "grid", "optuna", …; with facts about it in `search_facts`.
        parameters: what was swept.
        objectives: by which points are judged; the winner is the best by the first.
        level, draws, seed: of intervals, and of the draws that all points share.
        dataset, subset, protocol, prompts, model: of all points; `prompts` is the number of prompts that all have.
        default: number of the point where no option is swept, the model card's; None where there is none.
        winner: number of the point with the best value of the first objective; None where there is no value.
        fresh_seed: sampling seed on which winner and default were measured again; None where they were not.
        random: the networks and models with random weights.
        warnings: what must be read first.
        remarks: what else a reader must know, one sentence each.
        config: what all points have in common, resolved.
        provenance: of the first point.
        points: one row per point. `options` maps each parameter's key to its value. `status`: "ok", "failed" (with the
            reason), or "dropped" from a race, of which `n` is the number of prompts that it was measured on.
            `front`: the probability of being on the Pareto front of the objectives; NaN for what was not measured on
            all prompts. `silence_share`, `clipped_clips`: NaN where they were not measured. `path`: the folder of
            the point's result.
        scores: one row per point and metric. `value`, `low`, `high`: as the point's own table has them. `to_default`
            and `to_best`: difference of this point from the default, and from the best of the metric, paired by
            prompt, corrected for bias where the metric has one, with intervals. `best`: whether it has the best value.
            `among_best`: whether it is not worse than the best beyond noise, of all points at once; `p_best` is the
            p-value of that; NA where it cannot be said.
        confirmed: winner and default on the fresh seed, one row per objective; `verdict`: "better", "worse" or
            "not told apart".
        rungs: of a race, one row per rung: prompts, points measured, how many of them were dropped after it, and clips
            that it needs beside those of the rung before. Empty without a race.
        plots: names of the plots in the folder's `plots`, without their ending: each is there as PNG and SVG.
        path: the folder that holds the record.
    """

    name: str
    search: str
    search_facts: Mapping[str, Any]
    parameters: Sequence[Parameter]
    objectives: Sequence[Objective]
    level: float
    draws: int
    seed: int
    dataset: str
    subset: str
    protocol: str
    prompts: int
    model: str
    default: int | None
    winner: int | None
    fresh_seed: int | None
    random: Sequence[str]
    warnings: Sequence[str]
    remarks: Sequence[str]
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    points: pd.DataFrame
    scores: pd.DataFrame
    confirmed: pd.DataFrame
    rungs: pd.DataFrame
    plots: Sequence[str]
    path: Path
    schema: int = SCHEMA
