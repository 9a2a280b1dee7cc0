"""ZIP and TAR archives of others, unpacked so that only what was asked for is written, and nowhere else."""

from __future__ import annotations

import fnmatch
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from evalkit.errors import EvalkitError, reason

DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError, ValueError,
    RuntimeError,  # for passwords, and in a kind of its own for methods that zipfile does not know
)  # fmt: skip


class _Member(NamedTuple):
    """What an archive says that it holds: `kind` is "file", "folder" or what else, such as "link"."""

    name: str
    kind: str
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, patterns: Sequence[str] = ("*",)) -> int:
    """Write the files of an archive whose names match one of some patterns below an empty folder, and count them.

    The rest stays packed. Raises EvalkitError for an archive that cannot be read, or holds no such file, and for one
    with a member that is neither file nor folder, that has the name of another one, or whose name leads out of the
    folder: nothing that such an archive holds is to be trusted, and what was written of it is to be removed.
    """
    written: set[str] = set()
    try:
        for member in _members(archive):
            if problem := _problem(member, written):
                raise _refused(member, problem)
            if member.kind == "folder" or not any(fnmatch.fnmatch(member.name, pattern) for pattern in patterns):
                continue
            written.add(member.name.casefold())
            path = folder.joinpath(*member.name.split("/"))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                target = path.open("xb")
            except (FileExistsError, NotADirectoryError) as error:
                raise _refused(member, "is a file and a folder") from error
            with target, member.open() as source:  # neither its times nor its rights
                shutil.copyfileobj(source, target, 1 << 20)
    except DAMAGED as error:
        raise EvalkitError(f"the archive cannot be read: {reason(error)}") from error
    if not written:
        raise EvalkitError(f"the archive holds no file such as {' or '.join(patterns)}")
    return len(written)


def _refused(member: _Member, problem: str) -> EvalkitError:
    return EvalkitError(f"the archive's member {member.name!r:.80} {problem}: it is not to be trusted")


def _problem(member: _Member, written: set[str]) -> str:
    """Why a member is refused; names are compared as file systems do that take "A" for "a"."""
    name = member.name
    if name.startswith("/") or "\\" in name or "\0" in name or ":" in name.split("/")[0]:
        return "has a path of its own"
    if any(part in ("", ".", "..") for part in name.removesuffix("/").split("/")):
        return "leads out of the folder"
    if member.kind not in ("file", "folder"):
        return f"is a {member.kind}"
    return "is there twice" if name.casefold() in written else ""


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                mode = stat.S_IFMT(info.external_attr >> 16)  # 0 where it was made on a system without
                other = "link" if mode == stat.S_IFLNK else "device" if mode else ""
                kind = "folder" if info.is_dir() else "file" if mode in (0, stat.S_IFREG) else other
                # infolist has names as they were before zipfile makes them harmless
                yield _Member(info.orig_filename, kind, lambda info=info: opened.open(info))  # type: ignore[misc]
        return
    with tarfile.open(archive) as packed:
        for entry in packed:
            other = "link" if entry.issym() or entry.islnk() else "device"
            kind = "file" if entry.isreg() else "folder" if entry.isdir() else other
            if entry.name != ".":  # "tar -c ." packs the folder itself, and all else below "./"
                yield _Member(entry.name.removeprefix("./"), kind, lambda entry=entry: _file(packed, entry))  # type: ignore[misc]


def _file(packed: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    opened = packed.extractfile(entry)
    assert opened is not None  # as only links and devices have none
    return opened
