"""evalkit.audio against torchaudio, julius and the files themselves."""

from __future__ import annotations

import io
import itertools
import math

import julius
import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from evalkit import audio, compat
from evalkit.audio import Audio, AudioError
from tests import music, parity

TORCHAUDIO = "torchaudio's loudness"
# rate and seconds
LENGTHS = [(8000, 3.0), (16000, 2.0), (22050, 1.5), (32000, 1.0), (44100, 1.0), (48000, 1.0)]
LONG = [(32000, 30.0), (44100, 7.3), (48000, 7.3)]


def torchaudio_loudness(clips: list[np.ndarray], rate: int, dtype: torch.dtype = torch.float64) -> np.ndarray:
    """The loudness of clips of one shape; together, because without its extension torchaudio loops over samples."""
    compat.prepare()
    import torchaudio

    with compat.quiet():  # it warns about the loop
        return torchaudio.functional.loudness(torch.from_numpy(np.stack(clips)).to(dtype), rate).numpy()


def long_clips(rate: int, seconds: float) -> dict[str, np.ndarray]:
    return music.clips(rate, seconds, "hot", "pauses", "fading in", "low")


def compare_loudness(clips: dict[str, np.ndarray], rate: int) -> None:
    ours = [audio.loudness(Audio(clip, rate)) for clip in clips.values()]
    for name, mine, theirs in zip(clips, ours, torchaudio_loudness(list(clips.values()), rate), strict=True):
        assert math.isfinite(mine) == math.isfinite(theirs), name
        error = abs(mine - theirs) if math.isfinite(mine) else 0.0
        parity.within("Loudness", f"{TORCHAUDIO}, float64", f"{name}, {rate}", error, 1e-9, "LUFS")


@pytest.mark.parametrize(("rate", "seconds"), LENGTHS)
def test_loudness_is_torchaudio_s(rate, seconds):
    compare_loudness(music.clips(rate, seconds), rate)


def test_loudness_of_other_sounds_is_torchaudio_s():
    # inside torchaudio each filter's output is clipped
    loud, quiet, silence = parity.noise(16000, 0.8, level=1.5), parity.noise(16000, 0.8, 1e-3), np.zeros(12800)
    # loud and quiet blocks: both gates matter
    gated = np.concatenate([parity.noise(16000, 0.8), quiet, silence])
    clips = {"clips in the filters": np.resize(loud, gated.shape), "gated": gated}
    compare_loudness({name: clip[None].astype(np.float32) for name, clip in clips.items()}, 16000)
    compare_loudness({"shorter hop at an odd rate": parity.sine(11025, 1.0)[None]}, 11025)
    for name, clip in music.clips(44100, 1.0, "bach.mp3", "electro_1.mp3", "salience_1.wav", start=2).items():
        compare_loudness({name: clip, f"{name}, hot": 3 * clip}, 44100)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "seconds"), LONG)
def test_loudness_of_long_clips_is_torchaudio_s(rate, seconds):
    compare_loudness(long_clips(rate, seconds), rate)


@pytest.mark.parametrize(("rate", "seconds"), [*LENGTHS, *(pytest.param(*x, marks=pytest.mark.slow) for x in LONG)])
def test_loudness_in_float32_as_audiocraft_computes_it(rate, seconds):
    """Coefficients in float32 change the response: at 20 Hz by 0.0045 dB for 32 kHz, by 0.019 dB for 48 kHz."""
    clips = long_clips(rate, seconds) if (rate, seconds) in LONG else music.clips(rate, seconds)
    tolerance, of = (5e-3, "32 kHz") if rate == 32000 else (2e-2, "8 to 48 kHz")
    for (name, clip), theirs in zip(
        clips.items(), torchaudio_loudness(list(clips.values()), rate, torch.float32), strict=True
    ):
        mine = audio.loudness(Audio(clip, rate))
        error = abs(mine - theirs) if math.isfinite(mine) else 0.0
        parity.within("Loudness", f"{TORCHAUDIO}, float32, {of}", f"{name}, {rate}", error, tolerance, "LUFS")


