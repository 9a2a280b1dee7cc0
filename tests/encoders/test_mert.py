"""MERT at a tiny size: what it gives, which files it reads, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from evalkit import compat
from evalkit.assets import Asset
from evalkit.encoders import mert
from evalkit.encoders.mert import MERT, RATE
from evalkit.errors import EvalkitError
from tests import parity
from tests.parity.make_mert_fixtures import published

WEIGHTS = parity.random_asset("MERT weights")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    for model, layers in (("MERT-v1-95M", 3), ("MERT-v1-330M", 4)):
        monkeypatch.setitem(mert.SIZES, model, {**mert.SIZES[model], **small, "num_hidden_layers": layers})


@pytest.fixture
def folder(tiny: None, tmp_path: Path) -> Path:
    return published("MERT-v1-95M", tmp_path / "published")


def encode(clips: list[np.ndarray], weights: Any = WEIGHTS, **options: Any) -> list[np.ndarray]:
    options = {"layer": 3, "pool": "frames", **options}
    weights = Asset(name="MERT weights", path=str(weights)) if isinstance(weights, Path) else weights
    return MERT(weights, **options).load(parity.cache(), "cpu")(clips)


@pytest.mark.parametrize("model", ["MERT-v1-95M", "MERT-v1-330M"])
def test_every_layer_is_transformers_own_hidden_state(tiny: None, model: Any) -> None:
    compat.prepare()
    import transformers

    clip = parity.noise(RATE, 0.2)
    layers = mert.SIZES[model]["num_hidden_layers"]
    network = transformers.HubertModel(transformers.HubertConfig(**mert.SIZES[model])).eval()
    network.load_state_dict(mert.network_of(WEIGHTS, parity.cache(), model, layers)[0].state_dict())
    with torch.inference_mode():
        out = network(torch.from_numpy(mert.standardized(clip))[None], output_hidden_states=True)
    # transformers 4 gave the output, which is normalised, in place of what the last layer gives
    expected = [*out.hidden_states[:-1], out.last_hidden_state]
    for layer in range(layers + 1):
        (ours,) = encode([clip], model=model, layer=layer)
        np.testing.assert_allclose(ours, expected[layer][0].numpy(), rtol=1e-4, atol=1e-5, err_msg=str(layer))
    stacked = np.stack([one[0].numpy() for one in expected])
    assert np.abs(np.diff(stacked, axis=0)).max(axis=(1, 2)).min() > 0.1  # no two layers give the same


def test_shapes_of_clips_of_any_length(tiny: None) -> None:
    clips = [parity.noise(RATE, 2.3)[:samples] for samples in (0, 399, 400, 12000, 23675, 23676, 55200)]
    lengths = {"frames": [0, 0, 1, 37, 73, 73, 172], "seconds": [0, 0, 0, 0, 0, 1, 2], "max": [0, 0, 1, 1, 1, 1, 1]}
    found = {pool: encode(clips, pool=pool) for pool in lengths}
    for pool, expected in lengths.items():
        assert [one.shape for one in found[pool]] == [(length, 32) for length in expected], pool
        assert {one.dtype for one in found[pool]} == {np.dtype(np.float32)}
    frames = found["frames"][-1]
    np.testing.assert_allclose(found["max"][-1], frames.max(axis=0, keepdims=True))
    np.testing.assert_allclose(found["seconds"][-1], [frames[:74].mean(0), frames[74:148].mean(0)], atol=1e-5)


def test_level_and_offset_do_not_matter(tiny: None) -> None:
    clip = parity.noise(RATE, 0.3)
    one, other = encode([clip, 0.25 * clip + 0.1])
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_seed_gives_the_same_weights_and_another_seed_others(tiny: None) -> None:
    clip, state = parity.noise(RATE, 0.2), torch.get_rng_state()
    once, again, other = (encode([clip], parity.random_asset("MERT weights", seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).max() > 0.1
    assert torch.equal(torch.get_rng_state(), state)


def test_published_files_give_the_same_as_their_seed_and_so_do_safetensors(folder: Path) -> None:
    clip = parity.noise(RATE, 0.2)
    (expected,) = encode([clip])
    np.testing.assert_array_equal(encode([clip], folder)[0], expected)
    save_file(torch.load(folder / "pytorch_model.bin"), folder / "model.safetensors")
    (folder / "pytorch_model.bin").unlink()
    np.testing.assert_array_equal(encode([clip], folder)[0], expected)


def test_an_input_that_is_not_standardized_is_taken_as_it_is(folder: Path) -> None:
    """Where the files say so."""
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_normalize": False}))
    clip = parity.noise(RATE, 0.2)
    np.testing.assert_array_equal(encode([mert.standardized(clip)], folder)[0], encode([clip])[0])
    assert np.abs(encode([clip], folder)[0] - encode([clip])[0]).max() > 0


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"feature_extractor_cqt": True}, r"has feature_extractor_cqt=True, MERT-v1-95M False: it is another network"),
        ({"deepnorm": True}, "deepnorm=True"),
        ({"sample_rate": 16000}, "sample_rate=16000, MERT-v1-95M 24000"),
        ({"hidden_size": 64}, "hidden_size=64, MERT-v1-95M 32"),
        ({"do_stable_layer_norm": True}, "do_stable_layer_norm=True"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 1]}, r"conv_stride=\[5, 2, 2, 2, 2, 2, 1\]"),
    ],
)
def test_another_network_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    rewrite(folder / "config.json", **changes)
    with pytest.raises(EvalkitError, match=said):
        encode([], folder)


def test_what_changes_nothing_is_not_refused(folder: Path) -> None:
    rewrite(folder / "config.json", attention_relax=32.0, hidden_dropout=0.0, layerdrop=0.3, mask_time_prob=0.075)
    clip = parity.noise(RATE, 0.1)
    np.testing.assert_array_equal(encode([clip], folder)[0], encode([clip])[0])


def test_damaged_files_are_refused(folder: Path) -> None:
    rewrite(folder / "preprocessor_config.json", sampling_rate=16000)
    with pytest.raises(EvalkitError, match=r"is for 16000 Hz, not 24000"):
        encode([], folder)
    rewrite(folder / "preprocessor_config.json", sampling_rate=RATE)
    state = torch.load(folder / "pytorch_model.bin")
    del state["encoder.layers.2.attention.k_proj.weight"]
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(EvalkitError, match=r"does not fit the network: 1 missing \(encoder\.layers\.2\.attention"):
        encode([], folder)
    (folder / "pytorch_model.bin").write_bytes(b"no checkpoint")
    with pytest.raises(EvalkitError, match="cannot be read as a checkpoint"):
        encode([], folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(EvalkitError, match=r"pytorch_model.bin"):
        encode([], folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(EvalkitError, match=r"config.json' cannot be loaded"):
        encode([], folder)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "MERT-v1-330"}, "did you mean 'MERT-v1-330M'"),
        ({"layer": 13}, "MERT-v1-95M has the hidden states 0 to 12"),
        ({"layer": -1}, "0 to 12"),
        ({"pool": "second"}, "did you mean 'seconds'"),
        ({"channels": "stereo"}, "unknown channels 'stereo'"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(EvalkitError, match=said):
        MERT(WEIGHTS, **options)
