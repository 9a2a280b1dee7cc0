"""Slices by the length of captions, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evalkit.errors import EvalkitError
from evalkit.types import Prompt


@dataclass(frozen=True)
class CaptionLength:
    """Groups prompts by the number of words in their caption.

    Attributes:
        limits: the most words of each group but the last, in increasing order. A caption of MusicCaps has
            49 words on average, and half of them have 37 to 60.
    """

    limits: Sequence[int] = (25, 50, 75)
    named: ClassVar[bool] = False

    def __post_init__(self) -> None:
        limits = list(self.limits)
        if not limits or not all(isinstance(x, int) and x > 0 for x in limits) or limits != sorted(set(limits)):
            raise EvalkitError(f"slice caption_length: limits={limits}: must be whole numbers of words that increase")

    def groups_of(self, prompt: Prompt) -> Sequence[str]:
        words = len(prompt.text.split())
        return [self._ranges()[sum(words > limit for limit in self.limits)]]

    def order(self, sizes: Mapping[str, int]) -> Sequence[str]:
        return self._ranges()

    def _ranges(self) -> list[str]:
        starts = [1, *(limit + 1 for limit in self.limits)]
        ranges = [f"{first} to {last} words" for first, last in zip(starts, self.limits, strict=False)]
        return [*ranges, f"over {self.limits[-1]} words"]
