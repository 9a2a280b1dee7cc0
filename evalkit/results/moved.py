"""The prompts on which a candidate differs most from its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from evalkit.results.compared import Compared, changes
from evalkit.results.differences import Sums
from evalkit.results.pairing import Side

WORST, BEST = 5, 3  # prompts of each metric


def rows(compared: Sequence[Compared], baseline: Side, candidate: Side) -> list[dict[str, Any]]:
    """Find the prompts that moved most, with columns as `evalkit.results.comparison_record.MOVED` has them.

    Of each metric that is additive: those that became worse, the worst first, then those that became
    better, the best first; where neither direction is better, those that changed most. Values are means over clips.

    Args:
        baseline, candidate: the results whose clips are named, the first of each prompt.
    """
    before, after = (_first_clips(side) for side in (baseline, candidate))
    captions = baseline.record.prompts.set_index("id")["caption"]
    found = []
    for one in compared:
        if not isinstance(one.material, Sums) or one.difference is None:
            continue
        ours, theirs = one.material.values
        for number in _most(theirs - ours, one.direction):
            i = one.material.ids[number]
            increase, decrease = changes(one.direction)
            found.append(
                {
                    "metric": one.name,
                    "title": one.title,
                    "id": i,
                    "caption": captions[i],
                    "baseline": ours[number],
                    "candidate": theirs[number],
                    "difference": theirs[number] - ours[number],
                    "change": increase if theirs[number] > ours[number] else decrease,
                    "baseline_path": before["path"][i],
                    "baseline_sha256": before["sha256"][i],
                    "candidate_path": after["path"][i],
                    "candidate_sha256": after["sha256"][i],
                    "reference_path": before["reference_path"][i],
                    "reference_sha256": before["reference_sha256"][i],
                }
            )
    return found


def _first_clips(side: Side) -> pd.DataFrame:
    clips = side.clips
    files = ["path", "sha256", "reference_path", "reference_sha256"]
    return clips.loc[clips["sample"] == 1, ["id", *files]].set_index("id").fillna("")  # a run may have no references


def _most(differences: np.ndarray, direction: str) -> list[int]:
    """The numbers of the prompts to show."""
    if direction == "same":
        order = np.argsort(-np.abs(differences), kind="stable")
        return [int(i) for i in order[:WORST] if differences[i]]
    damage = differences if direction == "lower" else -differences
    order = np.argsort(-damage, kind="stable")
    worst = [int(i) for i in order[:WORST] if damage[i] > 0]
    return worst + [int(i) for i in order[::-1][:BEST] if damage[i] < 0]
