"""What lies in a cache: collections, and files beside them, one after the other and never all at once."""

from __future__ import annotations

import json
import os
import re
import shutil
from array import array
from collections.abc import Collection, Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.store.collection import ABOUT
from evalkit.store.digests import digest
from evalkit.store.entry import SUFFIX, Damaged, Entry, Item, read_entry, write_entry
from evalkit.store.files import PARTIAL
from evalkit.store.leases import FOLDER as LEASES

DIGEST = "[0-9a-f]{32}"
WEIGHTS, ARRAYS = "weights", "arrays"
BESIDE = (WEIGHTS, ARRAYS, LEASES)  # folders of the cache that have no collections
AT_ONCE = 2**27  # bytes of values that are written into one file again

# what versions before the present format wrote
OLDER = re.compile(
    rf"""digests\.json
    |clips/{DIGEST}/(batch-\w+\.json|key\.json|{DIGEST}\.flac)
    |codes/{DIGEST}/(codes-\w+\.(json|npz)|key\.json)
    |features/({DIGEST}|peak)/([0-9a-f]{{2}}/{DIGEST}|packs/{DIGEST}\.npz)
    |checkpoints/(tiny-stereo-\d+-\d+|made-up-roberta-tokenizer)(\.sha256|/.+)""",
    re.VERBOSE,
)


@dataclass
class Size:
    """How many things, such as items, and how many bytes of files."""

    items: int = 0
    bytes: int = 0

    def add(self, items: int, size: int) -> None:
        """Add to it."""
        self.items += int(items)
        self.bytes += int(size)


class File(NamedTuple):
    """A file as a listing has it: its size in bytes, and when it was last modified, by the file system's clock."""

    path: Path
    size: int
    mtime: float
    links: int = 1


class Unreadable(Damaged):
    """A file that a failing disk, or the rights of its owner, keep from being read: nothing is known of its content."""


@dataclass(frozen=True)
class Shelf:
    """The folder of a collection, as it lies there.

    Attributes:
        kind, digest: those of the collection, of which the digest has 32 digits.
    """

    root: Path
    kind: str
    digest: str

    @property
    def name(self) -> str:
        """KIND/DIGEST, as leases and registers have it."""
        return f"{self.kind}/{self.digest}"

    @property
    def folder(self) -> Path:
        return self.root / self.kind / self.digest

    def about(self) -> dict[str, Any]:
        """What the collection says of itself: kind, label and key; nothing where that cannot be read."""
        with suppress(OSError, ValueError):
            known = json.loads((self.folder / ABOUT).read_text("utf-8"))
            if isinstance(known, dict):
                return known
        return {}

    def key(self) -> Any:
        """What the items depend on, which the folder's name is the digest of.

        Raises Damaged where it is not, FileNotFoundError where that is not there, and EvalkitError where it cannot be
        read.
        """
        path = self.folder / ABOUT
        try:
            known = json.loads(path.read_bytes())
            if digest([known["kind"], known["key"]])[:32] == self.digest:
                return known["key"]
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unreadable(path, error) from error
        except (ValueError, KeyError, TypeError):
            pass
        raise Damaged(f"'{path}' is damaged")

    @property
    def label(self) -> str:
        return str(self.about().get("label") or "")

    def files(self) -> list[File]:
        """The files of entries."""
        return [file for file in listed(self.folder) if file.path.name.endswith(SUFFIX)]

    def entries(self, seen: set[str] | None = None) -> Iterator[tuple[File, Entry | Damaged]]:
        """Each file with its index, or what is wrong with it: all that there is, whatever is merged meanwhile.

        What was merged after it was read comes twice, the second time in the file that it was merged into.

        Args:
            seen: names of files that are left out; those that were read are added.
        """
        seen = set() if seen is None else seen
        gone = True
        while gone:
            gone = False
            for file in self.files():
                if file.path.name in seen:
                    continue
                seen.add(file.path.name)
                try:
                    yield file, self._entry(file.path)
                except FileNotFoundError:
                    gone = True

    def _entry(self, path: Path) -> Entry | Damaged:
        try:
            entry = read_entry(path)
        except Damaged as error:
            return error
        except EvalkitError as error:
            return Unreadable(str(error))
        fits = (entry.kind, entry.collection[:32]) == (self.kind, self.digest)
        return entry if fits else Damaged(f"'{path}' belongs elsewhere")

    def keep(self, entry: Entry, kept: Container[str]) -> list[str]:
        """Leave of an entry only some items, those that are sound, and give the names of the files that have them.

        They are in new files before the entry's own is removed. Raises EvalkitError where they cannot be written.
        """
        written: list[str] = []
        waiting: dict[str, Item] = {}
        size = 0
        for key, item in entry.items(kept):
            if isinstance(item, Damaged):
                continue
            waiting[key] = item
            size += 0 if item.value is None else item.value.nbytes
            if size > AT_ONCE:
                written.append(write_entry(self.folder, self.kind, entry.collection, waiting).name)
                waiting, size = {}, 0
        if waiting:
            written.append(write_entry(self.folder, self.kind, entry.collection, waiting).name)
        if entry.path.name not in written:
            delete(entry.path)
        return written


