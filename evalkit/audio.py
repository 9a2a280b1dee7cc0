"""Read, write, resample, downmix and level audio. Arrays are (channels, samples), float32."""

from __future__ import annotations

import functools
import io
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from evalkit import containers
from evalkit.errors import EvalkitError, NothingThere, unknown

# What is looked for in folders. The content decides how a file is read, whatever its name; only for names of
# formats that libsndfile does not have is ffmpeg asked, so that no damaged file is readable on one machine alone.
_LIBSNDFILE = (
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"),
    *(".aiff", ".aif", ".aifc", ".caf", ".w64", ".rf64", ".au", ".snd"),
)
_FFMPEG = (".m4a", ".aac", ".webm")
SUFFIXES = (*_LIBSNDFILE, *_FFMPEG)

TRUNCATED = 0.1  # seconds that may be missing: decoders differ from a header by a frame or two of a lossy format


class Audio(NamedTuple):
    """Samples (channels, samples), float32 with full scale at 1, and their rate in Hz."""

    samples: np.ndarray
    rate: int


class AudioError(Exception):
    """A file that holds no usable audio; the message is the reason, for a table."""


def files_below(folder: Path) -> list[Path]:
    """List all audio files below a folder, sorted. Raises NothingThere for none, EvalkitError where it cannot read."""

    def closed(error: OSError) -> None:
        raise EvalkitError(f"cannot look into '{error.filename}': {error.strerror or error}") from error

    paths = [
        os.path.join(root, name)
        for root, _, names in os.walk(folder, onerror=closed)
        for name in names
        # "._x.wav" is what macOS writes beside x.wav on foreign disks: no audio
        if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("._")
    ]
    if not paths:
        raise NothingThere(f"'{folder}' holds no audio ({', '.join(SUFFIXES)}): check the path")
    # in the order of paths, part by part, which they take long to compare in
    return [Path(path) for path in sorted(paths, key=lambda path: path.split(os.sep))]


PROBED = 1  # version of what `probe` says of a file


def probe(path: Path) -> tuple[int, int, int]:
    """Read (frames, sample rate in Hz, channels) from a file's header. Raises AudioError as `read` does."""
    try:
        info = soundfile.info(os.fsencode(path))
        if 0 < info.frames < _OPEN:
            require_whole(path, info.frames, info.samplerate)
            return info.frames, info.samplerate, info.channels
    except (soundfile.LibsndfileError, OSError):
        pass
    audio = read(path)  # formats that libsndfile does not know have no cheap header
    return audio.samples.shape[1], audio.rate, audio.samples.shape[0]


def require_whole(path: Path, frames: int, rate: int) -> None:
    """Raise AudioError for a file with fewer samples than its header declares, by more than 0.1 s.

    A header that leaves the length open, as encoders write it that write to a pipe, declares nothing. OSError for
    a file that cannot be read.

    Args:
        frames: that can be read of the file.
        rate: in Hz.
    """
    bytes_of = containers.extent(path)
    declared = frames * bytes_of.declared / bytes_of.present if bytes_of else frames
    if declared - frames > TRUNCATED * rate:
        raise AudioError(f"truncated: {frames / rate:.1f} s where its header says {declared / rate:.1f} s")
    if containers.ends_in_a_page(path):
        raise AudioError(f"truncated: it ends within an Ogg page, after {frames / rate:.1f} s")


def read(path: Path) -> Audio:
    """Decode a whole file at its own rate and channels.

    Formats that libsndfile does not know (.m4a, .aac, .webm) go through ffmpeg where it is installed.
    Raises AudioError for what cannot be decoded, is cut short, holds no samples, or holds NaN or infinity.
    """
    try:
        if path.stat().st_size == 0:
            raise AudioError("the file is empty")
        try:
            with soundfile.SoundFile(os.fsencode(path)) as file:
                frames, rate = _frames(file), file.samplerate
            samples = np.ascontiguousarray(frames.T)
            require_whole(path, len(frames), rate)
        except (MemoryError, ValueError) as error:
            raise AudioError(f"its header asks for more memory than there is ({error})") from error
        except soundfile.LibsndfileError as error:
            if error.code != _UNKNOWN_FORMAT or path.suffix.lower() not in _FFMPEG:
                raise AudioError(f"cannot be decoded ({_said(error)})") from error
            samples, rate = _read_ffmpeg(path)
    except OSError as error:
        raise AudioError(f"cannot be opened: {error.strerror or error}") from error
    if samples.shape[1] == 0:
        raise AudioError("no samples")
    if not np.isfinite(samples).all():
        raise AudioError("NaN or infinite samples")
    return Audio(samples, rate)


