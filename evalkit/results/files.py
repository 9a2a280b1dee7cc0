"""The record of a run as a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from evalkit.results import folders
from evalkit.results.clusters import DISTINCT
from evalkit.results.evidence import Evidence
from evalkit.results.folders import FACTS, RUN, Kind, lacking, read_frame, write_frame
from evalkit.results.frames import ABSENT, CLIPS, INDEX, JUDGED, PROMPTS, SCORES, SLICES, VALUES, typed
from evalkit.results.record import (
    SCHEMA,
    Count,
    MetricInfo,
    PromptsInfo,
    ProtocolInfo,
    Record,
    ReferencesInfo,
    RowInfo,
    WeightsInfo,
)
from evalkit.store.files import write_bytes, write_json

FRAMES: dict[str, dict[str, str]] = {
    "prompts": PROMPTS,
    "scores": SCORES,
    "slices": SLICES,
    "context": {},
    "clips": CLIPS,
    "values": VALUES,
}
RESULT = Kind(
    name="result",
    about="the result of a run",
    maker="the run",
    command=RUN,
    schema=SCHEMA,
    files=(FACTS, "evidence.parquet", *(f"{name}.parquet" for name in FRAMES)),
)
EARLIER = "not comparable: an earlier version of evalkit did not record enough to say so: run it again"
PERCENTILES = "intervals of means and shares are an earlier version's percentiles, often too narrow: run it again"


def write(record: Record, folder: Path, forms: Mapping[str, str]) -> Evidence:
    """Write a record, and forms of its table by file name, into a folder; the manifest comes last.

    Returns the evidence as it lies there. Raises EvalkitError where the folder holds a finished record,
    and where it cannot be written to.
    """
    folders.begin(folder, RESULT, ["features", "config.yaml", *forms])
    evidence = record.evidence.save(folder / "features")
    facts = folders.facts(record, without=[*FRAMES, "evidence", "path"])
    write_json(folder / FACTS, facts)
    for name in FRAMES:
        write_frame(folder / f"{name}.parquet", getattr(record, name))
    write_frame(folder / "evidence.parquet", evidence.index)
    write_bytes(folder / "config.yaml", yaml.safe_dump(facts["config"], sort_keys=False, allow_unicode=True).encode())
    for name, text in forms.items():
        write_bytes(folder / name, text.encode())
    folders.finish(folder, RESULT, features=sorted(set(evidence.index["array"])))
    return evidence


def read(folder: Path) -> dict[str, Any]:
    """Read the fields of a record. Features are read when they are asked for.

    Raises EvalkitError for a folder without a finished result, a record of another kind or schema, and a file
    that is missing, or that is not the one that was written.
    """
    manifest = folders.checked(folder, RESULT)
    if not isinstance(manifest.get("features"), list):
        raise lacking(folder)
    facts = json.loads((folder / FACTS).read_text("utf-8"))
    facts["prompts_info"] = PromptsInfo(**facts["prompts_info"])
    facts["protocol"] = ProtocolInfo(**{**facts["protocol"], "switches": _switches(facts["protocol"]["switches"])})
    if (references := facts["references_info"]) is not None:
        facts["references_info"] = ReferencesInfo(**{**references, "usable": Count(**references["usable"])})
    facts["metrics"] = {name: _metric(info) for name, info in facts["metrics"].items()}
    facts["rows"] = {name: _row(info) for name, info in facts["rows"].items()}
    frames = {name: _frame(folder, name) for name in FRAMES}
    if manifest["schema"] == 1:
        frames["scores"] = _not_comparable(frames["scores"])
        if frames["scores"]["low"].notna().any():
            facts["remarks"].append(PERCENTILES)
    facts["schema"] = SCHEMA  # what schema 1 lacks has values that mean "not recorded"
    evidence = Evidence(typed(read_frame(folder / "evidence.parquet"), INDEX), folder / "features")
    return {**facts, **frames, "evidence": evidence, "path": folder}


def _frame(folder: Path, name: str) -> pd.DataFrame:
    """Read a frame; older records lack the columns of scores that say what a published value was judged by."""
    frame, columns = read_frame(folder / f"{name}.parquet"), FRAMES[name]
    if name == "scores":
        for column in [column for column in JUDGED if column not in frame]:
            frame[column] = ABSENT[columns[column]]
    return typed(frame, columns)


def _switches(switches: Mapping[str, Any]) -> dict[str, Any]:
    """The switches of a protocol; in older records each prompt has a reference of its own in metrics of sets."""
    return {**({DISTINCT: False} if switches else {}), **switches}


def _metric(info: dict[str, Any]) -> MetricInfo:
    weights = info.get("weights")
    return MetricInfo(**{**info, "weights": weights and [WeightsInfo(**one) for one in weights]})


def _row(info: dict[str, Any]) -> RowInfo:
    checkpoint = info.get("checkpoint")
    return RowInfo(**{**info, "checkpoint": checkpoint and WeightsInfo(**checkpoint)})


def _not_comparable(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of schema 1, where a number was called comparable that need not have been."""
    notes = scores["note"].where(~scores["comparable"], scores["note"] + f"\n{EARLIER}")
    return scores.assign(comparable=False, note=notes.str.strip())
