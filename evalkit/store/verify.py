"""Whether all that a cache holds is what was written, and what is not."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.store import contents, leases, registers
from evalkit.store.collection import ABOUT
from evalkit.store.contents import File, Shelf, beside, delete, listed, shelves
from evalkit.store.digests import digest
from evalkit.store.entry import CutShort, Damaged, Entry, LaterSchema, OtherSchema

# what can be said of an item, or of a file that cannot be read
OK, CUT_SHORT, WRONG, MISSING = "ok", "cut short", "wrong digest", "missing"
UNREADABLE = "cannot be read"
OLDER, LATER, UNREFERENCED, PARTIAL, UNKNOWN = "older schema", "later schema", "unreferenced", "partial", "unknown"
LOST = (CUT_SHORT, WRONG, MISSING, UNREADABLE)
BROKEN = (CUT_SHORT, WRONG)  # what may be removed
OTHERS = (OLDER, LATER, UNREFERENCED, PARTIAL, UNKNOWN)
SHOWN = 20  # damaged files that are named


@dataclass
class Verdicts:
    """What was found.

    Attributes:
        counts: by kind, such as "features", and by verdict.
        damaged: the first files that are damaged or missing, with their verdicts.
        removed: how many damaged files were removed, so that what they held is made again.
        left: how many were not, because a running process uses their collections.
        linked: how many removed files results have under names of their own, with the same damage.
        registers: of finished runs, KIND/DIGEST, that are damaged; these stay, as without them nobody would know that
            something is in use.
    """

    counts: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    damaged: list[tuple[Path, str]] = field(default_factory=list)
    removed: int = 0
    left: int = 0
    linked: int = 0
    registers: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many items, or files of items, are lost."""
        return sum(found.get(verdict, 0) for found in self.counts.values() for verdict in LOST)


def verify(
    root: Path, read_data: bool = False, repair: bool = False, advance: Callable[[int], None] = lambda count: None
) -> Verdicts:
    """Check all entries, and what their items name.

    Args:
        read_data: read every byte and compare digests; without it only the indices and the sizes of files.
        repair: remove what is damaged, so that the next run makes it again; sound items of the same files stay.
        advance: is told the number of files that were looked at, see `files`.

    Raises EvalkitError where something cannot be removed.
    """
    with ExitStack() as stack:
        if repair:
            stack.enter_context(leases.removing(root))
            held = None
        else:
            held = stack.enter_context(leases.lease(root))
        return _Round(root, read_data, repair, held, advance).run()


def files(root: Path) -> int:
    """How many files `verify` looks at."""
    of_items = sum(len(shelf.files()) + sum(1 for _ in contents.things(shelf)) for shelf in shelves(root))
    return of_items + sum(1 for _ in listed(root / contents.ARRAYS))


class Thing(NamedTuple):
    """An audio file or a folder that items name, and what is the matter with it."""

    path: Path
    verdict: str
    size: int = 0


