"""Slices by voice: the prompts that ask for one, and those that ask for instruments alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evalkit.instrumental import asks_for_no_voice
from evalkit.types import Prompt


@dataclass(frozen=True)
class Voice:
    """Groups prompts by whether they mention a voice, as `evalkit.instrumental` reads them."""

    named: ClassVar[bool] = False

    def groups_of(self, prompt: Prompt) -> Sequence[str]:
        return ["instrumental" if asks_for_no_voice(prompt) else "vocal"]

    def order(self, sizes: Mapping[str, int]) -> Sequence[str]:
        return ["instrumental", "vocal"]
