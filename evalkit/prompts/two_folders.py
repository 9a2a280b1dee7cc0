"""Two folders of clips without captions, compared as they are."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from evalkit import audio
from evalkit.errors import EvalkitError
from evalkit.packs.files import SUFFIX
from evalkit.prompts.audio_files import by_id, mapped, normal, probed
from evalkit.prompts.user_files import SUFFIXES
from evalkit.store.cache import Cache
from evalkit.store.digests import digest, sha256_file
from evalkit.types import Clip, Form, Prompt, PromptSet


@dataclass(frozen=True)
class Files:
    """All audio files below a folder, or those that a CSV, TSV or JSONL file with columns id and path lists.

    A file's id is its path below the folder, without the suffix, and with ":" for "/"; files that would have the
    same keep their suffixes.
    """

    path: str
    kind: ClassVar[str] = "files"
    random: ClassVar[bool] = False
    published: ClassVar[None] = None

    @functools.cached_property  # a run asks at several stages, and a large folder takes long to walk
    def listed(self) -> dict[str, Path]:
        """The files by id, as they were when this was first asked.

        Raises EvalkitError for a path that is neither a folder with audio nor a list, and for two files of one id.
        """
        place = Path(self.path).expanduser().absolute()
        if place.suffix.lower() in SUFFIXES and place.is_file():
            return by_id(place, place.parent)
        if not place.is_dir():
            problem = "is a file: give the folder that it is in, or a CSV with columns id and path"
            if place.suffix.lower() == SUFFIX:
                problem = "is no folder, and a reference pack holds no audio: use 'evalkit run prompts.references=PACK'"
            raise EvalkitError(f"'{self.path}' {problem if place.exists() else 'does not exist: check the path'}")
        found: dict[str, list[Path]] = {}
        for path in audio.files_below(place):
            found.setdefault(_id(path.relative_to(place).with_suffix("")), []).append(path)
        files: dict[str, Path] = {}
        for name, paths in found.items():
            for path in paths:
                own = name if len(paths) == 1 else _id(path.relative_to(place))
                if files.setdefault(own, path) != path:
                    raise EvalkitError(f"'{files[own]}' and '{path}' would both be named '{own}': rename one")
        return files

    def find(self, prompts: Sequence[Prompt]) -> list[Clip]:
        """Find the file of each id; "unpaired" where there is none, since only the other folder has one."""
        files = self.listed
        return list(mapped(lambda prompt: _clip(prompt.id, files.get(prompt.id)), prompts))


def _id(path: Path) -> str:
    text = os.fsencode(path).decode("utf-8", "backslashreplace")  # what is not UTF-8 cannot be stored
    return normal(text.replace("/", ":"))


def _clip(name: str, path: Path | None) -> Clip:
    if path is None:
        return Clip(name, status="unpaired", reason="a file of this name is in the other folder only")
    clip = probed(name, path)
    return dataclasses.replace(clip, sha256=sha256_file(path)) if clip.ok else clip


@dataclass(frozen=True)
class TwoFolders:
    """The names of the files of two folders, in place of captions.

    Attributes:
        generated, references: each a folder, or a CSV, TSV or JSONL file with columns id and path.
    """

    generated: Files
    references: Files
    cut: ClassVar[str] = "start"
    max_seconds: ClassVar[None] = None

    def load(self, cache: Cache) -> PromptSet:
        """List the files of both folders: the generated ones, then references of other names."""
        ours, theirs = self.generated.listed, self.references.listed
        names = list(dict.fromkeys([*ours, *theirs]))
        form: Form = "pairs" if ours.keys() == theirs.keys() else "sets"
        same = len(ours.keys() & theirs.keys())
        prompts = tuple(Prompt(name, "") for name in names)
        subset = f"{len(ours):,} clips against {len(theirs):,} references, {same:,} of the same name"
        return PromptSet(
            Path(self.references.path).expanduser().resolve().name, subset, len(names), prompts, digest(names), form
        )
