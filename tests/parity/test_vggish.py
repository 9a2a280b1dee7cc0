"""VGGish's front end against the published algorithm run window by window, its network against torchvggish."""

from __future__ import annotations

import math
from unittest.mock import patch

import numpy as np
import pytest
import torch

from evalkit.assets import Asset
from evalkit.encoders.vggish import VGGish, log_mel
from tests import music, parity

ENCODER = VGGish(parity.random_asset("VGGish weights"))


def audiocraft_wav(clip: np.ndarray) -> np.ndarray:
    """The int16 samples of the wav that audiocraft's audio_write(strategy="peak") leaves, silence aside."""
    wav = torch.from_numpy(clip)
    if wav.abs().max() > 0:
        wav = wav * (10 ** (-1 / 20) / wav.abs().max())
    # ffmpeg scales float32 by 2**15, rounds half to even and clips
    return np.clip(np.rint(wav.numpy() * np.float32(32768)), -32768, 32767).astype(np.int16)


def published_features(int16: np.ndarray) -> np.ndarray:
    """Google's front end as published, each window of one second on its own, in plain float64 loops."""
    x = int16.astype(np.float64)
    x = x / max(0.1, np.amax(x))
    window = np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)])

    def mel(f: float) -> float:
        return 1127.0 * math.log(1 + f / 700.0)

    edges = np.linspace(mel(125.0), mel(7500.0), 66)
    matrix = np.zeros((257, 64))
    for k in range(1, 257):
        m = mel(k * 8000.0 / 256)
        for band in range(64):
            lower, centre, upper = edges[band : band + 3]
            matrix[k, band] = max(0.0, min((m - lower) / (centre - lower), (upper - m) / (upper - centre)))
    examples = []
    for start in range(0, len(x) - 16000 + 1, 8000):
        part = x[start : start + 16000]
        frames = np.stack([part[i : i + 400] * window for i in range(0, 16000 - 400 + 1, 160)])
        assert len(frames) == 98
        examples.append(np.log(np.abs(np.fft.fft(frames, 512)[:, :257]) @ matrix + 0.01)[:96])
    return np.stack(examples) if examples else np.empty((0, 96, 64))


@pytest.fixture(scope="module")
def clips() -> dict[str, np.ndarray]:
    ramp = parity.noise(16000, 3.0) * np.linspace(0, 1, 48000, dtype=np.float32)
    return {
        **music.sounds(16000, 2.3),
        **music.sounds(16000, 4.3, "bach.mp3", "electro_1.mp3", "salience_1.wav"),
        "noise": parity.noise(16000, 2.0),
        "faint noise": parity.noise(16000, 1.5, level=1e-4),
        "silence": parity.silence(16000, 2.0),
        "lopsided": -np.abs(ramp),  # no positive sample: the floor of 0.1 divides
        "one window": parity.sine(16000, 1.0),
        "just short of two": parity.noise(16000, 1.5)[:-1],
        "short": parity.noise(16000, 1.0)[:-1],
    }


def test_log_mel_is_the_published_one(clips):
    original = "an independent implementation, window by window"
    for name, clip in clips.items():
        expected = published_features(audiocraft_wav(clip))
        spectrogram = log_mel(ENCODER.levelled(clip)) if len(clip) >= 16000 else np.empty((0, 64))
        ours = [spectrogram[50 * k : 50 * k + 96] for k in range(len(expected))]
        error = np.abs(np.reshape(ours, (-1, 96, 64)) - expected).max(initial=0.0)
        parity.within("VGGish: log-mel, float64", original, name, error, 1e-9, "absolute")
        patches = ENCODER.patches(clip)
        assert patches.dtype == np.float32
        assert patches.shape == expected.shape, name
        error = np.abs(patches - expected).max(initial=0.0)
        parity.within("VGGish: log-mel, float32", original, name, error, 2e-6, "absolute")


def test_quantisation_is_bit_exact(clips):
    for name, clip in clips.items():
        expected = audiocraft_wav(clip).astype(np.float64)
        error = np.abs(ENCODER.levelled(clip) - expected / max(0.1, expected.max())).max()
        parity.within("VGGish: level and 16 bits", "torch's and ffmpeg's arithmetic", name, error, 0)


@pytest.mark.parametrize("name", ["plain", "bursts", "pauses", "off centre", "noise", "silence", "faint noise"])
def test_log_mel_is_torchvggish_s(clips, name):
    """torchvggish's front end is what frechet-audio-distance computes with."""
    from torchvggish import vggish_input

    samples = ENCODER.levelled(clips[name])
    theirs = vggish_input.waveform_to_examples(samples, 16000, return_tensor=False)
    ours = log_mel(samples)
    ours = ours[: len(ours) // 96 * 96].reshape(-1, 96, 64)
    error = np.abs(ours - theirs).max()
    parity.within("VGGish: log-mel, float64", "torchvggish 0.2's waveform_to_examples", name, error, 1e-11, "absolute")


@pytest.fixture(scope="module")
def published():
    """Seeded weights in the published file's format, and torchvggish's own network that loaded it."""
    from torchvggish import torchvggish

    path = parity.folder() / "vggish-10086976.pth"
    state = torchvggish.VGG(torchvggish.make_layers(), postprocess=False).state_dict()
    generator = torch.Generator().manual_seed(parity.SEED)
    for value in state.values():
        std = (2 / value[0].numel()) ** 0.5 if value.ndim > 1 else 0.05
        value.copy_(torch.randn(value.shape, generator=generator) * std)
    # the release dates from 2019, before torch.save wrote zip files
    torch.save(state, path, _use_new_zipfile_serialization=False)
    with patch.object(torch.hub, "load_state_dict_from_url", lambda *_, **__: torch.load(path)):
        original = torchvggish.vggish(postprocess=False).eval()
    original.embeddings = original.embeddings[:-1]  # pre-activation
    return path, original


def test_embeddings_are_the_original_network_s_window_by_window(clips, published):
    path, original = published
    encode = VGGish(Asset(name="VGGish weights", path=str(path))).load(parity.cache(), "cpu")
    ours = encode(list(clips.values()))
    for (name, clip), embeddings in zip(clips.items(), ours, strict=True):
        windows = published_features(audiocraft_wav(clip))
        assert embeddings.shape == (len(windows), 128), name
        assert embeddings.dtype == np.float32
        for window, embedding in zip(windows, embeddings, strict=True):
            with torch.inference_mode():
                expected = original(torch.from_numpy(window).float()[None, None])[0].numpy()
            error = parity.difference(embedding, expected)
            parity.within("VGGish: embeddings", "torchvggish 0.2, window by window", name, error, 2e-5)
    assert (np.concatenate(ours) < 0).any()  # there is no ReLU at the end


def test_many_clips_at_once_equal_one_by_one(clips):
    encode = ENCODER.load(parity.cache(), "cpu")
    together = encode(list(clips.values()))
    for name, clip, many in zip(clips, clips.values(), together, strict=True):
        (one,) = encode([clip])
        assert many.shape == one.shape, name
        parity.within("VGGish: many at once", "one by one", name, parity.difference(many, one), 1e-5)
