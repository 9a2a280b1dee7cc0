"""Levels: how loud a clip is in either channel, in their sum and difference, and how often at full scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evalkit.audio import Audio
from evalkit.batching import on_threads
from evalkit.encoders import Input, Reads
from evalkit.errors import EvalkitError
from evalkit.store.cache import Cache

FULL_SCALE = 1 - 2.0**-15  # the largest value of 16 bits
RUN = 3  # samples: a lone peak may happen to be at full scale, a flat top is clipped


class Frames(NamedTuple):
    """Levels of one clip: arrays (frames,), of samples that are within ±1 at full scale.

    Attributes:
        seconds: length of each frame; the first one may be shorter.
        left_mean, right_mean: mean sample, that is, the DC offset.
        left, right, mid, side: mean square; mid is half the sum of left and right, side half their difference.
        clipped: share of samples, of both channels, at full scale or beyond.
        flat: share of samples that are so in runs of at least three.
    """

    seconds: np.ndarray
    left_mean: np.ndarray
    right_mean: np.ndarray
    left: np.ndarray
    right: np.ndarray
    mid: np.ndarray
    side: np.ndarray
    clipped: np.ndarray
    flat: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Frames:
        """Read an array (frames, 9) that `Levels` has made, in float64."""
        return cls(*np.asarray(values, np.float64).T)

    def mean(self, name: str) -> float:
        """The mean of a column over the clip."""
        return float(getattr(self, name) @ self.seconds / self.seconds.sum())


@dataclass(frozen=True)
class Levels:
    """Short-time levels of both channels, as the clip is stored: at its own rate and loudness.

    Resampling would round flat tops, and ring into silence. A generated clip that goes beyond full scale is
    heard as the model made it.

    Attributes:
        frame: seconds; frames do not overlap, and end where the clip ends.
    """

    frame: float = 0.1
    kind: ClassVar[str] = "levels"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 2
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.frame >= 0.001:
            raise EvalkitError(f"levels: frame={self.frame:g} s: must be at least 0.001 s")

    @property
    def hears(self) -> Input:
        return Input(None, "stereo", level="stored")

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """No weights; the function gives (frames, 9), which `Frames` names, for Audio (2, samples)."""
        return lambda clips: on_threads(self.levels, clips, device)

    def levels(self, clip: Audio) -> np.ndarray:
        """Levels of a clip (2, samples), computed in float64: (frames, 9) float32."""
        samples = np.asarray(clip.samples, np.float64)
        left, right = samples
        full = np.abs(samples) >= FULL_SCALE
        total, length = samples.shape[1], self.frame * clip.rate
        # counted from the end, where silence is looked for; rounded one by one, so that ten frames are a second
        before_end = np.round(length * np.arange(1, total / length + 1)).astype(int)
        starts = np.unique(np.clip(total - before_end, 0, total - 1))  # at a few hertz a frame is a sample
        lengths = np.diff(starts, append=total)

        def mean(values: np.ndarray) -> np.ndarray:
            means: np.ndarray = np.add.reduceat(values, starts) / lengths
            return means

        columns = Frames(
            lengths / clip.rate,
            mean(left),
            mean(right),
            mean(left**2),
            mean(right**2),
            mean(((left + right) / 2) ** 2),
            mean(((left - right) / 2) ** 2),
            mean(full.mean(axis=0)),
            mean(in_runs(full, RUN).mean(axis=0)),
        )
        return np.stack(columns, axis=1).astype(np.float32)


def in_runs(flags: np.ndarray, length: int) -> np.ndarray:
    """Which true values of (channels, samples) have at least `length` - 1 true neighbours in a row with them."""
    if flags.shape[1] < length:
        return np.zeros_like(flags)
    starts = np.lib.stride_tricks.sliding_window_view(flags, length, axis=1).all(axis=-1)
    found = np.zeros_like(flags)
    for shift in range(length):
        found[:, shift : shift + starts.shape[1]] |= starts
    return found
