"""EnCodec's latents against the encodec package, called as frechet-audio-distance and fadtk call it."""

from __future__ import annotations

import functools
import shutil
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evalkit import compat
from evalkit.assets import Asset
from evalkit.encoders.encodec import EnCodec, network_of
from evalkit.errors import EvalkitError
from tests import music, parity


def published(rate: int):
    """Seeded weights in a folder as the hub's, and the encodec package's network with the same weights."""
    folder = parity.folder() / f"encodec_{rate}"
    network = network_of(parity.random_asset("EnCodec weights"), parity.cache(), rate)
    if not folder.exists():
        network.save_pretrained(folder)
        state = load_file(folder / "model.safetensors")
        # the hub's files are from before torch renamed the parts of weight normalisation
        old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
        renamed = {functools.reduce(lambda k, n: k.replace(*n), old.items(), key): v for key, v in state.items()}
        assert (rate == 48000) != any(key.endswith("weight_g") for key in renamed)
        save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    from encodec import EncodecModel

    with compat.quiet():
        make = EncodecModel.encodec_model_24khz if rate == 24000 else EncodecModel.encodec_model_48khz
        original = make(pretrained=False).eval()
    # both list the same layers in the same order, with other names; torch's new weight norm puts the bias first too
    ours, theirs = list(network.encoder.parameters()), list(original.encoder.parameters())
    with torch.no_grad():
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape
            b.copy_(a)
    return Asset(name="EnCodec weights", path=str(folder)), original


@pytest.fixture(scope="module")
def mono():
    return published(24000)


def clips_of(rate: int) -> dict[str, np.ndarray]:
    return {
        **music.sounds(rate, 0.7),
        **music.sounds(rate, 2.5, "hot", "bach.mp3", start=3),
        "noise, 1 s": parity.noise(rate, 1),
        "tone, 1.01 s": parity.sine(rate, 1.01),
        "silence, 1 s": parity.silence(rate, 1),
    }


def test_latents_are_those_of_frechet_audio_distance(mono):
    asset, original = mono
    compat.laion_clap()
    with compat.quiet(), patch("encodec.EncodecModel.encodec_model_24khz", lambda: original):
        from frechet_audio_distance import FrechetAudioDistance

        package = FrechetAudioDistance(model_name="encodec", sample_rate=24000)
    clips = clips_of(24000)
    ours = EnCodec(asset).load(parity.cache(), "cpu")(list(clips.values()))
    for (name, clip), latents in zip(clips.items(), ours, strict=True):
        assert latents.shape == (-(-len(clip) // 320), 128)
        assert latents.dtype == np.float32
        theirs = package.get_embeddings([clip], sr=24000)
        if theirs.shape[0] == 128:  # up to 0.3.4 the axes are exchanged
            theirs = theirs.T
        error = parity.difference(latents, theirs)
        parity.within("EnCodec, 24 kHz: latents", "frechet-audio-distance 0.3.4 and encodec 0.1.1", name, error, 1e-5)
    means = np.stack([ours[list(clips).index(name)].mean(0) for name in ("noise, 1 s", "tone, 1.01 s", "hot")])
    assert min(np.abs(a - b).max() for i, a in enumerate(means) for b in means[:i]) > 0.1  # they tell sounds apart


@pytest.mark.parametrize("kind", ["plain", "wide", "left only", "over full scale", "pauses"])
def test_latents_of_the_stereo_network_are_those_of_the_original_in_pieces(kind):
    asset, original = published(48000)
    clip = music.rendered(kind, 48000, 2.5)
    (latents,) = EnCodec(asset, sample_rate=48000).load(parity.cache(), "cpu")([clip])
    with torch.inference_mode():  # fadtk's loop: one second after the other, each by itself
        pieces = torch.from_numpy(clip)[None].split(48000, dim=-1)
        theirs = torch.cat([original.encoder(piece)[0].T for piece in pieces]).numpy()
    assert latents.shape == (375, 128)
    error = parity.difference(latents, theirs)
    parity.within("EnCodec, 48 kHz: latents", "encodec 0.1.1, second by second", kind, error, 1e-5)
    (other,) = EnCodec(asset, sample_rate=48000).load(parity.cache(), "cpu")([clip[::-1].copy()])
    assert parity.difference(other, theirs) > 1e-2  # the channels count


def test_many_at_once_equal_one_by_one(mono):
    encode = EnCodec(mono[0]).load(parity.cache(), "cpu")
    clips = [parity.noise(24000, 1), parity.sine(24000, 1), parity.noise(24000, 1.5)]
    for clip, many in zip(clips, encode(clips), strict=True):
        parity.within(
            "EnCodec, 24 kHz: many at once", "one by one", "3 clips", parity.difference(many, encode([clip])[0]), 1e-5
        )


def test_what_cannot_be_encoded_is_refused(mono, tmp_path):
    with pytest.raises(EvalkitError, match="set 24000 or 48000"):
        EnCodec(mono[0], sample_rate=32000)
    with pytest.raises(EvalkitError, match="without samples"):
        EnCodec(mono[0]).pieces(np.zeros(0, np.float32))
    with pytest.raises(EvalkitError, match="EnCodec for 24000 Hz"):
        EnCodec(mono[0], sample_rate=48000).load(parity.cache(), "cpu")
    with pytest.raises(EvalkitError, match="cannot be loaded: delete it and get it again"):
        EnCodec(Asset(name="EnCodec weights", path=str(tmp_path))).load(parity.cache(), "cpu")


def test_missing_weights_are_named(mono, tmp_path):
    folder = tmp_path / "encodec"
    shutil.copytree(mono[0].path, folder)
    state = load_file(folder / "model.safetensors")
    (gone, *_) = [key for key in state if key.startswith("encoder.layers.0.")]
    del state[gone]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EvalkitError, match=r"lacks 1 of the encoder's weights \(encoder\.layers\.0\."):
        EnCodec(Asset(name="EnCodec weights", path=str(folder))).load(parity.cache(), "cpu")
