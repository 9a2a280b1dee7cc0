"""Clipping and DC offset of the clips as they are stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.encoders import Encoder
from evalkit.encoders.levels import Frames
from evalkit.metrics import mean_over_items
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class ClippedSamples:
    """Mean over clips of the share of samples at full scale or beyond, in percent.

    A generated clip that goes beyond full scale is not clipped when evalkit stores it, but is when
    anything else does, so those samples count.
    """

    encoder: Encoder
    kind: ClassVar[str] = "clipped_samples"
    title: ClassVar[str] = "Clipped samples (%)"
    bounds: ClassVar[tuple[float, float]] = (0.0, 100.0)
    higher_is_better: ClassVar[bool] = False
    reference_encoder: ClassVar[None] = None
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        """Average the share from levels (frames, 9), clip by clip."""
        shares = [100 * Frames.of(x).mean("clipped") for x in generated.values]
        return mean_over_items(generated.ids, [np.array([share]) for share in shares])


@dataclass(frozen=True)
class ClippedClips:
    """Share of clips with at least one flat top: three samples in a row, of one channel, at full scale or beyond."""

    encoder: Encoder
    kind: ClassVar[str] = "clipped_clips"
    title: ClassVar[str] = "Clipped clips"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = False
    reference_encoder: ClassVar[None] = None
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        """Count clips from levels (frames, 9): each is 1 or 0."""
        return mean_over_items(generated.ids, [np.array([Frames.of(x).flat.any()], float) for x in generated.values])


@dataclass(frozen=True)
class DCOffset:
    """Mean over clips of the DC offset: the mean sample of the channel where it is larger, in percent of full scale."""

    encoder: Encoder
    kind: ClassVar[str] = "dc_offset"
    title: ClassVar[str] = "DC offset (%)"
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    higher_is_better: ClassVar[bool] = False
    reference_encoder: ClassVar[None] = None
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        """Average the offset from levels (frames, 9), clip by clip."""

        def offset(clip: Frames) -> float:
            return 100 * max(abs(clip.mean("left_mean")), abs(clip.mean("right_mean")))

        return mean_over_items(generated.ids, [np.array([offset(Frames.of(x))]) for x in generated.values])
