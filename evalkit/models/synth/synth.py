"""A small synthesizer that follows captions, so that every stage can be run without a checkpoint.

The music is a function of the caption alone; the seed only changes how it is played. So a second
rendering with another seed is as close to the first as a model can get, and the knobs degrade it in
ways that each metric must see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import scipy.signal

from evalkit.audio import Audio
from evalkit.errors import EvalkitError
from evalkit.models.synth.composer import Part, compose, read_caption
from evalkit.models.synth.instruments import RATE, VOICES, hit, tone
from evalkit.store.cache import Cache
from evalkit.store.seeds import keyed
from evalkit.types import Prompt

if TYPE_CHECKING:
    from evalkit.models import Generate
    from evalkit.settings import Engine, Sampling


PEAK = 0.95  # full scale is 1


# early reflections for the left and the right ear: delay in seconds, level
ROOM = (
    ((0.0131, 0.30), (0.0297, -0.24), (0.0473, 0.19), (0.0731, 0.13)),
    ((0.0177, -0.28), (0.0361, 0.25), (0.0571, -0.18), (0.0829, 0.12)),
)


DRUM_PLACES = {36: 0.0, 38: -0.3, 42: 0.6, 70: -0.7, 64: 0.5}


# For `wrong_caption`. Tempi and keys are all different, and wide enough apart that for any caption
# some are left that share neither.
OTHER_CAPTIONS = (
    "A lonely flute plays a slow melody over a soft pad at 48 bpm in B minor.",
    "A mellow organ and a warm upright bass play gently at 62 bpm in C sharp major.",
    "A sad acoustic guitar and strings play at 80 bpm in F minor.",
    "A cheerful glockenspiel and a piano play at 100 bpm in A flat major.",
    "A loud brass section, an electric bass and drums play at 128 bpm in D minor.",
    "A bright synth lead, a pad and punchy drums play at 150 bpm in E major.",
    "A distorted electric guitar, a bass and loud drums play at 176 bpm in G minor.",
    "A choir sings over bongos and shakers, very fast, at 208 bpm in B flat major.",
)


@dataclass(frozen=True)
class Synth:
    """A procedural synthesizer: stereo at 32 kHz, with knobs that make it worse.

    Attributes:
        seed: added to the sampling's seed; changes timing, touch and noises, not the notes.
        noise: RMS of added white noise, relative to the signal's.
        low_pass: cutoff in Hz of a steep low-pass filter; None for none.
        detune: standard deviation in cents of each note's own mistuning.
        silence: share of each clip, from 0 to 1, that is digital silence: its end.
        mono: whether the right channel is lost, and the left one is on both sides.
        wrong_caption: whether another caption is played, with other instruments, tempo and key.
        timing: standard deviation in milliseconds of each note's own delay.
        drums: decibels by which drums and percussion are softer; at 60 they are gone. A clip of nothing else stays.
        loop: seconds of the clip's beginning that are repeated till its end; None for none.
        narrow: share of what the channels do not have in common, from 0 to 1, that is taken away: 1 is mono.
        overdrive: decibels by which the peak would exceed full scale, where samples are clipped; 0 leaves the level.
    """

    seed: int = 0
    noise: float = 0.0
    low_pass: float | None = None
    detune: float = 0.0
    silence: float = 0.0
    mono: bool = False
    wrong_caption: bool = False
    timing: float = 0.0
    drums: float = 0.0
    loop: float | None = None
    narrow: float = 0.0
    overdrive: float = 0.0

    kind: ClassVar[str] = "synth"
    version: ClassVar[int] = 1
    published: ClassVar[str | None] = None
    random: ClassVar[bool] = False
    checkpoint: ClassVar[None] = None
    codec: ClassVar[None] = None
    sample_rate: ClassVar[int] = RATE
    channels: ClassVar[int] = 2

    def check(self, sampling: Sampling) -> None:
        """Raise EvalkitError for a knob or a duration that nothing can be rendered with."""

        def require(name: str, condition: bool, wanted: str) -> None:
            if not condition:
                raise EvalkitError(f"synth: {name}={getattr(self, name)!r}: must be {wanted}")

        def number(value: object) -> bool:
            return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

        require("seed", isinstance(self.seed, int) and not isinstance(self.seed, bool), "an integer")
        require("noise", number(self.noise) and self.noise >= 0, "a number, 0 or more")
        require("detune", number(self.detune) and self.detune >= 0, "a number of cents, 0 or more")
        require("silence", number(self.silence) and 0 <= self.silence <= 1, "a number from 0 to 1")
        if self.low_pass is not None:
            inside = number(self.low_pass) and 20 <= self.low_pass < RATE / 2
            require("low_pass", inside, f"null, or a frequency from 20 to {RATE // 2 - 1} Hz")
        require("timing", number(self.timing) and self.timing >= 0, "a number of milliseconds, 0 or more")
        for name in ("drums", "overdrive"):
            require(name, number(value := getattr(self, name)) and value >= 0, "a number of decibels, 0 or more")
        require("narrow", number(self.narrow) and 0 <= self.narrow <= 1, "a number from 0 to 1")
        if self.loop is not None:
            require("loop", number(self.loop) and self.loop >= 0.05, "null, or a number of seconds, 0.05 or more")
        for name in ("mono", "wrong_caption"):
            require(name, isinstance(getattr(self, name), bool), "true or false")
        if round(sampling.duration * RATE) < 1:
            raise EvalkitError(f"sampling.duration={sampling.duration:g}: shorter than one sample")

    def conditions(self, cache: Cache) -> tuple[str, ...]:
        """Return nothing: clips are made from captions alone."""
        return ()

    def load(self, cache: Cache, engine: Engine) -> Generate:
        """Return what turns prompts into Audio (2, samples) at 32 kHz; it runs on the CPU, in float32."""
        return self._generate

    def _generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Audio]:
        return [self.render(p, sampling.seed + self.seed, sampling.duration) for p in prompts]

    def render(self, prompt: Prompt, seed: int, seconds: float) -> Audio:
        """Play a prompt's caption, which depends on nothing but the prompt's text and id, and the arguments."""
        n = round(seconds * RATE)
        text = other_caption(prompt.text) if self.wrong_caption else prompt.text
        piece = read_caption(text)
        parts = compose(piece, text, seconds)
        key = (prompt.id, text, seed)
        if self.detune:
            parts = [detuned(p, self.detune, keyed("detune", p.instrument, p.role, *key)) for p in parts]
        if self.timing:
            parts = [delayed(p, self.timing, keyed("timing", p.instrument, p.role, *key)) for p in parts]
        if self.drums:
            parts = [turned_down(p, self.drums) if p.role == "drums" else p for p in parts]
        samples = perform(parts, piece.brightness, n, key)
        samples *= 10 ** ((10 * piece.loudness - 28) / 20) / max(rms(samples), 1e-9)
        if self.low_pass is not None:
            samples = low_passed(samples, self.low_pass)
        if self.noise:
            samples = noisy(samples, self.noise, keyed("noise", *key))
        if self.mono:
            samples = left_only(samples)
        if self.narrow:
            samples = narrowed(samples, self.narrow)
        if self.loop is not None:
            samples = looped(samples, self.loop)
        if self.silence:
            samples = cut_short(samples, self.silence)
        peak = max(float(np.abs(samples).max()), 1e-9)
        if self.overdrive:
            samples = np.clip(samples * (10 ** (self.overdrive / 20) / peak), -1, 1)
        else:
            samples *= min(1.0, PEAK / peak)
        return Audio(samples.astype(np.float32), RATE)


def perform(parts: list[Part], brightness: float, n: int, key: tuple[str | int, ...]) -> np.ndarray:
    """Play parts in a room: (2, n) float32, at any level. `key` decides timing, touch and noises."""
    samples = np.zeros((2, n), dtype=np.float32)
    places = _places(parts)
    for part, place in zip(parts, places, strict=True):
        rng = keyed("perform", part.instrument, part.role, *key)
        place += rng.normal(0, 0.01)
        # per note, so that the beginning of a clip does not depend on its length: timing, touch, tuning
        human = rng.standard_normal((len(part.notes), 3)) * (0.002, 0.02, 0.5)
        drums: dict[int, np.ndarray] = {}
        for (start, length, pitch, velocity), (late, touch, cents) in zip(part.notes, human, strict=True):
            if part.role == "drums":
                drum = int(pitch)
                if drum not in drums:
                    drums[drum] = hit(drum, brightness, keyed("hit", drum, *key))
                sound, at, level = drums[drum], DRUM_PLACES[drum], 1.0
            else:
                voice = VOICES[part.instrument]
                frequency = 440 * 2 ** ((pitch - 69 + cents / 100) / 12)
                sound = tone(voice, frequency, length, brightness, rng)
                # as on a piano, low notes further left than high ones
                at = np.clip(place + (0.0 if part.role == "bass" else (pitch - 66) / 30), -0.95, 0.95)
                level = voice.level * {"melody": 0.32, "chords": 0.14, "bass": 0.26}[part.role]
            level *= velocity * math.exp(touch)
            first = max(0, round((start + late) * RATE))
            sound = sound[: max(0, n - first)]
            angle = (at + 1) * math.pi / 4  # constant power
            samples[0, first : first + len(sound)] += np.float32(level * math.cos(angle)) * sound
            samples[1, first : first + len(sound)] += np.float32(level * math.sin(angle)) * sound
    return _in_room(samples)


def _places(parts: list[Part]) -> list[float]:
    """Where parts stand, from -1 for left to 1: the first to the right, the next to the left, and so on."""
    free = iter((0.75, -0.75, 0.45, -0.5, 0.85, -0.85, 0.3, -0.3))
    return [-0.15 if p.role == "bass" else 0.0 if p.role == "drums" else next(free, 0.0) for p in parts]


def _in_room(samples: np.ndarray) -> np.ndarray:
    wet = samples.copy()
    for channel, taps in enumerate(ROOM):
        for delay, level in taps:
            shift = round(delay * RATE)
            if shift < samples.shape[1]:
                wet[channel, shift:] += np.float32(level) * samples[channel, : samples.shape[1] - shift]
    return wet


def other_caption(text: str) -> str:
    """Choose a caption, the same one each time, that differs from this one in instruments, tempo and key."""
    own = read_caption(text)
    start = int(keyed("other caption", text).integers(len(OTHER_CAPTIONS)))
    candidates = []
    for caption in OTHER_CAPTIONS[start:] + OTHER_CAPTIONS[:start]:
        other = read_caption(caption)
        apart = abs(math.log(other.tempo / own.tempo)) > math.log(1.2)
        if apart and other.tonic != own.tonic and set(other.instruments) != set(own.instruments):
            candidates.append((len(set(other.instruments) & set(own.instruments)), caption))
    return min(candidates, key=lambda c: c[0])[1]  # the first of those that share the fewest instruments


def rms(samples: np.ndarray) -> float:
    return math.sqrt(np.square(samples, dtype=np.float64).mean())


def detuned(part: Part, cents: float, rng: np.random.Generator) -> Part:
    """Mistune each note by a normal deviate of this standard deviation; drums have no pitch to lose."""
    if part.role == "drums":
        return part
    notes = part.notes.copy()
    notes[:, 2] += rng.normal(0, cents / 100, len(notes))
    return part._replace(notes=notes)


def delayed(part: Part, milliseconds: float, rng: np.random.Generator) -> Part:
    """Move the start of each note by a normal deviate of this standard deviation, which may be negative."""
    notes = part.notes.copy()
    notes[:, 0] = np.maximum(0, notes[:, 0] + rng.normal(0, milliseconds / 1000, len(notes)))
    return part._replace(notes=notes[np.argsort(notes[:, 0], kind="stable")])


def turned_down(part: Part, decibels: float) -> Part:
    """Play a part more softly."""
    return part._replace(notes=part.notes * (1, 1, 1, 10 ** (-decibels / 20)))


def low_passed(samples: np.ndarray, cutoff: float) -> np.ndarray:
    """Filter with a Butterworth low-pass of order 8; `cutoff` in Hz. (channels, samples) to the same."""
    sections = scipy.signal.butter(8, cutoff, fs=RATE, output="sos")
    return scipy.signal.sosfilt(sections, samples, axis=-1)


def noisy(samples: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Add white noise, independent in each channel, of `level` times the signal's RMS."""
    return samples + np.float32(level * rms(samples)) * rng.standard_normal(samples.shape, dtype=np.float32)


def left_only(samples: np.ndarray) -> np.ndarray:
    """Put the left channel on both sides: what was only on the right is lost."""
    return np.repeat(samples[:1], 2, axis=0)


def narrowed(samples: np.ndarray, share: float) -> np.ndarray:
    """Take a share of the side, half the difference of left and right, away; what they have in common stays."""
    mid, side = (samples[:1] + samples[1:]) / 2, (samples[:1] - samples[1:]) / 2 * np.float32(1 - share)
    return np.concatenate([mid + side, mid - side])


def looped(samples: np.ndarray, seconds: float) -> np.ndarray:
    """Repeat the first seconds, whose last 5 ms are faded out, till the end. (channels, samples) to the same."""
    n, fade = samples.shape[1], round(0.005 * RATE)
    first = samples[:, : round(seconds * RATE)].copy()
    if first.shape[1] == n:
        return samples
    first[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.tile(first, -(-n // first.shape[1]))[:, :n]


def cut_short(samples: np.ndarray, share: float) -> np.ndarray:
    """Replace this share of the samples, at the end, by digital silence."""
    n = samples.shape[1]
    return np.concatenate([samples[:, : n - round(share * n)], np.zeros_like(samples[:, : round(share * n)])], axis=1)
