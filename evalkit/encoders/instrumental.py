"""Which prompts ask for no voice, by their aspects."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evalkit.store import Cache
from evalkit.types import Prompt
from evalkit.voices import is_instrumental


@dataclass(frozen=True)
class Instrumental:
    """Whether no aspect of a prompt mentions a voice; where it has no aspects, no part of a sentence of its caption.

    See evalkit.voices, which is made for aspects: of captions it is a rougher reading.
    """

    reads: ClassVar[str] = "prompt"
    version: ClassVar[int] = 1

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """No weights; the function gives (1, 1): 1 for an instrumental prompt, else 0."""
        return lambda prompts: [np.array([[self.of(prompt)]], np.float32) for prompt in prompts]

    def of(self, prompt: Prompt) -> bool:
        return is_instrumental(prompt.tags or re.split("[.,;:!?]", prompt.text))
