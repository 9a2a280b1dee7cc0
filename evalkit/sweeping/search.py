"""What chooses the points of a sweep; each search is a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Search(Protocol):
    """Chooses points one after the other, by what was measured at those before.

    The sweep calls `ask`, measures, and calls `tell`, until `ask` gives None. A search that goes on from an earlier
    sweep gives the points of that one first: they are measured again, which costs nothing where the cache has them,
    so that a sweep that was stopped ends in the record that it would have had.

    Attributes:
        name: what the record calls it, such as "grid".
        facts: what a reader of the record should know of it, which may grow; values are JSON-like.
    """

    name: str

    @property
    def facts(self) -> Mapping[str, Any]: ...

    def ask(self) -> dict[str, Any] | None:
        """Choose the next point: a value for each parameter by its key; None where there are no more.

        A point may be given again; it is not measured twice.
        """
        ...

    def tell(self, options: Mapping[str, Any], values: Sequence[float] | None, error: str) -> None:
        """Learn what was measured at a point that `ask` gave.

        Args:
            values: of the objectives, in their order; None for a point that failed, or lacks one of them.
            error: why it failed; empty where it did not.
        """
        ...

    def close(self) -> None:
        """Let go of files: called at the end, also where the sweep is interrupted."""
        ...
