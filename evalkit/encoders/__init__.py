"""Encoders: one file each; here is what the pipeline asks of them, and what they are given of a clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from evalkit.audio import RESAMPLERS
from evalkit.errors import EvalkitError, unknown
from evalkit.store.cache import Cache

Channels = Literal["mean", "first", "side", "stereo"]


@dataclass(frozen=True)
class Input:
    """What an encoder of audio is given of a clip.

    Attributes:
        sample_rate: Hz. None for the rate of the file itself, at which nothing is resampled; the encoder is then
            given Audio, which says the rate, and hears the clip as "stored".
        channels: "mean" of all channels; the "first" one; "side", half the difference of left and
            right; or "stereo", both (a mono clip is on both sides).
        resampler: see `evalkit.audio.resample`.
        level: as the "protocol" sets it, or as "stored".
        remove_dc: subtract the mean of a clip before it is resampled.
    """

    sample_rate: int | None
    channels: Channels = "mean"
    resampler: str = "julius"
    level: Literal["protocol", "stored"] = "protocol"
    remove_dc: bool = False

    def __post_init__(self) -> None:
        if self.resampler not in RESAMPLERS:
            raise unknown("resampler", self.resampler, RESAMPLERS)
        if self.channels not in get_args(Channels):
            raise unknown("channels", self.channels, get_args(Channels))
        if self.sample_rate is None and self.level != "stored":
            raise EvalkitError("what is heard at the file's own rate is heard as stored: set level")


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


Reads = Literal["audio", "text", "prompt"]


class Encoder(Protocol):
    """What turns clips, captions or whole prompts into features: a frozen dataclass that declares all of these.

    There are no defaults, so that random weights are never taken for real ones.
    """

    @property
    def kind(self) -> str:
        """What name its features are kept under; it stays when the class moves."""

    @property
    def version(self) -> int:
        """Which version of its code makes the features; raised when the same input would give others."""

    @property
    def random(self) -> bool:
        """Whether its weights are random. A transform without weights has none that are."""

    @property
    def reads(self) -> Reads:
        """What it is given: "audio", which is clips, "text", which is captions, or "prompt", which is Prompts."""

    @property
    def hears(self) -> Input | None:
        """What it is given of a clip; None for one that reads no audio."""

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load what turns items into features. Raises EvalkitError for files that are missing or damaged.

        The function takes a list of clips (samples,), or (2, samples) for an encoder that hears stereo, of Audio
        with these samples for one that hears each file's own rate, of
        captions or of Prompts, and gives a list of float32 arrays (frames, dimensions), in order.
        """


@runtime_checkable
class Headed(Encoder, Protocol):
    """An encoder whose features are computed from a network's output that other encoders may be computed from too.

    The pipeline runs the trunk once for all encoders that have the same one.
    """

    @property
    def trunk(self) -> Encoder:
        """What runs the network: an encoder that hears the same, and whose features are the network's output."""

    def head(self, output: np.ndarray) -> np.ndarray:
        """Compute the features of a clip from the trunk's output for it."""


def load_headed(encoder: Headed, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
    """Load an encoder's trunk; the function gives the encoder's own features."""
    run = encoder.trunk.load(cache, device)
    return lambda clips: [encoder.head(output) for output in run(clips)]
