"""How much lies in a cache: by kind, by collection, and by the runs that use it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.store import contents, registers
from evalkit.store.contents import Shelf, Size, below, beside, shelves
from evalkit.store.entry import Entry
from evalkit.store.registers import Run


@dataclass
class Sizes:
    """What lies in a cache.

    Attributes:
        kinds: by kind of collection, such as "features"; "weights" and "arrays" are files.
        beside: files that are no items, by what they are, see `evalkit.store.contents.beside`.
        collections: each with its label.
        runs: each with what it uses, whoever else uses that too.
        unreadable: files of entries that cannot be read.
    """

    kinds: dict[str, Size] = field(default_factory=lambda: defaultdict(Size))
    beside: dict[str, Size] = field(default_factory=lambda: defaultdict(Size))
    collections: list[tuple[Shelf, str, Size]] = field(default_factory=list)
    runs: list[tuple[Run, Size]] = field(default_factory=list)
    unreadable: int = 0


def measure(root: Path, advance: Callable[[int], None] = lambda count: None) -> Sizes:
    """Add up what lies in a cache, one collection after the other.

    Args:
        advance: is told the number of collections that were looked at.
    """
    found = Sizes()
    found.runs = [(run, Size()) for run in registers.runs(root)]
    for shelf in shelves(root):
        if shelf.kind == registers.KIND:
            found.kinds[shelf.kind].add(1, sum(file.size for file in shelf.files()))
        else:
            size = of_collection(shelf, found)
            found.kinds[shelf.kind].add(size.items, size.bytes)
            found.collections.append((shelf, shelf.label, size))
        advance(1)
    for kind in (contents.WEIGHTS, contents.ARRAYS):
        for file in below(root / kind):
            found.kinds[kind].add(1, file.size)
    for file, state in beside(root):
        found.beside[state].add(1, file.size)
    return found


def of_collection(shelf: Shelf, found: Sizes | None = None) -> Size:
    """Measure a collection, and add what each run uses of it to what is `found`."""
    found = found or Sizes()
    keys, sizes, names, total = [], [], [], 0
    for file, entry in shelf.entries():
        total += file.size
        if isinstance(entry, Entry):
            keys.append(entry.ids)
            sizes.append(entry.sizes)
            names.append(contents.names_of(entry))
        else:
            found.unreadable += 1
    ids, first = np.unique(np.concatenate([np.empty(0, "S16"), *keys]), return_index=True)
    own = np.concatenate([np.empty(0, np.int64), *sizes])[first]
    places, weights = contents.arrays_of(contents.things(shelf))
    if len(places):
        total += int(weights.sum())
        wanted = np.concatenate([np.empty(0, "S16"), *names])[first]
        where = np.minimum(np.searchsorted(places, wanted), len(places) - 1)
        own = own + np.where(places[where] == wanted, weights[where], 0)
    for run, size in found.runs:
        if shelf.name in run.parts:
            try:
                used = np.isin(ids, registers.keys_of(run, shelf.name))
            except EvalkitError:  # verify says so
                continue
            size.add(used.sum(), own[used].sum())
    return Size(len(ids), total)
