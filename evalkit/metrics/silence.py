"""Collapse to silence: clips that fall silent and stay so till their end, when, and for how long.

MusicGen's model card says that the model "sometimes generates end of songs, collapsing to silence".
A frame of 0.1 s is silent if the RMS of both channels together is under -60 dB of full scale, as
stored, which is also where ffmpeg's silencedetect draws the line. Frames are of the clip at its own sample
rate, since resampling rings into silence, and end where it ends, so that no silence is lost to their grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.encoders import Encoder
from evalkit.encoders.levels import Frames
from evalkit.errors import EvalkitError
from evalkit.metrics import mean_over_items
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class _Collapse:
    """What the three metrics share: when a clip collapses.

    Attributes:
        threshold: dB of full scale (RMS 1); frames below it are silent.
        shortest: seconds, in whole frames; a shorter silence at the end is a rest, or the end of a sound.
    """

    encoder: Encoder
    threshold: float = -60.0
    shortest: float = 1.0
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    reference_encoder: ClassVar[None] = None
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.threshold < 0 or not self.shortest > 0:
            raise EvalkitError(
                f"silence: threshold={self.threshold:g} must be below 0 dB, and shortest={self.shortest:g} above 0 s"
            )

    def tail(self, clip: Frames) -> float:
        """Seconds of silence at a clip's end; 0 if they are fewer than `shortest`."""
        sounding = np.flatnonzero((clip.left + clip.right) / 2 >= 10 ** (self.threshold / 10))
        first = sounding[-1] + 1 if len(sounding) else 0
        silent = float(clip.seconds[first:].sum())
        return silent if silent >= self.shortest - 1e-6 else 0.0

    def _mean(self, features: Features, value: Callable[[Frames], float]) -> Measured:
        return mean_over_items(features.ids, [np.array([value(Frames.of(x))]) for x in features.values])


@dataclass(frozen=True)
class SilenceShare(_Collapse):
    """Share of clips that collapse to silence."""

    kind: ClassVar[str] = "silence_share"
    title: ClassVar[str] = "Collapsed to silence"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        """Count collapsed clips from levels (frames, 9): each is 1 or 0."""
        return self._mean(generated, lambda clip: float(self.tail(clip) > 0))


@dataclass(frozen=True)
class SilenceStart(_Collapse):
    """Mean time in seconds at which clips collapse to silence; for a clip that does not, its length."""

    kind: ClassVar[str] = "silence_start"
    title: ClassVar[str] = "Silent from (s)"
    higher_is_better: ClassVar[bool] = True

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        """Find when clips collapse from levels (frames, 9), to a frame."""
        return self._mean(generated, lambda clip: float(clip.seconds.sum()) - self.tail(clip))


@dataclass(frozen=True)
class SilenceLength(_Collapse):
    """Mean seconds of silence that clips collapse to; 0 for a clip that does not."""

    kind: ClassVar[str] = "silence_length"
    title: ClassVar[str] = "Silence (s)"

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        """Measure the silence at the end from levels (frames, 9), to a frame."""
        return self._mean(generated, self.tail)
