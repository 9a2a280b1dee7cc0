"""evalkit.audio against torchaudio, julius and the files themselves."""

from __future__ import annotations

import io
import math

import julius
import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from evalkit import audio, compat
from evalkit.audio import Audio, AudioError
from tests import parity


def stereo(data, name: str, start: float, seconds: float, gain: float = 1.0) -> Audio:
    raw = audio.read(data / "audio" / name)
    part = raw.samples[:, round(start * raw.rate) :][:, : round(seconds * raw.rate)]
    return Audio(np.ascontiguousarray(part * np.float32(gain)), raw.rate)


TORCHAUDIO = "torchaudio's loudness"


def torchaudio_loudness(sound: Audio) -> float:
    compat.prepare()
    import torchaudio

    with compat.quiet():  # without its extension it warns about the loop that it runs instead
        return float(torchaudio.functional.loudness(torch.from_numpy(sound.samples).double(), sound.rate))


LOUDNESS = {
    "bach, stereo": lambda data: stereo(data, "bach.mp3", 3, 1.2),
    "electro, stereo, 48 kHz": lambda data: stereo(data, "electro_1.mp3", 0, 1.0),
    "salience, mono": lambda data: stereo(data, "salience_1.wav", 1, 1.0),
    # inside torchaudio each filter's output is clipped
    "clips in the filters, mono": lambda data: Audio(parity.noise(16000, 1.0, level=1.5)[None], 16000),
    "clips in the filters, stereo": lambda data: stereo(data, "electro_1.mp3", 5, 1.0, gain=3.0),
    "one channel silent": lambda data: Audio(np.stack([parity.noise(16000, 1.0), parity.silence(16000, 1.0)]), 16000),
    # loud and quiet blocks: both gates matter
    "gated": lambda data: Audio(
        np.concatenate([parity.noise(16000, 0.8), parity.noise(16000, 0.8, level=1e-3), parity.silence(16000, 0.8)])[
            None
        ],
        16000,
    ),
    "shorter hop at an odd rate": lambda data: Audio(parity.sine(11025, 1.0)[None], 11025),
}


@pytest.mark.parametrize("name", LOUDNESS)
def test_loudness_is_torchaudio_s(shared_data, name):
    sound = LOUDNESS[name](shared_data)
    error = abs(audio.loudness(sound) - torchaudio_loudness(sound))
    parity.within("Loudness", f"{TORCHAUDIO}, float64", name, error, 1e-9, "LUFS")


def test_loudness_in_float32_as_audiocraft_computes_it(shared_data):
    compat.prepare()
    import torchaudio

    sound = stereo(shared_data, "bach.mp3", 3, 1.0)
    with compat.quiet():
        theirs = float(torchaudio.transforms.Loudness(sound.rate)(torch.from_numpy(sound.samples)))
    error = abs(audio.loudness(sound) - theirs)
    parity.within("Loudness", f"{TORCHAUDIO}, float32", "bach, stereo", error, 1e-3, "LUFS")


# so quiet that torchaudio's clipping inside its filters changes nothing
INDEPENDENT = {
    "bach, stereo": lambda data: stereo(data, "bach.mp3", 2, 8, gain=0.2),
    "electro, stereo, 48 kHz": lambda data: stereo(data, "electro_1.mp3", 0, 8, gain=0.2),
    "electronic, very quiet": lambda data: stereo(data, "electronic.mp3", 0, 3, gain=0.02),
    "salience, mono": lambda data: stereo(data, "salience_1.wav", 1, 5, gain=0.2),
    "tone of 997 Hz, 48 kHz": lambda data: Audio(parity.sine(48000, 3.0, hertz=997.0)[None], 48000),
}


@pytest.mark.parametrize(("filters", "tolerance"), [("K-weighting", 1e-6), ("DeMan", 0.1)])
@pytest.mark.parametrize("name", INDEPENDENT)
def test_loudness_is_pyloudnorm_s(shared_data, name, filters, tolerance):
    """Its usual filters are designed as torchaudio's are; its "DeMan" ones have the standard's own coefficients."""
    import pyloudnorm

    sound = INDEPENDENT[name](shared_data)
    theirs = pyloudnorm.Meter(sound.rate, filter_class=filters).integrated_loudness(sound.samples.T.astype(np.float64))
    error = abs(audio.loudness(sound) - theirs)
    parity.within("Loudness", f"pyloudnorm 0.2, its {filters} filters", name, error, tolerance, "LUFS")


