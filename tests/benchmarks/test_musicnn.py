"""musicnn as an encoder: its checkpoint is read without TensorFlow, and its features are what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import tensor_bundle
from benchmarks.musicnn import HOP, PATCH, RATE, MusiCNN, log_mel, network_of, patches_of, published
from evalkit.assets import Asset
from evalkit.errors import EvalkitError
from evalkit.store.cache import Cache
from tests.benchmarks.bundles import bundle, musicnn

RANDOM = Asset(name="musicnn", random_seed=0)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(5 * RATE)).astype(np.float32)


def encode(encoder: MusiCNN, *clips: np.ndarray) -> list[np.ndarray]:
    return encoder.load(Cache("unused"), "cpu")(list(clips))


def test_a_bundle_of_tensors_is_read_whole() -> None:
    rng = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {
        f"layer_{i}/kernel": rng.normal(size=(i + 1, 3)).astype(np.float32) for i in range(11)
    }
    tensors |= {"step": np.array(7, np.int64), "empty": np.empty((0, 2), np.float64), "long/name/of/it": np.ones(200)}
    found = tensor_bundle.read(*bundle(tensors))
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.parametrize("damage", ["cut", "no table", "data", "compressed", "another type"])
def test_a_damaged_bundle_is_refused_in_one_line(damage: str) -> None:
    tensors = {"a": np.ones((4, 4), np.float32)}
    if damage == "another type":
        tensors["b"] = np.array([True])
    index, data = bundle(tensors, compressed=damage == "compressed")
    changed = {"cut": (index[:30], data), "no table": (index[:-1] + b"x", data), "data": (index, data[:-4])}
    with pytest.raises(EvalkitError, match=r"^the checkpoint[^\n]+$"):
        tensor_bundle.read(*changed.get(damage, (index, data)))


def test_weights_of_the_package_are_those_of_the_network(tmp_path: Path, noise: np.ndarray) -> None:
    network = network_of(RANDOM, Cache("unused"))
    for norm in (network.entry, network.last, *network.front_norms, *network.middle_norms, network.pooled):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.data.uniform_(0.5, 1.5)
    path = musicnn(tmp_path / "musicnn-0.1.0-py3-none-any.whl", network)
    again = network_of(published(path), Cache("unused"))
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not MusiCNN(published(path)).random and MusiCNN(RANDOM).random
    (features,) = encode(MusiCNN(published(path)), noise)
    assert np.isfinite(features).all() and features.shape == (2 + (RATE * 5 // HOP + 1 - PATCH) // 62 - 1, 200)


def test_another_file_is_refused_with_how_to_bring_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "other.whl").write_bytes(b"no archive")
    with pytest.raises(EvalkitError, match=r"pip download --no-deps musicnn==0\.1\.0"):
        network_of(published(tmp_path / "other.whl"), Cache("unused"))


def test_frames_before_and_behind_a_temporal_kernel_are_as_in_tensorflow() -> None:
    """An even kernel of n frames hears (n - 1) // 2 frames before its own, and n // 2 behind it."""
    network = network_of(RANDOM, Cache("unused")).eval()
    found: list[torch.Tensor] = []
    network.front_norms[2].register_forward_hook(lambda module, given, out: found.append(given[0]))
    click = torch.zeros(1, PATCH, 96)
    click[:, 100] = 1.0
    with torch.inference_mode():
        network(click)
        network(torch.zeros(1, PATCH, 96))
    frames = torch.nonzero((found[0] - found[1]).abs().sum(dim=(0, 1, 3)))
    assert (int(frames.min()), int(frames.max())) == (100 - 64, 100 + 63)


def test_features_are_of_each_patch_and_labels_of_the_whole_clip(noise: np.ndarray) -> None:
    embeddings, softmax, sigmoid = (
        encode(MusiCNN(RANDOM, output), noise)[0] for output in ("embedding", "softmax", "sigmoid")
    )
    assert embeddings.shape == (3, 200) and softmax.shape == sigmoid.shape == (1, 50)
    assert softmax.sum() == pytest.approx(1) and (sigmoid > 0).all() and (sigmoid < 1).all()
    odds = sigmoid.astype(float) / (1 - sigmoid.astype(float))
    np.testing.assert_allclose(softmax, odds / odds.sum(), rtol=1e-3)
    with pytest.raises(EvalkitError, match="did you mean"):
        MusiCNN(RANDOM, "softmx")


def test_a_clip_does_not_depend_on_its_neighbours_and_short_ones_are_repeated(noise: np.ndarray) -> None:
    short = noise[: RATE // 2]
    alone, among = encode(MusiCNN(RANDOM), noise)[0], encode(MusiCNN(RANDOM), short, noise, noise[:0])
    np.testing.assert_array_equal(alone, among[1])
    assert among[0].shape == among[2].shape == (1, 200)
    spectrogram = log_mel(short)
    (patch,) = patches_of(spectrogram, 62)
    np.testing.assert_array_equal(patch[len(spectrogram) : 2 * len(spectrogram)], spectrogram)


def test_loud_bands_are_finite() -> None:
    loud = np.sign(np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)).astype(np.float32)
    assert np.isfinite(log_mel(loud)).all() and 10 ** log_mel(loud).max() > 65504  # more than float16 holds
