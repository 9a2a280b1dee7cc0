"""A record as a folder: written whole or not at all, read with every file checked."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.store.digests import digest, sha256_file
from evalkit.store.files import cannot_write, write_bytes, write_json

MANIFEST = "result.json"  # written last: a folder without it holds no record
FACTS = "record.json"  # all of a record that is no frame
OWN = "digest"  # of all else that the manifest says; older ones have none
LOG = "run.log"
RUN = "evalkit run"
AGAIN = "copy the {} again, or run it again"
LISTS = ("tags", "labels")  # columns whose cells are lists of text


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of record.

    Attributes:
        name: what its manifest calls it, such as "result".
        about: what messages call it, such as "the result of a run".
        maker: what writes it, such as "the run".
        command: what prints its folder, such as "evalkit run".
        schema: the version of its form, which its manifest has too.
        files: those whose digests its manifest has.
    """

    name: str
    about: str
    maker: str
    command: str
    schema: int
    files: Sequence[str]


def begin(folder: Path, kind: Kind, more: Collection[str] = ()) -> None:
    """Make the folder of a record, or take one that holds nothing but a log and what a stopped save left.

    Args:
        more: names that a record of this kind may have beside its files.

    Raises EvalkitError where the folder holds anything else, and where it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise cannot_write(folder, error) from error
    if MANIFEST in there:
        raise EvalkitError(f"'{folder}' holds a finished result already: choose another folder")
    if there - {LOG, *kind.files, *more}:
        raise EvalkitError(f"'{folder}' is not empty: choose a new folder")


def finish(folder: Path, kind: Kind, **more: Any) -> None:
    """Write the manifest of a folder that holds all files of a record; `more` stands in it too."""
    digests = {name: sha256_file(folder / name) for name in kind.files}
    manifest = {"kind": kind.name, "schema": kind.schema, "status": "finished", "files": digests, **more}
    write_json(folder / MANIFEST, {**manifest, OWN: digest(manifest)})


def checked(folder: Path, kind: Kind) -> dict[str, Any]:
    """Read the manifest of a record of some kind, whose files are all there and as they were written.

    Raises EvalkitError for a folder without a finished record, a record of another kind or schema, and a file
    that is missing, or that is not the one that was written.
    """
    manifest = read_manifest(folder, kind.command)
    if manifest["kind"] != kind.name:
        inside = sorted(path.parent for path in folder.glob(f"*/*/{MANIFEST}"))  # as a sweep has results of its points
        more = f", or one inside of it, such as '{inside[0]}'" if inside else ""
        raise EvalkitError(
            f"'{folder}' holds a {manifest['kind']}, not {kind.about}: give a folder that {kind.command} printed{more}"
        )
    if manifest["schema"] > kind.schema:
        raise EvalkitError(
            f"'{folder}' was made by a later version of evalkit (schema {manifest['schema']}, this one reads "
            f"{kind.schema}): update it"
        )
    own = manifest.pop(OWN, None)
    if own is not None and own != digest(manifest):
        raise EvalkitError(f"'{folder / MANIFEST}' is damaged: {AGAIN.format(kind.name)}")
    if set(kind.files) - set(manifest["files"]):
        raise lacking(folder)
    for name, sha256 in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise EvalkitError(f"'{folder}' is incomplete: {name} is missing: copy the whole {kind.name}")
        if sha256_file(path) != sha256:
            raise EvalkitError(f"'{path}' is not the file that {kind.maker} wrote: {AGAIN.format(kind.name)}")
    return manifest


def read_manifest(folder: Path, command: str = RUN) -> dict[str, Any]:
    """Read what a folder says that it holds: kind, schema, and files with their digests.

    Args:
        command: what prints such a folder, for messages.

    Raises EvalkitError for a folder without a finished record, and for one of a schema before the first.
    """
    path = folder / MANIFEST
    if not path.is_file():
        if folder.suffix == ".zip" and folder.is_file():
            raise EvalkitError(f"'{folder}' is an archive: unpack it, and give the folder that it holds")
        if not folder.is_dir():
            raise EvalkitError(f"'{folder}' is not a folder: give the one that {command} printed")
        inside = [path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{MANIFEST}")]
        if inside:
            inside.sort(key=lambda path: path.name)  # names begin with the time
            more = f", the latest of {len(inside)}" if len(inside) > 1 else ""
            raise EvalkitError(f"'{folder}' holds no result itself but in folders: give '{inside[-1]}'{more}")
        unfinished = ": the run did not finish" if (folder / LOG).is_file() else ""
        raise EvalkitError(f"'{folder}' holds no finished result{unfinished}: give the folder that {command} printed")
    try:
        manifest = json.loads(path.read_text("utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError("it is no JSON object")
    except ValueError as error:
        raise EvalkitError(f"'{path}' is damaged ({error}): copy the result again, or run it again") from error
    schema = manifest.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise EvalkitError(f"'{folder}' was made by an earlier version of evalkit: run it again, which costs little")
    if not isinstance(manifest.get("kind"), str) or not isinstance(manifest.get("files"), dict):
        raise lacking(folder)
    return manifest


def identity(folder: Path) -> str:
    """The SHA-256 of a record's manifest, which has those of all else: what other records know it by."""
    return sha256_file(folder / MANIFEST)


def lacking(folder: Path) -> EvalkitError:
    """The error for a manifest in which something is missing."""
    return EvalkitError(
        f"'{folder / MANIFEST}' is damaged (something is missing in it): copy the result again, or run it again"
    )


def plain(value: Any) -> Any:
    """Write a value as JSON has it: dataclasses and mappings become dictionaries, tuples lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


def facts(record: Any, without: Collection[str]) -> dict[str, Any]:
    """Give the fields of a record as JSON has them, but for some."""
    return {f.name: plain(getattr(record, f.name)) for f in dataclasses.fields(record) if f.name not in without}


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as a Parquet file."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())


def read_frame(path: Path) -> pd.DataFrame:
    """Read a frame from a Parquet file."""
    frame = pd.read_parquet(path)
    as_list: Callable[[Any], list[str]] = list
    return frame.assign(**{name: frame[name].map(as_list) for name in LISTS if name in frame})
