"""Notes to sound: the voices of the synthesizer. Mono, float32, at RATE."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import scipy.signal

from evalkit.models.synth.composer import CLOSED_HAT, CONGA, KICK, SHAKER, SNARE

RATE = 32000  # Hz


TABLE = 4096  # samples of one cycle; without interpolation its error is some 70 dB down


@dataclass(frozen=True)
class Voice:
    """How an instrument sounds.

    Attributes:
        slope: of the spectrum, amplitude falling as harmonic ** -slope.
        even: level of the even harmonics against the odd ones.
        ratios: of partials that are not harmonic, each a sine; replaces the two above.
        attack, decay, release: in seconds; decay is the time constant at 220 Hz, shorter above, and
            None for a tone that is held.
        vibrato: depth, relative to the frequency.
        breath: level of noise against the tone.
        drive: strength of the distortion; 0 for none.
        level: against the other instruments.
    """

    slope: float = 1.5
    even: float = 1.0
    ratios: tuple[float, ...] = ()
    attack: float = 0.005
    decay: float | None = None
    release: float = 0.08
    vibrato: float = 0.0
    breath: float = 0.0
    drive: float = 0.0
    level: float = 1.0


VOICES = {
    "piano": Voice(slope=1.7, decay=0.9, release=0.12),
    "electric piano": Voice(slope=2.6, even=0.5, decay=1.2, release=0.15),
    "acoustic guitar": Voice(slope=1.3, decay=0.5, release=0.1, attack=0.003),
    "electric guitar": Voice(slope=1.0, decay=2.0, release=0.05, drive=4.0, level=0.7),
    "bass": Voice(slope=1.9, decay=0.9, release=0.05, attack=0.008, level=1.3),
    "strings": Voice(slope=1.2, attack=0.09, release=0.2, vibrato=0.004),
    "flute": Voice(slope=2.8, even=0.6, attack=0.05, release=0.08, vibrato=0.005, breath=0.08, level=1.1),
    "brass": Voice(slope=0.9, attack=0.04, release=0.07, vibrato=0.003, level=0.9),
    "organ": Voice(slope=1.1, even=0.4, attack=0.01, release=0.05),
    "pad": Voice(slope=1.8, attack=0.2, release=0.5, vibrato=0.003),
    "synth lead": Voice(slope=0.8, even=0.15, attack=0.005, release=0.05, level=0.7),
    "bells": Voice(ratios=(1.0, 2.76, 5.4, 8.93), attack=0.001, decay=0.8, release=0.4),
    "voice": Voice(slope=1.6, even=0.9, attack=0.06, release=0.12, vibrato=0.008, breath=0.03),
}


@functools.cache
def _cycle(slope: float, even: float, harmonics: int) -> np.ndarray:
    """One cycle of RMS 1; the phases grow with the square of the harmonic, which keeps the peak low."""
    k = np.arange(1, harmonics + 1)
    spectrum = np.zeros(TABLE // 2 + 1, dtype=np.complex128)
    spectrum[k] = k**-slope * np.where(k % 2, 1.0, even) * np.exp(-0.5j * np.pi * (1 + k * (k - 1) / harmonics))
    cycle = np.fft.irfft(spectrum)
    return (cycle / np.sqrt(np.mean(cycle**2))).astype(np.float32)


def _read(cycle: np.ndarray, phase: np.ndarray) -> np.ndarray:
    return cycle[(phase * TABLE).astype(np.int32) & (TABLE - 1)]


def tone(voice: Voice, frequency: float, seconds: float, brightness: float, rng: np.random.Generator) -> np.ndarray:
    """Play one note of RMS about 1 at its loudest: (samples,), its release after `seconds` included.

    `frequency` is in Hz, `brightness` from 0 to 1.
    """
    tail = min(5 * voice.release, 1.0)
    # a decaying note ends where nothing of it is left
    decay = voice.decay and voice.decay * (220 / frequency) ** 0.5
    length = min(seconds + tail, 6 * decay) if decay else seconds + tail
    n = max(int(length * RATE), 64)
    t = np.arange(n, dtype=np.float32) / np.float32(RATE)
    phase = np.float32(frequency) * t
    if voice.vibrato:
        rate = rng.uniform(5.15, 5.25)
        depth = voice.vibrato * frequency / (2 * np.pi * rate)  # the integral of the frequency's swing
        phase = phase + np.float32(depth) * np.sin(np.float32(2 * np.pi * rate) * t)
    if voice.ratios:
        sine = _cycle(1.0, 1.0, 1)
        wave = np.zeros(n, dtype=np.float32)
        for i, ratio in enumerate(r for r in voice.ratios if r * frequency < 0.45 * RATE):
            level = (0.4 + 0.4 * brightness) ** i
            wave += np.float32(level) * _read(sine, np.float32(ratio) * phase) * np.exp(-t * np.float32(i / 0.4))
    else:
        slope = round(voice.slope + 0.8 * (0.5 - brightness), 2)
        harmonics = _round_down(0.45 * RATE / frequency)
        wave = _read(_cycle(slope, voice.even, harmonics), phase)
        if decay:  # a struck or plucked tone loses its high harmonics first
            fading = np.exp(-t * np.float32(4 / decay))
            wave = fading * wave + (1 - fading) * _read(_cycle(slope + 0.8, voice.even, harmonics), phase)
    if voice.breath:
        wave = wave + np.float32(voice.breath) * rng.standard_normal(n, dtype=np.float32)
    if voice.drive:
        wave = np.tanh(np.float32(voice.drive) * wave)
    envelope = np.minimum(t / np.float32(voice.attack), 1)
    if decay:
        envelope *= np.exp(-t / np.float32(decay))
    envelope *= np.exp(-np.maximum(t - np.float32(seconds), 0) / np.float32(voice.release))
    envelope[-64:] *= np.linspace(1, 0, 64, dtype=np.float32)
    return wave * envelope


def _round_down(harmonics: float) -> int:
    """To few different numbers, so that few cycles are computed."""
    return max(h for h in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64) if h <= max(harmonics, 1))


def hit(drum: int, brightness: float, rng: np.random.Generator) -> np.ndarray:
    """Play one stroke of a drum, named by its General MIDI pitch: (samples,), peak about 1.

    Raises KeyError for a drum that there is none of.
    """
    seconds = {KICK: 0.3, SNARE: 0.25, CLOSED_HAT: 0.09, SHAKER: 0.1, CONGA: 0.3}[drum]
    t = np.arange(int(seconds * RATE)) / RATE
    noise = rng.standard_normal(len(t)) * 0.35
    if drum == KICK:
        wave = np.sin(2 * np.pi * (48 * t + 4.0 * (1 - np.exp(-t / 0.03)))) * np.exp(-t / 0.09)
    elif drum == SNARE:
        wave = 0.5 * np.sin(2 * np.pi * 190 * t) * np.exp(-t / 0.05) + noise * np.exp(-t / 0.06)
    elif drum == CONGA:
        wave = np.sin(2 * np.pi * (260 * t + 0.5 * (1 - np.exp(-t / 0.02)))) * np.exp(-t / 0.07)
    else:
        edge, length = (6000, 0.025) if drum == CLOSED_HAT else (4000, 0.035)
        high = scipy.signal.butter(2, edge * (0.75 + 0.5 * brightness), "highpass", fs=RATE, output="sos")
        wave = scipy.signal.sosfilt(high, noise) * np.exp(-t / length) * np.minimum(t / 0.004, 1)
    return wave.astype(np.float32)
