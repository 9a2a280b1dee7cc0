"""Read, write, resample, downmix and level audio. Arrays are (channels, samples), float32."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.signal
import soundfile

from evalkit.errors import EvalkitError, unknown

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm")


class Audio(NamedTuple):
    """Samples (channels, samples), float32 with full scale at 1, and their rate in Hz."""

    samples: np.ndarray
    rate: int


class AudioError(Exception):
    """A file that holds no usable audio; the message is the reason, for a table."""


def files_below(folder: Path) -> list[Path]:
    """All audio files below a folder, by suffix, sorted. Raises EvalkitError if there are none, or a part is closed."""

    def closed(error: OSError) -> None:
        raise EvalkitError(f"cannot look into '{error.filename}': {error.strerror or error}") from error

    paths = [
        Path(root, name)
        for root, _, names in os.walk(folder, onerror=closed)
        for name in names
        # "._x.wav" is what macOS writes beside x.wav on foreign disks: no audio
        if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("._")
    ]
    if not paths:
        raise EvalkitError(f"'{folder}' holds no audio ({', '.join(SUFFIXES)}): check the path")
    return sorted(paths)


def probe(path: Path) -> tuple[int, int, int]:
    """Read (frames, sample rate in Hz, channels) from a file's header. Raises AudioError."""
    try:
        info = soundfile.info(str(path))
        return info.frames, info.samplerate, info.channels
    except (soundfile.LibsndfileError, OSError):
        audio = read(path)  # formats that libsndfile does not know have no cheap header
        return audio.samples.shape[1], audio.rate, audio.samples.shape[0]


def read(path: Path) -> Audio:
    """Decode a whole file at its own rate and channels.

    Formats that libsndfile does not know (m4a) go through ffmpeg where it is installed.
    Raises AudioError for what cannot be decoded, holds no samples, or holds NaN or infinity.
    """
    try:
        if path.stat().st_size == 0:
            raise AudioError("the file is empty")
        try:
            frames, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
            samples = np.ascontiguousarray(frames.T)
        except (MemoryError, ValueError) as error:
            raise AudioError(f"its header asks for more memory than there is ({error})") from error
        except soundfile.LibsndfileError as error:
            samples, rate = _read_ffmpeg(path, error)
    except OSError as error:
        raise AudioError(f"cannot be opened: {error.strerror or error}") from error
    if samples.shape[1] == 0:
        raise AudioError("no samples")
    if not np.isfinite(samples).all():
        raise AudioError("NaN or infinite samples")
    return Audio(samples, rate)


def _read_ffmpeg(path: Path, error: Exception) -> tuple[np.ndarray, int]:
    import audioread
    import audioread.ffdec

    if not audioread.ffdec.available():
        raise AudioError(f"cannot be decoded ({error}); ffmpeg, which reads more formats, is not installed") from error
    try:
        with audioread.ffdec.FFmpegAudioFile(str(path)) as file:
            data = np.frombuffer(b"".join(file.read_data()), dtype="<i2")
            samples = data.reshape(-1, file.channels).T.astype(np.float32) / 2**15
            return samples, file.samplerate
    except (audioread.DecodeError, EOFError, ValueError) as failure:
        raise AudioError(f"cannot be decoded ({error})") from failure


