"""The features that metrics of whole sets are computed from, as files that name their own content."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.results.frames import INDEX, typed
from evalkit.store.digests import sha256_file
from evalkit.store.files import write_atomic
from evalkit.types import Features


@dataclass(frozen=True)
class Side:
    """Which features: of which encoder, of which row of the table and sample, and of which of its sounds.

    Attributes:
        side: "clips" as they are, "cut clips" (to the length of their references), "references", "captions", or
            "whole references" of a row of two sets.
    """

    encoder: str
    row: str
    sample: int
    side: str


@dataclass(frozen=True, eq=False)
class Evidence:
    """Features of clips, references and captions, in files that are read when they are asked for.

    A file is an array (frames, dimensions) of many clips, named by the SHA-256 of its bytes; features
    that several rows share, such as those of references, are stored once.

    Attributes:
        index: one row per encoder, row, sample, side and id: array (the file), start and frames (its part).
        folder: where the files lie.
    """

    index: pd.DataFrame
    folder: Path
    _arrays: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def of(self, side: Side) -> Features:
        """Read features. Raises EvalkitError where there are none, and for a file that is absent or damaged."""
        table = self.index
        chosen = table[
            (table["encoder"] == side.encoder)
            & (table["row"] == side.row)
            & (table["sample"] == side.sample)
            & (table["side"] == side.side)
        ]
        if chosen.empty:
            raise EvalkitError(f"the result holds no features of {side.row}: {side.side}, encoder {side.encoder[:12]}")
        places = zip(chosen["array"], chosen["start"], chosen["frames"], strict=True)
        values = tuple(self._array(array)[start : start + frames] for array, start, frames in places)
        return Features(tuple(chosen["id"]), values)

    def _array(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            path = self.folder / f"{name}.npy"
            require_intact(path, name)
            # pages of it come and go; a view of the map itself would cost more each time that it is cut
            self._arrays[name] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        return self._arrays[name]

    def save(self, folder: Path) -> Evidence:
        """Hard-link the files into a folder, or copy them where that cannot be done.

        Raises EvalkitError for a file that is absent or damaged, and where the folder cannot be written to.
        """
        for name in self.index["array"].unique():
            source, target = self.folder / f"{name}.npy", folder / f"{name}.npy"
            if intact(target, name):
                continue
            require_intact(source, name)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                os.link(source, target)
            except OSError:  # another file system, one without links, or a damaged file in the way
                _copy(source, target)
        return Evidence(self.index, folder, self._arrays)


def intact(path: Path, sha256: str) -> bool:
    """Whether a file is there and has the content that its name says."""
    return path.is_file() and sha256_file(path) == sha256


def require_intact(path: Path, sha256: str) -> None:
    """Raise EvalkitError where a file is absent, or its content is another one."""
    if not path.is_file():
        raise EvalkitError(f"'{path}' is missing: copy the whole result")
    if not intact(path, sha256):
        raise EvalkitError(f"'{path}' is damaged: copy the result again, or make it again")


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read:
        write_atomic(target, lambda file: shutil.copyfileobj(read, file))


class Writer:
    """Writes features into a folder, each clip's once, and indexes them.

    The features of one side go into one file, but for those that an earlier side of the same encoder
    has stored already. Nothing stays in memory but the index.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._known: dict[tuple[str, str], tuple[str, int, int]] = {}  # by encoder and content: file, start, frames
        self._rows: list[tuple[str, str, int, str, str, str, int, int]] = []

    def add(self, side: Side, features: Features) -> None:
        """Store the features of one side. Raises EvalkitError where the folder cannot be written to."""
        contents = [_content(value) for value in features.values]
        new = {
            content: value
            for content, value in zip(contents, features.values, strict=True)
            if (side.encoder, content) not in self._known
        }
        if new:
            name = _write(list(new.values()), self.folder)
            start = 0
            for content, value in new.items():
                self._known[side.encoder, content] = name, start, len(value)
                start += len(value)
        about = side.encoder, side.row, side.sample, side.side
        for i, content in zip(features.ids, contents, strict=True):
            self._rows.append((*about, i, *self._known[side.encoder, content]))

    def evidence(self) -> Evidence:
        """All that was stored."""
        return Evidence(typed(pd.DataFrame(self._rows, columns=list(INDEX)), INDEX), self.folder)


def _content(value: np.ndarray) -> str:
    hashed = hashlib.sha256(f"{value.dtype.str} {value.shape[1:]} {len(value)} ".encode())
    hashed.update(np.ascontiguousarray(value).data)
    return hashed.hexdigest()


def _write(values: Sequence[np.ndarray], folder: Path) -> str:
    """Write arrays (frames, dimensions) one below the other as one .npy, without putting them together in memory."""
    hashed = hashlib.sha256()
    for part in _npy(values):
        hashed.update(part)
    name = hashed.hexdigest()
    path = folder / f"{name}.npy"
    if not intact(path, name):
        write_atomic(path, lambda file: file.writelines(_npy(values)))
    return name


def _npy(values: Sequence[np.ndarray]) -> Iterator[bytes | memoryview]:
    """The bytes that `numpy.save` writes of the arrays' concatenation, part by part."""
    (shape,), dtype = {value.shape[1:] for value in values}, np.result_type(*{value.dtype for value in values})
    length, header = sum(map(len, values)), io.BytesIO()
    about = {"descr": dtype.str, "fortran_order": False, "shape": (length, *shape)}
    np.lib.format.write_array_header_1_0(header, about)  # type: ignore[no-untyped-call]
    yield header.getvalue()
    for value in values:
        yield np.ascontiguousarray(value, dtype).data
