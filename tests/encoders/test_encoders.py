from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from evalkit.assets import Asset, assets_of
from evalkit.config import build, compose
from evalkit.encoders.chroma import Chroma
from evalkit.encoders.clap import CLAPAudio, CLAPText, made_up_tokenizer, state_dict
from evalkit.encoders.encodec import EnCodec
from evalkit.encoders.panns import PANNs
from evalkit.encoders.passt import PaSST
from evalkit.encoders.vggish import VGGish, network_of
from evalkit.errors import EvalkitError
from evalkit.store.cache import Cache
from evalkit.store.digests import canonical
from evalkit.store.identity import identity
from evalkit.weights import fill
from tests import parity

ENCODERS: dict[str, Any] = {
    "vggish": VGGish(parity.random_asset("VGGish weights")),
    "passt": PaSST(parity.random_asset("PaSST weights")),
    "clap_audio": CLAPAudio(parity.random_asset("CLAP weights")),
    "clap_text": CLAPText(parity.random_asset("CLAP weights"), parity.random_asset("RoBERTa tokenizer")),
    "chroma": Chroma(),
}
DIMENSIONS = {"vggish": 128, "passt": 527, "clap_audio": 512, "clap_text": 512, "chroma": 12}


def inputs(name: str) -> list:
    encoder = ENCODERS[name]
    if encoder.reads == "text":
        return ["a slow song", "fast techno with drums", "a slow song"]
    rate = encoder.sample_rate
    return [parity.noise(rate, 1.1), parity.sine(rate, 1.6), parity.noise(rate, 1.1)]


PLACES = {"vggish": "fad.encoder", "passt": "kld.encoder", "chroma": "chroma.encoder"}
PLACES |= {"clap_audio": "clap_score.encoder", "clap_text": "clap_score.text_encoder"}


def configured(name: str, random_weights: int | None, *options: str):
    seed = "null" if random_weights is None else random_weights
    config = compose(["model=synth", "prompts=demo", f"random_weights={seed}", *options])
    return build(OmegaConf.select(config.metric, PLACES[name]))


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_keep_the_contract(name):
    states = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    encode = ENCODERS[name].load(parity.cache(), "cpu")
    given = inputs(name)
    features = encode(given)
    assert len(features) == len(given)
    for value in features:
        assert isinstance(value, np.ndarray)
        assert value.dtype == np.float32
        assert value.ndim == 2
        assert value.shape[1] == DIMENSIONS[name]
        assert np.isfinite(value).all()
    np.testing.assert_allclose(features[0], features[2], atol=1e-5)
    shared = min(len(features[0]), len(features[1]))
    assert shared > 0
    assert np.abs(features[0][:shared] - features[1][:shared]).max() > 1e-3
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state(legacy=False)["state"]["key"] == states[1]).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_published_weights_are_described(name):
    encoder = configured(name, None)
    assert type(encoder) is type(ENCODERS[name])
    for asset in assets_of(encoder):
        assert not asset.random
        assert asset.licence != "unknown"
        assert asset.size
        with pytest.raises(EvalkitError, match="evalkit fetch"):
            asset.locate(Cache(parity.folder() / "empty"))
    for asset in assets_of(configured(name, 3)):
        assert asset.random_seed == 3


@pytest.mark.parametrize("name", ENCODERS)
def test_the_protocol_s_switches_are_the_defaults(name):
    ours, theirs = configured(name, parity.SEED), ENCODERS[name]
    cache = parity.cache()
    assert canonical(identity(ours, cache)) == canonical(identity(theirs, cache))


def test_both_clap_encoders_name_one_file():
    option = "metric.clap_score.encoder.weights.path=/elsewhere"
    for options in ([], [option]):
        audio, text = (configured(name, None, *options) for name in ("clap_audio", "clap_text"))
        assert audio.weights == text.weights
    assert text.weights.path == "/elsewhere"


