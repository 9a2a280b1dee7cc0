"""A record as a folder: written whole or not at all, read with every file checked."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from evalkit.errors import EvalkitError
from evalkit.results.evidence import Evidence
from evalkit.results.frames import CLIPS, INDEX, PROMPTS, SCORES, SLICES, VALUES, typed
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
from evalkit.store.digests import sha256_file
from evalkit.store.files import cannot_write, write_bytes, write_json

MANIFEST = "result.json"  # written last: a folder without it holds no record
FRAMES: dict[str, dict[str, str]] = {
    "prompts": PROMPTS,
    "scores": SCORES,
    "slices": SLICES,
    "context": {},
    "clips": CLIPS,
    "values": VALUES,
}
CHECKED = ("record.json", "evidence.parquet", *(f"{name}.parquet" for name in FRAMES))  # files whose digests count
EARLIER = "not comparable: an earlier version of evalkit did not record enough to say so: run it again"
PERCENTILES = "intervals of means and shares are an earlier version's percentiles, often too narrow: run it again"
LISTS = ("tags", "labels")  # columns whose cells are lists of text


def write(record: Record, folder: Path, forms: Mapping[str, str]) -> Evidence:
    """Write a record, and forms of its table by file name, into a folder; the manifest comes last.

    Returns the evidence as it lies there. Raises EvalkitError where the folder holds a finished record,
    and where it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise cannot_write(folder, error) from error
    if MANIFEST in there:
        raise EvalkitError(f"'{folder}' holds a finished result already: choose another folder")
    if there - {
        "run.log",
        "features",
        "config.yaml",
        *CHECKED,
        *forms,
    }:  # the log of a run, and what a stopped save left
        raise EvalkitError(f"'{folder}' is not empty: choose a new folder")
    evidence = record.evidence.save(folder / "features")
    facts = {
        field.name: _plain(getattr(record, field.name))
        for field in dataclasses.fields(record)
        if field.name not in (*FRAMES, "evidence", "path")
    }
    write_json(folder / "record.json", facts)
    for name in FRAMES:
        _write_frame(folder / f"{name}.parquet", getattr(record, name))
    _write_frame(folder / "evidence.parquet", evidence.index)
    write_bytes(folder / "config.yaml", yaml.safe_dump(facts["config"], sort_keys=False, allow_unicode=True).encode())
    for name, text in forms.items():
        write_bytes(folder / name, text.encode())
    manifest = {
        "kind": "result",
        "schema": record.schema,
        "status": "finished",
        "files": {name: sha256_file(folder / name) for name in CHECKED},
        "features": sorted(set(evidence.index["array"])),
    }
    write_json(folder / MANIFEST, manifest)
    return evidence


def read(folder: Path) -> dict[str, Any]:
    """Read the fields of a record. Features are read when they are asked for.

    Raises EvalkitError for a folder without a finished record, a record of another schema, and a file
    that is missing, or that is not the one that was written.
    """
    manifest = read_manifest(folder)
    if manifest["kind"] != "result":
        raise EvalkitError(f"'{folder}' holds a {manifest['kind']}, not the result of a run")
    for name, sha256 in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise EvalkitError(f"'{folder}' is incomplete: {name} is missing: copy the whole result")
        if sha256_file(path) != sha256:
            raise EvalkitError(f"'{path}' is not the file that the run wrote: copy the result again, or run it again")
    facts = json.loads((folder / "record.json").read_text("utf-8"))
    facts["prompts_info"] = PromptsInfo(**facts["prompts_info"])
    facts["protocol"] = ProtocolInfo(**facts["protocol"])
    if (references := facts["references_info"]) is not None:
        facts["references_info"] = ReferencesInfo(**{**references, "usable": Count(**references["usable"])})
    facts["metrics"] = {name: _metric(info) for name, info in facts["metrics"].items()}
    facts["rows"] = {name: _row(info) for name, info in facts["rows"].items()}
    frames = {name: typed(_read_frame(folder / f"{name}.parquet"), columns) for name, columns in FRAMES.items()}
    if manifest["schema"] == 1:
        frames["scores"] = _not_comparable(frames["scores"])
        if frames["scores"]["low"].notna().any():
            facts["remarks"].append(PERCENTILES)
    facts["schema"] = SCHEMA  # what schema 1 lacks has values that mean "not recorded"
    evidence = Evidence(typed(_read_frame(folder / "evidence.parquet"), INDEX), folder / "features")
    return {**facts, **frames, "evidence": evidence, "path": folder}


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


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a folder says that it holds: kind, schema, and files with their digests.

    Raises EvalkitError for a folder without a finished record, and for one of another schema.
    """
    path = folder / MANIFEST
    if not path.is_file():
        if folder.suffix == ".zip" and folder.is_file():
            raise EvalkitError(f"'{folder}' is an archive: unpack it, and give the folder that it holds")
        if not folder.is_dir():
            raise EvalkitError(f"'{folder}' is not a folder: give the one that evalkit run printed")
        inside = [path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{MANIFEST}")]
        if inside:
            inside.sort(key=lambda path: path.name)  # names begin with the time
            more = f", the latest of {len(inside)}" if len(inside) > 1 else ""
            raise EvalkitError(f"'{folder}' holds no result itself but in folders: give '{inside[-1]}'{more}")
        unfinished = ": the run did not finish" if (folder / "run.log").is_file() else ""
        raise EvalkitError(f"'{folder}' holds no finished result{unfinished}: give the folder that evalkit run printed")
    try:
        manifest = json.loads(path.read_text("utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError("it is no JSON object")
    except ValueError as error:
        raise EvalkitError(f"'{path}' is damaged ({error}): copy the result again, or run it again") from error
    schema = manifest.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise EvalkitError(f"'{folder}' was made by an earlier version of evalkit: run it again, which costs little")
    if schema > SCHEMA:
        raise EvalkitError(
            f"'{folder}' was made by a later version of evalkit (schema {schema}, this one reads {SCHEMA}): update it"
        )
    whole = all(isinstance(manifest.get(k), kind) for k, kind in (("kind", str), ("files", dict), ("features", list)))
    if not whole or (manifest["kind"] == "result" and set(CHECKED) - set(manifest["files"])):
        raise EvalkitError(f"'{path}' is damaged (something is missing in it): copy the result again, or run it again")
    return manifest


def _plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses and mappings become dictionaries, tuples lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value


def _write_frame(path: Path, frame: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())


def _read_frame(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    as_list: Callable[[Any], list[str]] = list
    return frame.assign(**{name: frame[name].map(as_list) for name in LISTS if name in frame})
