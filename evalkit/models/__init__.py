"""Models: one file for each way to get clips; here is what the pipeline asks of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.types import BatchSize, Clip, Prompt

Generate = Callable[[Sequence[Prompt], Sampling], list[Audio]]
Code = Callable[[Audio], Audio]


@runtime_checkable
class Coded(Protocol):
    """A loaded model whose clips are codes first, int16 (codebooks, frames); see `evalkit.decoding.model`."""

    def facts(self) -> dict[str, Any]:
        """How clips are computed on the device, as JSON-like values: what may change their last bits."""

    def batch_size(self, sampling: Sampling, prompts: Sequence[Prompt], before: BatchSize | None = None) -> BatchSize:
        """How many clips of one group of prompts to generate at once.

        `before` is what it was for others of the same run, which is kept where memory holds it.
        """

    def group(self, prompt: Prompt, sampling: Sampling) -> Hashable:
        """What prompts must have in common to be generated at once."""

    def codes(self, prompts: Sequence[Prompt], sampling: Sampling, rows: int) -> list[np.ndarray | None]:
        """Generate the codes of one group of prompts, in a batch of `rows`; None for a clip that cannot be made."""

    def audio(self, codes: Sequence[np.ndarray | None], sampling: Sampling) -> list[Audio]:
        """Decode codes; audio that holds NaN stands for codes that are None."""


@runtime_checkable
class Generator(Protocol):
    """Something that makes clips; whatever else it is, it is a dataclass whose fields are all that they depend on."""

    def load(self, cache: Cache, engine: Engine) -> Generate | Coded:
        """Load what turns prompts into clips. Raises EvalkitError for files that are missing or damaged."""


class Model(Generator, Protocol):
    """A model that makes clips for prompts: a frozen dataclass that declares all of these.

    There are no defaults, so that random weights are never taken for real ones.
    """

    @property
    def kind(self) -> str:
        """What name its clips are kept under; it stays when the class moves."""

    @property
    def version(self) -> int:
        """Which version of its code makes the clips; raised when the same prompt would give another clip."""

    @property
    def random(self) -> bool:
        """Whether its weights are random. Those of a checkpoint that evalkit made up are; no weights are not."""

    @property
    def published(self) -> str | None:
        """Which hub id published numbers are joined on; None where none were published."""

    @property
    def checkpoint(self) -> Asset | None:
        """Which asset its weights come from; None where they come from none."""

    @property
    def codec(self) -> Callable[[Cache, str], Code] | None:
        """What loads its codec; None if it has none.

        It is a method `codec(cache, device)`, which gives a function that encodes and decodes a clip.
        """

    def check(self, sampling: Sampling) -> None:
        """Refuse sampling options that it cannot follow. Raises EvalkitError for these."""

    def conditions(self, cache: Cache) -> tuple[str, ...]:
        """Name what its clips are made from besides captions. These are names of fields of Prompt."""


class Existing(Protocol):
    """Clips that were made elsewhere: a frozen dataclass that declares all of these."""

    def find(self, prompts: Sequence[Prompt]) -> list[Clip]:
        """Find a clip that was made elsewhere for each prompt. Raises EvalkitError where that is not possible."""

    @property
    def kind(self) -> str:
        """What name its class goes by; it stays when the class moves."""

    @property
    def random(self) -> bool:
        """Whether its weights are random. That is, those of the model that made the clips."""

    @property
    def published(self) -> str | None:
        """Which hub id published numbers are joined on; None where none were published."""
