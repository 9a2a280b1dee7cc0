"""Clips that someone else generated, matched to prompts by id."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from evalkit import audio
from evalkit.errors import EvalkitError
from evalkit.prompts.user_files import find_column, read_rows
from evalkit.store.digests import sha256_file
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

    kind: ClassVar[str] = "folder"
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
            problem = "is a file" if folder.is_file() else "does not exist"
            raise EvalkitError(f"the folder of clips '{folder}' {problem}: check the path")
        manifest = Path(str(self.manifest)).expanduser().absolute() if self.manifest else None
        files = _listed(manifest, folder) if manifest else _below(folder)
        return [_clip(p.id, files.get(unicodedata.normalize("NFC", p.id), []), manifest or folder) for p in prompts]


def _below(folder: Path) -> dict[str, list[Path]]:
    """Audio files below a folder, by stem. Ids come from outside, so they are looked up, never joined to a path."""
    files: dict[str, list[Path]] = {}
    for path in audio.files_below(folder):
        files.setdefault(unicodedata.normalize("NFC", path.stem), []).append(path)
    return files


def _listed(manifest: Path, folder: Path) -> dict[str, list[Path]]:
    """The files that a manifest names, by id."""
    rows = read_rows(manifest)
    id_column, path_column = find_column(manifest, rows, "id", "ytid"), find_column(manifest, rows, "path")
    files: dict[str, list[Path]] = {}
    for row in rows:
        name, path = row.text(id_column), row.text(path_column)
        if not name or not path:
            raise row.error(f"{path_column if name else id_column} is empty")
        files.setdefault(unicodedata.normalize("NFC", name), []).append(folder / path)
    return files


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
