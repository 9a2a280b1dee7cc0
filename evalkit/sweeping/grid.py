"""Every combination of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalkit.sweeping.space import Space


class Grid:
    """The search that measures every combination, the last parameter changing fastest.

    Raises EvalkitError for a parameter that has no list of values.
    """

    name = "grid"

    def __init__(self, space: Space):
        self._left: Iterator[dict[str, Any]] = iter(space.combinations())

    @property
    def facts(self) -> Mapping[str, Any]:
        """Nothing: the points say it all."""
        return {}

    def ask(self) -> dict[str, Any] | None:
        """Choose the next combination; None after the last."""
        return next(self._left, None)

    def tell(self, options: Mapping[str, Any], values: Sequence[float] | None, error: str) -> None:
        """Learn nothing: no combination depends on another."""

    def close(self) -> None:
        """Do nothing: there are no files."""
