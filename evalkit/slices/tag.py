"""Slices by tag: the prompts that name an aspect, such as "piano"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evalkit.errors import EvalkitError
from evalkit.slices import largest
from evalkit.types import Prompt


@dataclass(frozen=True)
class Tag:
    """Groups prompts by their tags, in lower case.

    Attributes:
        most: number of groups; of a prompt set with more tags, the largest are scored.
    """

    most: int = 20
    named: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.most < 1:
            raise EvalkitError(f"slice tag: most={self.most}: must be at least 1")

    def groups_of(self, prompt: Prompt) -> Sequence[str]:
        return [tag.casefold() for tag in prompt.tags]

    def order(self, sizes: Mapping[str, int]) -> Sequence[str]:
        return largest(sizes, self.most)
