"""What a process makes next, where others may make the same things at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from evalkit.store import leases
from evalkit.store.collection import Collection

T = TypeVar("T")


class Turns(Generic[T]):
    """Things that are to be made, given out batch by batch, but for those that another process has made meanwhile.

    Of the processes that use a collection the first one takes them from the beginning, the second one from the end, and
    any other from a random place: so two of them make the same things only where they meet.
    """

    def __init__(
        self,
        collection: Collection,
        waiting: Mapping[str, T],
        there: Callable[[Mapping[str, T]], Iterable[str]] | None = None,
    ):
        """Give out what waits, by the keys under which the collection will have it.

        `there` says which of some things have been made, by their keys; without it those are that the collection has.
        """
        self._collection, self._there = collection, there or collection.having
        self._waiting = dict(waiting)
        self._met = False

    def batches(self, size: Callable[[Sequence[T]], int]) -> Iterator[list[T]]:
        """Give batch after batch; `size` says how many of those that wait, next first, are the next one."""
        while self._waiting:
            for key in self.made(self._waiting):
                del self._waiting[key]
            order = self._ordered()
            batch = [self._waiting.pop(key) for key in order[: size([self._waiting[key] for key in order])]]
            if batch:
                yield batch

    def made(self, things: Mapping[str, T]) -> set[str]:
        """The keys of those of some things that another process has made."""
        before, self._met = self._met, sum(self._beside()) > 0
        # one that has ended since the last look may have made something before
        return set(self._there(things)) if before or self._met else set()

    def _beside(self) -> tuple[int, int]:
        return leases.beside(self._collection.root, self._collection.name)

    def _ordered(self) -> list[str]:
        keys, (earlier, _) = list(self._waiting), self._beside()
        if earlier == 1:
            return keys[::-1]
        start = random.randrange(len(keys)) if earlier and keys else 0
        return keys[start:] + keys[:start]