class _Round:
    """One round through the cache."""

    def __init__(
        self, root: Path, read_data: bool, repair: bool, held: leases.Lease | None, advance: Callable[[int], None]
    ):
        self.root, self.read_data, self.repair, self.held, self.advance = root, read_data, repair, held, advance
        self.found = Verdicts()

    def run(self) -> Verdicts:
        if self.repair:
            leases.certain_holders(self.root)  # waits for those that look dead
        for shelf in shelves(self.root):
            if self.held:
                self.held.use(shelf.name)  # so that nothing of it is removed meanwhile
            self._shelf(shelf)
        for file in listed(self.root / contents.ARRAYS):
            self._array(file)
        for file, state in beside(self.root):
            kind = file.path.relative_to(self.root).parts[0] if file.path.parent != self.root else "cache"
            self.found.counts[kind][{"older": OLDER, "partial": PARTIAL}.get(state, UNKNOWN)] += 1
        return self.found

    def _mended(self, shelf: Shelf) -> bool:
        """Whether what is damaged of a collection is to be removed: not where a running process uses it."""
        return (
            self.repair
            and shelf.kind != registers.KIND
            and not any(held.names(shelf.name) for held in leases.holders(self.root, leases.now(self.root)))
        )

    def _shelf(self, shelf: Shelf) -> None:
        things, sizes, bad = self._things(shelf)
        mended = self._mended(shelf)
        if mended:  # before the items that name them: a damaged file would be taken for theirs
            _delete(bad.values())
        seen, named, broken = set[str](), [np.empty(0, "S16")], self._about(shelf, mended)
        for file, entry in shelf.entries(seen):
            self.advance(1)
            if isinstance(entry, OtherSchema):
                self._add(shelf, LATER if isinstance(entry, LaterSchema) else OLDER)
            elif isinstance(entry, Damaged):
                verdict = _verdict(entry)
                self._add(shelf, verdict)
                self._name(file.path, verdict)
                broken += verdict in BROKEN
                if mended and verdict in BROKEN:
                    delete(file.path)
            else:
                named.append(contents.names_of(entry))
                before = len(bad)
                lost = self._items(shelf, entry, named[-1], things, sizes, bad)
                damaged = {key for key, verdict in lost.items() if verdict != UNREADABLE}
                broken += bool(damaged)
                if damaged and mended:
                    _delete(bad[name] for name in list(bad)[before:])
                    if len(damaged) == len(entry.keys):
                        delete(file.path)
                        continue
                    with suppress(FileNotFoundError, Damaged):  # merged meanwhile, or changed again
                        seen.update(shelf.keep(entry, set(entry.keys) - damaged))
        needed = np.unique(np.concatenate(named))
        there = np.concatenate([things, np.array(list(bad), "S16")])
        self._add(shelf, UNREFERENCED, int((~np.isin(there, needed)).sum()))
        count = broken + sum(thing.verdict in BROKEN for thing in bad.values())
        if mended:
            self.found.removed += count
        elif shelf.kind == registers.KIND:
            self.found.registers += [shelf.name] if count else []
        elif self.repair:
            self.found.left += count

    def _things(self, shelf: Shelf) -> tuple[np.ndarray, np.ndarray, dict[bytes, Thing]]:
        """The sound audio files and folders of a collection, 16 bytes each, sorted; their sizes; and the others."""
        bad: dict[bytes, Thing] = {}

        def sound() -> Iterator[File]:
            for file in contents.things(shelf):
                self.advance(1)
                if (verdict := self._thing(file)) == OK:
                    yield file
                else:
                    bad[bytes.fromhex(file.path.stem)] = Thing(file.path, verdict, file.size)

        return *contents.arrays_of(sound()), bad

    def _about(self, shelf: Shelf, mended: bool) -> int:
        """Check what a collection says of itself, and give how many files of this are damaged."""
        path = shelf.folder / ABOUT
        try:
            shelf.key()
            return 0
        except FileNotFoundError:
            if shelf.kind != registers.KIND or not shelf.files():
                return 0  # what is written into it next has it again
            verdict = MISSING
        except Damaged:
            verdict = WRONG
        except EvalkitError:
            verdict = UNREADABLE
        self._add(shelf, verdict)
        self._name(path, verdict)
        if mended and verdict in BROKEN:
            delete(path)
        return int(verdict != UNREADABLE)

    def _thing(self, file: File) -> str:
        if not file.size:
            return CUT_SHORT
        try:
            return OK if not self.read_data or sha256(file.path)[:32] == file.path.stem else WRONG
        except FileNotFoundError:
            return MISSING
        except (OSError, EvalkitError):
            return UNREADABLE

    def _items(
        self,
        shelf: Shelf,
        entry: Entry,
        names: np.ndarray,
        things: np.ndarray,
        sizes: np.ndarray,
        bad: dict[bytes, Thing],
    ) -> dict[str, str]:
        """Count the items of an entry, and give the verdicts of those that are lost."""
        lost: dict[str, str] = {}
        if self.read_data:
            try:
                lost = {key: WRONG for key, item in entry.items() if isinstance(item, Damaged)}
            except FileNotFoundError:  # merged meanwhile, and found in another file
                return {}
            except Damaged as error:
                lost = dict.fromkeys(entry.keys, _verdict(error))
            except EvalkitError:
                lost = dict.fromkeys(entry.keys, UNREADABLE)
            if lost:
                self._name(entry.path, next(iter(lost.values())))
        where = np.searchsorted(things, names)
        for place in np.flatnonzero(names != b""):
            named = contents.named(entry.facts[place])
            assert named is not None
            found = where[place] < len(things) and things[where[place]] == names[place]
            if found and named.size in (None, sizes[where[place]]):
                continue
            path = shelf.folder / named.path
            name = bytes.fromhex(named.name)
            thing = Thing(path, WRONG, sizes[where[place]]) if found else bad.get(name) or self._later(path)
            if thing.verdict == WRONG and named.size is not None and thing.size < named.size:
                thing = Thing(path, CUT_SHORT)
            if thing.verdict != OK:
                bad[name] = thing
                self._name(thing.path, thing.verdict)
                lost[entry.keys[place]] = thing.verdict
        for verdict in lost.values():
            self._add(shelf, verdict)
        self._add(shelf, OK, len(entry.keys) - len(lost))
        return lost

    def _later(self, path: Path) -> Thing:
        """What is the matter with what was not there when the collection was listed."""
        try:
            stat = path.stat()
            size = stat.st_size if path.is_file() else sum(file.size for file in contents.below(path))
            return Thing(path, self._thing(File(path, size, stat.st_mtime)), size)
        except FileNotFoundError:
            return Thing(path, MISSING)
        except (OSError, EvalkitError):
            return Thing(path, UNREADABLE)

    def _array(self, file: File) -> None:
        """Check a file of features that results link to: it is named by the digest of its bytes."""
        self.advance(1)
        if file.path.suffix != ".npy":
            return
        try:
            wrong = self.read_data and sha256(file.path) != file.path.stem
            verdict = CUT_SHORT if not file.size else WRONG if wrong else OK
        except FileNotFoundError:
            return
        except OSError:
            verdict = UNREADABLE
        self.found.counts[contents.ARRAYS][verdict] += 1
        if verdict != OK:
            self._name(file.path, verdict)
            if self.repair and verdict in BROKEN:
                if any(held.holds for held in leases.holders(self.root, leases.now(self.root))):
                    self.found.left += 1  # a running process may be about to link to it
                    return
                delete(file.path)
                self.found.removed += 1
                self.found.linked += file.links > 1

    def _add(self, shelf: Shelf, verdict: str, count: int = 1) -> None:
        if count:
            self.found.counts[shelf.kind][verdict] += count

    def _name(self, path: Path, verdict: str) -> None:
        if len(self.found.damaged) < SHOWN and (path, verdict) not in self.found.damaged:
            self.found.damaged.append((path, verdict))


def _verdict(damage: Damaged) -> str:
    if isinstance(damage, contents.Unreadable):
        return UNREADABLE
    return CUT_SHORT if isinstance(damage, CutShort) else WRONG


def _delete(things: Iterable[Thing]) -> None:
    for thing in things:
        if thing.verdict in BROKEN:
            delete(thing.path)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, or of all files of a folder as `sha256_tree` has it, whose bytes are read."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    inside = sorted(file.path for file in contents.below(path))
    return digest([[one.relative_to(path).as_posix(), sha256(one)] for one in inside])
