from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.config import build, compose
from evalkit.encoders import muq, songeval
from evalkit.encoders.songeval import AXES, SongEval
from evalkit.errors import EvalkitError
from evalkit.metrics.songeval import SongRating
from evalkit.types import Features
from tests import parity
from tests.parity import make_muq_fixtures, make_songeval_fixtures


@pytest.fixture
def small(monkeypatch):
    """SongEval on the small MuQ, whose states are as wide as the network's that reads them."""
    settings = make_muq_fixtures.SMALL | {"encoder_dim": 1024, "conv_dim": 4}
    settings["w2v2_config"] = settings["w2v2_config"] | {"intermediate_size": 16}
    monkeypatch.setattr(muq, "SETTINGS", settings)
    return SongEval(parity.random_asset("SongEval weights"), parity.random_asset("MuQ weights"))


def test_each_clip_has_five_ratings_of_its_own(small):
    encode = small.load(parity.cache(), "cpu")
    sounds = [parity.noise(24000, 1), parity.sine(24000, 0.7), parity.silence(24000, 0.3), parity.noise(24000, 0.04)]
    clips = [Audio(samples[None], 24000) for samples in sounds]
    ratings = encode(clips)
    assert [x.shape for x in ratings] == [(1, 5)] * 3 + [(0, 5)]
    assert all(x.dtype == np.float32 and ((x > 1) & (x < 5)).all() for x in ratings)
    assert min(np.abs(a - b).max() for a, b in itertools.pairwise(ratings[:3])) > 0.01
    for one, other in zip(ratings, encode(clips[::-1])[::-1], strict=True):
        np.testing.assert_array_equal(one, other)
    features = Features(tuple("abcd"), tuple(ratings))
    for i, axis in enumerate(AXES):
        measured = SongRating(small, axis)(features, None)
        assert measured.n == 3 and "d" not in measured.per_clip
        assert measured.value == pytest.approx(np.mean([x[0, i] for x in ratings[:3]]))


def test_a_file_that_is_not_the_networks_is_refused(tmp_path):
    path = make_songeval_fixtures.write_weights(tmp_path / "songeval.safetensors")
    state = load_file(path)
    for changed, problem in (
        ({k: v for k, v in state.items() if k != "ffd.0.bias"}, "1 missing"),
        (state | {"judges.weight": torch.ones(1)}, "1 unexpected"),
        (state | {"fc.weight": torch.ones(7, 2048)}, "1 of another shape"),
    ):
        save_file(changed, path)
        with pytest.raises(EvalkitError, match=f"SongEval weights: .*{problem}"):
            songeval.network_of(Asset("SongEval weights", path=str(path)), parity.cache())


def test_the_yaml_sets_one_encoder_for_all_ratings_and_the_muq_of_the_others():
    options = ["model=synth", "prompts=demo", "metric=[songeval,fad_muq]"]
    path = "metric.songeval_coherence.encoder.weights.path=/elsewhere"
    built = {str(name): build(node) for name, node in compose([*options, path]).metric.items()}
    assert [name for name in built if name.startswith("songeval")] == [f"songeval_{axis}" for axis in AXES]
    encoder = built["songeval_clarity"].encoder
    assert all(built[f"songeval_{axis}"].encoder == encoder for axis in AXES)
    assert encoder.weights.path == "/elsewhere" and encoder.hears.level == "stored"
    assert encoder.muq == built["fad_muq"].encoder.weights
    assert not encoder.random and SongEval(encoder.weights, parity.random_asset("MuQ weights")).random
    node = OmegaConf.select(compose(options).metric, "songeval_clarity")
    with pytest.raises(EvalkitError, match="axis of SongEval 'clearness'"):
        SongRating(build(node).encoder, "clearness")