_UNKNOWN_FORMAT = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
_OPEN = 2**63 - 1  # libsndfile's SF_COUNT_MAX: the frames of a FLAC file that was written to a pipe


def _frames(file: soundfile.SoundFile) -> np.ndarray:
    """Read all samples (samples, channels)."""
    if file.frames < _OPEN:
        return file.read(dtype="float32", always_2d=True)
    file.seekable = lambda: False  # else it seeks to where it is, which fails at an end that the header does not tell
    blocks = [np.empty((0, file.channels), np.float32)]
    while len(block := file.read(2**16, dtype="float32", always_2d=True)):
        blocks.append(block)
    return np.concatenate(blocks)


def _said(error: soundfile.LibsndfileError) -> str:
    """What libsndfile says is wrong, without the file's name before it."""
    return str(error.error_string).strip().rstrip(".")


def _read_ffmpeg(path: Path) -> tuple[np.ndarray, int]:
    import audioread
    import audioread.ffdec

    if not audioread.ffdec.available():
        raise AudioError(f"cannot be decoded: {path.suffix} files need ffmpeg, which is not installed")
    try:
        with audioread.ffdec.FFmpegAudioFile(str(path)) as file:
            data = np.frombuffer(b"".join(file.read_data()), dtype="<i2")
            samples = data.reshape(-1, file.channels).T.astype(np.float32) / 2**15
            return samples, file.samplerate
    except (audioread.DecodeError, EOFError, ValueError) as failure:
        raise AudioError("cannot be decoded (by ffmpeg)") from failure


