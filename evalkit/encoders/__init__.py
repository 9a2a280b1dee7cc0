"""One file per network; here is what they share: filling a network with weights, and grouping clips.

An encoder is a frozen dataclass with `reads` ("audio", "text" or "prompt"), `version` (raised when the
same input would give other features), for audio `hears` (an `Input`), and `load(cache, device)`, which
gives a function from a list of clips (samples,), captions or prompts to a list of float32 arrays
(frames, dimensions), in order. Clips are (2, samples) for an encoder that hears stereo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np

from evalkit.audio import RESAMPLERS
from evalkit.errors import unknown
from evalkit.store.cache import Cache

Channels = Literal["mean", "first", "side", "stereo"]


@dataclass(frozen=True)
class Input:
    """What an encoder of audio is given of a clip.

    Attributes:
        sample_rate: Hz.
        channels: "mean" of all channels; the "first" one; "side", half the difference of left and
            right; or "stereo", both (a mono clip is on both sides).
        resampler: see `evalkit.audio.resample`.
        level: as the "protocol" sets it, or as "stored".
        remove_dc: subtract the mean of a clip before it is resampled.
    """

    sample_rate: int
    channels: Channels = "mean"
    resampler: str = "julius"
    level: Literal["protocol", "stored"] = "protocol"
    remove_dc: bool = False

    def __post_init__(self) -> None:
        if self.resampler not in RESAMPLERS:
            raise unknown("resampler", self.resampler, RESAMPLERS)
        if self.channels not in get_args(Channels):
            raise unknown("channels", self.channels, get_args(Channels))


def mono_input(sample_rate: int, channels: str, resampler: str, remove_dc: bool) -> Input:
    """What an encoder of one channel is given. Raises EvalkitError for names that are not known, and for stereo."""
    names = [name for name in get_args(Channels) if name != "stereo"]
    if channels not in names:
        raise unknown("channels", str(channels), names)
    return Input(sample_rate, channels, resampler, remove_dc=remove_dc)  # type: ignore[arg-type]


def to_peak(samples: np.ndarray, headroom: float | None) -> np.ndarray:
    """Scale float32 samples so that their absolute peak is `headroom` decibels below full scale; None leaves them."""
    peak = np.abs(samples).max(initial=0.0)
    return samples if headroom is None or peak <= 0 else samples * np.float32(10 ** (-headroom / 20) / peak)


class Encoder(Protocol):
    """A network, or a transform, that turns clips, captions or whole prompts into features."""

    @property
    def reads(self) -> Literal["audio", "text", "prompt"]: ...

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]: ...
