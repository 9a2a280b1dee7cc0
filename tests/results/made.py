"""Records made by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.report import formats
from evalkit.results.comparable import prompt_digests
from evalkit.results.evidence import Evidence
from evalkit.results.frames import CLIPS, INDEX, PROMPTS, SCORES, SLICES, typed
from evalkit.results.frames import VALUES as CLIP_VALUES
from evalkit.results.published import Prompts, Published
from evalkit.results.record import (
    Count,
    MetricInfo,
    PromptsInfo,
    ProtocolInfo,
    Record,
    ReferencesInfo,
    RowInfo,
    WeightsInfo,
)

FORMS = [name for name in formats() if name != "junit"]  # those of results, by which nothing is judged
TITLES = {
    "fad": ("FAD", False),
    "kld": ("KLD", False),
    "clap_score": ("CLAP score", True),
    "chroma": ("Chroma cosine similarity", True),
}
VALUES = {
    "musicgen_small": {"fad": 4.9034, "kld": 1.4031, "clap_score": 0.2689, "chroma": 0.1014},
    "musicgen_stereo_small": {"fad": 5.1117, "kld": 1.4444, "clap_score": 0.2718, "chroma": math.nan},
}
PUBLISHED = {
    ("musicgen_small", "fad"): 4.88,
    ("musicgen_small", "kld"): 1.42,
    ("musicgen_small", "clap_score"): 0.27,
}
CARD = {"source": "MusicGen model card", "url": "https://example.org/card"}


def metric(title: str, higher: bool | None, **changes: Any) -> MetricInfo:
    """A metric's entry in a result."""
    info = MetricInfo(title, higher, "musicgen", "references", False, False, (None, None), {}, "", "", "", (), ())
    return replace(info, **changes)


def row(**changes: Any) -> RowInfo:
    """A row's entry in a result: a model that generated its clips."""
    return replace(RowInfo(False, "", None, True, False, True, {}), **changes)


def score(model: str, name: str, value: float, published: float = math.nan, **changes: Any) -> dict[str, Any]:
    """One row of the scores."""
    beside = CARD if not math.isnan(published) else {"source": "", "url": ""}
    return {
        "model": model, "metric": name, "value": value, "low": math.nan, "high": math.nan, "n": 12,
        "protocol": "musicgen", "higher_is_better": None, "random_weights": False,
        "published": published, "difference": value - published, "comparable": not math.isnan(published),
        "sets": 1, "seed_sd": math.nan, "spread": math.nan, "rounding": math.nan, "tolerance": math.nan,
        "published_n": math.nan, "because": "",
        "difference_low": math.nan, "difference_high": math.nan, "verdict": "", "verdict_reason": "",
        "context": math.nan, "tuned_from": "", "note": "", **beside, **changes,
    }  # fmt: skip


def record(
    values: Mapping[str, Mapping[str, float]] = VALUES,
    published: Mapping[tuple[str, str], float] = PUBLISHED,
    n: Mapping[str, int] | None = None,
    each: Mapping[str, Any] | None = None,
    titles: Mapping[str, tuple[str, bool | None]] = TITLES,
    clips: Mapping[str, Sequence[str]] | None = None,
    total: int = 12,
    spread: float = math.nan,
    notes: Mapping[tuple[str, str], str] | None = None,
    slices: Sequence[Mapping[str, Any]] = (),
    path: Path = Path("runs/made"),
    **changes: Any,
) -> Record:
    """Make a record with some values by model and metric.

    Args:
        n: by metric, where it is another number than that of all prompts.
        each: more columns of every score.
        clips: statuses of each model's clips, where they are not all usable.
        spread: from a value to either bound of its interval.
        changes: attributes of the record.
    """
    scores = [
        score(
            model, name, value, published.get((model, name), math.nan), n=(n or {}).get(name, total),
            low=value - spread, high=value + spread, note=(notes or {}).get((model, name), ""), **(each or {}),
        )
        for model, found in values.items()
        for name, value in found.items()
    ]  # fmt: skip
    statuses = {model: (clips or {}).get(model, ["ok"] * total) for model in values}
    empty = {name: {"str": "", "object": [], "int64": 0, "float64": math.nan}[kind] for name, kind in CLIPS.items()}
    clip_rows = [
        {
            **empty, "model": model, "id": f"p{i}", "sample": 1, "status": status, "sha256": f"{model}{i}",
            "length": 10.0, "reference_status": "ok", "reference_sha256": f"reference {i}", "reference_length": 10.0,
        }
        for model, found in statuses.items()
        for i, status in enumerate(found)
    ]  # fmt: skip
    prompts = [{"id": f"p{i}", "caption": f"caption {i}", "tags": [], "labels": []} for i in range(total)]
    made = Record(
        prompts_info=PromptsInfo("musiccaps", "all", total, total, "a" * 64, "b" * 64),
        references_info=ReferencesInfo(Count(total, total), "c" * 64),
        protocol=ProtocolInfo("musicgen", (), {}),
        metrics={name: metric(*titles[name]) for name in titles},
        rows={model: row() for model in values},
        sampling={"top_k": 250, "duration": 10.0, "samples_per_prompt": 1},
        uncertainty={"level": 0.95, "resamples": 1000, "seed": 0},
        small_slice=30,
        remarks=(),
        config={},
        provenance={
            "packages": {"evalkit": "0.1.0"}, "commit": "abc123", "dirty": False,
            "device": "cpu", "device_name": "x86_64", "dtype": "float32",
        },
        prompts=_typed(prompts, PROMPTS),
        scores=_typed(scores, SCORES),
        slices=_typed(slices, SLICES),
        context=pd.DataFrame(),
        clips=_typed(clip_rows, CLIPS),
        values=_typed([], CLIP_VALUES),
        evidence=Evidence(_typed([], INDEX), path),
        path=path,
    )  # fmt: skip
    return replace(made, **changes)


def comparable_record(checkpoint: str | None, values: Mapping[str, float], **changes: Any) -> Record:
    """A record of one model "m", whose scores can be compared with what was published for a checkpoint.

    Args:
        changes: attributes of the row.
    """
    weights = checkpoint and WeightsInfo("MusicGen", f"{checkpoint}@main", checkpoint, "d" * 40, "", None)
    info = row(published=checkpoint, checkpoint=weights, definition={"kind": "musicgen", "version": 2}, **changes)
    made = record({"m": values}, published={}, titles={name: (name, None) for name in values}, rows={"m": info})
    return replace(made, sampling={**made.sampling, "top_p": 0.0, "temperature": 1.0, "guidance_scale": 3.0})


def of_these_prompts(made: Record, published: Sequence[Published]) -> list[Published]:
    """Published numbers as if they were of a record's prompts."""
    digests = prompt_digests(zip(made.prompts["id"], made.prompts["caption"], strict=True))
    known = Prompts(len(made.prompts), *digests)
    return [replace(p, prompts=p.prompts and known, n=p.n and known.n) for p in published]


def _typed(rows: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=None if rows else list(types))
    return typed(frame, types)
