"""A reference pack: the features of references, and what was found of each of them, in one file without audio.

A pack is a safetensors file. Its metadata say in JSON what was packed and how, and what was found of each prompt's
reference before any of it was cut; its arrays are the features of the parts of references that runs may use, by the
keys that the feature stage finds clips by. What a run cuts, and which references it takes, is thus decided by its own
options, as with audio. The metadata hold a digest of all of it, which is checked when a pack is read.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evalkit.errors import EvalkitError, reason
from evalkit.store.digests import canonical, digest, sha256_file
from evalkit.store.files import write_bytes
from evalkit.store.memory import State
from evalkit.types import Clip

SCHEMA = 1  # of the format below: raise it when files of before would be read otherwise
FORMAT = "evalkit reference pack"
SUFFIX = ".safetensors"
METADATA = "evalkit"  # the one key of the file's metadata, as several would have no order
STATUSES = ("ok", "missing", "unreadable", "failed")  # of a reference before it is cut
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}


@dataclass(frozen=True)
class Weights:
    """A file that an encoder's weights were read from.

    Attributes:
        name, licence: in words.
        source: a URL, or a hub repository with its revision; "a local file" for any other.
        digest: SHA-256 of the file or folder, or the commit of the repository; empty for random weights.
        random: whether they are random.
    """

    name: str
    licence: str
    source: str
    digest: str
    random: bool


@dataclass(frozen=True)
class PackedEncoder:
    """An encoder whose features a pack holds.

    Attributes:
        definition: everything that affects its output but the device, as `evalkit.store.identity.identity` says it.
        metrics: the names of those that it was packed for.
        random: whether its weights are random.
    """

    definition: Mapping[str, Any]
    metrics: tuple[str, ...]
    random: bool
    weights: tuple[Weights, ...]

    @functools.cached_property
    def digest(self) -> str:
        """The digest of the definition."""
        return digest(self.definition)

    @property
    def kind(self) -> str:
        """The name that its features are kept under."""
        return str(self.definition["kind"])


@dataclass(frozen=True)
class Rendered:
    """The model that rendered references, which are no recordings then.

    Attributes:
        by: the name of its class.
        kind, random: see `evalkit.models.Model`.
        duration: of the clips in seconds.
        definition: everything that affects them, as `evalkit.store.identity.identity` says it.
    """

    by: str
    kind: str
    random: bool
    duration: float
    definition: Mapping[str, Any]


@dataclass(frozen=True)
class About:
    """What was packed, and how.

    Attributes:
        dataset, subset, total: of the prompts, as `evalkit.types.PromptSet` has them.
        licence, text: under what the pack may be used, and what else its maker says of it.
        evalkit, commit, when: the version and commit that made it, and the time in UTC.
        durations: of generated clips in seconds, for which parts of references were packed, beside whole references.
        cut, max_seconds: how parts were chosen, and when a file was too long, as `evalkit.prompts.Prompts` has them.
        protocol: the name of the protocol that clips were prepared by.
        sample_rate, resampler, conditioning: what of it changes all features: the rate in Hz (None for each file's
            own), how it was reached, and the version of the code that does it.
        device, device_name: the type of the device that computed the features, and what it calls itself.
        encoders: whose features the pack holds.
        rendered: what rendered the references; None for recordings.
        transform: what altered the references before anything was computed of them, as `identity` says it; None where
            they are as they were.
    """

    dataset: str
    subset: str
    total: int
    licence: str
    text: str
    evalkit: str
    commit: str
    when: str
    durations: tuple[float, ...]
    cut: str
    max_seconds: float | None
    protocol: str
    sample_rate: int | None
    resampler: str
    conditioning: int
    device: str
    device_name: str
    encoders: tuple[PackedEncoder, ...]
    rendered: Rendered | None = None
    transform: Any = None


@dataclass(frozen=True)
class Reference:
    """What was found of a prompt's reference, before any of it was cut.

    Attributes:
        id: the prompt's.
        caption: digest of the prompt's caption.
        status: one of `STATUSES`; `reason` says more, and names no place of a machine.
        sha256, frames, sample_rate, channels, gain: as `evalkit.types.Clip` has them.
    """

    id: str
    caption: str
    status: str
    reason: str = ""
    sha256: str = ""
    frames: int = 0
    sample_rate: int = 0
    channels: int = 0
    gain: float = 1.0

    @property
    def clip(self) -> Clip:
        """The reference as a clip without a file."""
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "caption"}
        return Clip(**facts)


class Part(NamedTuple):
    """A part of a reference, which may be all of it.

    Attributes:
        key: what the feature stage finds it by: 64 hexadecimal digits.
        content: the SHA-256 of the reference's file.
        start, samples: where it begins, and how long it is, at the pack's rate (at the file's own where it has none).
    """

    key: str
    content: str
    start: int
    samples: int


@dataclass(frozen=True, eq=False)
class PackedFeatures:
    """The features of one encoder: those of all parts, one after the other.

    Attributes:
        values: float32 (frames of all parts, dimensions).
        frames: int64 (parts,), how many are of each part; none of one that cannot be used.
    """

    values: np.ndarray
    frames: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[np.ndarray | None]) -> PackedFeatures:
        """Put the features (frames, dimensions) of parts together; None for one that cannot be used."""
        some = [part for part in parts if part is not None]
        frames = np.array([0 if part is None else len(part) for part in parts], np.int64)
        return cls(np.concatenate(some) if some else np.empty((0, 1), np.float32), frames)

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.frames)

    def part(self, place: int) -> np.ndarray:
        """The features of one part, by its place."""
        end = int(self._ends[place])
        return self.values[end - int(self.frames[place]) : end]


@dataclass(frozen=True, eq=False)
class Pack:
    """A reference pack.

    Attributes:
        references: one for each prompt that was packed.
        parts: of references, whose features the pack holds.
        peaks: float64 (parts,), the absolute peak of each part; NaN for one that cannot be used.
        unusable: why a part cannot be used, by its key.
        features: by the digests of encoders, for all parts in their order.
        name, sha256: of the file that it was read from.
    """

    about: About
    references: tuple[Reference, ...]
    parts: tuple[Part, ...]
    peaks: np.ndarray
    unusable: Mapping[str, str]
    features: Mapping[str, PackedFeatures]
    name: str = ""
    sha256: str = ""

    @functools.cached_property
    def by_id(self) -> dict[str, Reference]:
        """The references by the prompts' ids."""
        return {one.id: one for one in self.references}

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {part.key: place for place, part in enumerate(self.parts)}

    def __contains__(self, key: object) -> bool:
        """Whether there is a part of this key, be it that it cannot be used."""
        return key in self._places

    def peaks_of(self, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """The peaks (1,) of usable parts, by their keys."""
        return {k: self.peaks[i : i + 1] for k, i in self._usable(keys)}

    def features_of(self, encoder: str, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """The features of usable parts by their keys, of an encoder by its digest; none of one that was not packed."""
        if encoder not in self.features:
            return {}
        found = self.features[encoder]
        return {k: found.part(i) for k, i in self._usable(keys)}

    def _usable(self, keys: Iterable[str]) -> Iterable[tuple[str, int]]:
        return ((k, self._places[k]) for k in keys if k in self._places and k not in self.unusable)

    def lacks(self, clips: Sequence[Clip]) -> EvalkitError:
        """Make the error for parts of references that the pack does not hold."""
        first, *more = clips
        others = f", and so of {len(more):,} more" if more else ""
        if first.seconds is None:
            part, option = "as a whole", "the prompts.max_seconds of this run"
        else:
            end = f"{first.start + first.seconds:.9g}"
            part = f"over its first {end} s" if not first.start else f"from {first.start:.9g} to {end} s"
            option = f"sampling.duration={first.seconds:.9g}"
        return EvalkitError(
            f"the pack '{self.name}' holds no features of '{first.id}' {part}{others}: pack the references again with "
            f"{option}, or join this pack with one that was made so"
        )

    @property
    def usable(self) -> int:
        """How many prompts have a reference, as far as its header says."""
        return sum(one.status == "ok" for one in self.references)


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
        made = metadata.get("about", {}).get("evalkit", "another version")
        raise EvalkitError(
            f"the reference pack '{path}' has schema {metadata.get('schema')}, made by evalkit {made}, and this "
            f"evalkit reads {SCHEMA}: update evalkit, or get another pack"
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
    """Raise ValueError for a file whose content is not what it says of itself, or whose parts do not fit together."""
    own = {key: value for key, value in metadata.items() if key != "sha256"}
    if (found := _content(own, tensors)) != metadata["sha256"]:
        raise ValueError(f"its content has the digest {found[:12]}, and was written with {metadata['sha256'][:12]}")
    keys, peaks, contents, spans = (tensors[name] for name in ("keys", "peaks", "contents", "spans"))
    known = {sha256 for sha256 in metadata["references"]["sha256"] if sha256}
    problems = {
        "keys": keys.dtype != np.uint8 or keys.shape != (len(keys), 32),
        "peaks": peaks.dtype != np.float64 or peaks.shape != (len(keys),),
        "statuses": not {*metadata["references"]["status"]} <= {*STATUSES},
        "ids": len({*metadata["references"]["id"]}) < len(metadata["references"]["id"]),
        "contents": contents.dtype != np.uint8
        or contents.shape != keys.shape
        or not {content.tobytes().hex() for content in contents} <= known,
        "spans": spans.dtype != np.int64 or spans.shape != (len(keys), 2) or bool((spans < 0).any()),
    }
    for encoder in metadata["about"]["encoders"]:
        name = digest(encoder["definition"])
        values, frames = tensors[f"features.{name}"], tensors[f"frames.{name}"]
        problems[f"features of {encoder['definition']['kind']}"] = (
            values.dtype != np.float32
            or values.ndim != 2
            or frames.dtype != np.int64
            or frames.shape != (len(keys),)
            or bool((frames < 0).any())
            or int(frames.sum()) != len(values)
            or not np.isfinite(values).all()
        )
    for what, wrong in problems.items():
        if wrong:
            raise ValueError(f"its {what} do not fit")


def _content(metadata: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of metadata and of the names, types, shapes and values of arrays."""
    hashed = hashlib.sha256(canonical(metadata).encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(canonical([name, tensor.dtype.str, tensor.shape]).encode())
        hashed.update(np.ascontiguousarray(tensor).data)
    return hashed.hexdigest()
