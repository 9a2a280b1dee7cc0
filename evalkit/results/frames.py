"""The frames of a record: their columns and types."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from evalkit.types import Prompt

# The columns of each frame with their types. Frames may have more columns where the docstring of Record says so.
PROMPTS = {"id": "str", "caption": "str", "tags": "object", "labels": "object"}
SOMETIMES = ("cluster", "translation", "language")  # columns of prompts that are there where a prompt has them
SCORES = {
    "model": "str", "metric": "str", "value": "float64", "low": "float64", "high": "float64", "n": "int64",
    "protocol": "str", "higher_is_better": "boolean", "random_weights": "bool",
    "published": "float64", "difference": "float64", "comparable": "bool",
    "sets": "int64", "seed_sd": "float64", "spread": "float64", "rounding": "float64", "tolerance": "float64",
    "published_n": "float64", "because": "str",
    "difference_low": "float64", "difference_high": "float64", "verdict": "str", "verdict_reason": "str",
    "context": "float64", "tuned_from": "str",
    "source": "str", "url": "str", "note": "str",
}  # fmt: skip
JUDGED = (  # those of scores that records did not always have
    "sets", "seed_sd", "spread", "rounding", "tolerance", "published_n", "because",
    "difference_low", "difference_high", "verdict", "verdict_reason", "context", "tuned_from",
)  # fmt: skip
ORIGIN = "reference_origin"  # a column of clips that is there where references were altered
ABSENT: Mapping[str, str | float] = {
    "str": "",
    "float64": float("nan"),
    "int64": 1,
}  # what stands in them there, by type
SLICES = {
    "slice": "str", "group": "str", "model": "str", "metric": "str", "value": "float64", "low": "float64",
    "high": "float64", "n": "int64", "protocol": "str", "higher_is_better": "boolean", "note": "str", "small": "bool",
}  # fmt: skip
CLIPS = {
    "model": "str", "id": "str", "sample": "int64", "caption": "str", "tags": "object", "labels": "object",
    "status": "str", "reason": "str", "note": "str", "path": "str", "sha256": "str", "sample_rate": "int64",
    "channels": "int64", "seconds": "float64", "gain": "float64", "start": "float64", "length": "float64",
    "compared_length": "float64", "reference_status": "str", "reference_reason": "str", "reference_note": "str",
    "reference_path": "str", "reference_sha256": "str", "reference_gain": "float64", "reference_start": "float64",
    "reference_length": "float64",
}  # fmt: skip
VALUES = {
    "model": "str", "sample": "int64", "id": "str", "metric": "str",
    "value": "float64", "sum": "float64", "count": "float64",
}  # fmt: skip
INDEX = {  # of features
    "encoder": "str", "row": "str", "sample": "int64", "side": "str", "id": "str",
    "array": "str", "start": "int64", "frames": "int64",
}  # fmt: skip

# What no metric can be named, because tables have columns of these names beside those of metrics.
TAKEN = {
    *CLIPS, ORIGIN, "clips", "prompts", "dataset", "subset", "protocol", "random_weights", "calibration", "run",
    "condition", "source", "url", "primary", "caveat",
}  # fmt: skip


def typed(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Give a frame's columns their order and types; further columns follow. KeyError for one that is absent."""
    further = [column for column in frame.columns if column not in columns]
    return frame[[*columns, *further]].astype(dict(columns)).reset_index(drop=True)


def prompts_of(frame: pd.DataFrame) -> list[Prompt]:
    """Make the prompts of a record's frame `prompts` again: id, caption, tags, labels, and what else some have."""
    more = [name for name in SOMETIMES if name in frame.columns]
    return [
        Prompt(id, caption, tags=tuple(tags), labels=tuple(labels), **dict(zip(more, others, strict=True)))
        for id, caption, tags, labels, *others in frame[[*PROMPTS, *more]].itertuples(index=False, name=None)
    ]
