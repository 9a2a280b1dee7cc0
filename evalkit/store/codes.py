"""Codes of clips, stored shard by shard before anything is made of them: 8 KB for ten seconds of stereo."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from evalkit.store.digests import digest, sha256_file
from evalkit.store.files import write_atomic, write_json
from evalkit.store.provenance import versions

log = logging.getLogger(__name__)


class CodeStore:
    """A folder of shards: `codes-ID.npz` holds the codes of one batch, and `codes-ID.json`, written last, says so."""

    def __init__(self, folder: Path):
        self.folder = folder

    def write(self, codes: Mapping[str, np.ndarray | None], rows: int) -> None:
        """Store the codes of one batch, int16 (codebooks, frames) by the prompt's key, None for a clip that failed.

        `rows` is the number of clips that were computed together; it is recorded.
        """
        path = self.folder / f"codes-{digest(sorted(codes))[:16]}.npz"
        arrays = {key: value for key, value in codes.items() if value is not None}
        write_atomic(path, lambda file: np.savez(file, **arrays))
        failed = sorted(codes.keys() - arrays.keys())
        about = {"sha256": sha256_file(path), "failed": failed, "batch_size": rows, "versions": versions()}
        write_json(path.with_suffix(".json"), about)

    def read(self) -> dict[str, np.ndarray | None]:
        """Read all codes that are stored whole; a damaged shard is warned of, and its codes are absent."""
        found: dict[str, np.ndarray | None] = {}
        for manifest in sorted(self.folder.glob("codes-*.json")):
            try:
                about = json.loads(manifest.read_text("utf-8"))
                shard = manifest.with_suffix(".npz")
                if sha256_file(shard) != about["sha256"]:
                    raise ValueError
                with np.load(shard, allow_pickle=False) as file:
                    found |= {key: file[key] for key in file.files}
                found |= dict.fromkeys(about["failed"])
            except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile):
                log.warning("damaged codes %s: what is missing of their clips will be generated again", manifest)
                manifest.unlink(missing_ok=True)
        return found
