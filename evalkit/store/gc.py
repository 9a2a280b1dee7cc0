"""What nobody holds any more, and how it is removed without disturbing whoever uses the rest.

Items stay that a finished result uses (see `evalkit.store.registers`), and so do whole collections that a running
process has named (see `evalkit.store.leases`), and whatever is young. At no moment is anything that stays in no file:
it is written anew before the file that it was in is removed, and what items name is removed after they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.store import contents, leases, registers
from evalkit.store.collection import ABOUT
from evalkit.store.contents import File, Shelf, Size, Unreadable, beside, delete, delete_empty, listed, shelves
from evalkit.store.entry import Damaged, Entry, LaterSchema, OtherSchema
from evalkit.store.leases import Holder
from evalkit.store.registers import Run

GRACE = 24 * 3600.0  # seconds for which whatever was written is left alone

OF_A_FOLDER = {"folder", "version"}  # what the keys of collections have that `evalkit.store.known` keeps

# why something stays
RESULTS, RUNNING, YOUNG = "finished results", "running processes", "younger than 24 hours"
FOLDER_THERE = "their folder is there"
DAMAGED, LATER, UNKNOWN = "damaged: see evalkit store verify", "of a later evalkit", "not evalkit's"
UNREADABLE = "cannot be read"
# why something goes
UNUSED, UNREFERENCED, OLDER, PARTIAL = "used by no result", "named by no item", "of an earlier evalkit", "half written"
ENDED, NO_RESULT = "of processes that have ended", "the result is not where it was"
MOVED = "the result was moved, and is known there"


@dataclass
class Found:
    """What goes and what stays.

    Attributes:
        goes, stays: by kind, such as "features", and reason.
        holders: running processes, and those that ended before they had said what their results use.
        lost: runs whose result is not where they wrote it, and which hold nothing.
        hidden: runs of whose result it cannot be seen from here whether it is there, and which hold what they use.
    """

    goes: dict[tuple[str, str], Size] = field(default_factory=lambda: defaultdict(Size))
    stays: dict[tuple[str, str], Size] = field(default_factory=lambda: defaultdict(Size))
    holders: list[Holder] = field(default_factory=list)
    lost: list[Run] = field(default_factory=list)
    hidden: list[Run] = field(default_factory=list)


def collect(
    root: Path, remove: bool, keep: Sequence[Path] = (), advance: Callable[[int], None] = lambda count: None
) -> Found:
    """Find what nobody holds, and remove it if that is asked for.

    Args:
        keep: folders of results, or folders that hold such, which were moved: they hold what they use.
        advance: is told the number of collections that were looked at.

    Raises EvalkitError where it is not known what a finished run uses, and where something cannot be removed.
    """
    with leases.removing(root) if remove else nullcontext():
        return _Round(root, remove, keep).run(advance)


class _Round:
    """One round through the cache."""

    def __init__(self, root: Path, remove: bool, keep: Sequence[Path]):
        self.root, self.remove = root, remove
        self.now = leases.now(root)
        self.found = Found()
        self.anew: set[str] = set()  # registers of results that were moved
        self.holders: dict[Path, Holder] = {}  # by their leases, as they were last seen
        # first: a run that ends now is registered before its lease goes, so that it is seen as one or the other
        self._look(patient=remove)
        self.holding = self._registered(keep)

    def run(self, advance: Callable[[int], None]) -> Found:
        self.found.holders = list(self.holders.values())
        for shelf in shelves(self.root):
            if shelf.kind != registers.KIND:
                self._shelf(shelf)
            advance(1)
        self._beside()
        self._arrays()
        self._registers()
        self._leases()
        return self.found

    def _goes(self, kind: str, why: str, file: File, items: int = 1) -> None:
        """Remove a file or a folder, if that is asked for."""
        self.found.goes[kind, why].add(items, file.size)
        if self.remove:
            delete(file.path)

    def _stays(self, kind: str, why: str, file: File, items: int = 1) -> None:
        self.found.stays[kind, why].add(items, file.size)

    def _young(self, file: File) -> bool:
        return self.now - file.mtime < GRACE

    def _look(self, patient: bool = False) -> None:
        """Look who holds something now; whoever did at first does to the end.

        Args:
            patient: whether to wait for the renewal of a lease that looks dead.
        """
        found = leases.certain_holders(self.root) if patient else leases.holders(self.root, leases.now(self.root))
        self.holders |= {held.path: held for held in found if held.holds or held.path in self.holders}

    def _named(self, collection: str) -> bool:
        """Whether a process that runs, or did at first, has named a collection, KIND/DIGEST."""
        self._look()
        return any(held.collections is None or collection in held.collections for held in self.holders.values())

    def _registered(self, keep: Sequence[Path]) -> dict[str, list[Run]]:
        """The runs that hold items, by collection. Raises EvalkitError where it is not known what one uses."""
        moved = moved_results(keep)
        holding: dict[str, list[Run]] = defaultdict(list)
        for run in registers.runs(self.root):
            if run.state == "damaged":
                if not any(held.folder == str(run.folder) for held in self.holders.values()):
                    raise registers.unknown_use(run.shelf)
                continue  # its run died while it was written, and its lease holds what that used
            if run.state == "hidden" and run.result not in moved:
                self.found.hidden.append(run)
            elif run.state != "there" and run.result not in moved:
                self.found.lost.append(run)
                continue
            elif run.state != "there":
                self.anew.add(run.shelf.name)
                if self.remove:  # so that it is found the next time
                    registers.write(self.root, moved[run.result], run.parts, partial(registers.keys_of, run))
            for name in run.parts:
                holding[name].append(run)
        return holding

    def _held(self, shelf: Shelf) -> np.ndarray:
        """The keys of a collection's items that finished results use, sorted."""
        keys = np.empty(0, "S16")
        for run in self.holding.get(shelf.name, ()):
            own = registers.keys_of(run, shelf.name)
            if not np.isin(own, keys).all():
                keys = np.union1d(keys, own)
        return keys

    def _shelf(self, shelf: Shelf) -> None:
        """Deal with a collection: its items first, then what they name."""
        kind = shelf.kind
        whole = RUNNING if self._named(shelf.name) else _whole(shelf)
        if whole:
            for file, entry in shelf.entries():
                self._stays(kind, whole, file, len(entry.keys) if isinstance(entry, Entry) else 1)
            for file in contents.things(shelf):
                self._stays(kind, whole, file, 0)
            return
        held, seen, unknown = self._held(shelf), set[str](), ""
        names: dict[str, list[np.ndarray]] = defaultdict(list)  # what items name, by why these stay or go
        for _ in range(2):  # what was written meanwhile names things too
            for file, entry in shelf.entries(seen):
                if isinstance(entry, Entry):
                    own = contents.names_of(entry)
                    kept, why = self._entry(shelf, file, entry, held, seen)
                    names[why].append(own[kept])
                    names[UNUSED].append(own[~kept])
                elif isinstance(entry, OtherSchema) and not isinstance(entry, LaterSchema) and not self._young(file):
                    self._goes(kind, OLDER, file)
                else:
                    why = _why(entry)
                    self._stays(kind, why, file)
                    if why in (LATER, UNREADABLE):  # what it names is not known
                        unknown = unknown or why
        unused = np.unique(np.concatenate([np.empty(0, "S16"), *names.pop(UNUSED, [])]))
        needed = {why: np.unique(np.concatenate(some)) for why, some in names.items()}
        for file in contents.things(shelf):
            why = next((why for why, some in needed.items() if contents.among(some, file.path)), unknown)
            if why or self._young(file):
                self._stays(kind, why or YOUNG, file, 0)
            elif contents.among(unused, file.path):
                self._goes(kind, UNUSED, file, 0)
            else:
                self._goes(kind, UNREFERENCED, file)
        if self.remove and not shelf.files() and not any(contents.things(shelf)):
            about = shelf.folder / ABOUT
            with suppress(FileNotFoundError):
                if self.now - about.stat().st_mtime >= GRACE:
                    delete(about)
            delete_empty(shelf.folder)

    def _entry(
        self, shelf: Shelf, file: File, entry: Entry, held: np.ndarray, seen: set[str]
    ) -> tuple[np.ndarray, str]:
        """Deal with one file of items: which of them stay, and why these do."""
        kept = np.isin(entry.ids, held)
        if kept.all() or self._young(file):
            why = RESULTS if kept.all() else YOUNG
            self._stays(shelf.kind, why, file, len(entry.keys))
            return np.ones(len(kept), bool), why
        if not kept.any():
            self._goes(shelf.kind, UNUSED, file, len(entry.keys))
            return kept, RESULTS
        values = entry.sizes
        share = int(file.size * values[kept].sum() / values.sum()) if values.sum() else int(file.size * kept.mean())
        if self.remove:
            try:
                seen.update(shelf.keep(entry, {key for key, stays in zip(entry.keys, kept, strict=True) if stays}))
            except FileNotFoundError:  # merged meanwhile, and found in another file
                return np.zeros(len(kept), bool), RESULTS
            except Damaged:
                self._stays(shelf.kind, DAMAGED, file)
                return np.ones(len(kept), bool), DAMAGED
        self.found.stays[shelf.kind, RESULTS].add(kept.sum(), share)
        self.found.goes[shelf.kind, UNUSED].add((~kept).sum(), file.size - share)
        return kept, RESULTS

    def _beside(self) -> None:
        """Deal with files that are no items: what earlier versions wrote, and what was never finished."""
        emptied = set()
        for file, state in beside(self.root):
            kind = file.path.relative_to(self.root).parts[0] if file.path.parent != self.root else "cache"
            if state == "unknown":
                self._stays(kind, UNKNOWN, file)
            elif self._young(file):
                self._stays(kind, YOUNG, file)
            elif state == "partial" and self._named("/".join(file.path.relative_to(self.root).parts[:2])):
                self._stays(kind, RUNNING, file)
            else:
                self._goes(kind, OLDER if state == "older" else PARTIAL, file)
                emptied.add(file.path.parent)
        for folder in emptied if self.remove else ():
            with suppress(OSError):  # it holds something
                while folder != self.root:
                    folder.rmdir()
                    folder = folder.parent

    def _arrays(self) -> None:
        """Deal with features that results link to; a running process may be about to link others."""
        self._look()
        running = bool(self.holders)
        for file in listed(self.root / contents.ARRAYS):
            if file.path.suffix != ".npy":
                continue
            if file.links > 1:
                self._stays(contents.ARRAYS, RESULTS, file)
            elif self._young(file):
                self._stays(contents.ARRAYS, YOUNG, file)
            elif running:
                self._stays(contents.ARRAYS, RUNNING, file)
            else:
                self._goes(contents.ARRAYS, UNUSED, file)

    def _registers(self) -> None:
        """Deal with what is known of runs: it goes last, when nothing needs it any more."""
        lost = {run.shelf.name for run in self.found.lost}
        for run in registers.runs(self.root):
            files = run.shelf.files()
            size = sum(file.size for file in files)
            whole = File(run.shelf.folder, size, run.mtime)
            if run.shelf.name in self.anew:
                self._goes(registers.KIND, MOVED, whole)
            elif run.shelf.name not in lost:
                self._stays(registers.KIND, RESULTS, whole)
            elif self._young(whole):
                self._stays(registers.KIND, YOUNG, whole)
            else:
                self._goes(registers.KIND, NO_RESULT, whole)

    def _leases(self) -> None:
        """Deal with the files of processes that have ended."""
        self._look()
        for prefix in (leases.RUNS, leases.REMOVES):
            for held in leases.holders(self.root, leases.now(self.root), prefix):
                if held.path not in self.holders and not held.lives:
                    with suppress(FileNotFoundError):
                        self._goes(leases.FOLDER, ENDED, File(held.path, held.path.stat().st_size, 0.0))


