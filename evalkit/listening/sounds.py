"""What raters hear: clips cut to one length, at one loudness, as MP3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evalkit import audio
from evalkit.audio import Audio, AudioError
from evalkit.errors import EvalkitError
from evalkit.store.seeds import keyed

PEAK = 10 ** (-1 / 20)  # the highest sample of any item: decoders of MP3 overshoot
SILENT = -70.0  # LUFS: what is not louder stays as it is
QUIETEST = -30.0  # LUFS: no one item draws all others below this
FADE = 0.02  # seconds, where a clip is cut


@dataclass(frozen=True)
class Piece:
    """A part of an audio file.

    Attributes:
        path: the file.
        start, seconds: the part that counts, in seconds; None for all the rest.
        noise: key of white noise that is laid over it, as loud as itself; empty for none.
    """

    path: Path
    start: float = 0.0
    seconds: float | None = None
    noise: str = ""

    def read(self, longest: float) -> Audio:
        """Decode it, cut to a length in seconds. Raises EvalkitError for a file that cannot be decoded."""
        try:
            whole = audio.read(self.path)
        except AudioError as error:
            raise EvalkitError(f"'{self.path}' cannot be played: {error}: run again what made it") from error
        first = round(self.start * whole.rate)
        length = min(longest, math.inf if self.seconds is None else self.seconds)
        samples = whole.samples[:, first : first + max(1, round(length * whole.rate))]
        if not samples.shape[1]:
            raise EvalkitError(f"'{self.path}' ends before its part that counts begins: run again what made it")
        part = audio.playable(Audio(samples, whole.rate))
        return faded(self._with_noise(part), first + samples.shape[1] < whole.samples.shape[1])

    def _with_noise(self, part: Audio) -> Audio:
        if not self.noise:
            return part
        level = math.sqrt(float(np.square(part.samples, dtype=np.float64).mean())) or 0.1
        noise = keyed("listening", "noise", self.noise).normal(0, level, part.samples.shape)
        return Audio(part.samples + noise.astype(np.float32), part.rate)


def faded(part: Audio, cut: bool) -> Audio:
    """Fade the end of a clip that was cut, which would click else."""
    many = round(FADE * part.rate)
    if not cut or part.samples.shape[1] <= many:
        return part
    samples = part.samples.copy()
    samples[:, -many:] *= np.linspace(1, 0, many, dtype=np.float32)
    return Audio(samples, part.rate)


@dataclass(frozen=True)
class Measured:
    """Attributes:
    seconds: how long a piece is.
    loudness: in LUFS, -inf for silence.
    peak: its highest sample.
    """

    seconds: float
    loudness: float
    peak: float

    @property
    def highest(self) -> float:
        """The loudness in LUFS that it can have without clipping; infinite for silence."""
        return self.loudness + 20 * math.log10(PEAK / self.peak) if math.isfinite(self.loudness) else math.inf

    def gain_db(self, level: float) -> float:
        """What brings it to a loudness, or to its highest; 0 for silence, which has none."""
        return min(level, self.highest) - self.loudness if math.isfinite(self.loudness) else 0.0


def measure(part: Audio) -> Measured:
    """Measure the loudness and the peak of a clip."""
    peak = float(np.abs(part.samples).max(initial=0.0))
    # far from full scale, where the filters of K-weighting would clip
    found = audio.loudness(Audio(part.samples * np.float32(0.25 / peak), part.rate)) if peak > 0 else -math.inf
    loudness = found + 20 * math.log10(peak / 0.25) if math.isfinite(found) else -math.inf
    return Measured(part.samples.shape[1] / part.rate, loudness if loudness > SILENT else -math.inf, peak)


def common_level(measured: Mapping[str, Measured], asked: float) -> tuple[float, list[str]]:
    """Choose the loudness of all items, and name those that cannot have it without clipping.

    It is as asked, or as far below as the item with the highest peaks needs, but not below -30 LUFS: what
    cannot have that is quieter than all others.
    """
    highest = {name: one.highest for name, one in measured.items()}
    level = min(asked, *(max(QUIETEST, value) for value in highest.values()))
    level = math.floor(level * 100) / 100
    return level, sorted(name for name, value in highest.items() if value < level)


def levelled(part: Audio, gain_db: float) -> Audio:
    """Scale a clip."""
    return Audio(part.samples * np.float32(10 ** (gain_db / 20)), part.rate)
