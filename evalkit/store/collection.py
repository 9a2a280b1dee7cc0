"""Collections: all items of one kind that depend on the same things, found by one look at one folder."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
MOST_BYTES = 2**29  # of a merged file
FEW = 8  # small files that may stay as they are
HELD = 2**17  # items whose indexes stay in memory, as most collections are read several times in a run
TRIES = 10  # to list a folder whose files are merged meanwhile


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
        for _ in range(TRIES):
            gone = False
            for path in self._files():
                if names is not None and len(found) == len(names):
                    break
                try:
                    gone = not self._read(path, names, found, damaged) or gone
                except Damaged:
                    damaged.append(path)
            if not gone or (names is not None and len(found) == len(names)):
                break
        self.remove(damaged)
        leases.using(self.root, self.name, found)
        if names is None:
            return found
        return {key: found[name] for name, key in names.items() if name in found}

    def _read(self, path: Path, names: Mapping[str, str] | None, found: dict[str, Item], damaged: list[Path]) -> bool:
        """Put the items of a file that are wanted into `found`; False where the file has gone."""
        try:
            entry = self._entry(path)
            wanted = {key for key in entry.keys if (names is None or key in names) and key not in found}
            items = dict(entry.items(wanted)) if wanted else {}
        except OtherSchema:
            return True
        except FileNotFoundError:
            return False
        good = {key: item for key, item in items.items() if isinstance(item, Item)}
        found |= good
        if len(good) < len(items):
            damaged.append(path)
            # what is sound in the file stays
            with suppress(EvalkitError):
                rest = {key: item for key, item in entry.items() if isinstance(item, Item)}
                if rest:
                    write_entry(self.folder, self.kind, self.digest, rest)
        return True

    def keys(self) -> set[str]:
        """The keys of all items, 32 hexadecimal digits each, without reading their values."""
        return {key for entry in self.entries() for key in entry.keys}

    def having(self, keys: Iterable[str]) -> set[str]:
        """Those of some keys that there are items of, as they are given, without reading values."""
        there = self.keys()
        return {key for key in keys if key[:32] in there}

    def entries(self) -> Iterator[Entry]:
        """The index of each sound file, the largest first."""
        leases.using(self.root, self.name)
        for path in self._files():
            with suppress(Damaged, FileNotFoundError):
                yield self._entry(path)

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
        small = sorted((e.path.name, len(e.keys), e.size) for e in self.entries() if len(e.keys) < LARGE)
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
        read = []
        for path in group:
            try:
                content = dict(self._entry(path).items())
            except (Damaged, FileNotFoundError):
                continue
            if all(isinstance(item, Item) for item in content.values()):  # reading deals with what is damaged
                read.append(path)
                items = {**{key: item for key, item in content.items() if isinstance(item, Item)}, **items}
        try:
            merged = write_entry(self.folder, self.kind, self.digest, items)
        except EvalkitError as error:
            log.info("%s: small files stay as they are", error)
            return
        for path in read:
            if path != merged:
                _unlink(path)

    def discard(self, items: Mapping[str, Item]) -> None:
        """Remove items that are of no use any more, as what they name is lost; others of the same keys stay.

        Where nothing can be written, they stay too.
        """
        digests = {key[:32]: digest_of(self.kind, self.digest, key[:32], item) for key, item in items.items()}
        for path in self._files() if items else []:
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

    def _files(self) -> list[Path]:
        """The files of entries, the largest first: they hold most, and what they hold need not be looked for."""
        found: dict[str, State] = {}
        for _ in range(TRIES):
            try:
                with os.scandir(self.folder) as scan:
                    found = {file.name: State.of(file.stat()) for file in scan if file.name.endswith(SUFFIX)}
                break
            except FileNotFoundError:  # no folder, or a file that was merged meanwhile into one that was not listed
                if not self.folder.is_dir():
                    return []
        self._listed = found
        return [self.folder / name for name in sorted(found, key=lambda name: (-found[name].size, name))]


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # a cache that is only read stays as it is
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE):
            raise


def counted(what: str, names: Sequence[Any]) -> str:
    """Name the first of some things, and say how many more there are."""
    return f"{what} {names[0]}" + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")
