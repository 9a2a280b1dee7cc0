"""Collections: all items of one kind that depend on the same things, found by one look at one folder."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.store import leases
from evalkit.store.digests import digest
from evalkit.store.entry import LARGE, SUFFIX, Damaged, Entry, Item, OtherSchema, digest_of, read_entry, write_entry
from evalkit.store.files import write_json
from evalkit.store.memory import State, settled

log = logging.getLogger(__name__)

ABOUT = "about.json"

MOST = 2 * LARGE  # items of a merged file
MOST_BYTES = 2**28  # of a merged file, of which merging needs three times as much memory
FEW = 8  # small files that may stay as they are
HELD = 2**17  # items whose indexes stay in memory, as most collections are read several times in a run
TRIES = 10  # to list a folder whose files are merged meanwhile
GONE = (errno.ENOENT, errno.ESTALE)  # how a file is not there, on a shared file system too
PAUSE = 0.01  # seconds before the second try, twice as many before the third, and so on


class Collection:
    """Items of one kind, such as the features that one encoder makes, by key.

    It is a folder of entries (see `evalkit.store.entry`). Any number of processes and machines may read and write it
    at once: no file is ever changed, and what is removed was written elsewhere before, or is damaged.

    Attributes:
        kind: what the items are, such as "features".
        digest: of the kind and of all that the items depend on, 64 hexadecimal digits.
        folder: where the entries lie.
        name: KIND/DIGEST, that of the folder in the cache.
    """

    def __init__(self, root: Path, kind: str, key: Any, label: str = ""):
        self.kind, self.key, self.label = kind, key, label
        self.digest = digest([kind, key])
        self.root, self.name = root, f"{kind}/{self.digest[:32]}"
        self.folder = root / self.name
        self._listed: dict[str, State] = {}  # the files, as they were last seen
        self._indexes: dict[tuple[str, State], Entry] = {}  # of files in which a change would have shown
        self._held = 0  # items of these

    def write(self, items: Mapping[str, Item]) -> None:
        """Store items by their keys, of which the first 32 hexadecimal digits count.

        Raises EvalkitError where they cannot be written.
        """
        if items:
            leases.using(self.root, self.name, items)
            about = self.folder / ABOUT
            if not about.exists():  # for people, and for what lists the store
                write_json(about, {"kind": self.kind, "label": self.label, "key": self.key})
            write_entry(self.folder, self.kind, self.digest, {key[:32]: item for key, item in items.items()})

    def read(self, keys: Iterable[str] | None = None) -> dict[str, Item]:
        """Read the items of some keys, by the keys as they are given, or all; those that are absent are left out.

        What is damaged is removed, with one warning for all, and absent.
        """
        names = None if keys is None else {key[:32]: key for key in keys}
        found: dict[str, Item] = {}
        damaged: list[Path] = []
        leases.using(self.root, self.name)
        for attempt in range(TRIES):
            files, gone = self._look()
            holders, missed = self._holders(files, names, damaged)
            gone = gone or missed
            while waiting := [key for key, places in holders.items() if places and key not in found]:
                wanted: dict[Path, set[str]] = {}
                for key in waiting:
                    wanted.setdefault(holders[key].pop()[1], set()).add(key)
                for path, some in wanted.items():
                    gone = not self._read(path, some, found, damaged) or gone
            if not gone or (names is not None and len(found) == len(names)):
                break
            time.sleep(PAUSE * attempt)
        self.remove(damaged)
        leases.using(self.root, self.name, found)
        if names is None:
            return found
        return {key: found[name] for name, key in names.items() if name in found}

    def _holders(
        self, files: Iterable[Path], names: Container[str] | None, damaged: list[Path]
    ) -> tuple[dict[str, list[tuple[bytes, Path]]], bool]:
        """The files that have an item of each key, those to be read first last, and whether any file has gone.

        Of several items under one key, as two machines may have made them, it is the one with the smallest digest that
        counts, whatever is merged.
        """
        found: dict[str, list[tuple[bytes, Path]]] = {}
        gone = False
        for path in files:
            try:
                entry = self._entry(path)
            except OtherSchema:
                continue
            except Damaged:
                damaged.append(path)
            except FileNotFoundError:
                gone = True
            else:
                for key, own in zip(entry.keys, entry.digests, strict=True):
                    if names is None or key in names:
                        found.setdefault(key, []).append((own, path))
        for places in found.values():
            places.sort(reverse=True)
        return found, gone

    def _read(self, path: Path, wanted: Container[str], found: dict[str, Item], damaged: list[Path]) -> bool:
        """Put items of a file into `found`; False where the file has gone."""
        try:
            entry = self._entry(path)
            items = dict(entry.items(wanted))
            good = {key: item for key, item in items.items() if isinstance(item, Item)}
            found |= good
            if len(good) < len(items):
                # what is sound in the file stays, and where there is no room for a second one, so does the file
                rest = {key: item for key, item in entry.items() if isinstance(item, Item)}
                with suppress(EvalkitError):
                    if rest:
                        write_entry(self.folder, self.kind, self.digest, rest)
                    damaged.append(path)
        except FileNotFoundError:
            return False
        except Damaged:
            damaged.append(path)
        return True

    def having(self, keys: Iterable[str]) -> set[str]:
        """Those of some keys that there are items of, as they are given, without reading values."""
        names = {key[:32]: key for key in keys}
        return {names[key] for entry in self.entries() for key in entry.keys if key in names}

    def entries(self) -> Iterator[Entry]:
        """The index of each sound file; what is merged meanwhile may come twice, but is not left out."""
        leases.using(self.root, self.name)
        seen: set[str] = set()
        for attempt in range(TRIES):
            files, gone = self._look()
            for path in files:
                if path.name not in seen:
                    seen.add(path.name)
                    try:
                        yield self._entry(path)
                    except FileNotFoundError:
                        gone = True
                    except Damaged:
                        pass
            if not gone:
                return
            time.sleep(PAUSE * attempt)

    def _entry(self, path: Path) -> Entry:
        state = self._listed.get(path.name)
        if state is not None and (path.name, state) in self._indexes:
            return self._indexes[path.name, state]
        entry = read_entry(path)
        if (entry.kind, entry.collection) != (self.kind, self.digest):
            raise Damaged(f"'{path}' belongs elsewhere")
        if state is not None and settled(state) and self._held + len(entry.keys) <= HELD:
            self._indexes[path.name, state] = entry
            self._held += len(entry.keys)
        return entry

    def compact(self) -> None:
        """Merge small files, so that what was stored batch by batch is found in one file.

        The merged file is written before the small ones are removed; where there is no room for it, they stay.
        """
        # their indices are read one after the other, and none is kept
        small = sorted((e.path.name, len(e.keys), e.size) for e in self.entries() if not e.large)
        if len(small) <= FEW:
            return
        group: list[Path] = []
        keys = size = 0
        for name, own_keys, own_size in small:
            if group and (keys + own_keys > MOST or size + own_size > MOST_BYTES):
                self._merge(group)
                group, keys, size = [], 0, 0
            group.append(self.folder / name)
            keys, size = keys + own_keys, size + own_size
        self._merge(group)

    def _merge(self, group: Sequence[Path]) -> None:
        if len(group) < 2:
            return
        items: dict[str, Item] = {}
        digests: dict[str, bytes] = {}
        try:
            for path in group:
                entry = self._entry(path)
                for (key, item), own in zip(entry.items(), entry.digests, strict=True):
                    if isinstance(item, Damaged):
                        raise item
                    if own < digests.get(key, b"\xff" * 17):  # the one that `read` would give
                        items[key], digests[key] = item, own
            merged = write_entry(self.folder, self.kind, self.digest, items)
        except (Damaged, FileNotFoundError):
            return  # reading deals with what is damaged, and what has gone another process has merged
        except EvalkitError as error:
            log.info("%s: small files stay as they are", error)
            return
        for path in group:
            if path != merged:
                _unlink(path)

    def discard(self, items: Mapping[str, Item]) -> None:
        """Remove items that are of no use any more, as what they name is lost; others of the same keys stay.

        Where nothing can be written, they stay too.
        """
        digests = {key[:32]: digest_of(self.kind, self.digest, key[:32], item) for key, item in items.items()}
        for path in self._look()[0] if items else []:
            with suppress(Damaged, FileNotFoundError, EvalkitError):
                entry = self._entry(path)
                if digests.keys().isdisjoint(entry.keys):
                    continue
                sound = {key: item for key, item in entry.items() if isinstance(item, Item)}
                kept = {k: i for k, i in sound.items() if digests.get(k) != digest_of(self.kind, self.digest, k, i)}
                if len(kept) < len(sound):
                    if kept:
                        write_entry(self.folder, self.kind, self.digest, kept)
                    _unlink(path)

    def remove(self, paths: Sequence[Path]) -> None:
        """Remove files that are damaged, and warn of them; what they held will be made again."""
        for path in paths:
            _unlink(path)
        if paths:
            log.warning("%s: deleted, what is missing will be made again", counted("damaged cache entry", paths))

    def _look(self) -> tuple[list[Path], bool]:
        """The files of entries, and whether one has gone meanwhile: what is in it is then in one that is not listed.

        Raises EvalkitError where the folder cannot be read.
        """
        found: dict[str, State] = {}
        gone = False
        try:
            with os.scandir(self.folder) as scan:
                for file in scan:
                    if file.name.endswith(SUFFIX):
                        try:
                            found[file.name] = State.of(file.stat())
                        except OSError as error:
                            if error.errno not in GONE:
                                raise
                            gone = True
        except OSError as error:
            if error.errno not in GONE:
                raise EvalkitError(f"cannot read '{self.folder}': {error.strerror or error}") from error
            gone = self.folder.is_dir()
        self._listed = found
        for name, state in [one for one in self._indexes if found.get(one[0]) != one[1]]:
            self._held -= len(self._indexes.pop((name, state)).keys)
        return [self.folder / name for name in sorted(found)], gone


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # a cache that is only read stays as it is
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE):
            raise


def counted(what: str, names: Sequence[Any]) -> str:
    """Name the first of some things, and say how many more there are."""
    return f"{what} {names[0]}" + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")
