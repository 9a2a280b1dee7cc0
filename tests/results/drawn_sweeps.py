"""Records of sweeps made by hand, from values that somebody has thought of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.results.frames import typed
from evalkit.results.sweep_record import CONFIRMED, POINTS, RUNGS, SCORES, Objective, Parameter, SweepRecord

OBJECTIVES = (
    Objective("fad", "FAD", False), Objective("kld", "KLD", False), Objective("clap_score", "CLAP score", True),
)  # fmt: skip
GUARDS = {"silence_share": "silence share", "clipped_clips": "clipped clips", "loudness": "loudness, LUFS"}
HIGHER = {"clap_score": True, "fad": False, "kld": False, "silence_share": False, "clipped_clips": False}
HALF = {"fad": 0.35, "kld": 0.05, "clap_score": 0.012, "silence_share": 0.02, "clipped_clips": 0.03, "loudness": 0.8}


def values(x: float, y: float = 0.0) -> dict[str, float]:
    """What six metrics are at two numbers, of which 0, 0 is best for FAD."""
    return {
        "fad": 4.3 + 0.9 * x * x + 0.4 * y * y, "kld": 1.38 + 0.1 * (x + 0.3) ** 2 + 0.05 * abs(y),
        "clap_score": 0.31 - 0.02 * (x - 0.8) ** 2 - 0.004 * y, "silence_share": 0.01 + 0.02 * max(0.0, -x),
        "clipped_clips": 0.02 + 0.05 * max(0.0, x), "loudness": -14 + 2 * x,
    }  # fmt: skip


def sweep(
    swept: Mapping[str, Sequence[Any]],
    measured: Callable[..., Mapping[str, float]],
    default: Mapping[str, Any] | None = None,
    failed: Sequence[int] = (),
    dropped: Sequence[int] = (),
    points: Sequence[Sequence[Any]] | None = None,
    objectives: Sequence[Objective] = OBJECTIVES,
    intervals: bool = True,
    **changes: Any,
) -> SweepRecord:
    """Make the record of a sweep.

    Args:
        swept: the values of each parameter, by its key.
        measured: what the metrics are at a point, from its values.
        default: that point's values.
        failed, dropped: numbers of points.
        points: the values of each; else all combinations.
    """
    combinations = [dict(zip(swept, values, strict=True)) for values in points or itertools.product(*swept.values())]
    usual = next((n for n, options in enumerate(combinations, 1) if options == default), None)
    rows, scores = [], []
    for number, options in enumerate(combinations, 1):
        status = "failed" if number in failed else "dropped" if number in dropped else "ok"
        named = " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in options.items())
        found = {} if status == "failed" else measured(*options.values())
        rows.append({
            "point": number, "name": named, "options": options, "default": number == usual, "status": status,
            "reason": "out of memory" if status == "failed" else "", "n": {"ok": 200, "dropped": 50}.get(status, 0),
            "front": math.nan, "silence_share": found.get("silence_share", math.nan),
            "clipped_clips": found.get("clipped_clips", math.nan), "row": "synth", "path": "", "sha256": "",
        })  # fmt: skip
        for metric, value in found.items():
            title = {one.metric: one.title for one in OBJECTIVES}.get(metric, GUARDS.get(metric, metric))
            half = HALF.get(metric, abs(value) / 20) if intervals else math.nan
            scores.append({
                "point": number, "metric": metric, "title": title, "higher_is_better": HIGHER.get(metric),
                "value": value, "low": value - half, "high": value + 1.2 * half,
                "n": rows[-1]["n"], "best": False, "among_best": pd.NA, "note": "",
            })  # fmt: skip
    frame = pd.DataFrame(scores, columns=[name for name in SCORES if not name.startswith("to_") and name != "p_best"])
    ok = frame["point"].isin([row["point"] for row in rows if row["status"] == "ok"]) & frame["value"].notna()
    best: dict[str, Any] = {}
    for metric, higher in HIGHER.items():
        own = frame[ok & (frame["metric"] == metric)]
        if len(own):
            signed = own["value"] * (-1 if higher else 1)
            first = signed.index[signed.argmin()]
            best[metric] = own["point"][first]
            frame.loc[first, "best"] = True
            frame.loc[own.index, "among_best"] = signed <= signed.min() + HALF[metric]
    _fronts(rows, frame, objectives)
    for column in SCORES:
        if column not in frame:
            frame[column] = math.nan
    facts: dict[str, Any] = {
        "name": "a sweep", "search": "grid", "search_facts": {}, "objectives": objectives,
        "parameters": [
            Parameter(key, key.rpartition(".")[2], list(given), (default or {}).get(key),
                      all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in given))
            for key, given in swept.items()
        ],
        "level": 0.95, "draws": 4000, "seed": 0, "dataset": "musiccaps", "subset": "all", "protocol": "musicgen",
        "prompts": 200, "model": "facebook/musicgen-small", "default": usual,
        "winner": best.get(objectives[0].metric) if objectives else None, "fresh_seed": None, "random": [],
        "warnings": [], "remarks": [], "config": {}, "provenance": {}, "points": typed(pd.DataFrame(rows), POINTS),
        "scores": typed(frame[list(SCORES)], SCORES), "plots": [], "path": Path(),
        "confirmed": typed(pd.DataFrame(columns=list(CONFIRMED)), CONFIRMED),
        "rungs": typed(pd.DataFrame(columns=list(RUNGS)), RUNGS),
    }  # fmt: skip
    return SweepRecord(**{**facts, **changes})


def _fronts(rows: list[dict[str, Any]], scores: pd.DataFrame, objectives: Sequence[Objective]) -> None:
    """Give each point a probability that falls with what it lacks to the front."""
    found = scores.pivot_table(index="point", columns="metric", values="value")
    names = [one.metric for one in objectives if one.metric in found]
    for row in rows:
        if row["status"] != "ok" or row["point"] not in found.index or not names:
            continue
        lacks = 0.0
        for other in rows:
            if other["status"] == "ok" and other is not row and other["point"] in found.index:
                gains = [
                    (found[m][row["point"]] - found[m][other["point"]]) * (-1 if HIGHER[m] else 1) / HALF[m]
                    for m in names
                ]
                lacks = max(lacks, min(gains))
        row["front"] = math.exp(-2 * lacks)