def encode_flac(audio: Audio) -> bytes:
    """Encode as 24-bit FLAC, which is lossless down to -144 dB and opens in any player.

    Samples must be within [-1, 1].
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.samples.T, audio.rate, format="FLAC", subtype="PCM_24")
    return buffer.getvalue()


def encode_mp3(audio: Audio, quality: float = 0.7) -> bytes:
    """Encode as MP3 of a variable bit rate, which every browser plays.

    Args:
        quality: from 0, the largest file, to 1.
    """
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", audio.rate, audio.samples.shape[0], "MPEG_LAYER_III", format="MP3",
        compression_level=quality, bitrate_mode="VARIABLE",
    ) as file:  # fmt: skip
        file.write(audio.samples.T)
    return buffer.getvalue()


MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def playable(audio: Audio) -> Audio:
    """Bring to what MP3 can hold: the next higher rate that it has, and the downmix of more than two channels."""
    if len(audio.samples) > 2:  # surround has no left and right that all formats agree on
        audio = downmix(audio)
    return resample(audio, next((rate for rate in MP3_RATES if rate >= audio.rate), MP3_RATES[-1]), "soxr_hq")


def as_mp3(audio: Audio) -> bytes:
    """Encode what is playable of audio as MP3, with full scale as its limit."""
    made = playable(audio)
    return encode_mp3(Audio(np.clip(made.samples, -1.0, 1.0), made.rate))


RESAMPLERS = ("julius", "resampy", "torchaudio", "torchaudio_kaiser_best", "soxr_hq")


def resample(audio: Audio, rate: int, resampler: str = "julius") -> Audio:
    """Resample with the method of one of the packages that published numbers were computed with.

    "julius" is `julius.resample_frac` (audiocraft's `convert_audio`); "resampy" is `resampy.resample`
    with its default filter (frechet-audio-distance); "torchaudio" is `torchaudio.functional.resample`
    with its defaults (audioldm_eval); "torchaudio_kaiser_best" the same with the window that its
    documentation calls so (fadtk); "soxr_hq" is `librosa.resample` (stable-audio-metrics).

    Raises AudioError for a pair of rates with so small a common divisor that the filters would fill
    the memory, such as 31,999 and 32,000 Hz, and EvalkitError for another name.
    """
    if resampler not in RESAMPLERS:
        raise unknown("resampler", resampler, RESAMPLERS)
    if audio.rate == rate:
        return audio
    if resampler == "soxr_hq":
        import librosa

        samples = librosa.resample(audio.samples, orig_sr=audio.rate, target_sr=rate, res_type=resampler)
        return Audio(np.ascontiguousarray(samples, np.float32), rate)
    if audio.rate * rate // math.gcd(audio.rate, rate) ** 2 > 5e7:
        raise AudioError(f"a sample rate of {audio.rate} Hz cannot be brought to {rate} Hz: convert the file")
    if resampler == "resampy":
        return Audio(_resampy(audio.samples, audio.rate, rate), rate)
    import julius
    import torch

    with torch.inference_mode():
        given = torch.from_numpy(audio.samples)
        if resampler == "julius":
            samples = julius.resample_frac(given, audio.rate, rate)
        else:
            samples = _torchaudio(audio.rate, rate, resampler)(given)
    return Audio(samples.numpy(), rate)


@functools.lru_cache(maxsize=8)
def _torchaudio(old: int, new: int, resampler: str) -> Any:
    """torchaudio's filters for two rates, which take longer to make than to apply."""
    from evalkit import compat

    compat.prepare()
    import torch
    import torchaudio

    if resampler == "torchaudio":
        return torchaudio.transforms.Resample(old, new, dtype=torch.float32)  # functional.resample's precision
    return torchaudio.transforms.Resample(
        old,
        new,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        beta=14.769656459379492,
    )


def _resampy(samples: np.ndarray, old: int, new: int) -> np.ndarray:
    """What `resampy.resample` gives for (channels, samples), to rounding, as one matrix product.

    resampy reads the filter of each output sample off a table, in a loop. For two rates these
    filters repeat, so blocks of input samples times one matrix give blocks of output samples.
    """
    filters, reach, step = _resampy_filters(old, new)
    total = int(samples.shape[1] * float(new) / float(old))
    blocks = -(-total // filters.shape[1])
    after = max(0, (blocks - 1) * step + len(filters) - reach - samples.shape[1])
    padded = np.pad(samples.astype(np.float64), ((0, 0), (reach, after)))
    inputs = np.lib.stride_tricks.sliding_window_view(padded, len(filters), axis=1)[:, ::step][:, :blocks]
    result = (np.ascontiguousarray(inputs) @ filters).reshape(len(samples), -1)
    return result[:, :total].astype(np.float32)


@functools.lru_cache(maxsize=8)
def _resampy_filters(old: int, new: int) -> tuple[np.ndarray, int, int]:
    """resampy's default filter (kaiser_best) at two rates.

    Returns the weights (input samples, output samples) of one block, how many of the input samples
    lie before the block, and how many are from one block to the next.
    """
    from resampy.filters import get_filter

    table, precision, _ = get_filter("kaiser_best")
    scale = min(1.0, float(new) / old)
    table = table * scale
    slope = np.diff(table, append=table[-1])
    stride = int(scale * precision)  # resampy rounds it down, which stretches the filter a little
    reach = len(table) // stride

    def wing(fraction: float) -> np.ndarray:
        """Weights of the samples on one side, the nearest of which is `fraction` away."""
        offset = int(fraction * precision)
        at = offset + stride * np.arange((len(table) - offset) // stride)
        weights: np.ndarray = table[at] + (fraction * precision - offset) * slope[at]
        return weights

    down, up = old // math.gcd(old, new), new // math.gcd(old, new)
    repeats = max(1, 128 // up)  # as many periods as make the matrix product efficient
    filters = np.zeros((down * repeats + 2 * reach + 1, up * repeats))
    for i in range(up * repeats):
        before, fraction = reach + i * down // up, scale * (i * down % up / up)
        left, right = wing(fraction), wing(scale - fraction)
        filters[before - np.arange(len(left)), i] = left
        filters[before + 1 + np.arange(len(right)), i] = right
    return filters, reach, down * repeats


def downmix(audio: Audio) -> Audio:
    """Average the channels: (channels, samples) to (1, samples)."""
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
    """Measure the integrated loudness in LUFS, as does torchaudio.functional.loudness.

    The formula is ITU-R BS.1770-4's, with the filters of torchaudio, which also clips each filter's
    output to [-1, 1]. -inf for audio below the absolute gate of -70 LUFS and NaN for audio shorter
    than one block of 0.4 s. Computed here because torchaudio's own filter is a Python loop where
    its compiled extension cannot be loaded, which is so on every CPU-only torch.
    """
    import scipy.signal

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
