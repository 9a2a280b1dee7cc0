"""Models: one file for each way to get clips; here is what the pipeline asks of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from evalkit.audio import Audio
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.types import Clip, Prompt

Generate = Callable[[Sequence[Prompt], Sampling], list[Audio]]


@runtime_checkable
class Generator(Protocol):
    """A model that makes audio for prompts."""

    def check(self, sampling: Sampling) -> None: ...

    def load(self, cache: Cache, engine: Engine) -> Generate | Coded: ...


@runtime_checkable
class Coded(Protocol):
    """A loaded model whose clips are codes first, int16 (codebooks, frames); see `evalkit.decoding.model`."""

    def batch_size(self, sampling: Sampling, prompts: int) -> int: ...

    def group(self, prompt: Prompt, sampling: Sampling) -> Hashable: ...

    def codes(self, prompts: Sequence[Prompt], sampling: Sampling, rows: int) -> list[np.ndarray | None]: ...

    def audio(self, codes: Sequence[np.ndarray | None], sampling: Sampling) -> list[Audio]: ...


@runtime_checkable
class Existing(Protocol):
    """Clips that were made elsewhere."""

    def find(self, prompts: Sequence[Prompt]) -> list[Clip]: ...
