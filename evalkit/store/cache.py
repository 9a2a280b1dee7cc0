"""The cache: everything that can be made again."""

from __future__ import annotations

import io
import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from evalkit.store.collection import Collection
from evalkit.store.digests import digest
from evalkit.store.entries import counted
from evalkit.store.files import write_atomic
from evalkit.store.made import made_folder

log = logging.getLogger(__name__)


class Cache:
    """The folder of everything that can be made again: weights, clips, features.

    Layout: weights/ (fetched files), checkpoints/ (made here), codes/KEY/ (generated codes and their
    manifests), clips/KEY/ (generated audio and its manifests), features/ENCODER/AB/KEY (arrays) and
    features/ENCODER/packs/ (many of them in one file),
    arrays/ (features that records link to, by the digest of the file), digests.json (of files, see
    `store.digests.known_digests`).
    """

    def __init__(self, root: str | os.PathLike[str] | None = None):
        self.root = Path(root or platformdirs.user_cache_dir("evalkit")).expanduser().absolute()
        self.weights = self.root / "weights"
        self.checkpoints = self.root / "checkpoints"
        self.codes = self.root / "codes"
        self.clips = self.root / "clips"
        self.arrays = self.root / "arrays"

    def collection(self, kind: str, key: Any, label: str = "") -> Collection:
        """The items of a kind that depend on `key`, a JSON-like value.

        Args:
            label: what people know it by, such as a model's name; it is no part of what items are found by.
        """
        return Collection(self.root, kind, key, label)

    def made_folder(self, name: str, version: int, write: Callable[[Path], Any]) -> Path:
        """The folder of files that `write` makes, given an empty folder; made again where it is not as it was.

        Raises EvalkitError where it cannot be written.
        """
        return made_folder(self.collection("checkpoints", [name, version], name), write)

    def _feature(self, encoder: str, key: str) -> Path:
        return self.root / "features" / encoder[:32] / key[:2] / key[:32]

    def write_feature(self, encoder: str, key: str, value: np.ndarray) -> None:
        """Store one array under its encoder's digest and its own."""
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        data = buffer.getvalue()
        checked = zlib.crc32(data).to_bytes(4, "little") + data
        # a loss shows in the checksum, and costs one clip's computation
        write_atomic(self._feature(encoder, key), lambda file: file.write(checked), durable=False)

    def read_pack(self, encoder: str, keys: Sequence[str]) -> list[np.ndarray] | None:
        """Read the arrays of many keys from the one file that holds just these, in this order, if there is one."""
        try:
            with np.load(self._pack(encoder, keys), allow_pickle=False) as file:
                lengths, values = file["lengths"], file["values"]
            return np.split(values, np.cumsum(lengths)[:-1])
        except FileNotFoundError:
            return None
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, zlib.error):
            log.warning("damaged cache entry %s: its parts will be read instead", self._pack(encoder, keys))
            return None

    def write_pack(self, encoder: str, keys: Sequence[str], values: Sequence[np.ndarray]) -> None:
        """Store arrays (frames, …) that are stored one by one already, so that they are found by one look."""
        arrays = {"lengths": np.array([len(value) for value in values]), "values": np.concatenate(values)}
        write_atomic(self._pack(encoder, keys), lambda file: np.savez(file, **arrays), durable=False)

    def _pack(self, encoder: str, keys: Sequence[str]) -> Path:
        return self.root / "features" / encoder[:32] / "packs" / f"{digest(list(keys))[:32]}.npz"

    def read_features(self, encoder: str, keys: Sequence[str]) -> list[np.ndarray | None]:
        """Read one array for each key; None where it is absent. Damaged ones are deleted, with one warning for all."""
        damaged: list[Path] = []

        def read(path: Path) -> np.ndarray | None:
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return None
            if len(data) < 5 or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
                damaged.append(path)
                path.unlink(missing_ok=True)
                return None
            array: np.ndarray = np.load(io.BytesIO(data[4:]), allow_pickle=False)
            return array

        found = [read(self._feature(encoder, key)) for key in keys]
        if damaged:
            log.warning("%s: deleted, will be computed again", counted("damaged cache entry", damaged))
        return found
