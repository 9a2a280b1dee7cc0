"""Chromagrams against audiocraft's recipe, put together from torchaudio and librosa."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest
import torch

from evalkit import compat
from evalkit.encoders.chroma import Chroma
from tests import music, parity

RATE = 32000


@pytest.fixture(scope="module")
def spectrogram():
    compat.prepare()
    import torchaudio

    return torchaudio.transforms.Spectrogram(
        n_fft=16384, win_length=16384, hop_length=4096, power=2, center=True, pad=0, normalized=True
    )


def published_chroma(clip: np.ndarray, spectrogram, argmax: bool) -> np.ndarray:
    """Inf-normalised pitch classes (frames, 12), as audiocraft's metric keeps them for one clip."""
    wav = torch.from_numpy(clip)[None]
    if wav.shape[-1] < 16384:
        missing = 16384 - wav.shape[-1]
        wav = torch.cat([torch.zeros(1, missing // 2), wav, torch.zeros(1, missing // 2 + missing % 2)], dim=-1)
    filters = torch.from_numpy(librosa.filters.chroma(sr=RATE, n_fft=16384, tuning=0, n_chroma=12))
    chroma = torch.einsum("cf,bft->btc", filters, spectrogram(wav))[0]
    chroma = chroma / chroma.abs().amax(-1, keepdim=True).clamp(min=1e-6)
    if argmax:
        chroma = torch.zeros_like(chroma).scatter_(-1, chroma.argmax(-1, keepdim=True), 1.0)
    return chroma[: math.ceil(len(clip) / 4096)].numpy()


@pytest.fixture(scope="module")
def clips() -> dict[str, np.ndarray]:
    return {
        **{f"{name}, 4.2 s": clip for name, clip in music.sounds(RATE, 4.2).items()},
        **{f"{name}, 1 s": clip for name, clip in music.sounds(RATE, 1).items()},
        **music.sounds(RATE, 30, "plain"),
        **music.sounds(RATE, 4.2, "bach.mp3", "bolero_ravel.mp3"),
        **music.sounds(RATE, 3, "electronic.mp3"),
        "noise": parity.noise(RATE, 2),
        "silence": parity.silence(RATE, 1),
        "whole hops": parity.noise(RATE, 1)[: 4096 * 6],
        "one window": parity.noise(RATE, 1)[:16384],
        "short": parity.noise(RATE, 1)[:9001],
        "shorter than a hop": parity.sine(RATE, 0.1),
        "one sample": np.ones(1, np.float32),
    }


@pytest.mark.parametrize("argmax", [True, False])
def test_chroma_is_the_original_s(clips, spectrogram, argmax):
    ours = Chroma(argmax=argmax).load(parity.cache(), "cpu")(list(clips.values()))
    for (name, clip), chroma in zip(clips.items(), ours, strict=True):
        expected = published_chroma(clip, spectrogram, argmax)
        assert chroma.dtype == np.float32
        assert chroma.shape == (math.ceil(len(clip) / 4096), 12), name
        stage = "Chroma: dominant pitch class" if argmax else "Chroma: chromagram"
        error = np.abs(chroma - expected).max()
        parity.within(stage, "torchaudio and librosa, as audiocraft calls them", name, error, 0 if argmax else 1e-5)


def test_a_tone_has_its_pitch_class():
    (chroma,) = Chroma().load(parity.cache(), "cpu")([parity.sine(RATE, 2, hertz=440)])
    assert (chroma.argmax(1) == 9).all()  # A, counted from C
