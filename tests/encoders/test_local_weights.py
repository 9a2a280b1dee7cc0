"""A run on files in the published layouts, where they would lie after a fetch, with the network blocked."""

from __future__ import annotations

import dataclasses
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import evalkit
from evalkit.assets import Asset
from evalkit.config import build, compose
from evalkit.encoders import mert, vggish
from evalkit.errors import EvalkitError
from evalkit.models.tiny import TinyStereo
from evalkit.results.summary import random_weights
from evalkit.store.cache import Cache
from tests import parity
from tests.parity import make_muq_fixtures
from tests.parity.make_mert_fixtures import published


def block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever reaches for the network fail."""

    def blocked(*arguments: Any) -> None:
        raise AssertionError(f"reached for {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", blocked)
    monkeypatch.setattr(socket, "getaddrinfo", blocked)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def test_nothing_contacts_a_hub_when_all_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache")
    snapshot = tmp_path / "hub" / "models--facebook--musicgen-stereo-medium" / "snapshots" / ("c" * 40)
    shutil.copytree(TinyStereo().folder(cache), snapshot)
    (snapshot / "spiece.model").touch()
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("c" * 40)
    network = vggish.network_of(Asset("VGGish", random_seed=0), cache)
    torch.save(network.state_dict(), tmp_path / "vggish.pth")

    block(monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    options = ["prompts=demo", "prompts.first=3", "sampling.duration=1.5", f"cache_dir={cache.root}"]
    options += ["model=musicgen_stereo_medium", f"output_dir={tmp_path / 'runs'}", "metric=[fad,chroma]"]
    local = evalkit.evaluate(*options, f"metric.fad.encoder.weights.path={tmp_path / 'vggish.pth'}")
    seeded = evalkit.evaluate(*options, "random_weights=0")
    assert local.scores.value.tolist() == pytest.approx(seeded.scores.value.tolist(), rel=1e-6)
    assert local.rows["musicgen_stereo_medium"].definition["checkpoint"]["commit"] == "c" * 40
    assert [info.random for info in local.metrics.values()] == [[], []]
    assert [info.random for info in seeded.metrics.values()] == [["VGGish weights"], []]
    assert not any(row.random for result in (local, seeded) for row in result.rows.values())
    assert (random_weights(local), random_weights(seeded)) == ([], ["VGGish weights"])
    text = (local.path / "table.md").read_text()
    assert "Random weights" not in text
    assert "no published numbers are known for the prompt set 'demo'" in text


def test_muq_is_read_where_the_hub_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = compose(["model=synth", "prompts=demo", "metric=fad_muq"]).metric.fad_muq.encoder.weights
    folder = tmp_path / "hub" / f"models--{asset.repo.replace('/', '--')}" / "snapshots" / asset.revision
    make_muq_fixtures.write_checkpoint(folder, make_muq_fixtures.SMALL)
    block(monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    options = ["model=synth", "prompts=demo", "prompts.first=4", "sampling.duration=2", "metric=[fad_muq,kad_muq]"]
    options += [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    here = evalkit.evaluate(*options)
    there = evalkit.evaluate(*options, *(f"metric.{m}.encoder.weights.path={folder}" for m in ("fad_muq", "kad_muq")))
    assert here.scores.value.tolist() == there.scores.value.tolist()
    assert here.scores.value.notna().all() and random_weights(here) == []


@pytest.mark.parametrize("name", ["mert", "mert_330m"])
def test_mert_is_found_where_a_fetch_puts_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    for model, sizes in mert.SIZES.items():
        monkeypatch.setitem(mert.SIZES, model, {**sizes, **small})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    options = ["model=synth", "prompts=demo", "metric=[fad_mert]", "random_weights=null"]
    encoder = build(compose([*options, f"encoder@metric.fad_mert.encoder={name}"]).metric.fad_mert).encoder
    assert (encoder.weights.repo, encoder.layer) == (f"m-a-p/{encoder.model}", 24 if name == "mert_330m" else 12)
    cache = Cache(tmp_path / "cache")
    with pytest.raises(EvalkitError, match=r"MERT.* weights is not on this machine"):
        encoder.load(cache, "cpu")
    snapshot = tmp_path / "hub" / f"models--m-a-p--{encoder.model}" / "snapshots" / encoder.weights.revision
    published(encoder.model, snapshot)
    clip = parity.noise(mert.RATE, 1.1)
    (local,) = encoder.load(cache, "cpu")([clip])
    seeded = dataclasses.replace(encoder, weights=parity.random_asset("MERT weights"))
    np.testing.assert_array_equal(local, seeded.load(cache, "cpu")([clip])[0])
    assert local.shape == (1, 32)
    (snapshot / "preprocessor_config.json").unlink()
    with pytest.raises(EvalkitError, match="evalkit fetch"):
        encoder.load(cache, "cpu")
