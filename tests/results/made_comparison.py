"""Comparisons made by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.results.comparison import FRAMES, Comparison
from evalkit.results.comparison_record import SideInfo
from evalkit.results.frames import typed

EMPTY = {"str": "", "float64": math.nan, "int64": 0, "bool": False}


def side(row: str = "musicgen_small", path: str = "/runs/20261124-main", **changes: Any) -> SideInfo:
    """One result of a side."""
    facts = {
        "row": row, "path": path, "sha256": "a" * 64, "checkpoint": "facebook/musicgen-small@4c8334b0",
        "digest": "4c8334b0", "commit": "abc1234", "random": False, "generated": True,
    }  # fmt: skip
    return SideInfo(**{**facts, **changes})


def metric(name: str = "fad", verdict: str = "PASS", **changes: Any) -> dict[str, Any]:
    """A row of the frame of metrics."""
    return {
        "metric": name, "title": name.upper(), "tier": "critical", "direction": "lower",
        "baseline": 4.9034, "candidate": 4.9312, "raw_difference": 0.0278,
        "unbiased_baseline": 4.9034, "difference": 0.0251, "low": -0.0312,
        "high": 0.0814, "n": 500, "margin": 0.2452, "margin_asked": "5 %", "p": 0.3716, "test": "swaps",
        "p_breach": 0.9999, "mde": 0.0811, "method": "jackknife", "verdict": verdict, **changes,
    }  # fmt: skip


def group(kind: str = "tag", name: str = "piano", metric: str = "kld", **changes: Any) -> dict[str, Any]:
    """A row of the frame of slices."""
    return {
        "slice": kind, "group": name, "metric": metric, "title": metric.upper(), "baseline": 1.4, "candidate": 1.5,
        "difference": 0.1, "low": -0.1, "high": 0.3, "n": 64, "p": 0.2, "p_adjusted": 0.9, **changes,
    }  # fmt: skip


def moved(id: str = "p0", metric: str = "kld", **changes: Any) -> dict[str, Any]:
    """A row of the frame of prompts that moved."""
    return {
        "metric": metric, "title": metric.upper(), "id": id, "caption": f"a calm piano, number {id}",
        "baseline": 1.1, "candidate": 3.2, "difference": 2.1, "change": "worse",
        "baseline_path": f"/cache/a/{id}.flac", "candidate_path": f"/cache/b/{id}.flac",
        "reference_path": f"/clips/{id}.wav", "baseline_sha256": "1" * 64, "candidate_sha256": "2" * 64,
        "reference_sha256": "3" * 64, **changes,
    }  # fmt: skip


def frame(name: str, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame of a comparison, by the name of its field; what rows do not say is empty."""
    columns = FRAMES[name]
    filled = [{**{column: EMPTY[kind] for column, kind in columns.items()}, **row} for row in rows]
    return typed(pd.DataFrame(filled, columns=None if filled else list(columns)), columns)


def comparison(
    metrics: Iterable[Mapping[str, Any]] = (metric(),),
    slices: Iterable[Mapping[str, Any]] = (),
    prompts: Iterable[Mapping[str, Any]] = (),
    **changes: Any,
) -> Comparison:
    """Make a comparison of some metrics, slices and prompts that moved; GO unless `changes` say otherwise."""
    facts: dict[str, Any] = {
        "outcome": "GO", "reasons": ["every gated metric passes"], "warnings": [], "remarks": [],
        "baseline": [side()], "candidate": [side("finetuned", "/runs/20261125-finetuned")],
        "dataset": "musiccaps", "subset": "all", "protocol": "musicgen", "prompts": 500, "prompts_total": 500,
        "gate": {"metrics": {"fad": {"tier": "critical"}}, "level": 0.95, "power": 0.8, "swaps": 1000, "groups": 50},
        "random": [], "path": Path(),
    }  # fmt: skip
    frames = {
        "metrics": frame("metrics", metrics),
        "slices": frame("slices", slices),
        "moved": frame("moved", prompts),
    }
    return Comparison(**{**facts, **frames, **changes})
