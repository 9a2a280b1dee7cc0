"""Removing whole collections, and registers of runs, that somebody names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from evalkit.errors import EvalkitError
from evalkit.store import contents, leases, registers
from evalkit.store.collection import ABOUT
from evalkit.store.contents import Shelf, delete, delete_empty, shelves

SHORTEST = 4  # digits of a digest by which a collection may be named


def chosen(root: Path, names: Sequence[str]) -> list[Shelf]:
    """The collections of some names: kinds, labels, KIND/DIGEST, or the first digits of digests; each once.

    A run's register has the name of its result's folder, or that folder itself. Raises EvalkitError for a name of none.
    """
    known = [(shelf, shelf.label) for shelf in shelves(root)]
    found: dict[str, Shelf] = {}
    for name in names:
        own = {shelf.name: shelf for shelf, label in known if _is(shelf, label, name)}
        if not own:
            there = dict.fromkeys(part for shelf, label in known for part in (shelf.kind, label) if part)
            near = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise EvalkitError(f"no collection '{name}' in '{root}': {hint}'evalkit store ls' shows what there is")
        found |= own
    return list(found.values())


def _is(shelf: Shelf, label: str, name: str) -> bool:
    kind, _, digits = name.rpartition("/")
    if re.fullmatch(rf"[0-9a-f]{{{SHORTEST},32}}", digits) and kind in ("", shelf.kind):
        return shelf.digest.startswith(digits)
    if name in (shelf.kind, label):
        return True
    return shelf.kind == registers.KIND and registers.folder_of(shelf) == Path(name).expanduser().absolute()


def used_by(root: Path, asked: Sequence[Shelf]) -> list[registers.Run]:
    """The finished runs that use some collections, but for those whose results are known to be gone."""
    names = {shelf.name for shelf in asked}
    return [run for run in registers.runs(root) if run.state in ("there", "hidden") and names & run.parts.keys()]


def remove(root: Path, asked: Sequence[Shelf]) -> None:
    """Remove collections. Raises EvalkitError, before anything is removed, for one that a running process uses."""
    with leases.removing(root):
        for held in leases.certain_holders(root):
            for shelf in asked:
                if held.lives and held.names(shelf.name):
                    raise EvalkitError(f"'{shelf.name}' is used by {held}: wait until it has ended, or stop it")
        for shelf in asked:
            for file in shelf.files():  # before what they name
                delete(file.path)
            for thing in contents.things(shelf):
                delete(thing.path)
            delete(shelf.folder / ABOUT)
            delete_empty(shelf.folder)
