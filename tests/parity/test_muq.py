"""MuQ against its own package: front end and convolutions run beside ours, hidden states as transformers 4 gave them.

`make_muq_fixtures.py` has recorded the hidden states; it makes the clips and the weights for both.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch

from evalkit import compat
from evalkit.assets import Asset
from evalkit.encoders.muq import SETTINGS, MuQ, network_of
from evalkit.encoders.muq_network import LogMel, Subsampling
from evalkit.metrics.fad import FAD
from evalkit.metrics.kad import KAD
from evalkit.precision import fixed_precision
from evalkit.types import Features
from tests import music, parity
from tests.parity import make_muq_fixtures as recorded

RATE = 24000
PACKAGE = "muq 0.1.0"


@pytest.fixture(scope="module")
def arrays():
    return np.load(recorded.FIXTURES / "muq.npz")


@pytest.fixture(scope="module")
def original(arrays) -> str:
    versions = json.loads(str(arrays["versions"]))
    return f"muq {versions['muq']} with transformers {versions['transformers']}"


@pytest.fixture(scope="module")
def small() -> Asset:
    folder = recorded.write_checkpoint(parity.folder() / "muq", recorded.SMALL)
    return Asset("MuQ weights", path=str(folder))


def test_the_music_is_what_the_original_heard(arrays):
    """Else its values would say nothing: then make_muq_fixtures.py has to run again."""
    np.testing.assert_allclose(recorded.heard(), arrays["music"], rtol=1e-4, atol=1e-7)


def test_the_weights_are_those_that_the_original_had(arrays, small):
    """Else its values would say nothing."""
    found = recorded.fingerprint(Path(small.path) / "model.safetensors")
    np.testing.assert_allclose(found, arrays["small/weights"], rtol=1e-6, atol=1e-9)


def sounds() -> dict[str, np.ndarray]:
    made = {"noise": parity.noise(RATE, 0.5), "tone": parity.sine(RATE, 0.21), "silence": parity.silence(RATE, 0.3)}
    return music.sounds(RATE, 1.1) | made


@pytest.fixture(scope="module")
def package():
    compat.prepare()
    with compat.quiet():
        from muq.muq.modules import conv, features
    return features.MelSTFT(n_fft=2048, hop_length=240, is_db=True), conv.Conv2dSubsampling


@fixed_precision()
def test_log_mel_bands_are_the_packages(package):
    bands, (mean, spread) = LogMel(SETTINGS), SETTINGS["stat"].values()
    for name, clip in sounds().items():
        samples = torch.from_numpy(clip)[None]
        theirs = (package[0](samples)[..., :-1] - mean) / spread
        parity.within("MuQ: log-mel bands", PACKAGE, name, parity.difference(bands(samples).numpy(), theirs.numpy()), 0)


@fixed_precision()
def test_convolutions_are_the_packages(package):
    ours, theirs = Subsampling(128, 16, 64).eval(), package[1](1, 16, 64, strides=[2, 2], n_bands=128).eval()
    torch.manual_seed(parity.SEED)
    with torch.inference_mode():
        for parameter in theirs.parameters():
            parameter.normal_(0, 0.1)
        for buffer in theirs.buffers():
            buffer.uniform_(0.5, 2) if buffer.is_floating_point() else buffer.zero_()
        ours.load_state_dict(theirs.state_dict(), strict=True)
        for name, clip in sounds().items():
            bands = LogMel(SETTINGS)(torch.from_numpy(clip)[None])
            error = parity.difference(ours(bands).numpy(), theirs(bands).numpy())
            parity.within("MuQ: convolutions", PACKAGE, name, error, 1e-5)


@pytest.mark.parametrize("layer", recorded.STATES)
def test_hidden_states_are_the_originals(arrays, original, small, layer):
    encode = MuQ(small, layer=layer, pool="frames").load(parity.cache(), "cpu")
    for (name, clip), found in zip(recorded.clips().items(), encode(list(recorded.clips().values())), strict=True):
        assert found.dtype == np.float32 and found.shape == (-(-(len(clip) // 240) // 4), 32)
        error = parity.difference(found, arrays[f"small/{name}/{layer}"])
        parity.within("MuQ, in small: hidden states", original, f"{name}, {layer}", error, 1e-5)


@pytest.mark.slow
def test_hidden_states_of_the_published_size_are_the_originals(arrays, original):
    for layer in recorded.STATES:
        bands, network = network_of(parity.random_asset("MuQ weights"), parity.cache(), layer)
        with torch.inference_mode():
            for name, clip in recorded.whole().items():
                (states,) = network.eval()(bands(torch.from_numpy(clip)[None])).numpy()
                error = parity.difference(recorded.kept(states), arrays[f"published/{name}/{layer}"])
                parity.within("MuQ: hidden states", original, f"{name}, {layer}", error, 1e-5)


def test_distances_are_those_of_the_originals_states(arrays, original, small):
    """FAD by SciPy's square root, and KAD by its definition, of all frames."""
    clips = recorded.clips()
    halves = list(clips)[:4], list(clips)[4:]
    encoder = MuQ(small, pool="frames")
    encode = encoder.load(parity.cache(), "cpu")
    ours = [Features(tuple(half), tuple(encode([clips[name] for name in half]))) for half in halves]
    x, y = (np.concatenate([arrays[f"small/{name}/12"] for name in half]).astype(np.float64) for half in halves)
    (mean, covariance), (other, its) = ((part.mean(0), np.cov(part.T)) for part in (x, y))
    root = scipy.linalg.sqrtm(covariance @ its)
    expected = ((mean - other) ** 2).sum() + np.trace(covariance + its - 2 * root.real)
    value = FAD(encoder)(*ours).value
    parity.within("FAD on MuQ, in small", f"{original}, scipy's sqrtm", "clips", abs(value / expected - 1), 1e-4)

    def squared(a, b):
        return ((a[:, None] - b[None]) ** 2).sum(-1)

    width = np.median(np.sqrt(squared(y, y))[np.triu_indices(len(y), 1)])
    near = [np.exp(-squared(a, b) / (2 * width**2)) for a, b in ((x, x), (y, y), (x, y))]
    within = [(kernel.sum() - len(kernel)) / (len(kernel) * (len(kernel) - 1)) for kernel in near[:2]]
    expected = 100 * (sum(within) - 2 * near[2].mean())
    value = KAD(encoder)(*ours).value
    parity.within("KAD on MuQ, in small", f"{original}, its definition", "clips", abs(value / expected - 1), 1e-4)


def test_many_clips_at_once_equal_one_by_one(small):
    encode = MuQ(small, pool="frames").load(parity.cache(), "cpu")
    clips = list(recorded.clips().values())
    for clip, found, other in zip(clips, encode(clips), encode(clips[::-1])[::-1], strict=True):
        np.testing.assert_array_equal(found, encode([clip])[0])
        np.testing.assert_array_equal(found, other)
