"""A result as runs: one for each of its models, with the calibration rows as its scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.results.record import RowInfo
from evalkit.results.result import Result
from evalkit.results.summary import clip_counts, random_weights, records, unscored
from evalkit.store.redaction import redacted
from evalkit.trackers.content import About, about, capped
from evalkit.trackers.run import Limits, Run, Value, flat, numbers, part
from evalkit.trackers.sounds import sounds

ABOUT_CLIPS = ("id", "sample", "caption", "status", "reason", "note", "seconds", "sha256")  # columns before the metrics
BESIDE = ("low", "high", "n", "published", "difference", "seed_sd")  # of a score, beside its value


def runs(result: Result, limits: Limits, folder: Path) -> list[Run]:
    """Describe a result for a tracker; files that are made for it are written into a folder."""
    shared = about(result, random_weights(result), limits, folder)
    models = [name for name, info in result.rows.items() if not info.calibration]
    scale = {
        f"calibration/{part(name)}/{key}": value
        for name, info in result.rows.items()
        if info.calibration
        for key, value in scores(result, name).items()
    }
    return [_run(result, name, shared, scale, limits, folder) for name in models]


def _run(result: Result, row: str, shared: About, scale: Mapping[str, float], limits: Limits, folder: Path) -> Run:
    missing: list[str] = []
    clips = result.clips[result.clips["model"] == row]
    usable = clip_counts(result)[row]
    said = {
        "evalkit_kind": "result",
        "evalkit_row": row,
        "evalkit_random_weights": ", ".join(random_weights(result)),
        "evalkit_without_score": "; ".join(unscored(result)),
        "evalkit_dataset": result.prompts_info.dataset,
        "evalkit_protocol": result.protocol.name,
    }
    heard = list(sounds(result, clips, limits, folder, missing))
    return Run(
        key=shared.key(row),
        name=shared.named(row),
        group=shared.group,
        kind="result",
        time=shared.time,
        scalars={**scores(result, row), "clips/usable": usable.ok, "clips/total": usable.total, **scale},
        parameters=parameters(result, row),
        tags=shared.tags(result.path, said),
        marks=shared.marks,
        tables={"clips": capped(table(result, clips), limits.rows, "the table of clips", missing)},
        sounds=heard,
        files=shared.files,
        text=shared.said(missing),
    )


def scores(result: Result, row: str) -> dict[str, float]:
    """The scores of a row by name, with their bounds and the number of prompts."""
    found: dict[str, float] = {}
    for score in records(result.scores[result.scores["model"] == row]):
        metric = part(score["metric"])
        if measured := numbers({metric: score["value"]}):
            found |= measured | numbers({f"{metric}/{name}": score[name] for name in BESIDE})
    return found


def table(result: Result, clips: pd.DataFrame) -> pd.DataFrame:
    """The clips of a row with their values, one row each."""
    metrics = [name for name in result.metrics if name in clips]
    return clips[[*ABOUT_CLIPS, *metrics]].reset_index(drop=True)


def parameters(result: Result, row: str) -> dict[str, Value]:
    """What a row was measured with: model, prompts, protocol, sampling, statistics and provenance."""
    info = result.rows[row]
    found = {
        "model": dict(_model(row, info)),
        "prompts": {
            "dataset": result.prompts_info.dataset,
            "subset": result.prompts_info.subset,
            "selected": result.prompts_info.selected,
            "ids": result.prompts_info.ids,
        },
        "protocol": {"name": result.protocol.name, "changes": "; ".join(result.protocol.changes) or None},
        "sampling": result.sampling if info.generated else {},
        "uncertainty": result.uncertainty,
        "made": provenance(result.provenance),
    }
    if result.references_info is not None:
        found["references"] = {"usable": result.references_info.usable.ok, "sha256": result.references_info.sha256}
    return flat(redacted(found))


def _model(row: str, info: RowInfo) -> Iterator[tuple[str, Any]]:
    yield "name", row
    if isinstance(info.definition, Mapping):
        yield "kind", info.definition.get("kind")
    yield "random_weights", info.random
    if info.checkpoint is not None:
        yield "checkpoint", info.checkpoint.source
        yield "digest", info.checkpoint.digest or None


def provenance(made: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of how it was made, but for the command, which may hold what nobody else may see."""
    kept = {name: made.get(name) for name in ("commit", "dirty", "device", "device_name", "dtype", "python")}
    return {**kept, "packages": made.get("packages", {})}
