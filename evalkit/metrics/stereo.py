"""What is left of stereo: correlation of the channels, side-to-mid ratio, collapse to mono.

MusicGen's metrics hear the mean of both channels only. Levels are those of the stored clips, without
their DC offset; a mono file counts as two equal channels. None of these is better the higher or the
lower it is, but for the share of clips that are mono: compare with the calibration row "shuffled references".
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

FLOOR = -80.0  # dB; a ratio below it, or above its opposite, is written as this


def correlation(clip: Frames) -> float | None:
    """Pearson correlation of left and right; None where one of them is silent."""
    left, right = (clip.mean(c) - clip.mean(f"{c}_mean") ** 2 for c in ("left", "right"))
    together = clip.mean("mid") - clip.mean("side") - clip.mean("left_mean") * clip.mean("right_mean")
    return float(np.clip(together / math.sqrt(left * right), -1, 1)) if min(left, right) > 0 else None


def side_to_mid(clip: Frames) -> float | None:
    """Energy of side over energy of mid in dB, within ±80; None for a silent clip."""
    left, right = clip.mean("left_mean"), clip.mean("right_mean")
    side = max(0.0, clip.mean("side") - ((left - right) / 2) ** 2)
    mid = max(0.0, clip.mean("mid") - ((left + right) / 2) ** 2)
    if side == mid == 0:
        return None
    low, high = (10 ** (level / 10) for level in (FLOOR, -FLOOR))
    return 10 * math.log10(float(np.clip(side / mid if mid else math.inf, low, high)))


def mean_of(features: Features, value: Callable[[Frames], float | None], what: str) -> Measured:
    """The mean of a clip's value over the clips that have one. Raises EvalkitError where none has."""
    values = [value(Frames.of(frames)) for frames in features.values]
    if all(v is None for v in values):
        raise EvalkitError(f"{what}: all clips are silent")
    return mean_over_items(features.ids, [np.array([v] if v is not None else []) for v in values])


@dataclass(frozen=True)
class ChannelCorrelation:
    """Mean over clips of the Pearson correlation of left and right: 1 is mono, 0 is unrelated channels.

    Clips with a silent channel have none, and are left out.
    """

    encoder: Encoder
    kind: ClassVar[str] = "channel_correlation"
    title: ClassVar[str] = "Channel correlation"
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is_better: ClassVar[None] = None
    reference_encoder: ClassVar[None] = None
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        """Correlate channels from levels (frames, 9), clip by clip. Raises EvalkitError if all are silent."""
        return mean_of(generated, correlation, "channel correlation")


@dataclass(frozen=True)
class SideToMid:
    """Mean over clips of the energy of side over that of mid, in dB, within ±80 dB for each clip.

    Silent clips have none, and are left out.
    """

    encoder: Encoder
    kind: ClassVar[str] = "side_to_mid"
    title: ClassVar[str] = "Side-to-mid ratio (dB)"
    bounds: ClassVar[tuple[float, float]] = (FLOOR, -FLOOR)
    higher_is_better: ClassVar[None] = None
    reference_encoder: ClassVar[None] = None
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        """Compare energies from levels (frames, 9), clip by clip. Raises EvalkitError if all are silent."""
        return mean_of(generated, side_to_mid, "side-to-mid ratio")


@dataclass(frozen=True)
class MonoShare:
    """Share of clips whose channels are the same, for the ear: side is at least `below` dB under mid.

    The two channels that a stereo MusicGen decodes from equal tokens are equal; a mono recording
    that went through MP3, Vorbis or Opus stays under -60 dB, and stereo music lies around -10 to 0
    dB. -40 dB is between the two, and means a correlation of 0.9998. Mono files are mono; silent
    clips are left out.

    Attributes:
        below: dB.
    """

    encoder: Encoder
    below: float = -40.0
    kind: ClassVar[str] = "mono_share"
    title: ClassVar[str] = "Collapsed to mono"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = False
    reference_encoder: ClassVar[None] = None
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not FLOOR <= self.below <= 0:
            raise EvalkitError(f"mono_share: below={self.below:g}: must be between {FLOOR:g} and 0 dB")

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        """Count mono clips from levels (frames, 9). Raises EvalkitError if all are silent."""

        def mono(clip: Frames) -> float | None:
            ratio = side_to_mid(clip)
            return None if ratio is None else float(ratio <= self.below)

        return mean_of(generated, mono, "mono share")
