"""Clips that someone else generated, matched to prompts by id."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from evalkit import audio
from evalkit.errors import EvalkitError
from evalkit.store import sha256_file
from evalkit.types import Clip, Prompt


@dataclass(frozen=True)
class Folder:
    """A folder of clips, one per prompt.

    Attributes:
        path: the folder; without a manifest, a file anywhere below it belongs to the prompt whose
            id is the file's name without its suffix.
        manifest: a CSV or JSONL file with `id` and `path` of each clip, for clips with other names;
            paths are relative to the folder.
        published: the hub id that published numbers are joined on, where the clips come from it.
    """

    path: str | None = None
    manifest: str | None = None
    published: str | None = None

    version: ClassVar[int] = 1
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.path:
            raise EvalkitError(
                "the folder of clips is not set: give its path, as in model=folder model.folder.path=CLIPS"
            )

    def find(self, prompts: Sequence[Prompt]) -> list[Clip]:
        """Find one clip per prompt, in order.

        Clips that are absent or cannot be read have status "missing" and "unreadable". Raises
        EvalkitError for a folder without audio, a bad manifest, and two files for one prompt.
        """
        folder = Path(str(self.path)).expanduser().absolute()
        if not folder.is_dir():
            raise EvalkitError(f"the folder of clips '{folder}' does not exist: check the path")
        manifest = Path(self.manifest).expanduser().absolute() if self.manifest else None
        files = _listed(manifest, folder) if manifest else _below(folder)
        return [_clip(p.id, files.get(p.id, []), manifest or folder) for p in prompts]


def _below(folder: Path) -> dict[str, list[Path]]:
    """Audio files below a folder, by stem. Ids come from outside, so they are looked up, never joined to a path."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in audio.SUFFIXES and path.is_file():
            files.setdefault(path.stem, []).append(path)
    if not files:
        raise EvalkitError(f"'{folder}' holds no audio ({', '.join(audio.SUFFIXES)}): check the path")
    return files


def _listed(manifest: Path, folder: Path) -> dict[str, list[Path]]:
    """The files that a manifest names, by id."""
    files: dict[str, list[Path]] = {}
    for number, row in enumerate(_rows(manifest), start=1):
        name, path = row.get("id"), row.get("path")
        if not name or not path:
            raise EvalkitError(f"entry {number} of '{manifest}' has no {'path' if name else 'id'}: it needs both")
        files.setdefault(str(name), []).append(folder / str(path))
    if not files:
        raise EvalkitError(f"'{manifest}' names no clips")
    return files


def _rows(manifest: Path) -> list[dict[str, Any]]:
    try:
        # newline="" is what csv asks for; utf-8-sig drops the mark that spreadsheets write first
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            if manifest.suffix.lower() == ".csv":
                return list(csv.DictReader(file))
            rows = [json.loads(line) for line in file if line.strip()]
    except OSError as error:
        raise EvalkitError(f"cannot read the manifest '{manifest}': {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:
        raise EvalkitError(f"the manifest '{manifest}' is neither CSV nor JSON lines ({error})") from error
    if not all(isinstance(row, dict) for row in rows):
        raise EvalkitError(f"the manifest '{manifest}' must hold one JSON object per line")
    return rows


def _clip(prompt_id: str, paths: list[Path], source: Path) -> Clip:
    if len(paths) > 1:
        names = " and ".join(f"'{path}'" for path in paths[:2])
        raise EvalkitError(f"two clips for '{prompt_id}': {names}: remove one")
    if not paths:
        return Clip(prompt_id, status="missing", reason=f"no clip in '{source}'")
    path = paths[0]
    if not path.is_file():
        return Clip(prompt_id, path, "missing", f"'{path}' does not exist")
    try:
        frames, rate, channels = audio.probe(path)
    except audio.AudioError as error:
        return Clip(prompt_id, path, "unreadable", str(error))
    if frames == 0:
        return Clip(prompt_id, path, "unreadable", "no samples")
    return Clip(prompt_id, path, sha256=sha256_file(path), frames=frames, sample_rate=rate, channels=channels)
