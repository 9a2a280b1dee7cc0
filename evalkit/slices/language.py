"""Slices by language: of what models are given, which may be a translation of the caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evalkit.types import Prompt


@dataclass(frozen=True)
class Language:
    """Groups prompts by the language that they are given in; one whose language is not known is in no group."""

    named: ClassVar[bool] = True

    def groups_of(self, prompt: Prompt) -> Sequence[str]:
        return [prompt.language] if prompt.language else []

    def order(self, sizes: Mapping[str, int]) -> Sequence[str]:
        return sorted(sizes, key=lambda language: (language != "en", language))
