"""Which prompts ask for no voice, by their aspects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evalkit.encoders import Reads
from evalkit.instrumental import asks_for_no_voice
from evalkit.store.cache import Cache


@dataclass(frozen=True)
class Instrumental:
    """Whether a prompt asks for no voice, by the rule of evalkit.instrumental (raise `version` with it)."""

    kind: ClassVar[str] = "instrumental"
    reads: ClassVar[Reads] = "prompt"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    hears: ClassVar[None] = None

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """No weights; the function gives (1, 1): 1 for an instrumental prompt, else 0."""
        return lambda prompts: [np.array([[asks_for_no_voice(prompt)]], np.float32) for prompt in prompts]