# The standard's own filters differ from torchaudio's by up to 0.065 dB at 32 kHz, and by more at lower rates.
@pytest.mark.parametrize(("filters", "tolerance"), [("K-weighting", 1e-6), ("DeMan", 0.1)])
@pytest.mark.parametrize("rate", [32000, 44100, 48000])
def test_loudness_is_pyloudnorm_s(rate, filters, tolerance):
    """Its usual filters are designed as torchaudio's are; its "DeMan" ones have the standard's own coefficients."""
    import pyloudnorm

    meter = pyloudnorm.Meter(rate, filter_class=filters)
    clips = music.clips(rate, 8.0) | {"tone of 997 Hz": parity.sine(rate, 3.0, hertz=997.0)[None]}
    if filters == "DeMan":  # levels that pass the gates: which blocks count there depends on the last tenth of a dB
        clips = {name: clip for name, clip in clips.items() if name not in ("fading in", "pauses", "bursts")}
    for name, clip in clips.items():
        # so quiet that torchaudio's clipping inside its filters changes nothing
        sound = Audio(clip * np.float32(min(1.0, 0.3 / np.abs(clip).max())), rate)
        mine, theirs = audio.loudness(sound), meter.integrated_loudness(sound.samples.T.astype(np.float64))
        assert math.isfinite(mine) == math.isfinite(theirs), name
        error = abs(mine - theirs) if math.isfinite(mine) else 0.0
        parity.within("Loudness", f"pyloudnorm 0.2, its {filters} filters", f"{name}, {rate}", error, tolerance, "LUFS")


def test_loudness_where_there_is_none():
    assert audio.loudness(Audio(np.zeros((2, 16000), np.float32), 16000)) == -math.inf
    assert math.isnan(audio.loudness(Audio(parity.noise(16000, 0.39)[None], 16000)))
    assert math.isfinite(audio.loudness(Audio(parity.noise(16000, 0.4)[None], 16000)))


@pytest.mark.parametrize("target", [-14.0, -30.0])
@pytest.mark.parametrize("kind", ["plain", "pauses", "left only"])
def test_normalize_loudness_reaches_its_target(kind, target):
    sound = Audio(music.rendered(kind, 44100, 4.0), 44100)
    levelled = audio.normalize_loudness(sound, target)
    assert levelled.samples.dtype == np.float32
    assert np.abs(levelled.samples).max() <= 1
    # peaks that are cut off are missing
    cut = np.abs(sound.samples).max() * 10 ** ((target - audio.loudness(sound)) / 20) > 1
    assert audio.loudness(levelled) == pytest.approx(target, abs=1.0 if cut else 1e-3)


def test_normalize_loudness_is_audiocraft_s_recipe():
    clips = music.clips(32000, 1.0)
    levels = torchaudio_loudness(list(clips.values()), 32000)
    expected = {
        name: (torch.from_numpy(clip) * 10 ** ((-10.0 - level) / 20)).clamp(-1, 1).numpy()
        for (name, clip), level in zip(clips.items(), levels, strict=True)
        if np.sqrt(np.square(clip, dtype=np.float64).mean()) >= 2e-3
    }
    assert len(expected) == len(clips) - 1 and "very quiet" not in expected
    assert any(np.abs(clip).max() == 1 for clip in expected.values())  # some samples are clipped
    for name, theirs in expected.items():
        error = np.abs(audio.normalize_loudness(Audio(clips[name], 32000), -10.0).samples - theirs).max()
        parity.within("Loudness: normalised clip", f"{TORCHAUDIO}, float64", name, error, 1e-6, "absolute")


def test_normalize_loudness_leaves_what_is_nearly_silent():
    below = Audio(parity.noise(32000, 1.0, level=1.9e-3)[None], 32000)
    np.testing.assert_array_equal(audio.normalize_loudness(below, -14.0).samples, below.samples)
    above = Audio(parity.noise(32000, 1.0, level=2.2e-3)[None], 32000)
    assert audio.loudness(audio.normalize_loudness(above, -14.0)) == pytest.approx(-14, abs=0.1)
    zero = Audio(np.zeros((2, 32000), np.float32), 32000)
    np.testing.assert_array_equal(audio.normalize_loudness(zero, -14.0).samples, 0)
    short = Audio(parity.noise(32000, 0.1)[None], 32000)  # no block of 0.4 s to measure
    np.testing.assert_array_equal(audio.normalize_loudness(short, -14.0).samples, short.samples)


RATES = [(32000, 16000), (32000, 48000), (44100, 32000), (48000, 32000), (22050, 32000), (8000, 32000), (11025, 48000)]


