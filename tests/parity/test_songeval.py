"""SongEval's ratings against its own code, from the values that it gave for the same songs.

`make_songeval_fixtures.py` has recorded them; it makes the songs and the weights for both.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from evalkit import audio
from evalkit.assets import Asset
from evalkit.encoders.songeval import AXES, SongEval, network_of
from evalkit.features.conditioning import condition, heard
from evalkit.metrics.songeval import SongRating
from evalkit.types import Clip, Features
from tests import parity
from tests.parity import make_songeval_fixtures as recorded
from tests.parity.make_muq_fixtures import FIXTURES, fingerprint

ORIGINAL = f"SongEval {recorded.COMMIT[:7]}"


@pytest.fixture(scope="module")
def arrays():
    return np.load(FIXTURES / "songeval.npz")


@pytest.fixture(scope="module")
def weights() -> Asset:
    return Asset("SongEval weights", path=str(recorded.write_weights(parity.folder() / "songeval.safetensors")))


def test_the_music_is_what_the_original_heard(arrays):
    """Else its values would say nothing: then make_songeval_fixtures.py has to run again."""
    np.testing.assert_allclose(recorded.heard(), arrays["music"], rtol=1e-4, atol=1e-7)


def test_the_weights_are_those_that_the_original_had(arrays, weights):
    """Else its values would say nothing."""
    np.testing.assert_allclose(fingerprint(weights.path), arrays["weights"], rtol=1e-6, atol=1e-9)


def test_ratings_of_hidden_states_are_the_originals(arrays, weights):
    network = network_of(weights, parity.cache()).eval()
    for name, states in recorded.states().items():
        with torch.inference_mode():
            (found,) = network(torch.from_numpy(states)[None]).numpy()
        expected = arrays[f"states/{name}"]
        assert ((expected > 1) & (expected < 5)).all() and expected.std() > 0.1
        parity.within(
            "SongEval: ratings of hidden states", ORIGINAL, name, np.abs(found - expected).max(), 1e-5, "absolute"
        )


@pytest.mark.slow
def test_ratings_of_songs_are_the_originals(arrays, weights, tmp_path):
    versions = json.loads(str(arrays["versions"]))
    by = f"{ORIGINAL} with muq {versions['muq']} and librosa {versions['librosa']}"
    encoder = SongEval(weights, parity.random_asset("MuQ weights"))
    songs = []
    for kind, song in recorded.songs().items():
        path = recorded.write(song, tmp_path / f"{kind}.wav")
        frames, rate, channels = audio.probe(path)
        clip = Clip(kind, path, sha256=kind, frames=frames, sample_rate=rate, channels=channels)
        songs.append(heard(condition(clip, None, None), encoder.hears))
    ratings = encoder.load(parity.cache(), "cpu")(songs)
    expected = np.stack([arrays[f"songs/{kind}"] for kind in recorded.songs()])
    for kind, found, one in zip(recorded.songs(), ratings, expected, strict=True):
        assert found.shape == (1, 5) and found.dtype == np.float32
        parity.within("SongEval: ratings of files", by, kind, np.abs(found - one).max(), 2e-5, "absolute")
    features = Features(tuple(recorded.songs()), tuple(ratings))
    for axis, mean in zip(AXES, expected.mean(0), strict=True):
        error = abs(SongRating(encoder, axis)(features, None).value - mean)
        parity.within("SongEval: mean ratings", by, axis, error, 2e-5, "absolute")
