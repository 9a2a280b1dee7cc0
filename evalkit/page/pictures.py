"""What a clip looks like: its outline, its spectrogram, and both in words."""

from __future__ import annotations

import base64
import functools
import io

import numpy as np
from PIL import Image

from evalkit.audio import Audio

COLUMNS = 160  # of an outline
FRAMES = 280  # columns of a spectrogram
BANDS = 56
LOWEST, HIGHEST = 40.0, 16000.0  # Hz, of every spectrogram, whatever the rate of its clip
QUIETEST, LOUDEST = -95.0, -15.0  # dB of a band below a full-scale sine: the same for all clips, so that they compare
LEVELS = 16  # colours: four bits, of which PNG makes small files

# From nothing over rose and violet to nearly black, on paper; a dark page turns it round.
RAMP = ((0.0, (255, 214, 190)), (0.35, (240, 110, 110)), (0.65, (150, 40, 125)), (1.0, (20, 10, 45)))

SILENCE = -60.0  # dB: below this a tenth of a second is silent


def outline(samples: np.ndarray) -> list[list[int]]:
    """The largest magnitude in each of `COLUMNS` parts of each channel, as whole percents of full scale."""
    columns = min(COLUMNS, samples.shape[1])
    if not columns:
        return [[] for _ in samples]
    starts = np.arange(columns) * samples.shape[1] // columns
    highest = np.maximum.reduceat(np.abs(samples), starts, axis=1)
    return [[int(value) for value in row] for row in np.rint(100 * np.minimum(highest, 1.0))]


def spectrogram(audio: Audio) -> bytes:
    """The log-mel spectrogram of a clip, all channels together, as a PNG with a transparent ground."""
    levels = _levels(audio)
    image = Image.frombytes("P", (levels.shape[1], levels.shape[0]), levels.tobytes())
    image.putpalette(_palette()[:, :3].tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, bits=4, transparency=_palette()[:, 3].tobytes())
    return buffer.getvalue()


def data_url(png: bytes) -> str:
    """A picture as part of a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def described(audio: Audio) -> str:
    """What there is to see, in words."""
    samples = audio.samples
    said = [f"{samples.shape[1] / audio.rate:.1f} s", _channels(samples)]
    if not samples.any():
        return ", ".join([*said, "silent"])
    power = _power(audio)
    summed = np.cumsum(power.sum(axis=1))
    edge = float(np.searchsorted(summed, 0.85 * summed[-1])) * audio.rate / _size(audio.rate)
    said.append(
        f"85 % of its energy below {edge / 1000:.1f} kHz"
        if edge >= 1000
        else f"85 % of its energy below {max(10, round(edge, -1)):.0f} Hz"
    )
    block = max(1, audio.rate // 10)
    blocks = np.square(samples[:, : samples.shape[1] // block * block].astype(np.float64)).mean(axis=0)
    quiet = blocks.reshape(-1, block).mean(axis=1) < 10 ** (SILENCE / 10)
    if quiet.any():
        said.append(f"silent for {quiet.mean():.0%} of it")
    return ", ".join(said)


def _channels(samples: np.ndarray) -> str:
    if len(samples) == 1:
        return "mono"
    if len(samples) > 2:
        return f"{len(samples)} channels"
    heard = np.abs(samples).max(axis=1) > 10 ** (SILENCE / 20)
    if heard.all() or not heard.any():
        return "stereo" if not np.array_equal(samples[0], samples[1]) else "stereo with equal channels"
    return "left channel alone" if heard[0] else "right channel alone"


def _levels(audio: Audio) -> np.ndarray:
    """The spectrogram as numbers of colours, the highest band first."""
    power = _filters(audio.rate) @ _power(audio)
    with np.errstate(divide="ignore"):
        decibels = 10 * np.log10(power)
    shade = np.clip((decibels - QUIETEST) / (LOUDEST - QUIETEST), 0.0, 1.0)
    levels: np.ndarray = np.rint(shade * (LEVELS - 1)).astype(np.uint8)[::-1]
    return np.ascontiguousarray(levels)


def _size(rate: int) -> int:
    """Samples of a window: of about 64 ms, which tells notes apart."""
    return int(2 ** round(np.log2(0.064 * rate)))


def _power(audio: Audio) -> np.ndarray:
    """The mean power of each frequency (frequencies, columns), where a full-scale sine has 1."""
    size = _size(audio.rate)
    samples = audio.samples.mean(axis=0) if len(audio.samples) > 1 else audio.samples[0]
    padded = np.pad(samples, (size // 2, size))
    hop = max(1, min(size // 2, samples.size // FRAMES))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][: max(1, -(-samples.size // hop))]
    window = np.hanning(size).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(windows * window, axis=1))) * (2 / window.sum()) ** 2
    columns = min(FRAMES, len(power))
    starts = np.arange(columns) * len(power) // columns
    mean: np.ndarray = np.add.reduceat(power, starts, axis=0) / np.diff(starts, append=len(power))[:, None]
    return mean.T


@functools.lru_cache(maxsize=8)
def _filters(rate: int) -> np.ndarray:
    """Triangular filters (bands, frequencies) at equal distances on the mel scale, each of which sums to one."""

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return np.asarray(2595 * np.log10(1 + np.asarray(hertz) / 700))

    edges = np.linspace(mel(LOWEST), mel(HIGHEST), BANDS + 2)
    frequencies = mel(np.fft.rfftfreq(_size(rate), 1 / rate))
    width = edges[1] - edges[0]
    weights = np.maximum(0.0, 1 - np.abs(frequencies[None] - edges[1:-1, None]) / width)
    empty = weights.sum(axis=1) == 0  # bands narrower than a frequency's distance take the nearest one, below Nyquist
    nearest = np.abs(frequencies[None] - edges[1:-1, None]).argmin(axis=1)
    below = edges[1:-1] <= frequencies[-1]
    weights[empty & below, nearest[empty & below]] = 1.0
    total: np.ndarray = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    return total


@functools.cache
def _palette() -> np.ndarray:
    """Colours (levels, red green blue alpha)."""
    at = np.linspace(0.0, 1.0, LEVELS)
    stops = [place for place, _ in RAMP]
    colours = [np.interp(at, stops, [colour[i] for _, colour in RAMP]) for i in range(3)]
    return np.rint(np.stack([*colours, 255 * np.minimum(1.0, 1.6 * at)], axis=1)).astype(np.uint8)
