"""Codes of clips, stored shard by shard before anything is made of them: 8 KB for ten seconds of stereo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evalkit.store.digests import digest, sha256_file
from evalkit.store.entries import read_manifests, write_manifest
from evalkit.store.files import write_atomic
from evalkit.store.provenance import versions
from evalkit.types import BatchSize


class Codes(NamedTuple):
    """The codes of one clip, int16 (codebooks, frames), None for one that failed, and how they were computed."""

    values: np.ndarray | None
    made: Mapping[str, Any]


class CodeStore:
    """A folder of shards: `codes-ID.npz` holds the codes of one batch, and `codes-ID.json`, written last, says so."""

    def __init__(self, folder: Path):
        self.folder = folder

    def write(
        self, codes: Mapping[str, np.ndarray | None], made: Mapping[str, Any], group: str, size: BatchSize
    ) -> None:
        """Store the codes of one batch, int16 (codebooks, frames) by the prompt's key, None for a clip that failed.

        `made` says how they were computed, as JSON-like values, and `size` how large batches of the `group` were to be;
        all are recorded.
        """
        path = self.folder / f"codes-{digest(sorted(codes))[:16]}.npz"
        arrays = {key: value for key, value in codes.items() if value is not None}
        write_atomic(path, lambda file: np.savez(file, **arrays))
        failed = sorted(codes.keys() - arrays.keys())
        about = {"sha256": sha256_file(path), "failed": failed, "made": made, "versions": versions()}
        about |= {"group": group, **size._asdict()}
        write_manifest(path.with_suffix(".json"), about)

    def read(self) -> dict[str, Codes]:
        """Read all codes that are stored whole; a damaged shard is warned of, and its codes are absent."""
        found: dict[str, Codes] = {}
        for shard in read_manifests(self.folder, "codes-*.json", _shard):
            found |= shard
        return found

    def batch_sizes(self) -> dict[str, BatchSize]:
        """How large the batches of each group were to be, at most; shards of earlier versions do not say it."""
        found: dict[str, BatchSize] = {}
        for about in read_manifests(self.folder, "codes-*.json", lambda _, about: about):
            if "group" in about:
                before = found.get(about["group"], BatchSize(0, 0))
                found[about["group"]] = BatchSize(*map(max, before, (about["rows"], about["most"])))
        return found


def _shard(manifest: Path, about: dict[str, Any]) -> dict[str, Codes]:
    path = manifest.with_suffix(".npz")
    if sha256_file(path) != about["sha256"]:
        raise ValueError("not the shard that was written")
    with np.load(path, allow_pickle=False) as file:
        made = about["made"] if "made" in about else {"batch_size": about["batch_size"]}  # of an earlier version
        return {key: Codes(file[key] if key in file.files else None, made) for key in [*file.files, *about["failed"]]}
