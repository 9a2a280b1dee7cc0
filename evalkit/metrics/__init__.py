"""Metrics: one file each, all with one signature.

A metric is a frozen dataclass with `title`, `higher_is_better` (None where neither is better), the
`encoder` of the generated clips, the `reference_encoder` of what they are compared with (reference
clips, captions, or None for nothing), and `__call__(generated, reference) -> Measured` on features of
the same ids in the same order. One that compares each clip with its own reference clip, not set with
set, says so with `clip_by_clip = True`; one whose values have limits gives them as `bounds`, so that
intervals end there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from evalkit.encoders import Encoder
from evalkit.types import Features, Measured


def mean_over_items(ids: Sequence[str], items: Sequence[np.ndarray]) -> Measured:
    """The mean over all items (frames, segments) of all clips, of which each may have several or none.

    Args:
        items: one array (items,) per id.
    """
    sums = np.array([float(np.sum(x, dtype=np.float64)) for x in items])
    counts = np.array([float(len(x)) for x in items])

    def resampled(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            values: np.ndarray = (weights @ sums) / (weights @ counts)
        return values

    (value,) = resampled(np.ones((1, len(items))))
    per_clip = {i: s / c for i, s, c in zip(ids, sums.tolist(), counts.tolist(), strict=True) if c}
    return Measured(float(value), n=len(per_clip), per_clip=per_clip, resampled=resampled)


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
