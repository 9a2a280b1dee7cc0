"""The codec of a model by itself: it is the one that is inside, whatever form the files have."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit import audio
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.errors import EvalkitError
from evalkit.models.musicgen import MusicGen
from evalkit.models.synth.synth import Synth
from evalkit.models.tiny import TinyStereo
from evalkit.types import Prompt
from tests import parity

RATE = 32000


@pytest.fixture(scope="module")
def stereo() -> Audio:
    return Synth().render(Prompt("a", "A slow piano in C major with a flute."), 0, 1.3)


def network(folder: Path) -> Any:
    from evalkit.checkpoints.transformers import load_network

    return load_network("x", folder).audio_encoder


def coded_by(codec: Any, channel: np.ndarray) -> np.ndarray:
    """One channel through a whole model's audio_encoder, all of its codebooks."""
    import torch

    with torch.inference_mode():
        decoded = codec(torch.from_numpy(channel)[None, None]).audio_values
    return decoded[0, 0, : len(channel)].numpy()


def test_the_codec_alone_is_the_one_inside_the_model(stereo: Audio) -> None:
    model, cache = TinyStereo(), parity.cache()
    whole = network(model.folder(cache))
    code = model.codec(cache, "cpu")
    ours = code(stereo)
    assert ours.rate == RATE and ours.samples.shape == stereo.samples.shape and ours.samples.dtype == np.float32
    for channel, coded in zip(stereo.samples, ours.samples, strict=True):
        np.testing.assert_allclose(coded, coded_by(whole, channel), atol=1e-6)
    assert np.abs(ours.samples[0] - ours.samples[1]).max() > 1e-3
    mono = code(Audio(stereo.samples[:1], RATE))
    np.testing.assert_allclose(mono.samples, ours.samples[:1], atol=1e-6)
    at_its_rate = code(audio.resample(stereo, 44100))
    assert at_its_rate.rate == RATE and abs(at_its_rate.samples.shape[1] - stereo.samples.shape[1]) <= 1


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., MusicGen]:
    """Make a MusicGen of a tiny one's files after some change to its tensors and config.json."""
    import safetensors.torch
    import torch

    def make(rename: Callable[[str], str | None] = lambda key: key, pickled: bool = False, **decoder: Any) -> MusicGen:
        folder = tmp_path / "changed"
        shutil.copytree(TinyStereo().folder(parity.cache()), folder)
        state = safetensors.torch.load_file(folder / "model.safetensors")
        state = {new: tensor for key, tensor in state.items() if (new := rename(key))}
        if pickled:
            (folder / "model.safetensors").unlink()
            torch.save(state, folder / "pytorch_model.bin")
        else:
            safetensors.torch.save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((folder / "config.json").read_text())
        config["decoder"] |= decoder
        (folder / "config.json").write_text(json.dumps(config))
        return MusicGen(Asset("changed", path=str(folder)))

    return make


def test_a_mono_model_s_codec_hears_the_mean(stereo: Audio, changed: Callable[..., MusicGen]) -> None:
    mono = changed(audio_channels=1, num_codebooks=4).codec(parity.cache(), "cpu")(stereo)
    expected = TinyStereo().codec(parity.cache(), "cpu")(audio.downmix(stereo))
    np.testing.assert_array_equal(mono.samples, expected.samples)


@pytest.mark.parametrize("pickled", [False, True])
def test_published_layouts_are_read(stereo: Audio, changed: Callable[..., MusicGen], pickled: bool) -> None:
    def old(key: str) -> str:  # how weight normalisation was stored when the checkpoints were published
        return key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        )

    ours = changed(old, pickled).codec(parity.cache(), "cpu")(stereo)
    np.testing.assert_array_equal(ours.samples, TinyStereo().codec(parity.cache(), "cpu")(stereo).samples)


def test_a_codec_that_is_not_whole_is_refused(changed: Callable[..., MusicGen]) -> None:
    def without(key: str) -> str | None:
        return None if key.endswith("quantizer.layers.2.codebook.embed") else key

    with pytest.raises(
        EvalkitError, match=r"changed: the codec in '.*' lacks 1 of the model's weights, such as 'quantizer\.layers\.2"
    ):
        changed(without).codec(parity.cache(), "cpu")


def test_a_codec_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match=r"the codec in '.*' cannot be loaded") as caught:
        MusicGen(Asset("broken", path=str(tmp_path))).codec(parity.cache(), "cpu")
    assert "\n" not in str(caught.value)