@pytest.mark.parametrize(("old", "new"), RATES)
def test_resample_is_julius_s_and_right(old, new):
    sound = Audio(np.stack([parity.sine(old, 1.0, hertz=997.0), parity.noise(old, 1.0)]), old)
    ours = audio.resample(sound, new)
    assert ours.rate == new
    theirs = julius.ResampleFrac(old, new)(torch.from_numpy(sound.samples)).numpy()
    error = np.abs(ours.samples - theirs).max()
    parity.within("Resampling, julius", "julius 0.2.8's ResampleFrac", f"{old} to {new}", error, 0)
    for name, clip in music.clips(old, 1.0).items():
        theirs = julius.ResampleFrac(old, new)(torch.from_numpy(clip)).numpy()
        error = np.abs(audio.resample(Audio(clip, old), new).samples - theirs).max()
        parity.within("Resampling, julius", "julius 0.2.8's ResampleFrac", f"{name}, {old} to {new}", error, 0)
    assert ours.samples.shape == (2, new * 1)
    middle = slice(new // 10, -new // 10)
    np.testing.assert_allclose(ours.samples[0, middle], parity.sine(new, 1.0, hertz=997.0)[middle], atol=2e-3)
    poly = scipy.signal.resample_poly(sound.samples[1], new, old)
    low = scipy.signal.butter(8, 0.5 * min(old, new) / 2, fs=new, output="sos")  # edges of the bands differ
    mine, other = (scipy.signal.sosfiltfilt(low, x)[middle] for x in (ours.samples[1], poly))
    assert np.sqrt(np.mean((mine - other) ** 2) / np.mean(other**2)) < 0.01


@pytest.mark.parametrize("kind", ["noise", "off centre", "low"])
@pytest.mark.parametrize(("old", "new"), RATES)
def test_resample_is_the_windowed_sinc_of_its_formula(old, new, kind):
    """In float64, sample by sample: a sinc of 24 zero crossings at 0.945 of the band, under a cosine squared.

    julius makes its filters in float32. Their taps differ from the formula's by at most 1e-4 in sum (22050 to 32000),
    which bounds the error for any sound.
    """
    sound = parity.noise(old, 0.05) if kind == "noise" else music.sounds(old, 0.05, kind)[kind]
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
    error = parity.difference(ours, expected)
    parity.within("Resampling, julius", "its formula in float64", f"{kind}, {old} to {new}", error, 1e-4)


def test_resample_to_the_same_rate_changes_nothing():
    sound = Audio(parity.noise(32000, 0.1)[None], 32000)
    assert audio.resample(sound, 32000) is sound


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_downmix_is_the_mean(channels):
    pieces = music.rendered("hot", 48000, 0.5), music.rendered("off centre", 48000, 0.5)
    noise = parity.noise(48000, 1)[: 2 * 24000].reshape(2, -1)
    sound = Audio(np.concatenate([*pieces, noise])[:channels], 48000)
    mono = audio.downmix(sound)
    assert mono.samples.shape == (1, 24000)
    assert mono.samples.dtype == np.float32
    theirs = torch.from_numpy(sound.samples).mean(dim=-2, keepdim=True).numpy()
    case = f"{channels} channels"
    parity.within(
        "Downmix", "torch's mean, as audiocraft's convert_audio", case, parity.difference(mono.samples, theirs), 1e-6
    )


@pytest.mark.parametrize("kind", ["clipped", "hot", "very quiet", "pauses", "hiss"])
def test_flac_round_trip(tmp_path, kind):
    loud = music.rendered(kind, 32000, 1.0)
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
    parity.within("Storing clips: 24-bit FLAC", "the samples", f"{kind} and edges", steps, 1, "24-bit steps")
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


def test_music_of_every_format_can_be_decoded(tmp_path):
    for number, (kind, suffix) in enumerate(itertools.product(("plain", "hot", "mono"), ("wav", "flac", "ogg", "mp3"))):
        rate = (32000, 44100, 48000)[number % 3]
        clip = music.rendered(kind, rate, 2.0)[: 1 if kind == "mono" else 2]
        soundfile.write(tmp_path / f"{kind}.{suffix}", clip.T, rate)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 12
    for path in files + (sorted(music.RECORDINGS.iterdir()) if music.RECORDINGS.is_dir() else []):
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
