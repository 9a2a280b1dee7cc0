"""Metrics: one file each, all with one signature.

A metric is a frozen dataclass with `title`, `higher_is_better` (None where neither is better), the
`encoder` of the generated clips, the `reference_encoder` of what they are compared with (reference
clips, captions, or None for nothing), and `__call__(generated, reference) -> Measured` on features of
the same ids in the same order. One that compares each clip with its own reference clip, not set with
set, says so with `clip_by_clip = True`; one whose values have limits gives them as `bounds`, so that
intervals end there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np

from evalkit.store import Cache
from evalkit.types import Features, Measured


class Encoder(Protocol):
    """A network, or a transform, that turns clips, captions or whole prompts into features."""

    @property
    def reads(self) -> Literal["audio", "text", "prompt"]: ...

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]: ...


class Metric(Protocol):
    """What the pipeline asks of a metric."""

    @property
    def title(self) -> str: ...

    @property
    def higher_is_better(self) -> bool | None: ...

    @property
    def encoder(self) -> Encoder: ...

    @property
    def reference_encoder(self) -> Encoder | None: ...

    def __call__(self, generated: Features, reference: Features | None) -> Measured: ...
