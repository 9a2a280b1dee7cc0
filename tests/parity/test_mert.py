"""MERT's hidden states against its own code, from recorded values, and against transformers' HuBERT and processor."""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit.assets import Asset
from evalkit.encoders import mert
from evalkit.encoders.mert import MERT, RATE, SIZES, network_of
from tests import music, parity
from tests.parity import make_mert_fixtures as recorded

SLOW = pytest.mark.slow
ORIGINAL = "MERT's own code in transformers 4.46.3"


@pytest.fixture(scope="module")
def arrays():
    return np.load(recorded.FIXTURES / "mert.npz")


@pytest.fixture(scope="module")
def folder() -> Path:
    """Seeded weights as the hub has them."""
    place = parity.folder() / "mert" / "MERT-v1-95M"
    return place if place.exists() else recorded.published("MERT-v1-95M", place)


@pytest.fixture(scope="module")
def original(folder):
    """transformers' own network and processor from the same files: clips to hidden states (clips, frames, 768)."""
    import transformers

    network = transformers.HubertModel.from_pretrained(folder).eval()
    processor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)

    def states(*clips: np.ndarray) -> torch.Tensor:
        inputs = processor(list(clips), sampling_rate=RATE, return_tensors="pt", padding=True)
        with torch.inference_mode():
            return network(**inputs).last_hidden_state

    return states


def test_the_clips_are_those_that_the_original_heard(arrays):
    """Else the values below would say nothing: then make_mert_fixtures.py has to run again."""
    np.testing.assert_allclose(recorded.heard(), arrays["music"], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        ("MERT-v1-95M", 12),
        *(pytest.param("MERT-v1-95M", layer, marks=SLOW) for layer in (0, 1, 6, 11)),
        *(pytest.param("MERT-v1-330M", layer, marks=SLOW) for layer in (0, 12, 23, 24)),
    ],
)
def test_hidden_states_are_those_of_mert_s_own_code(arrays, model, layer):
    weights = parity.random_asset("MERT weights")
    if layer in (12, 24):
        whole = network_of(weights, parity.cache(), model, SIZES[model]["num_hidden_layers"])[0]
        np.testing.assert_allclose(recorded.fingerprint(whole), arrays[model], rtol=1e-6, atol=1e-9)
    clips = recorded.clips()
    states = MERT(weights, model=model, layer=layer, pool="frames").load(parity.cache(), "cpu")(list(clips.values()))
    assert [len(one) for one in states] == [37, 37, 37, 22, 1]
    for (name, _), one in zip(clips.items(), states, strict=True):
        assert one.dtype == np.float32
        error = parity.difference(recorded.kept(one), arrays[f"{model}/{layer}/{name}"])
        parity.within(f"{model.replace('-v1', '')}: hidden states", ORIGINAL, f"layer {layer}, {name}", error, 1e-4)


@SLOW
def test_published_files_give_what_transformers_makes_of_them(folder, original):
    clips = {
        **music.sounds(RATE, 1.1, "hot", "pauses"),
        "noise": parity.noise(RATE, 0.6, level=0.01),
        "silence": parity.silence(RATE, 0.2),
    }
    weights = Asset(name="MERT weights", path=str(folder))
    ours = MERT(weights, pool="frames").load(parity.cache(), "cpu")(list(clips.values()))
    for (name, clip), states in zip(clips.items(), ours, strict=True):
        error = parity.difference(states, original(clip)[0].numpy())
        what = "transformers 5's HubertModel and Wav2Vec2FeatureExtractor"
        parity.within("MERT-95M, from files: hidden states", what, name, error, 1e-4)
    means = np.stack([states.mean(0) for states in ours])
    assert min(np.abs(a - b).max() for i, a in enumerate(means) for b in means[:i]) > 0.3  # they tell sounds apart


@SLOW
def test_a_clip_s_states_depend_on_no_other_clip(folder, original):
    """mad-metric pads the clips of a batch to the longest, and the first normalisation is over the padding too."""
    short, long = parity.noise(RATE, 0.3), parity.sine(RATE, 0.9, 300)
    (alone,) = original(short).numpy()
    beside = original(short, long)[0].numpy()[: len(alone)]
    assert parity.difference(beside, alone) > 0.02
    encode = MERT(Asset(name="MERT weights", path=str(folder)), pool="max").load(parity.cache(), "cpu")
    ours = encode([short, long, short])
    error = max(parity.difference(ours[i], alone.max(axis=0)[None]) for i in (0, 2))
    parity.within("MERT-95M: maximum over time", "mad-metric 0.0.6's steps, one by one", "beside others", error, 1e-4)


@pytest.mark.parametrize("samples", [23676, 24000, 24079, 24240, 36000, 47999, 123456, 240000])
def test_means_over_seconds_are_those_of_kadtk(samples, monkeypatch):
    """MERT's own pooling, by its own rate, of states that are made up: a whole network would take seconds for each."""
    states = torch.randn((samples - 400) // 320 + 1, 8, generator=torch.Generator().manual_seed(samples))
    stride = int(states.shape[0] / (samples / RATE / 1))  # postprocess_resoultion
    theirs = states.unfold(0, stride, stride).mean(-1).numpy()

    class Given(torch.nn.Module):
        def forward(self, batch):
            assert batch.shape == (1, samples)
            return types.SimpleNamespace(last_hidden_state=states[None])

    monkeypatch.setattr(mert, "network_of", lambda *_: (Given(), True))
    encode = MERT(parity.random_asset("MERT weights"), pool="seconds").load(parity.cache(), "cpu")
    (ours,) = encode([np.zeros(samples, np.float32)])
    assert len(ours) == len(theirs)
    error = parity.difference(ours, theirs)
    parity.within("MERT: means over seconds", "kadtk's postprocess_resoultion, restated", str(samples), error, 1e-5)
