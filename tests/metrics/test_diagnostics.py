"""Silence, clipping, DC offset, and voices in instrumental prompts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from evalkit.audio import Audio
from evalkit.audioset import classes
from evalkit.config import build, compose
from evalkit.encoders.instrumental import Instrumental
from evalkit.encoders.levels import Levels
from evalkit.encoders.passt import PaSST
from evalkit.errors import EvalkitError
from evalkit.features.extractor import Extractor
from evalkit.instrumental import asks_for_no_voice
from evalkit.metrics.clipping import ClippedClips, ClippedSamples, DCOffset
from evalkit.metrics.silence import SilenceLength, SilenceShare, SilenceStart
from evalkit.metrics.vocals import VOICES, VocalsProbability, VocalsShare, indices
from evalkit.metrics.vocals_in_vocal import VocalsInVocal
from evalkit.prompts.musiccaps import MusicCaps
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.types import Clip, Features, Prompt
from tests import parity

RATE = 32000
LEVELS = Levels()


def features(*clips: np.ndarray) -> Features:
    return Features(tuple("abcdefgh"[: len(clips)]), tuple(LEVELS.levels(Audio(clip, RATE)) for clip in clips))


def music(*parts: tuple[float, float]) -> np.ndarray:
    """Noise (2, samples) of parts (seconds, dB of full scale)."""
    rng = np.random.default_rng(0)
    return np.concatenate([10 ** (db / 20) * rng.normal(0, 1, (2, round(s * RATE))) for s, db in parts], axis=1)


def silence(*clips: np.ndarray, **options: float) -> list[list[float]]:
    metrics = [metric(LEVELS, **options) for metric in (SilenceShare, SilenceStart, SilenceLength)]
    return [list(metric(features(*clips), None).per_clip.values()) for metric in metrics]


def test_a_collapse_is_silence_till_the_end() -> None:
    clips = [
        music((3, -20)),  # never
        music((1.5, -20), (1.5, -200)),  # digital silence
        music((1.5, -20), (1.5, -70)),  # a codec's idle noise
        music((1.5, -20), (1.5, -50)),  # quiet music
        music((1, -20), (1.5, -200), (0.5, -20)),  # a pause
        music((2.5, -20), (0.5, -200)),  # an ordinary end
        music((3, -200)),  # nothing at all
    ]
    share, start, length = silence(*clips)
    assert share == [0, 1, 1, 0, 0, 0, 1]
    np.testing.assert_allclose(start, [3, 1.5, 1.5, 3, 3, 3, 0], atol=1e-6)
    np.testing.assert_allclose(length, [0, 1.5, 1.5, 0, 0, 0, 3], atol=1e-6)


def test_a_collapse_is_found_to_a_frame() -> None:
    for seconds in (1.01, 1.55, 1.99):
        clip = music((seconds, -20), (4 - seconds, -100))
        _, (start,), (length,) = silence(clip)
        assert seconds <= start < seconds + 0.1 and start + length == pytest.approx(4)


def test_silence_s_limits() -> None:
    clip = music((2, -20), (1, -55))
    assert silence(clip)[0] == [0] and silence(clip, threshold=-50.0)[0] == [1]
    assert silence(clip, threshold=-50.0, shortest=1.1)[0] == [0]
    one_sided = music((3, -20)) * [[1], [0]]
    assert silence(one_sided)[0] == [0]
    for wrong in ({"threshold": 0.0}, {"shortest": 0.0}):
        with pytest.raises(EvalkitError, match=r"threshold=.* must be below 0 dB, and shortest="):
            SilenceShare(LEVELS, **wrong)


def test_clipping_is_counted_per_sample_and_per_clip() -> None:
    clean = 0.5 * np.sin(np.arange(2 * RATE) / 9)[None].repeat(2, axis=0)
    loud = np.clip(3 * clean, -1, 1)
    peaks = clean.copy()
    peaks[0, ::1000] = 1.0
    beyond = 3 * clean  # as a model makes it, before anything clips it
    found = features(clean, loud, peaks, beyond)
    expected = [100 * (np.abs(clip) >= 32767 / 32768).mean() for clip in (clean, loud, peaks, beyond)]
    measured = ClippedSamples(LEVELS)(found, None)
    np.testing.assert_allclose(list(measured.per_clip.values()), expected, rtol=1e-6)
    assert measured.value == pytest.approx(np.mean(expected)) and expected[1] > 40
    assert list(ClippedClips(LEVELS)(found, None).per_clip.values()) == [0, 1, 0, 1]


def test_dc_is_the_mean_of_the_worse_channel() -> None:
    clip = music((2.03, -20)) + np.array([[0.01], [-0.07]])
    measured = DCOffset(LEVELS)(features(clip, clip - clip.mean(axis=1, keepdims=True)), None)
    assert measured.per_clip["a"] == pytest.approx(100 * np.abs(clip.mean(axis=1)).max(), rel=1e-5)
    assert measured.per_clip["b"] == pytest.approx(0, abs=1e-6)


def test_voices_are_the_labels_of_singing_and_speech() -> None:
    # of AudioSet's released class_labels_indices.csv
    assert indices() == [0, 1, 2, 3, 4, 5, 7, 15, *range(27, 38), 218, 254, 255]
    assert len(classes()) == 527 and len(set(VOICES)) == len(VOICES)


def test_voices_are_those_of_musiccaps(shared_data: Path) -> None:
    """A label of a voice is far more frequent among prompts whose aspects mention one, so names are not mixed up."""
    prompts = MusicCaps(path=str(shared_data)).load(Cache("unused")).prompts
    instrumental = [asks_for_no_voice(p) for p in prompts]
    voiced = [bool(set(VOICES) & set(p.labels)) for p in prompts]
    assert {label for p in prompts for label in p.labels} <= set(classes().values())
    share = {x: np.mean([v for v, i in zip(voiced, instrumental, strict=True) if i is x]) for x in (True, False)}
    assert share[False] > 5 * share[True] > 0


def test_instrumental_prompts() -> None:
    encode = Instrumental().load(Cache("unused"), "cpu")
    prompts = [
        Prompt("a", "A man sings", tags=("guitar", "slow")),  # aspects go before the caption
        Prompt("b", "Guitar only", tags=("guitar", "male vocal")),
        Prompt("c", "A slow piano piece. No voices, just strings."),
        Prompt("d", "There are no drums. A woman sings softly."),
    ]
    assert [value.item() for value in encode(prompts)] == [1, 0, 1, 0]
    assert all(value.shape == (1, 1) and value.dtype == np.float32 for value in encode(prompts))


def test_prompts_are_cached_by_caption_and_aspects(tmp_path: Path) -> None:
    extractor, encoder = Extractor(Cache(tmp_path), "cpu", 2, RATE), Instrumental()
    key = extractor.key(encoder)
    first = extractor.captions([Prompt("a", "x", tags=("singing",)), Prompt("b", "x", tags=("drums",))], encoder, key)
    assert [value.item() for value in first.values] == [0, 1]
    again = Extractor(Cache(tmp_path), "cpu", 2, RATE)
    object.__setattr__(again, "networks", {key: None})  # what is cached needs no encoder
    assert again.captions([Prompt("c", "x", tags=("drums",))], encoder, key).values[0].item() == 1


def test_vocals_are_looked_for_in_instrumental_prompts_only() -> None:
    config = compose(["model=synth", "prompts=demo", "random_weights=0", "metric=[vocals]"])
    share, probability = (build(config.metric[f"vocals_{name}"]) for name in ("share", "probability"))
    assert share.encoder == probability.encoder and share.encoder.activation == "sigmoid"
    assert isinstance(share, VocalsShare) and isinstance(probability, VocalsProbability)
    values = np.full((4, 2, 527), 0.1, np.float32)
    values[:, :, 137] = 0.9  # "Music"
    values[0, 1, 32] = 0.8  # male singing, in the second segment
    values[1, 0, 36] = 0.7  # rap, but a voice is asked for
    values[2, 0, 8] = 0.9  # "Shout" is no voice here
    generated = Features(tuple("abcd"), tuple(values))
    asked = Features(tuple("abcd"), tuple(np.array([[x]], np.float32) for x in (1, 0, 1, 1)))
    measured = share(generated, asked)
    assert measured.per_clip == {"a": 1, "c": 0, "d": 0}
    assert measured.value == pytest.approx(1 / 3) and measured.n == 3
    assert probability(generated, asked).per_clip == pytest.approx({"a": 0.8, "c": 0.1, "d": 0.1})
    assert list(classes().values())[137] == "Music" and list(classes().values())[8] == "Shout"
    for metric in (share, probability):
        with pytest.raises(EvalkitError, match="no prompt is instrumental"):
            metric(generated.select("b"), asked.select("b"))
    with pytest.raises(EvalkitError, match="threshold=1"):
        VocalsShare(share.encoder, share.prompt_encoder, threshold=1.0)


def test_voices_that_are_asked_for_are_looked_for_where_they_are() -> None:
    config = compose(["model=synth", "prompts=demo", "metric=[vocals,vocals_in_vocal]"])
    unwanted, asked_for = (build(config.metric[name]) for name in ("vocals_share", "vocals_in_vocal"))
    assert asked_for.encoder == unwanted.encoder and asked_for.threshold == unwanted.threshold
    values = np.zeros((4, 2, 527), np.float32)
    values[:2, 1, indices()[8]] = 0.7
    generated = Features(tuple("abcd"), (*values[:3], values[3, :0]))
    asked = Features(tuple("abcd"), tuple(np.array([[x]], np.float32) for x in (1, 0, 0, 0)))
    measured = asked_for(generated, asked)
    assert measured.per_clip == {"b": 1, "c": 0} and measured.value == 0.5  # "d" is too short
    assert unwanted(generated, asked).per_clip == {"a": 1}
    with pytest.raises(EvalkitError, match="no prompt asks for a voice"):
        asked_for(generated.select("a"), asked.select("a"))
    with pytest.raises(EvalkitError, match="threshold=0"):
        VocalsInVocal(asked_for.encoder, asked_for.prompt_encoder, threshold=0.0)


def test_passt_gives_each_label_s_own_probability() -> None:
    clip = [parity.noise(RATE, 1.0)]
    weights = parity.random_asset("PaSST weights")
    softmax, sigmoid = (
        PaSST(weights, activation=activation).load(parity.cache(), "cpu")(clip)[0].astype(np.float64)
        for activation in ("softmax", "sigmoid")
    )
    # the logits are the same, up to the constant that softmax loses
    logits = np.log(sigmoid / (1 - sigmoid))
    shift = logits - np.log(softmax)
    assert np.ptp(shift) < 1e-4 and np.exp(logits).sum() == pytest.approx(np.exp(shift.mean()), rel=1e-4)
    with pytest.raises(EvalkitError, match="unknown PaSST activation 'sigmoi': did you mean 'sigmoid'"):
        PaSST(weights, activation="sigmoi")


RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000)


def found(tmp_path: Path, clips: list[tuple[np.ndarray, int]], form: str = "FLAC") -> list[float]:
    """The silence that a run finds at the end of each of some files (samples, channels), in seconds."""
    extractor, cache = Extractor(Cache(tmp_path / "cache"), "cpu", 16, RATE), []
    for number, (samples, rate) in enumerate(clips):
        path = tmp_path / f"{number}.{form.lower()}"
        soundfile.write(path, samples, rate, format=form, subtype="PCM_16")
        cache.append(Clip(str(number), path, sha256=sha256_file(path), frames=len(samples), sample_rate=rate))
    key = extractor.key(LEVELS)
    levels, _ = extractor.clips(cache, {key: LEVELS}, loudness=-14.0, refuse_silence=False, title="clips")
    return list(SilenceLength(LEVELS)(levels[key], None).per_clip.values())


@pytest.mark.slow
def test_a_silence_of_just_a_second_is_found_at_any_rate_and_place(tmp_path: Path) -> None:
    """Loud music, of any number of samples, that stops at once: resampled, it would ring into the silence."""
    rng = np.random.default_rng(0)
    exact, short = [], []
    for number in range(160):
        rate = RATES[number % len(RATES)]
        tones = rng.uniform(60, 0.49 * rate, (6, 1)) * np.arange(int(rng.integers(rate, 3 * rate))) / rate
        music = np.stack([np.sin(2 * np.pi * tones + rng.uniform(0, 6, (6, 1))).mean(axis=0)] * 2, axis=1)
        music += 0.2 * rng.uniform(-1, 1, music.shape)
        music *= rng.uniform(0.5, 1) / np.abs(music).max()
        music[-1] = 0.5
        exact.append((np.concatenate([music, np.zeros((rate, 2))]), rate))
        short.append((np.concatenate([music, np.zeros((rate - rate // 100, 2))]), rate))  # 0.99 s
    (tmp_path / "short").mkdir()
    np.testing.assert_allclose(found(tmp_path, exact), 1.0, atol=1e-6)
    assert found(tmp_path / "short", short) == [0.0] * len(short)


def test_quiet_music_is_no_silence_at_any_rate(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    clips = []
    for number in range(80):
        rate = RATES[number % len(RATES)]
        quiet = rng.normal(0, 10 ** (rng.uniform(-58, -50) / 20), (int(rng.integers(rate, 3 * rate)), 2))
        clips.append((np.concatenate([0.3 * rng.uniform(-1, 1, (rate, 2)), quiet]), rate))
    assert found(tmp_path, clips) == [0.0] * len(clips)