def test_loudness_where_there_is_none():
    assert audio.loudness(Audio(np.zeros((2, 16000), np.float32), 16000)) == -math.inf
    assert math.isnan(audio.loudness(Audio(parity.noise(16000, 0.39)[None], 16000)))
    assert math.isfinite(audio.loudness(Audio(parity.noise(16000, 0.4)[None], 16000)))


@pytest.mark.parametrize("target", [-14.0, -30.0])
def test_normalize_loudness_reaches_its_target(shared_data, target):
    sound = stereo(shared_data, "bach.mp3", 2, 4)
    levelled = audio.normalize_loudness(sound, target)
    assert levelled.samples.dtype == np.float32
    assert np.abs(levelled.samples).max() <= 1
    assert audio.loudness(levelled) == pytest.approx(target, abs=0.1 if target > -20 else 1e-3)


def test_normalize_loudness_is_audiocraft_s_recipe(shared_data):
    sound = stereo(shared_data, "electro_2.mp3", 4, 1.0, gain=0.3)
    gain = 10 ** ((-10.0 - torchaudio_loudness(sound)) / 20)
    expected = (torch.from_numpy(sound.samples) * gain).clamp(-1, 1).numpy()
    assert np.abs(expected).max() == 1  # some samples are clipped
    error = np.abs(audio.normalize_loudness(sound, -10.0).samples - expected).max()
    parity.within("Loudness: normalised clip", TORCHAUDIO, "electro, clipped", error, 1e-6, "absolute")


def test_normalize_loudness_leaves_what_is_nearly_silent():
    below = Audio(parity.noise(32000, 1.0, level=1.9e-3)[None], 32000)
    np.testing.assert_array_equal(audio.normalize_loudness(below, -14.0).samples, below.samples)
    above = Audio(parity.noise(32000, 1.0, level=2.2e-3)[None], 32000)
    assert audio.loudness(audio.normalize_loudness(above, -14.0)) == pytest.approx(-14, abs=0.1)
    zero = Audio(np.zeros((2, 32000), np.float32), 32000)
    np.testing.assert_array_equal(audio.normalize_loudness(zero, -14.0).samples, 0)
    short = Audio(parity.noise(32000, 0.1)[None], 32000)  # no block of 0.4 s to measure
    np.testing.assert_array_equal(audio.normalize_loudness(short, -14.0).samples, short.samples)


RATES = [(32000, 16000), (32000, 48000), (44100, 32000), (48000, 32000), (22050, 32000)]


