"""A clip as its encoders hear it: decoded, at the protocol's rate and loudness, cut to the part that counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit import audio
from evalkit.audio import Audio, AudioError
from evalkit.encoders import Input
from evalkit.types import Clip


def usable_samples(clip: Clip, rate: int | None) -> int:
    """How many samples of a clip count, after resampling to `rate` Hz (None: at its own rate)."""
    if not clip.sample_rate:
        return 0
    rate = rate or clip.sample_rate
    available = clip.frames * rate // clip.sample_rate - round(clip.start * rate)
    return available if clip.seconds is None else min(available, round(clip.seconds * rate))


def usable_seconds(clip: Clip, rate: int | None) -> float:
    """How many seconds of a clip count, in whole samples at `rate` Hz."""
    return usable_samples(clip, rate) / (rate or clip.sample_rate or 1)


@dataclass(frozen=True)
class Sound:
    """The part of a clip that counts.

    Attributes:
        stored: (channels, samples) as they were made.
        levelled: the same at the protocol's loudness, where it prescribes one.
        own: as stored, at the rate of the file, as nothing has been resampled yet.
    """

    stored: Audio
    levelled: Audio
    own: Audio

    @property
    def peak(self) -> float:
        return float(np.abs(self.stored.samples).max(initial=0.0))


def condition(clip: Clip, rate: int | None, loudness: float | None, resampler: str = "julius") -> Sound:
    """Decode a clip and bring it to the protocol's form: at `rate` Hz (None: its own), levelled, cut.

    Loudness is set on the whole clip before anything is cut, and only where `loudness` (LUFS) is
    given. Raises AudioError for a clip without usable audio.
    """
    assert clip.path is not None
    raw = audio.read(clip.path)
    samples = raw.samples / np.float32(clip.gain)
    rate = rate or raw.rate
    whole = audio.resample(Audio(samples, raw.rate), rate, resampler)
    start, length = round(clip.start * rate), usable_samples(clip, rate)
    kept = slice(start, start + length)
    part = whole.samples[:, kept]
    # decoders may differ from the header by a frame or two of a lossy format, not by more
    if part.shape[1] < length - 0.1 * rate:
        raise AudioError(f"truncated: {part.shape[1] / rate:.1f} s where its header says {length / rate:.1f} s")

    def filled(part: np.ndarray, rate: int = rate, length: int = length) -> Audio:
        return Audio(np.pad(part, ((0, 0), (0, length - part.shape[1]))), rate)

    stored = levelled = filled(part)
    first, many = round(clip.start * raw.rate), usable_samples(clip, None)
    own = filled(samples[:, first : first + many], raw.rate, many)
    if loudness is not None:
        # BS.1770 as computed here knows no LFE channel: surround counts as its downmix
        level = audio.downmix(whole) if whole.samples.shape[0] > 2 else whole
        levelled = filled(audio.normalize_loudness(level, loudness).samples[:, kept])
    return Sound(stored, levelled, own)


def heard(sound: Sound, hears: Input) -> Any:
    """What an encoder gets of a sound: (samples,), or (2, samples) for stereo; Audio at the file's own rate."""
    whole = sound.stored if hears.level == "stored" else sound.levelled
    if hears.sample_rate is None:
        whole = sound.own
    if hears.channels == "first":
        part = whole.samples[:1]
    elif hears.channels == "mean":
        part = audio.downmix(whole).samples
    else:
        # surround has no left and right that all formats agree on
        pair = whole.samples if len(whole.samples) <= 2 else audio.downmix(whole).samples
        left, right = pair[0], pair[-1]
        part = np.stack([left, right]) if hears.channels == "stereo" else (left - right)[None] / 2
    if hears.remove_dc:
        part = part - part.mean(axis=1, keepdims=True)
    if hears.sample_rate is None:
        return Audio(part, whole.rate)
    samples = audio.resample(Audio(part, whole.rate), hears.sample_rate, hears.resampler).samples
    return samples if hears.channels == "stereo" else samples[0]
