from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evalkit.assets import Asset
from evalkit.encoders import muq_network
from evalkit.encoders.muq import MuQ
from evalkit.errors import EvalkitError
from evalkit.weights import seeded
from tests import parity
from tests.parity import make_muq_fixtures as made

RATE = 24000


@pytest.fixture(scope="module")
def published() -> Path:
    return made.write_checkpoint(parity.folder() / "muq in its layout", made.SMALL)


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "muq"))


def features(folder: Path, clips: list[np.ndarray], **options) -> list[np.ndarray]:
    return MuQ(Asset("MuQ weights", path=str(folder)), **options).load(parity.cache(), "cpu")(clips)


def test_frames_seconds_and_maxima(published):
    clip = parity.noise(RATE, 2.3)
    (frames,), (seconds,), (most,) = (features(published, [clip], pool=pool) for pool in ("frames", "seconds", "max"))
    assert (frames.shape, seconds.shape, most.shape) == ((58, 32), (2, 32), (1, 32))
    np.testing.assert_allclose(seconds, [frames[:25].mean(0), frames[25:50].mean(0)], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(most[0], frames.max(0))
    # a second has 25 frames also where a clip is a sample longer than whole seconds, as resampling may leave it
    (frames,), (seconds,) = (features(published, [clip[: 2 * RATE + 1]], pool=pool) for pool in ("frames", "seconds"))
    np.testing.assert_allclose(seconds, [frames[:25].mean(0), frames[25:50].mean(0)], rtol=1e-5, atol=1e-6)


def test_a_song_is_convolved_part_by_part_as_if_it_were_whole(monkeypatch):
    with seeded(0):
        network = muq_network.Subsampling(16, 4, 8).eval()
    for frames in (96, 97, 100, 103, 107, 120, 193):
        bands = torch.randn(2, 16, frames, generator=torch.Generator().manual_seed(frames))
        with torch.inference_mode():
            whole = network(bands)
            with monkeypatch.context() as patch:
                patch.setattr(muq_network, "PART", 48)
                np.testing.assert_allclose(network(bands), whole, rtol=1e-5, atol=1e-6)
                patch.setattr(muq_network, "EDGE", 4)
                assert not np.allclose(network(bands), whole, rtol=1e-3, atol=1e-3)


def test_clips_too_short_for_a_frame_or_a_second_have_none(published):
    clips = [np.zeros(0, np.float32), parity.noise(RATE, 1024 / RATE), parity.noise(RATE, 1025 / RATE)]
    clips.append(parity.noise(RATE, 1.0))
    assert [len(x) for x in features(published, clips, pool="frames")] == [0, 0, 1, 25]
    assert [x.shape for x in features(published, clips)] == [(0, 32), (0, 32), (0, 32), (1, 32)]


def test_layers_are_those_of_one_network_however_many_are_loaded(published):
    clip = parity.noise(RATE, 0.5)
    found = [features(published, [clip], layer=layer, pool="frames")[0] for layer in (0, 1, 11, 12)]
    for one, other in itertools.pairwise(found):
        assert np.abs(one - other).max() > 0.1
    np.testing.assert_allclose(found[-1].std(1), 1, atol=0.01)  # what all layers give is normalised


def test_either_file_of_weights_is_read_and_training_s_parts_are_not(folder):
    clip = parity.noise(RATE, 0.5)
    (expected,) = features(folder, [clip], pool="frames")
    state = load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    np.testing.assert_array_equal(features(folder, [clip], pool="frames")[0], expected)
    kept = {k: v for k, v in state.items() if ".rvq." not in k and "cls_token" not in k and ".linear." not in k}
    kept |= {k: v for k, v in state.items() if ".conv.linear." in k}
    save_file(kept, folder / "model.safetensors")
    np.testing.assert_array_equal(features(folder, [clip], pool="frames")[0], expected)


def test_another_network_or_half_of_one_is_refused_in_one_line(folder):
    state = load_file(folder / "model.safetensors")
    settings = json.loads((folder / "config.json").read_text("utf-8"))

    def refused(because: str, **options) -> None:
        with pytest.raises(EvalkitError, match=because) as raised:
            features(folder, [], **options)
        assert "\n" not in str(raised.value) and "MuQ weights" in str(raised.value)

    def write(state: dict, **changes) -> None:
        save_file(state, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(settings | changes), "utf-8")

    name = "model.conformer.layers.3.ffn1.output_dense.weight"
    write({k: v for k, v in state.items() if k != name})
    refused("1 missing")
    features(folder, [], layer=3)  # which that one is not of
    write(state | {"model.conformer.layers.12.x": torch.ones(1)})
    refused("1 unexpected")
    write(state | {name: torch.ones(2, 2)})
    refused("1 of another shape")
    write(state, label_rate=50)
    refused("another network.*label_rate=50")
    write(state, w2v2_config=settings["w2v2_config"] | {"position_embeddings_type": "relative"})
    refused("another network.*relative positions")
    write(state, encoder_depth=6)
    refused("hidden states 0 to 6, and no 12: set layer")
    write(state, stat={})
    refused("config.json.*cannot be loaded.*melspec_2048_mean")
    write(state)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(10000)
    refused("model.safetensors.*cannot be loaded")
    (folder / "model.safetensors").unlink()
    refused("pytorch_model.bin")
    (folder / "config.json").unlink()
    refused("config.json")


def test_what_is_no_option_is_refused():
    with pytest.raises(EvalkitError, match="MuQ: layer=13: it has the hidden states 0 to 12"):
        MuQ(Asset("MuQ weights"), layer=13)
    with pytest.raises(EvalkitError, match="pool 'mean'"):
        MuQ(Asset("MuQ weights"), pool="mean")


@pytest.mark.slow
def test_random_weights_tell_clips_apart_and_are_the_same_in_every_depth():
    clips = [parity.noise(RATE, 1), parity.sine(RATE, 1), parity.silence(RATE, 1)]
    weights = parity.random_asset("MuQ weights")
    deep = MuQ(weights).load(parity.cache(), "cpu")(clips)
    again = MuQ(weights).load(parity.cache(), "cpu")(clips)
    for one, other in zip(deep, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.corrcoef(np.concatenate(deep)).min() < 0.9 and deep[0].shape == (1, 1024)
    assert [np.abs(a - b).mean() > 0.1 for a, b in itertools.pairwise(deep)] == [True, True]
