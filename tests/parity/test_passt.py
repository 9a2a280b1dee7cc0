"""PaSST's probabilities against hear21passt, loaded by its own code and run one segment at a time."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch

from evalkit import compat
from evalkit.assets import Asset
from evalkit.encoders.passt import PaSST, network_of
from tests import music, parity

ORIGINAL = "hear21passt 0.0.26, one by one"


@pytest.fixture(scope="module")
def published():
    """Seeded weights in the release file's layout, and hear21passt's network that loaded that file itself."""
    path = parity.folder() / "passt-s-f128-20sec-p16-s10-ap.474-swa.pt"
    torch.save(network_of(parity.random_asset("PaSST weights"), parity.cache()).net.state_dict(), path)
    compat.prepare()
    with compat.quiet():
        from hear21passt import base20sec
        from hear21passt.models.helpers import vit_helpers

        with patch.object(vit_helpers, "download_cached_file", lambda *_, **__: path):
            original = base20sec.get_basic_model(mode="logits").eval()
    return path, original


@pytest.fixture(scope="module")
def encode(published):
    return PaSST(Asset(name="PaSST weights", path=str(published[0]))).load(parity.cache(), "cpu")


def probabilities(original, segment: np.ndarray) -> np.ndarray:
    """As audiocraft's PasstKLDivergenceMetric: alone in its batch."""
    with torch.inference_mode(), compat.quiet():
        return original(torch.from_numpy(segment)[None]).softmax(-1).numpy()


def compare(published, encode, clips: dict[str, np.ndarray]) -> None:
    for (name, clip), p in zip(clips.items(), encode(list(clips.values())), strict=True):
        assert p.dtype == np.float32
        assert p.shape == (1, 527)
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
        error = parity.difference(p, probabilities(published[1], clip))
        parity.within("PaSST, 20 s: probabilities", ORIGINAL, name, error, 2e-5)


def test_probabilities_are_the_original_s(published, encode):
    compare(published, encode, music.sounds(32000, 0.5))
    compare(published, encode, music.sounds(32000, 3, "hot", "pauses", "bach.mp3", start=3))
    clips = {
        "noise, 1 s": parity.noise(32000, 1),
        "silence, 1 s": parity.silence(32000, 1),
        "tone, 0.2 s": parity.sine(32000, 0.2),
    }
    compare(published, encode, clips)
    (nothing,) = encode([parity.sine(32000, 0.15)])  # too short to count
    assert nothing.shape == (0, 527)


@pytest.mark.slow
def test_probabilities_of_long_clips_are_the_original_s(published, encode):
    compare(published, encode, music.sounds(32000, 7.3, "clipped", "pauses", "very quiet", "off centre", "hiss"))
    compare(published, encode, music.sounds(32000, 10, "plain", "electro_2.mp3"))
    compare(published, encode, music.sounds(32000, 20, "over full scale"))


def test_segments_are_disjoint_and_unpadded(published, encode):
    twenty = PaSST(parity.random_asset("PaSST weights")).segments
    assert [len(s) for s in twenty(np.zeros(32000 * 20 + 4800, np.float32))] == [640000]
    assert [len(s) for s in twenty(np.zeros(32000 * 20 + 4801, np.float32))] == [640000, 4801]
    assert twenty(np.zeros(4800, np.float32)) == []
    encoder = PaSST(parity.random_asset("PaSST weights"), segment=1.0)
    clip = music.sounds(32000, 2.5, "off centre")["off centre"]
    segments = encoder.segments(clip)
    assert [len(s) for s in segments] == [32000, 32000, 16000]
    np.testing.assert_array_equal(np.concatenate(segments), clip)
    short = PaSST(Asset(name="PaSST weights", path=str(published[0])), segment=1.0).load(parity.cache(), "cpu")
    (ours,) = short([clip])
    for segment, p in zip(segments, ours, strict=True):
        error = parity.difference(p[None], probabilities(published[1], segment))
        parity.within("PaSST, 20 s: probabilities", ORIGINAL, f"a segment of {len(segment)}", error, 2e-5)


def test_many_clips_at_once_equal_one_by_one(encode):
    kinds = ("plain", "very quiet", "bursts")
    clips = [parity.noise(32000, 1), parity.sine(32000, 0.5), *music.sounds(32000, 1, *kinds).values()]
    together, reordered = encode(clips), encode(clips[::-1])[::-1]
    for clip, many, other in zip(clips, together, reordered, strict=True):
        (one,) = encode([clip])
        for case, p in (("together", many), ("reordered", other)):
            parity.within("PaSST, 20 s: many at once", "one by one", case, parity.difference(p, one), 1e-5)


def test_random_weights_tell_sounds_apart(encode):
    noise, sine, silence = (
        p[0].astype(np.float64)
        for p in encode([parity.noise(32000, 1), parity.sine(32000, 1), parity.silence(32000, 1)])
    )
    for p, q in ((noise, sine), (noise, silence), (sine, silence)):
        assert (p * np.log(p / q)).sum() > 0.1
