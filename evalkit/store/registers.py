"""What finished runs use: the store keeps it for as long as their results are there.

A run's register is a collection of kind "runs", whose items are the keys that the run has used, one item for each
collection. It holds these as long as the result is in the folder where the run wrote it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.store.collection import Collection as Shelved
from evalkit.store.contents import Shelf, Unreadable, shelves
from evalkit.store.digests import digest
from evalkit.store.entry import Damaged, Item, read_entry
from evalkit.store.leases import RESULT, Lease, has_no_result

log = logging.getLogger(__name__)

KIND = "runs"
MOST = 2**20  # keys in one entry, but for what one collection alone has more: what is read at once


def register(held: Lease, folder: Path) -> None:
    """Store what a run has used, whose result is in a folder.

    Where that cannot be stored the run's lease stays, and holds all collections that it names; where the cache is only
    read there is none, and nothing is held.
    """
    used = {name: keys for name, keys in held.used().items() if len(keys) and not name.startswith(f"{KIND}/")}
    if not used:
        return
    try:
        write(held.root, folder, used, used.__getitem__)
    except EvalkitError as error:
        if held.refused:
            return
        held.outlasts = True
        log.warning("%s: nothing that '%s' uses is removed from the cache until then", error, folder)


def write(root: Path, folder: Path, names: Collection[str], keys_of: Callable[[str], np.ndarray]) -> None:
    """Store what the result in a folder uses.

    Args:
        names: of the collections, KIND/DIGEST.
        keys_of: gives the keys of one, 16 bytes each.

    Raises EvalkitError where that cannot be done.
    """
    about = {"folder": str(folder), "result": result_digest(folder)}
    shelf = Shelved(root, KIND, about, folder.name)
    waiting: dict[str, Item] = {}
    count = 0
    for name in names:
        keys = keys_of(name)
        if waiting and count + len(keys) > MOST:
            shelf.write(waiting)
            waiting, count = {}, 0
        value = np.frombuffer(keys.tobytes(), np.uint8).reshape(-1, 16)
        waiting[digest(name)] = Item(value, {"collection": name}, {"collections": sorted(names)})
        count += len(keys)
    shelf.write(waiting)


def result_digest(folder: Path) -> str:
    """The SHA-256 of what says that a folder holds a finished result; empty where that cannot be read."""
    try:
        return hashlib.sha256((folder / RESULT).read_bytes()).hexdigest()
    except OSError:
        return ""


ResultState = Literal["there", "gone", "changed", "hidden", "damaged"]


@dataclass(frozen=True)
class Run:
    """The register of a finished run.

    Attributes:
        shelf: where it lies.
        folder, result: where the result was written, and its digest.
        state: whether the result is there: "gone" where there is none, "changed" where there is another one, "hidden"
            where that cannot be seen from here; "damaged" where the register is not what was written, or a part of it
            is missing, so that it is not known what the run uses.
        parts: the files that have the keys of a collection, by its name, KIND/DIGEST.
        mtime: when the register was written, by the file system's clock.
    """

    shelf: Shelf
    folder: Path
    result: str
    state: ResultState
    parts: Mapping[str, Path]
    mtime: float


def runs(root: Path) -> Iterator[Run]:
    """Read all registers, but for the keys. Raises EvalkitError where one cannot be read."""
    for shelf in shelves(root, [KIND]):
        parts: dict[str, Path] = {}
        damaged, mtime, names = False, 0.0, set[str]()
        for file, entry in shelf.entries():
            mtime = max(mtime, file.mtime)
            if isinstance(entry, Unreadable):
                raise EvalkitError(str(entry))
            if isinstance(entry, Damaged):
                damaged = True
                continue
            try:
                parts |= {facts["collection"]: file.path for facts in entry.facts}
                names |= {name for one in entry.shared for name in one["collections"]}
            except (KeyError, TypeError):  # of another form
                damaged = True
        if not parts and not damaged:
            continue  # it was not written to its end, and a lease stands in for it
        try:
            about = shelf.key()
            folder, result = Path(about["folder"]), str(about["result"])
        except (Damaged, FileNotFoundError, KeyError, TypeError):
            folder, result, damaged = Path(), "", True
        state: ResultState = "damaged"
        if not damaged and names == parts.keys():
            state = _state(folder, result)
        yield Run(shelf, folder, result, state, parts, mtime)


def _state(folder: Path, result: str) -> ResultState:
    if found := result_digest(folder):
        return "there" if found == result else "changed"
    return "gone" if has_no_result(folder) else "hidden"


def folder_of(shelf: Shelf) -> Path | None:
    """Where the result lies whose register this is; None where the register does not say."""
    about = shelf.about().get("key")
    return Path(about["folder"]) if isinstance(about, dict) and "folder" in about else None


def keys_of(run: Run, collection: str) -> np.ndarray:
    """The keys that a run has used of a collection, 16 bytes each, sorted.

    Raises EvalkitError where they are damaged, or cannot be read.
    """
    try:
        for _, item in read_entry(run.parts[collection]).items({digest(collection)[:32]}):
            if isinstance(item, Item) and item.value is not None:
                return np.frombuffer(item.value.tobytes(), "S16")
    except (Damaged, FileNotFoundError):
        pass
    raise unknown_use(run.shelf)


def unknown_use(shelf: Shelf) -> EvalkitError:
    """The error for a register that cannot be read."""
    return EvalkitError(
        f"the register '{shelf.name}' of {shelf.label or 'a run'} is damaged, so that it is not known what that uses: "
        f"make that run again, which costs little, and remove this with 'evalkit store rm {shelf.name} --yes'"
    )