def test_a_seed_gives_the_same_weights_and_another_seed_others():
    clip = parity.noise(16000, 1)
    once, again, other = (
        VGGish(parity.random_asset("VGGish weights", seed)).load(parity.cache(), "cpu")([clip])[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).max() > 0.1


@pytest.mark.parametrize(("samples", "windows"), [(0, 0), (15999, 0), (16000, 1), (23999, 1), (24000, 2), (160000, 19)])
def test_vggish_windows(samples, windows):
    clip = parity.noise(16000, 10)[:samples]
    assert ENCODERS["vggish"].patches(clip).shape == (windows, 96, 64)


def test_vggish_switches():
    weights = parity.random_asset("VGGish weights")
    clip = parity.noise(16000, 3)
    plain = VGGish(weights, window=0.96, hop=0.96, peak_headroom=None, pcm16=None, level=None)
    np.testing.assert_allclose(plain.levelled(clip), clip, atol=1e-7)
    assert plain.patches(clip).shape == (3, 96, 64)
    assert np.abs(VGGish(weights, peak_headroom=None, pcm16=None).levelled(clip)).max() >= 1
    for wrong in ({"window": 0.9}, {"hop": 0.0}, {"hop": 0.005}, {"level": "loud"}, {"sample_rate": 44100}):
        with pytest.raises(EvalkitError):
            VGGish(weights, **wrong)


def test_vggish_does_not_care_about_level():
    clip = np.round(parity.noise(16000, 1) * 1000) / 4096
    encoder = ENCODERS["vggish"]
    np.testing.assert_allclose(encoder.patches(clip), encoder.patches(clip * 0.25), atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PaSST(parity.random_asset(""), segment=30.0),
        lambda: PaSST(parity.random_asset(""), shortest=0.1),
        lambda: PaSST(parity.random_asset(""), sample_rate=16000),
        lambda: CLAPAudio(parity.random_asset(""), seconds=20.0),
        lambda: CLAPAudio(parity.random_asset(""), sample_rate=44100),
        lambda: EnCodec(parity.random_asset(""), sample_rate=32000),
    ],
)
def test_what_a_network_cannot_read_is_refused(make):
    with pytest.raises(EvalkitError):
        make()


@pytest.mark.parametrize("kind", [VGGish, PaSST, CLAPAudio, PANNs, EnCodec])
def test_one_channel_is_heard_by_a_network_that_reads_one(kind):
    with pytest.raises(EvalkitError, match=r"unknown channels 'stereo'.*available: first, mean, side"):
        kind(parity.random_asset(""), channels="stereo")
    with pytest.raises(EvalkitError, match="unknown resampler 'sinc'"):
        kind(parity.random_asset(""), resampler="sinc")
    assert kind(parity.random_asset(""), channels="side", remove_dc=True).hears.channels == "side"


def error_of(path: Path) -> str:
    with pytest.raises(EvalkitError) as caught:
        network_of(Asset(name="VGGish weights", path=str(path)), parity.cache())
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_wrong_checkpoints_are_one_line(tmp_path):
    path = tmp_path / "vggish.pth"
    assert "does not exist" in error_of(path)
    path.write_bytes(b"")
    assert "cannot be read as a checkpoint" in error_of(path)
    torch.save([1, 2], path)
    assert "holds no state dict" in error_of(path)
    torch.save({"features.0.weight": torch.zeros(2), "state": torch.zeros(1)}, path)
    message = error_of(path)
    assert "missing (embeddings.0.bias, embeddings.0.weight, embeddings.2.bias, …)" in message
    assert "1 unexpected (state)" in message
    assert "1 of another shape (features.0.weight)" in message


def test_fill_is_strict():
    layer = torch.nn.Linear(2, 3)
    state = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
    fill(layer, state, "layer", Path("file"))
    assert torch.equal(layer.weight, state["weight"])
    with pytest.raises(EvalkitError, match=r"layer: 'file' does not fit the network: 1 missing \(bias\)$"):
        fill(layer, {"weight": state["weight"]}, "layer", Path("file"))


def test_clap_checkpoints_with_and_without_prefix():
    tensor = torch.ones(1)
    plain = {"logit_scale_a": tensor, "text_branch.embeddings.position_ids": tensor}
    assert state_dict(plain) == {"logit_scale_a": tensor}
    assert state_dict({"state_dict": {f"module.{k}": v for k, v in plain.items()}}) == {"logit_scale_a": tensor}
    assert state_dict([1]) == [1]


def test_the_made_up_tokenizer_is_made_once_and_the_same_everywhere(tmp_path):
    first, second = (made_up_tokenizer(Cache(tmp_path / name)) for name in ("a", "b"))
    stamps = {p.name: p.stat().st_mtime_ns for p in first.iterdir()}
    assert set(stamps) == {"vocab.json", "merges.txt"}
    for name in stamps:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    (first / "vocab.json").unlink()  # as if killed between the two
    made_up_tokenizer(Cache(tmp_path / "a"))
    assert (first / "vocab.json").read_bytes() == (second / "vocab.json").read_bytes()
