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

    Layout: KIND/DIGEST/ is a collection (see `evalkit.store.collection`), of clips, codes, features, peaks, resamples,
    digests (of files), checkpoints (made here) or runs (what finished ones use); weights/ has fetched files, arrays/
    the features that results link to, by the digest of the file, and leases/ says who uses the cache now.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None):
        self.root = Path(root or platformdirs.user_cache_dir("evalkit")).expanduser().absolute()
        self.weights = self.root / "weights"
        self.arrays = self.root / "arrays"
        self._collections: dict[str, Collection] = {}

    def collection(self, kind: str, key: Any, label: str = "") -> Collection:
        """The items of a kind that depend on `key`, a JSON-like value.

        Args:
            label: what people know it by, such as a model's name; it is no part of what items are found by.
        """
        one = Collection(self.root, kind, key, label)
        return self._collections.setdefault(one.name, one)  # which remembers what it has read

    def made_folder(self, name: str, version: int, write: Callable[[Path], Any]) -> Path:
        """The folder of files that `write` makes, given an empty folder; made again where it is not as it was.

        Raises EvalkitError where it cannot be written.
        """
        return made_folder(self.collection("checkpoints", [name, version], name), write)
