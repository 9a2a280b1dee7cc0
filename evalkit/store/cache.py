"""The cache: everything that can be made again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs

from evalkit.store.collection import Collection
from evalkit.store.made import made_folder


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
