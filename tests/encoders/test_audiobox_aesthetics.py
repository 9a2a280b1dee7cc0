"""Audiobox Aesthetics' encoder: its random weights, its files, and what it says of what is missing or wrong."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import evalkit
from evalkit import compat
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.encoders.audiobox_aesthetics import AXES, SCALE, SHAPE, AudioboxAesthetics, network_of
from evalkit.errors import EvalkitError
from tests import parity
from tests.small_audiobox import make_small


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seeded weights as the hub has them, written by the package itself."""
    with compat.quiet():
        network = network_of(parity.random_asset("weights"), parity.cache())
        compat.audiobox_network({**SHAPE, "target_transform": dict.fromkeys(AXES, SCALE)}).save_pretrained(
            tmp_path / "folder"
        )
        from safetensors.torch import save_file

        save_file(network.state_dict(), tmp_path / "folder" / "model.safetensors")
    return tmp_path / "folder"


def encode(asset: Asset, *clips: np.ndarray, rate: int = 16000) -> list[np.ndarray]:
    return AudioboxAesthetics(asset).load(parity.cache(), "cpu")([Audio(np.atleast_2d(clip), rate) for clip in clips])


def test_scores_are_finite_the_same_again_and_do_not_depend_on_the_neighbours() -> None:
    clips = [parity.noise(16000, 1.1), parity.sine(16000, 11.6), parity.silence(16000, 0.5), parity.noise(16000, 1.1)]
    state = torch.get_rng_state()
    together = encode(parity.random_asset("weights"), *clips)
    for clip, scores in zip(clips, together, strict=True):
        assert scores.shape == (1, 4) and scores.dtype == np.float32 and np.isfinite(scores).all()
        np.testing.assert_array_equal(encode(parity.random_asset("weights"), clip)[0], scores)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.abs(together[0] - together[1]).min() > 0.01
    (other,) = encode(parity.random_asset("weights", seed=1), clips[0])
    assert np.abs(other - together[0]).min() > 0.01


def test_the_end_of_a_clip_counts_by_its_length() -> None:
    start, end = parity.noise(16000, 10), parity.sine(16000, 2.5)
    whole, *parts = encode(parity.random_asset("weights"), np.concatenate([start, end]), start, end)
    np.testing.assert_allclose(whole, 0.8 * parts[0] + 0.2 * parts[1], rtol=1e-6)
    (nothing,) = encode(parity.random_asset("weights"), np.zeros(0, np.float32))
    assert nothing.shape == (0, 4)


def test_the_hubs_files_give_the_scores_that_their_weights_give(folder: Path) -> None:
    clip = parity.noise(16000, 1)
    seeded, local = (encode(asset, clip) for asset in (parity.random_asset("w"), Asset("w", path=str(folder))))
    np.testing.assert_array_equal(*seeded, *local)


def without(file: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).unlink()


def change(key: str, value: Any) -> Callable[[Path], object]:
    def changed(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {key: value}))

    return changed


def write(file: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without("config.json"), "has no config.json"),
        (without("model.safetensors"), "has no model.safetensors"),
        (write("config.json", b"{"), "cannot be loaded"),
        (write("model.safetensors", b"no tensors"), "cannot be loaded"),
        (change("target_transform", {"CE": {"mean": 1.0}}), "lacks the scale of its scores"),
        (change("target_transform", None), "lacks the scale of its scores"),
        (change("proj_num_layer", 4), "does not fit the network"),
        (change("proj_num_layer", "many"), "cannot be loaded"),
    ],
)
def test_damaged_files_are_one_line(folder: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(folder)
    with pytest.raises(EvalkitError, match=said) as refused:
        network_of(Asset(name="these weights", path=str(folder)), parity.cache())
    assert "\n" not in str(refused.value) and str(folder) in str(refused.value)


def test_another_checkpoint_is_one_line(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(EvalkitError, match="has no model_cfg and state_dict: it is another file"):
        network_of(Asset(name="these weights", path=str(tmp_path / "checkpoint.pt")), parity.cache())
    torch.save({"state_dict": {}, "model_cfg": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(EvalkitError, match="lacks the scale"):
        network_of(Asset(name="these weights", path=str(tmp_path / "checkpoint.pt")), parity.cache())


def test_a_missing_package_is_said_when_the_configuration_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "audiobox" in name else found(name))
    with pytest.raises(
        EvalkitError, match=r"audiobox_aesthetics is not installed: pip install 'evalkit\[aesthetics\]'"
    ):
        AudioboxAesthetics(parity.random_asset("weights"))


def test_a_snapshot_of_the_hub_is_found_and_names_its_commit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "9b1dd8e5df9af7216e836a98974fe3b82c56ded6"
    snapshot = tmp_path / "hub" / "models--facebook--audiobox-aesthetics" / "snapshots" / commit
    shutil.copytree(folder, snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    options = ["model=synth", "prompts=demo", "prompts.first=2", "sampling.duration=1.5", "metric=audiobox_aesthetics"]
    result = evalkit.evaluate(
        *options, f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}", quiet=True
    )
    rows = result.scores.set_index("metric")
    assert list(rows.index) == [
        *("production_quality", "production_complexity", "content_enjoyment", "content_usefulness")
    ]
    assert np.isfinite(rows.value).all() and not rows.random_weights.any()
    assert [info.higher_is_better for info in result.metrics.values()] == [True, None, True, True]
