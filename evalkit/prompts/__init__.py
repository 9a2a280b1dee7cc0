"""Prompt sets, and the recordings that their captions describe; here is what the pipeline asks of them."""

from __future__ import annotations

from typing import Any, Protocol

from evalkit.store.cache import Cache
from evalkit.types import PromptSet


class Prompts(Protocol):
    """Which captions to generate clips for, and where their references are: a frozen dataclass."""

    def load(self, cache: Cache) -> PromptSet:
        """Read the prompts. Raises EvalkitError for a file that is missing or damaged, and if no prompt is left."""

    @property
    def references(self) -> Any:
        """What the references are: a folder, a pairing file or a model. None for those that the prompts name."""

    @property
    def cut(self) -> str:
        """Which part of a too long reference counts: its "start" or its "end"."""

    @property
    def max_seconds(self) -> float | None:
        """What length makes a file too long to be the reference; None for no limit."""
