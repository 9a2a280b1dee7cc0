"""Points of sweeps made of arrays: results with features and values per clip, without any audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalkit.results import recompute
from evalkit.results.pairing import Side
from evalkit.results.sweep import Sweep
from evalkit.results.sweep_points import Point, swept
from evalkit.results.sweep_record import Objective, Parameter
from tests.results.sides import side

N = 60
GUIDANCE, TOP_K = "sampling.guidance_scale", "sampling.top_k"
PARAMETERS = [
    Parameter(GUIDANCE, "guidance_scale", [1, 3, 6], 3, True),
    Parameter(TOP_K, "top_k", [50, 250], 250, True),
]
OBJECTIVES = [
    Objective("fad", "FAD", False),
    Objective("kld", "KLD", False),
    Objective("clap_score", "CLAP score", True),
]
GRID = [(3, 250), (3, 50), (1, 50), (1, 250), (6, 50), (6, 250)]  # the default first
DEFAULT = 1


def options(guidance: Any, top_k: Any) -> dict[str, Any]:
    return {GUIDANCE: guidance, TOP_K: top_k}


def measured(folder: Path, seed: int, worse: float = 0.0, n: int = N, samples: int = 1, **changes: Any) -> Side:
    """The result of a point that is worse by some amount in all metrics; what belongs to a prompt is so at all."""
    shared, own = np.random.default_rng(0), np.random.default_rng([1, seed])
    prompts, noise = shared.standard_normal((2, N)), own.standard_normal((samples, 3, N))
    values = {
        "kld": prompts[0] + 0.3 * noise[:, 0] + worse,
        "clap_score": 0.1 * (prompts[1] + 0.3 * noise[:, 1] - worse),
        "silence_share": (own.random((samples, N)) < worse / 3).astype(float),
        "side_to_mid": noise[:, 2],
    }
    references, of_prompts = shared.standard_normal((N, 4, 3)), shared.standard_normal((N, 1, 3))
    clips = 0.7 * of_prompts + own.standard_normal((samples, N, 4, 3)) + worse
    features = {"fad": (clips[:, :n].astype(np.float32), references[:n].astype(np.float32))}
    found = side(
        folder, "m", {name: array[:, :n] for name, array in values.items()}, features,
        **{"digest": f"{seed}", **changes},
    )  # fmt: skip
    return scored(found)


def scored(found: Side) -> Side:
    """The side with a table of its own scores, and each clip's values beside it, as runs write them."""
    scores = found.record.scores.copy()
    for row in scores.index:
        one = recompute.score(found.record, found.row, str(scores.loc[row, "metric"]))
        scores.loc[row, ["value", "low", "high"]] = one.value, one.low, one.high
        scores.loc[row, "n"] = one.n
    nothing = pd.Series([[] for _ in found.record.clips.index], dtype=object)
    each = found.record.values.pivot_table(index=["sample", "id"], columns="metric", values="value")
    clips = found.record.clips.assign(tags=nothing, labels=nothing).join(each, on=["sample", "id"])
    return Side(replace(found.record, scores=scores, clips=clips), found.row)


def worse(guidance: float, top_k: float) -> float:
    """By how much a point of the grid is worse than the best one, of guidance 6 and top-k 250."""
    return 0.1 * abs(guidance - 6) + (0.15 if top_k == 50 else 0.0)


def grid(folder: Path, **changes: Any) -> list[Point]:
    """All points of the grid."""
    return [Point(options(*at), measured(folder, number, worse(*at), **changes)) for number, at in enumerate(GRID, 1)]


def sweep(points: Sequence[Point], **changes: Any) -> Sweep:
    """A sweep of some points that is not saved."""
    facts: dict[str, Any] = {
        "name": "made", "parameters": PARAMETERS, "objectives": OBJECTIVES, "default": DEFAULT, "draws": 500,
        "config": {"model": {"m": {}}},
    }  # fmt: skip
    return swept(points, **{**facts, **changes})
