"""Clips that someone else generated, matched to prompts by id."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from evalkit.errors import EvalkitError
from evalkit.prompts.audio_files import by_id, by_stem, mapped, normal, probed
from evalkit.settings import MIN_SECONDS
from evalkit.store.digests import sha256_file
from evalkit.types import Clip, Prompt


@dataclass(frozen=True)
class Folder:
    """A folder of clips, one per prompt.

    Attributes:
        path: the folder; without a manifest, a file anywhere below it belongs to the prompt whose
            id is the file's name without its suffix.
        manifest: a CSV or JSONL file with `id` and `path` of each clip, for clips with other names;
            paths are relative to the folder, or where none is given to that of the manifest.
        duration: seconds of each clip that count, from its beginning; all of it where None. The references that clips
            are compared with are then cut to what both have.
        published: the hub id that published numbers are joined on, where the clips come from it.
    """

    path: str | None = None
    manifest: str | None = None
    duration: float | None = None
    published: str | None = None

    kind: ClassVar[str] = "folder"
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.path and not self.manifest:
            raise EvalkitError(
                "the folder of clips is not set: give its path, as in model=folder model.folder.path=CLIPS"
            )
        if self.duration is not None and not self.duration >= MIN_SECONDS:
            raise EvalkitError(f"folder: duration={self.duration}: must be at least {MIN_SECONDS:g} s, or null")

    def find(self, prompts: Sequence[Prompt]) -> list[Clip]:
        """Find one clip per prompt, in order.

        Clips that are absent or cannot be read have status "missing" and "unreadable". Raises
        EvalkitError for a folder without audio, a bad manifest, and two files for one prompt.
        """
        manifest = Path(str(self.manifest)).expanduser().absolute() if self.manifest else None
        folder = Path(str(self.path or Path(str(manifest)).parent)).expanduser().absolute()
        if self.path and not folder.is_dir():
            problem = "is a file" if folder.is_file() else "does not exist"
            raise EvalkitError(f"the folder of clips '{folder}' {problem}: check the path")
        files = {name: [path] for name, path in by_id(manifest, folder).items()} if manifest else by_stem(folder)
        source = manifest or folder
        found = [files.get(normal(prompt.id), []) for prompt in prompts]
        return list(mapped(lambda p, paths: _clip(p.id, paths, source, self.duration), prompts, found))


def _clip(prompt_id: str, paths: list[Path], source: Path, duration: float | None) -> Clip:
    if len(paths) > 1:
        raise EvalkitError(f"two clips for '{prompt_id}': '{paths[0]}' and '{paths[1]}': remove one")
    if not paths:
        return Clip(prompt_id, status="missing", reason=f"no clip in '{source}'")
    clip = probed(prompt_id, paths[0])
    if not clip.ok:
        return clip
    clip = dataclasses.replace(clip, sha256=sha256_file(paths[0]))
    whole = clip.frames / clip.sample_rate
    if duration is None or whole <= duration:
        return clip
    return dataclasses.replace(clip, seconds=duration, note=f"cut from {whole:.1f} s to its first {duration:g} s")
