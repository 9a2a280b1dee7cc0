"""The file of a reference pack: written once, and checked when it is read.

It is a safetensors file. Its metadata are JSON, and hold a digest of everything else; its arrays are features, and
which parts of which references they are of. It comes from anybody: what is wrong with it is one line.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.errors import EvalkitError, reason
from evalkit.packs.checking import require_sound
from evalkit.packs.pack import About, Pack, PackedEncoder, PackedFeatures, Part, Reference, Rendered, Weights
from evalkit.store.digests import canonical, sha256_file
from evalkit.store.files import write_bytes
from evalkit.store.memory import State

SCHEMA = 1  # of the format below: raise it when files of before would be read otherwise
FORMAT = "evalkit reference pack"
SUFFIX = ".safetensors"
METADATA = "evalkit"  # the one key of the file's metadata, as several would have no order
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}


def write_pack(path: Path, pack: Pack) -> None:
    """Write a pack into a new file. Raises EvalkitError for a file that exists, and where it cannot be written."""
    from safetensors.numpy import save

    require_new(path)
    tensors: dict[str, np.ndarray] = {
        "keys": _as_bytes(part.key for part in pack.parts),
        "contents": _as_bytes(part.content for part in pack.parts),
        "spans": np.array([(part.start, part.samples) for part in pack.parts], np.int64).reshape(-1, 2),
        "peaks": pack.peaks.astype(np.float64, copy=False),
    }
    for encoder, features in pack.features.items():
        tensors[f"features.{encoder}"] = np.ascontiguousarray(features.values, np.float32)
        tensors[f"frames.{encoder}"] = features.frames.astype(np.int64, copy=False)
    columns = [f.name for f in dataclasses.fields(Reference)]
    metadata = {
        "format": FORMAT,
        "schema": SCHEMA,
        "about": dataclasses.asdict(pack.about),
        "references": {name: [getattr(one, name) for one in pack.references] for name in columns},
        "unusable": dict(pack.unusable),
    }
    signed = canonical({**metadata, "sha256": _content(metadata, tensors)})
    write_bytes(path, save(tensors, {METADATA: signed}))


def _as_bytes(digests: Iterable[str]) -> np.ndarray:
    """Digests as uint8 (digests, 32)."""
    return np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32)


def require_new(path: Path) -> None:
    """Raise EvalkitError for a path where no new pack can be."""
    if path.suffix.lower() != SUFFIX:
        raise EvalkitError(f"'{path}': the name of a reference pack ends in {SUFFIX}")
    if path.exists():
        raise EvalkitError(f"'{path}' exists: choose another name")


def read_pack(path: Path) -> Pack:
    """Read a pack, whose features stay in the file until they are needed.

    Raises EvalkitError for a file that is missing, is damaged, is no pack, or that a later evalkit made.
    """
    try:
        return _read(path.absolute(), State.of(os.stat(path)))
    except OSError as error:
        raise EvalkitError(f"cannot read the reference pack '{path}': {error.strerror or error}") from error


@functools.lru_cache(maxsize=4)  # a run asks at several stages
def _read(path: Path, state: State) -> Pack:
    metadata, tensors = _parts(path)
    try:
        _require_as_written(metadata, tensors)
        require_sound(metadata, tensors)
        about = metadata["about"]
        encoders = tuple(
            PackedEncoder(
                **{**one, "metrics": tuple(one["metrics"]), "weights": tuple(Weights(**w) for w in one["weights"])}
            )
            for one in about["encoders"]
        )
        rendered = about["rendered"] and Rendered(**about["rendered"])
        durations = tuple(map(float, about["durations"]))
        columns = metadata["references"]
        rows = zip(*columns.values(), strict=True)
        return Pack(
            about=About(**{**about, "encoders": encoders, "rendered": rendered, "durations": durations}),
            references=tuple(Reference(**dict(zip(columns, row, strict=True))) for row in rows),
            parts=tuple(
                Part(key.tobytes().hex(), content.tobytes().hex(), *map(int, span))
                for key, content, span in zip(tensors["keys"], tensors["contents"], tensors["spans"], strict=True)
            ),
            peaks=tensors["peaks"],
            unusable=metadata["unusable"],
            features={
                e.digest: PackedFeatures(tensors[f"features.{e.digest}"], tensors[f"frames.{e.digest}"])
                for e in encoders
            },
            name=path.name,
            sha256=sha256_file(path),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, reason(error)) from error


def damaged(path: Path, why: str) -> EvalkitError:
    """Make the error for a file that is not what was written."""
    return EvalkitError(f"the reference pack '{path}' is damaged ({why}): get it again")


def _parts(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The metadata of a file, and its arrays, which are mapped and not read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:  # it checks where arrays begin and end
            text = (file.metadata() or {}).get(METADATA)
    except SafetensorError as error:
        raise damaged(path, f"no whole safetensors file: {reason(error)}") from error
    try:
        metadata = json.loads(text or "null")
    except (ValueError, RecursionError) as error:
        raise damaged(path, reason(error)) from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise EvalkitError(f"'{path}' is no reference pack: make one with 'evalkit references pack'")
    if metadata.get("schema") != SCHEMA:
        raise EvalkitError(
            f"the reference pack '{path}' has schema {metadata.get('schema')}, and this evalkit reads {SCHEMA}: update "
            "evalkit, or get another pack"
        )
    mapped = np.memmap(path, np.uint8, "r").view(np.ndarray)
    (length,) = struct.unpack("<Q", mapped[:8].tobytes())
    header = json.loads(mapped[8 : 8 + length].tobytes())
    tensors = {}
    for name, one in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in one["data_offsets"])
            if one["dtype"] not in _DTYPES:
                raise damaged(path, f"{name} has the type {one['dtype']}")
            tensors[name] = mapped[begin:end].view(_DTYPES[one["dtype"]]).reshape(one["shape"])
    return metadata, tensors


def _require_as_written(metadata: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError for a file whose content is not what it says of itself."""
    own = {key: value for key, value in metadata.items() if key != "sha256"}
    if (found := _content(own, tensors)) != metadata["sha256"]:
        raise ValueError(f"its content has the digest {found[:12]}, and was written with {metadata['sha256'][:12]}")


def _content(metadata: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of metadata and of the names, types, shapes and values of arrays."""
    hashed = hashlib.sha256(canonical(metadata).encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(canonical([name, tensor.dtype.str, tensor.shape]).encode())
        hashed.update(np.ascontiguousarray(tensor).data)
    return hashed.hexdigest()