def shelves(root: Path, kinds: Collection[str] = ()) -> Iterator[Shelf]:
    """The collections of a cache, of some kinds or of all, by kind and digest."""
    for kind in sorted(kinds or folders(root)):
        if kind not in BESIDE:
            for name in sorted(folders(root / kind)):
                shelf = Shelf(root, kind, name)
                if re.fullmatch(DIGEST, name) and _is_one(shelf):
                    yield shelf


def _is_one(shelf: Shelf) -> bool:
    """Whether a folder is that of a collection, even one in which only the first audio was written."""
    ours = any(file.path.name == ABOUT or file.path.name.endswith(SUFFIX) for file in listed(shelf.folder))
    return ours or any(True for _ in things(shelf))


def folders(folder: Path) -> list[str]:
    """The names of the folders in a folder; none where it is absent. Raises EvalkitError where it cannot be read."""
    try:
        with os.scandir(folder) as scan:
            return [one.name for one in scan if one.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def listed(folder: Path) -> Iterator[File]:
    """The files in a folder, in no order; none where it is absent. Raises EvalkitError where it cannot be read."""
    try:
        with os.scandir(folder) as scan:
            for one in scan:
                with suppress(FileNotFoundError):
                    if one.is_file(follow_symlinks=False):
                        stat = one.stat(follow_symlinks=False)
                        yield File(Path(one.path), stat.st_size, stat.st_mtime, stat.st_nlink)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(path: Path, error: OSError) -> EvalkitError:
    return EvalkitError(f"cannot read '{error.filename or path}': {error.strerror or error}")


def below(folder: Path) -> Iterator[File]:
    """All files below a folder, at any depth."""
    yield from listed(folder)
    for name in folders(folder):
        yield from below(folder / name)


# What an item names beside its value: an audio file, or a folder of files, by the first 32 digits of its SHA-256.
AUDIO = re.compile(rf"audio/({DIGEST})\.flac")
MADE = re.compile(f"({DIGEST})")


class Named(NamedTuple):
    """What an item names: its path in the collection's folder, the SHA-256 of its content, and its bytes if known."""

    path: str
    sha256: str
    size: int | None

    @property
    def name(self) -> str:
        """The digits that stand for it."""
        return self.path.removeprefix("audio/")[:32]


def named(facts: Any) -> Named | None:
    """What an item's facts name, if anything."""
    if isinstance(facts, dict):
        for key, pattern in (("audio", AUDIO), ("folder", MADE)):
            path = facts.get(key)
            if isinstance(path, str) and pattern.fullmatch(path):
                return Named(path, str(facts.get("sha256", "")), facts.get("bytes"))
    return None


def names_of(entry: Entry) -> np.ndarray:
    """What the items of an entry name, 16 bytes each, in their order: zeros where an item names nothing."""
    digits = [found.name if (found := named(facts)) else "0" * 32 for facts in entry.facts]
    return np.frombuffer(bytes.fromhex("".join(digits)), "S16")


def arrays_of(files: Iterable[File]) -> tuple[np.ndarray, np.ndarray]:
    """The names of audio files and folders, 16 bytes each, sorted, and their sizes in this order."""
    names, sizes = bytearray(), array("q")  # of very many, no object is kept
    for file in files:
        names += bytes.fromhex(file.path.stem)
        sizes.append(file.size)
    found = np.frombuffer(bytes(names), "S16")
    order = np.argsort(found)
    return found[order], np.array(sizes, np.int64)[order]


def among(names: np.ndarray, path: Path) -> bool:
    """Whether an audio file or a folder is one of those that items name, 16 bytes each, sorted."""
    name = bytes.fromhex(path.stem)
    place = int(np.searchsorted(names, np.array(name, "S16")))
    return place < len(names) and names[place] == name.rstrip(b"\0")


Role = Literal["named", "older", "partial", "unknown"]


def role_of(root: Path, path: Path) -> Role:
    """What a file below a folder of kinds is, but for entries: what items may name, or what else.

    What is in a folder that is being written is partial, as is a file that is.
    """
    name = path.relative_to(root).as_posix()
    if any(part.startswith(PARTIAL) for part in name.split("/")):
        return "partial"
    if OLDER.fullmatch(name):
        return "older"
    return "named" if re.fullmatch(rf"\w+/{DIGEST}/(audio/{DIGEST}\.flac|{DIGEST}/.+)", name) else "unknown"


def beside(root: Path) -> Iterator[tuple[File, Role]]:
    """The files that belong to no item, of all kinds, with what they are."""
    for file in listed(root):
        yield file, role_of(root, file.path)
    for kind in sorted(folders(root)):
        if kind in (LEASES, ARRAYS):
            yield from ((file, "partial") for file in listed(root / kind) if file.path.name.startswith(PARTIAL))
        elif kind == WEIGHTS:
            for name in folders(root / kind):
                if name.startswith(PARTIAL):  # an archive was being unpacked
                    yield from ((file, "partial") for file in below(root / kind / name))
        elif kind.startswith(PARTIAL):
            yield from ((file, "partial") for file in below(root / kind))
        else:
            yield from _beside(root, root / kind)


def _beside(root: Path, folder: Path) -> Iterator[tuple[File, Role]]:
    for file in listed(folder):
        if file.path.name == ABOUT or file.path.name.endswith(SUFFIX):
            continue
        if (state := role_of(root, file.path)) != "named":
            yield file, state
    for name in folders(folder):
        yield from _beside(root, folder / name)


def things(shelf: Shelf) -> Iterator[File]:
    """The audio files, and folders of files, that items of a collection may name, with their size.

    A folder's time is that of the youngest file in it.
    """
    for file in listed(shelf.folder / "audio"):
        if AUDIO.fullmatch(f"audio/{file.path.name}"):
            yield file
    for name in folders(shelf.folder):
        if MADE.fullmatch(name):
            files = list(below(shelf.folder / name))
            young = max((file.mtime for file in files), default=0.0)
            yield File(shelf.folder / name, sum(file.size for file in files), young)


def delete(path: Path) -> None:
    """Remove a file or a folder; one that another process has removed is gone. Raises EvalkitError where it stays."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise EvalkitError(f"cannot remove '{error.filename or path}': {error.strerror or error}") from error


def delete_empty(folder: Path) -> None:
    """Remove the folders in a folder, and itself, that hold nothing."""
    for name in folders(folder):
        delete_empty(folder / name)
    with suppress(OSError):
        folder.rmdir()