def _whole(shelf: Shelf) -> str:
    """Why a collection stays as a whole; nothing where its items are looked at one by one.

    It does where it says of the files of a folder what takes long to read, and the folder is there.
    """
    try:
        about = shelf.key()
    except FileNotFoundError:
        return ""
    except Damaged:
        return DAMAGED
    except EvalkitError:
        return UNREADABLE
    of_a_folder = isinstance(about, dict) and "folder" in about and about.keys() <= OF_A_FOLDER
    return FOLDER_THERE if of_a_folder and not leases.gone(Path(about["folder"])) else ""


def _why(entry: Damaged) -> str:
    """Why a file stays that is no entry of this version."""
    if isinstance(entry, Unreadable):
        return UNREADABLE
    return LATER if isinstance(entry, LaterSchema) else YOUNG if isinstance(entry, OtherSchema) else DAMAGED


def moved_results(given: Sequence[Path]) -> dict[str, Path]:
    """The folders of finished results in some folders, by the digests that their registers have.

    Raises EvalkitError for a folder that holds none, and for a result that cannot be read.
    """
    found: dict[str, Path] = {}
    for folder in given:
        inside = [path.parent.absolute() for path in sorted(folder.expanduser().rglob(leases.RESULT))]
        if not inside:
            raise EvalkitError(f"'{folder}' holds no finished result: give the folder that a result was moved to")
        for one in inside:
            if not (result := registers.result_digest(one)):
                raise EvalkitError(f"cannot read the result in '{one}', which is to be kept")
            found[result] = one
    return found
