"""Melodies to chromagrams, and the separation of stems before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from evalkit import audio, compat
from evalkit.audio import Audio
from evalkit.decoding.melody import melody_features
from evalkit.errors import EvalkitError
from evalkit.separation import STEMS
from evalkit.types import Prompt
from tests import music

compat.prepare()
from transformers import MusicgenMelodyFeatureExtractor  # noqa: E402

RATE = 32000
ORIGINAL = MusicgenMelodyFeatureExtractor()


def original(samples: Any, rate: int) -> np.ndarray:
    features: np.ndarray = ORIGINAL(samples, sampling_rate=rate, return_tensors="np").input_features[0]
    return features


def tones(*midi: int, rate: int = RATE, seconds: float = 1.5) -> np.ndarray:
    """One tone after the other, (samples,)."""
    t = np.arange(round(seconds * rate)) / rate
    parts = [0.3 * np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * t) for note in midi]
    return np.concatenate(parts).astype(np.float32)


def melody(path: Path, samples: np.ndarray, rate: int = RATE) -> Prompt:
    soundfile.write(path, samples.T, rate, subtype="FLOAT")
    return Prompt("p1", "a song", melody=path)


@pytest.mark.parametrize("rate", [16000, 22050, 32000, 44100, 48000])
@pytest.mark.parametrize("kind", ["plain", "clipped", "pauses", "off centre", "wide"])
def test_music_gives_transformers_features(tmp_path: Path, kind: str, rate: int) -> None:
    same_as_transformers(melody(tmp_path / "x.wav", music.rendered(kind, rate, 3.3), rate))


def test_recordings_give_transformers_features(shared_data: Path) -> None:
    for path in (shared_data / "audio").iterdir():
        same_as_transformers(Prompt("a", "x", melody=path))


def same_as_transformers(prompt: Prompt) -> None:
    assert prompt.melody is not None
    features, given = melody_features("m", None)(prompt, None), audio.read(prompt.melody)
    resampled = audio.resample(given, RATE)
    assert features is not None and features.dtype == np.float32
    np.testing.assert_array_equal(features, original([resampled.samples], RATE))
    # with its own resampling too, which is another implementation of the same filter
    np.testing.assert_array_equal(features, original(torch.from_numpy(given.samples.mean(axis=0)), given.rate))
    assert len(np.unique(features.argmax(axis=1))) > 2


def test_the_strongest_pitch_class_is_marked(tmp_path: Path) -> None:
    features = melody_features("m", None)(melody(tmp_path / "x.wav", tones(60, 64, 69)), None)
    assert features is not None and features.shape == (round(4.5 * RATE) // 4096 + 1, 12)
    assert (features.sum(axis=1) == 1).all() and set(np.unique(features)) == {0, 1}
    heard = features.argmax(axis=1)
    assert list(dict.fromkeys(heard.tolist())) == [0, 4, 9]  # C, E, A


def test_no_melody_no_features() -> None:
    assert melody_features("m", None)(Prompt("a", "x"), None) is None


def test_the_first_30_seconds_count(tmp_path: Path) -> None:
    long = tones(*[60, 64, 67, 72, 69] * 5)
    features = melody_features("m", None)(melody(tmp_path / "x.wav", long), None)
    assert features is not None and features.shape == (235, 12)
    np.testing.assert_array_equal(features, original(long[: 30 * RATE], RATE))


def test_windows_read_a_repeated_melody(tmp_path: Path) -> None:
    wave = tones(60, 64, 67, 72, 69)
    features, prompt = melody_features("m", None), melody(tmp_path / "x.wav", wave)
    for start in (0.0, 18.0, 36.02):
        repeated = np.tile(wave, 12)[int(start * RATE) :][: 30 * RATE]
        window = features(prompt, start)
        assert window is not None and window.shape == (235, 12)
        np.testing.assert_array_equal(window, original(repeated, RATE))


def test_the_checkpoints_own_configuration_holds(tmp_path: Path) -> None:
    prompt = melody(tmp_path / "x.wav", tones(60, 64, 67, 72))
    MusicgenMelodyFeatureExtractor(chunk_length=2).save_pretrained(tmp_path)
    features = melody_features("m", tmp_path)(prompt, None)
    assert features is not None and len(features) == 2 * RATE // 4096 + 1
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(
        EvalkitError, match=r"^m: preprocessor_config\.json in '.*' cannot be loaded: delete it and get it again \("
    ):
        melody_features("m", tmp_path)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(RATE), "it is silent"),
        (np.stack([tones(60), -tones(60)]), "it is silent"),
        (2.0**-16 * np.ones(RATE), "it is silent"),
        (tones(60, seconds=0.1), "it lasts 0.10 s, and one frame of the chromagram is of 0.51 s"),
        (np.full(RATE, np.nan), "NaN or infinite samples"),
        (np.zeros(0), "no samples"),
    ],
)
def test_an_unusable_melody_is_one_clear_line(tmp_path: Path, samples: np.ndarray, message: str) -> None:
    prompt = melody(tmp_path / "x.wav", samples)
    with pytest.raises(EvalkitError) as error:
        melody_features("MusicGen melody", None)(prompt, None)
    text = f"MusicGen melody: the melody of prompt 'p1' cannot be used: {message} ('{prompt.melody}')"
    assert str(error.value) == text


def test_a_file_that_is_no_audio(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_text("not audio")
    with pytest.raises(EvalkitError, match="melody of prompt 'a' cannot be used: cannot be decoded"):
        melody_features("m", None)(Prompt("a", "x", melody=tmp_path / "x.wav"), None)


def test_of_stems_vocals_and_other_are_heard(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    notes = {"drums": (62, 62), "bass": (61, 61), "other": (64, 67), "vocals": (76, 55)}
    level = {"drums": 3.0, "bass": 2.0, "other": 0.5, "vocals": 0.6}
    mono = np.stack([level[name] * tones(*notes[name], rate=44100) for name in STEMS])
    stems = (mono[:, None] * np.array([[1.0], [0.5]]) + 0.01 * rng.standard_normal(2)[:, None]).astype(np.float32)
    given: list[Audio] = []

    def separate(mix: Audio) -> tuple[np.ndarray, int]:
        given.append(mix)
        return stems, 44100

    features, prompt = melody_features("m", None, separate), melody(tmp_path / "x.wav", mono.sum(axis=0), 44100)
    heard = features(prompt, None)
    assert heard is not None
    assert list(dict.fromkeys(heard.argmax(axis=1).tolist())) == [4, 7]
    np.testing.assert_array_equal(heard, original(torch.from_numpy(stems[None]), 44100))
    features(prompt, None)
    features(prompt, 18.0)
    assert len(given) == 1 and given[0].rate == 44100  # separated once