@pytest.mark.parametrize(("old", "new"), RATES)
def test_resample_is_julius_s_and_right(old, new):
    sound = Audio(np.stack([parity.sine(old, 1.0, hertz=997.0), parity.noise(old, 1.0)]), old)
    ours = audio.resample(sound, new)
    assert ours.rate == new
    theirs = julius.ResampleFrac(old, new)(torch.from_numpy(sound.samples)).numpy()
    error = np.abs(ours.samples - theirs).max()
    parity.within("Resampling, julius", "julius 0.2.8's ResampleFrac", f"{old} to {new}", error, 0)
    assert ours.samples.shape == (2, new * 1)
    middle = slice(new // 10, -new // 10)
    np.testing.assert_allclose(ours.samples[0, middle], parity.sine(new, 1.0, hertz=997.0)[middle], atol=2e-3)
    poly = scipy.signal.resample_poly(sound.samples[1], new, old)
    low = scipy.signal.butter(8, 0.5 * min(old, new) / 2, fs=new, output="sos")  # edges of the bands differ
    mine, other = (scipy.signal.sosfiltfilt(low, x)[middle] for x in (ours.samples[1], poly))
    assert np.sqrt(np.mean((mine - other) ** 2) / np.mean(other**2)) < 0.01


@pytest.mark.parametrize(("old", "new"), RATES)
def test_resample_is_the_windowed_sinc_of_its_formula(old, new):
    """In float64, sample by sample: a sinc of 24 zero crossings at 0.945 of the band, under a cosine squared.

    julius makes its filters in float32, which is what the tolerance allows.
    """
    sound = parity.noise(old, 0.05)
    (ours,) = audio.resample(Audio(sound[None], old), new).samples
    common = math.gcd(old, new)
    old_step, new_step = old // common, new // common
    cutoff = min(old_step, new_step) * 0.945
    width = math.ceil(24 * old_step / cutoff)
    padded = np.pad(sound.astype(np.float64), (width, width + old_step), mode="edge")
    taps = np.arange(-width, width + old_step)
    expected = np.empty(len(ours))
    for i in range(len(ours)):
        block, phase = divmod(i, new_step)
        t = np.clip((-phase / new_step + taps / old_step) * cutoff, -24, 24)
        kernel = np.sinc(t) * np.cos(t * np.pi / 24 / 2) ** 2
        part = padded[block * old_step :][: len(kernel)]
        expected[i] = kernel[: len(part)] @ part / kernel.sum()
    parity.within(
        "Resampling, julius", "its formula in float64", f"{old} to {new}", parity.difference(ours, expected), 5e-5
    )


def test_resample_to_the_same_rate_changes_nothing():
    sound = Audio(parity.noise(32000, 0.1)[None], 32000)
    assert audio.resample(sound, 32000) is sound


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_downmix_is_the_mean(shared_data, channels):
    pieces = stereo(shared_data, "electro_1.mp3", 0, 0.5), stereo(shared_data, "electro_1.mp3", 4, 0.5)
    sound = Audio(
        np.concatenate([pieces[0].samples, pieces[1].samples, parity.noise(48000, 1)[: 2 * 24000].reshape(2, -1)])[
            :channels
        ],
        48000,
    )
    mono = audio.downmix(sound)
    assert mono.samples.shape == (1, 24000)
    assert mono.samples.dtype == np.float32
    theirs = torch.from_numpy(sound.samples).mean(dim=-2, keepdim=True).numpy()
    case = f"{channels} channels"
    parity.within(
        "Downmix", "torch's mean, as audiocraft's convert_audio", case, parity.difference(mono.samples, theirs), 1e-6
    )


def test_flac_round_trip(tmp_path, shared_data):
    loud = stereo(shared_data, "electro_1.mp3", 0, 1.0).samples
    samples = np.concatenate([loud, [[1.0, -1.0, 0.0, 2**-23] * 4] * 2], axis=1).clip(-1, 1).astype(np.float32)
    path = tmp_path / "clip.flac"
    path.write_bytes(audio.encode_flac(Audio(samples, 32000)))
    assert soundfile.info(path).subtype == "PCM_24"
    assert audio.probe(path) == (samples.shape[1], 32000, 2)
    back = audio.read(path)
    assert back.rate == 32000
    assert back.samples.dtype == np.float32
    # full scale is one step above the largest sample
    steps = np.abs(back.samples.astype(np.float64) - samples).max() * 2**23
    parity.within("Storing clips: 24-bit FLAC", "the samples", "electro and edges", steps, 1, "24-bit steps")
    again = tmp_path / "again.flac"
    again.write_bytes(audio.encode_flac(back))
    np.testing.assert_array_equal(audio.read(again).samples, back.samples)


def test_16_bit_round_trip(tmp_path):
    """Every 16-bit sample of a wav file is read as it is, over 2**15, and is the same sample when written again."""
    steps = np.arange(-(2**15), 2**15, dtype=np.int16)
    soundfile.write(tmp_path / "all.wav", steps, 16000, subtype="PCM_16")
    read = audio.read(tmp_path / "all.wav").samples[0]
    error = np.abs(read.astype(np.float64) * 2**15 - steps).max()
    parity.within("Reading 16-bit files", "the samples", "all 65,536", error, 0, "16-bit steps")
    soundfile.write(tmp_path / "again.wav", read, 16000, subtype="PCM_16")
    again, _ = soundfile.read(tmp_path / "again.wav", dtype="int16")
    error = np.abs(again.astype(int) - steps).max()
    parity.within("Reading 16-bit files", "the samples", "written again", error, 0, "16-bit steps")


def test_every_music_file_can_be_decoded(shared_data):
    files = sorted((shared_data / "audio").iterdir())
    assert len(files) == 6
    for path in files:
        frames, rate, channels = audio.probe(path)
        sound = audio.read(path)
        assert sound.samples.shape[0] == channels
        # the header of an mp3 only estimates how long it is
        assert abs(sound.samples.shape[1] - frames) <= (0.05 * rate if path.suffix == ".mp3" else 0), path.name
        assert sound.rate == rate
        assert sound.samples.dtype == np.float32
        assert sound.samples.flags.c_contiguous
        assert 0.01 < np.abs(sound.samples).max() < 2


def wav(samples: np.ndarray, rate: int = 32000, subtype: str = "PCM_16", form: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


TONE = parity.sine(32000, 0.5)


@pytest.mark.parametrize(
    ("content", "shape", "rate"),
    [
        (wav(TONE[:1]), (1, 1), 32000),
        (wav(TONE, subtype="PCM_U8"), (1, 16000), 32000),
        (wav(TONE, rate=96000, subtype="PCM_24"), (1, 16000), 96000),
        (wav(np.stack([TONE] * 6, axis=1), rate=48000), (6, 16000), 48000),
        (wav(TONE, rate=8000, subtype="ULAW"), (1, 16000), 8000),
        (wav(2 * TONE, subtype="FLOAT"), (1, 16000), 32000),
        (wav(TONE, subtype="DOUBLE"), (1, 16000), 32000),
        (wav(TONE, subtype="VORBIS", form="OGG"), (1, 16000), 32000),
        (wav(np.stack([TONE, -TONE], axis=1), rate=48000, subtype="OPUS", form="OGG"), (2, 16000), 48000),
    ],
    ids=["one sample", "8 bits", "96 kHz", "5.1", "u-law", "float over full scale", "double", "ogg", "opus"],
)
def test_unusual_files_are_read(tmp_path, content, shape, rate):
    path = tmp_path / "file.bin"  # the content decides, not the name
    path.write_bytes(content)
    sound = audio.read(path)
    assert sound.samples.shape == shape
    assert sound.rate == rate
    assert audio.probe(path) == (shape[1], rate, shape[0])
    mono = audio.downmix(audio.resample(sound, 32000))
    assert mono.samples.shape[0] == 1
    assert np.isfinite(mono.samples).all()


def not_finite(value: float) -> bytes:
    samples = TONE.copy()
    samples[100] = value
    return wav(samples, subtype="FLOAT")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (wav(TONE[:0]), "no samples"),
        (wav(TONE)[:20], "cannot be decoded"),
        (b"<html>not found</html>" * 100, "cannot be decoded"),
        (not_finite(np.nan), "NaN"),
        (not_finite(np.inf), "NaN or infinite"),
        (audio.encode_flac(Audio(TONE[None], 32000))[:60], "cannot be decoded|no samples"),
    ],
    ids=["zero bytes", "no samples", "truncated header", "html", "nan", "inf", "truncated flac"],
)
def test_unusable_files_say_why(tmp_path, content, reason):
    path = tmp_path / "file.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=reason) as caught:
        audio.read(path)
    assert "\n" not in str(caught.value)


def test_missing_and_forbidden_files_say_why(tmp_path):
    with pytest.raises(AudioError, match="No such file"):
        audio.read(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match="cannot be"):
        audio.read(tmp_path)
    with pytest.raises(AudioError):
        audio.probe(tmp_path / "absent.wav")


def test_rates_without_a_common_divisor_are_refused():
    with pytest.raises(AudioError, match="31999 Hz cannot be brought to 32000 Hz"):
        audio.resample(Audio(np.zeros((1, 100), np.float32), 31999), 32000)