def encode_flac(audio: Audio) -> bytes:
    """Encode as 24-bit FLAC, which is lossless down to -144 dB and opens in any player.

    Samples must be within [-1, 1].
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.samples.T, audio.rate, format="FLAC", subtype="PCM_24")
    return buffer.getvalue()


def resample(audio: Audio, rate: int, resampler: str = "julius") -> Audio:
    """Resample; "julius" is its windowed sinc (zeros=24), as in audiocraft's `convert_audio`.

    Raises AudioError for a pair of rates with so small a common divisor that the filters would fill
    the memory, such as 31,999 and 32,000 Hz.
    """
    if resampler != "julius":
        raise unknown("resampler", resampler, ["julius"])
    if audio.rate == rate:
        return audio
    if audio.rate * rate // math.gcd(audio.rate, rate) ** 2 > 5e7:
        raise AudioError(f"a sample rate of {audio.rate} Hz cannot be brought to {rate} Hz: convert the file")
    import julius
    import torch

    with torch.inference_mode():
        samples = julius.resample_frac(torch.from_numpy(audio.samples), audio.rate, rate)
    return Audio(samples.numpy(), rate)


def downmix(audio: Audio) -> Audio:
    """Mean over channels: (channels, samples) to (1, samples)."""
    return Audio(audio.samples.mean(axis=0, keepdims=True), audio.rate)


def _biquads(rate: int) -> list[tuple[list[float], list[float]]]:
    """The two filters of K-weighting, as torchaudio.functional.loudness designs them."""
    # +4 dB high shelf at 1500 Hz
    w = 2 * math.pi * 1500.0 / rate
    alpha = math.sin(w) / 2 / (1 / math.sqrt(2))
    a = math.exp(4.0 / 40 * math.log(10))
    t1, t2, t3 = 2 * math.sqrt(a) * alpha, (a - 1) * math.cos(w), (a + 1) * math.cos(w)
    shelf = (
        [a * ((a + 1) + t2 + t1), -2 * a * ((a - 1) + t3), a * ((a + 1) + t2 - t1)],
        [(a + 1) - t2 + t1, 2 * ((a - 1) - t3), (a + 1) - t2 - t1],
    )
    # high pass at 38 Hz
    w = 2 * math.pi * 38.0 / rate
    alpha = math.sin(w) / 2 / 0.5
    c = math.cos(w)
    high_pass = ([(1 + c) / 2, -1 - c, (1 + c) / 2], [1 + alpha, -2 * c, 1 - alpha])
    return [shelf, high_pass]


def loudness(audio: Audio) -> float:
    """Integrated loudness in LUFS, the value of torchaudio.functional.loudness.

    The formula is ITU-R BS.1770-4's, with the filters of torchaudio, which also clips each filter's
    output to [-1, 1]. -inf for audio below the absolute gate of -70 LUFS and NaN for audio shorter
    than one block of 0.4 s. Computed here because torchaudio's own filter is a Python loop where
    its compiled extension cannot be loaded, which is so on every CPU-only torch.
    """
    x = audio.samples.astype(np.float64)
    for b, a in _biquads(audio.rate):
        x = np.clip(scipy.signal.lfilter(b, a, x, axis=-1), -1.0, 1.0)
    block = round(0.4 * audio.rate)
    if x.shape[1] < block:
        return math.nan
    hop = round(block * 0.25)
    windows = np.lib.stride_tricks.sliding_window_view(x, block, axis=-1)[:, ::hop]
    energy = np.square(windows).mean(-1)  # (channels, blocks)
    weights = np.array([1.0, 1.0, 1.0, 1.41, 1.41])[: x.shape[0], None]
    with np.errstate(divide="ignore", invalid="ignore"):
        blocks = -0.691 + 10 * np.log10((weights * energy).sum(0))
        gated = blocks > -70
        if not gated.any():
            return -math.inf
        mean = (energy * gated).sum(-1) / gated.sum()
        threshold = -0.691 + 10 * np.log10((weights[:, 0] * mean).sum()) - 10
        gated &= blocks > threshold
        mean = (energy * gated).sum(-1) / gated.sum()
        return float(-0.691 + 10 * np.log10((weights[:, 0] * mean).sum()))


def normalize_loudness(audio: Audio, target: float, energy_floor: float = 2e-3) -> Audio:
    """Scale to a loudness in LUFS and clip to [-1, 1], as audiocraft's `normalize_audio` does.

    Audio with an RMS below `energy_floor`, or with no measurable loudness, keeps its level.
    """
    samples = audio.samples
    if math.sqrt(np.square(samples, dtype=np.float64).mean()) >= energy_floor:
        measured = loudness(audio)
        if math.isfinite(measured):
            samples = samples * np.float32(10 ** ((target - measured) / 20))
    return Audio(np.clip(samples, -1.0, 1.0), audio.rate)
