"""A result in one archive, with or without the audio."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from evalkit.errors import EvalkitError
from evalkit.results import REPORT
from evalkit.results.evidence import require_intact
from evalkit.results.folders import LOG, MANIFEST, read_manifest
from evalkit.results.result import Result
from evalkit.store.digests import sha256_file
from evalkit.store.files import write_atomic

SIDES = {"generated": "", "references": "reference_"}  # what the columns of a side's clips begin with


def pack(result: Result, archive: Path, generated: bool = True, references: bool = True) -> None:
    """Write a result, and the clips that it was measured on, into a ZIP file; unpacked, it is a result again.

    A clip is named by its digest, so each is there once. Raises EvalkitError for an archive that exists
    already, for a clip that is gone or is not the one that was measured, for the audio of references that came from a
    pack, for features that are missing or damaged, and where the archive cannot be written.
    """
    if archive.exists():
        raise EvalkitError(f"'{archive}' exists: choose another name")
    if archive.is_relative_to(result.path):
        raise EvalkitError(f"'{archive}' lies in the result itself: choose another place")
    info = result.references_info
    if references and info is not None and info.pack:
        raise EvalkitError(
            f"the references came from the pack '{info.pack}', which holds no audio: leave theirs out with "
            "--no-references"
        )
    wanted = [side for side, asked in (("generated", generated), ("references", references)) if asked]
    audio = {name: path for side in wanted for name, path in audio_files(result, side)}
    manifest = read_manifest(result.path)
    for name in manifest["features"]:
        require_intact(result.path / "features" / f"{name}.npy", name)
    parts = [*manifest["files"], *(f"features/{name}.npy" for name in manifest["features"])]
    parts += sorted(
        path.name for pattern in ("config.yaml", LOG, "table.*", REPORT) for path in result.path.glob(pattern)
    )

    def write(file: IO[bytes]) -> None:
        # ZIP knows no time before 1980, which copies and containers give to files
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as packed:
            root = archive.stem
            for name in parts:
                packed.write(result.path / name, f"{root}/{name}")
            for name, path in audio.items():
                packed.write(path, f"{root}/audio/{name}", zipfile.ZIP_STORED)  # compressed already
            packed.write(result.path / MANIFEST, f"{root}/{MANIFEST}")

    write_atomic(archive, write)


def audio_files(result: Result, side: str) -> Iterator[tuple[str, Path]]:
    """The usable clips of a side, "generated" or "references": names in the archive, and where they lie."""
    prefix = SIDES[side]
    clips = result.clips[result.clips[f"{prefix}status"] == "ok"]
    columns = [f"{prefix}{name}" for name in ("sha256", "path")]
    unique = clips[["id", *columns]].drop_duplicates(columns[0])
    for prompt, sha256, written in unique.itertuples(index=False):
        path = result.audio(sha256, written)
        if path is None:
            raise EvalkitError(
                f"the clip of '{prompt}' is no longer at '{written}' ({side}): leave the audio out with --no-audio"
                + (" or --no-references" if side == "references" else "")
            )
        if sha256_file(path) != sha256:
            raise EvalkitError(f"'{path}' is not the clip that was measured: leave the audio out with --no-audio")
        yield f"{sha256}{path.suffix}", path
