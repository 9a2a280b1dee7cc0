"""How `prompts.references` names a pack: a file, or one in a repository of a hub, and what pins its content."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from evalkit.assets import Asset
from evalkit.errors import EvalkitError
from evalkit.intact import files
from evalkit.packs.files import SUFFIX, read_pack
from evalkit.packs.pack import Pack
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file

PIN = "#sha256="  # between the name of a file and the digest that it must have
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)@([^/:]+)(?::(.+))?", re.ASCII)


@dataclass(frozen=True)
class Packed:
    """References of which there is a pack, and no audio.

    Attributes:
        asset: the file, or the repository that holds it and may hold others.
        sha256: what the file's SHA-256 must be; empty for any.
    """

    asset: Asset = field(metadata={"option": ""})
    sha256: str = ""
    kind: ClassVar[str] = "reference_pack"

    def read(self, cache: Cache) -> Pack:
        """Read the pack. Raises EvalkitError where it is not on this machine, is another one, or is damaged."""
        place = self.asset.locate(cache, "prompts.references")
        file = self._in_repository(place) if place.is_dir() else place
        if self.sha256 and (found := sha256_file(file)) != self.sha256:
            raise EvalkitError(
                f"'{file}' is another reference pack than the one that was named, or is damaged (SHA-256 "
                f"{found[:12]}…, expected {self.sha256[:12]}…): get that one"
            )
        return read_pack(file)

    def _in_repository(self, folder: Path) -> Path:
        """The one file that was named, or that there is. Raises EvalkitError where there are several."""
        if not self.asset.repo:
            raise EvalkitError(
                f"prompts.references: '{folder}' is a folder: name the {SUFFIX} file of a reference pack"
            )
        first, *more = files(self.asset, folder)
        if more:
            names = ", ".join(path.relative_to(folder).as_posix() for path in [first, *more])
            raise EvalkitError(
                f"{self.asset.source} holds {len(more) + 1} reference packs ({names}): name one of them, as in "
                f"prompts.references={self.asset.source}:{first.relative_to(folder).as_posix()}"
            )
        return first


def packed(references: Any) -> Any:
    """What `prompts.references` stands for: a Packed for the name of a pack, and anything else as it is.

    A pack is named as PACK.safetensors, as OWNER/NAME@COMMIT for the only one in a data set repository of a hub, or
    as OWNER/NAME@COMMIT:FILE.safetensors for one of several. Behind either may stand #sha256= and the digest that the
    file must have. Raises EvalkitError for a repository without the digits of a commit, whose content could change,
    and for a digest that is none.
    """
    if not isinstance(references, str | os.PathLike):
        return references
    name, pin, sha256 = str(references).partition(PIN)
    if pin and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise EvalkitError(f"prompts.references={references}: write the 64 hexadecimal digits behind {PIN}")
    found = _REPOSITORY.fullmatch(name)
    if found and not found[2].lower().endswith(SUFFIX) and not os.path.exists(name):
        return Packed(_in_hub(*found.groups()), sha256)
    if name.lower().endswith(SUFFIX):
        return Packed(Asset(f"reference pack '{Path(name).name}'", path=name), sha256)
    if pin:
        raise EvalkitError(f"prompts.references={references}: {PIN} pins a reference pack, whose name ends in {SUFFIX}")
    return references


def named(pack: str) -> Packed:
    """What the name of a pack stands for. Raises EvalkitError for what names none."""
    found = packed(pack)
    if not isinstance(found, Packed):
        raise EvalkitError(f"'{pack}' names no reference pack: give a {SUFFIX} file, or OWNER/NAME@COMMIT of a hub")
    return found


def _in_hub(repo: str, commit: str, file: str | None) -> Asset:
    if not _COMMIT.fullmatch(commit):
        raise EvalkitError(
            f"prompts.references={repo}@{commit}: name a commit by its 40 hexadecimal digits, which the repository's "
            "page shows under its history: what a branch or tag leads to may change"
        )
    if file is not None and not file.lower().endswith(SUFFIX):
        raise EvalkitError(f"prompts.references={repo}@{commit}:{file}: the name of a pack ends in {SUFFIX}")
    wanted = [glob.escape(file) if file else f"*{SUFFIX}"]
    return Asset(f"reference pack of {repo}", repo=repo, repo_type="dataset", revision=commit, files=wanted)
