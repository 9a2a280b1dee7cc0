"""CLAP's embeddings against laion_clap, loaded by its own code and called as audiocraft calls it."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch

from evalkit import compat
from evalkit.assets import Asset
from evalkit.encoders.clap import CLAPAudio, CLAPText, made_up_tokenizer, network_of
from tests import music, parity

AUDIO = "laion_clap 1.1.7's get_audio_embedding_from_data"
TEXT = "laion_clap 1.1.7's get_text_embedding"
CAPTIONS = [
    "A slow piano ballad with a sad mood.",
    "Fast techno with a heavy kick drum, a rolling bass line and bright, metallic synthesizers",
    "The low quality recording features a ballad song that contains sustained strings, mellow piano melody and soft "
    "female vocal singing over it. It sounds sad and soulful, like something you would hear at Sunday services. " * 2,
    "Ünïcödé & <b>tags</b>\n\t{curly} 日本",
    "",
]


@pytest.fixture(scope="module")
def published():
    """Seeded weights in the published file's layout, and laion_clap's module that loaded that file itself."""
    path = parity.folder() / "music_audioset_epoch_15_esc_90.14.pt"
    module = compat.laion_clap()
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    network = network_of(parity.random_asset("CLAP weights"), parity.cache(), "cpu").model
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    state["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    # what laion_clap's training saves beside the weights: NumPy numbers in the optimizer's groups
    optimizer = {"state": {0: {"step": 1, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": np.float64(1e-4)}]}
    checkpoint = {"epoch": 15, "name": "music", "state_dict": state, "optimizer": optimizer}
    torch.save(checkpoint, path, pickle_protocol=4)

    config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    tokenizer = compat.roberta_tokenizer(made_up_tokenizer(parity.cache()))
    with (
        compat.quiet(),
        patch.object(RobertaModel, "from_pretrained", lambda *_, **__: RobertaModel(config)),
        patch.object(RobertaTokenizer, "from_pretrained", lambda *_, **__: tokenizer),
    ):
        original = module.CLAP_Module(enable_fusion=False, amodel="HTSAT-base", device="cpu")
        original.load_ckpt(str(path))
    return Asset(name="CLAP weights", path=str(path)), original.eval()


@pytest.fixture(scope="module")
def audio_encoder(published):
    return CLAPAudio(published[0]).load(parity.cache(), "cpu")


@pytest.fixture(scope="module")
def text_encoder(published):
    return CLAPText(published[0], tokenizer=parity.random_asset("RoBERTa tokenizer")).load(parity.cache(), "cpu")


def original_audio(original, clip: np.ndarray) -> np.ndarray:
    with torch.inference_mode(), compat.quiet():
        return original.get_audio_embedding_from_data(torch.from_numpy(clip)[None], use_tensor=True).numpy()


def test_audio_embeddings_are_the_original_s(published, audio_encoder):
    clips = {
        "10 s": music.sounds(48000, 10, "plain")["plain"],
        **music.sounds(48000, 3.3, "hot", "pauses", "very quiet", "off centre", "bach.mp3", start=2),
        "tone, 10 ms, repeated": parity.sine(48000, 0.01),
        "noise, 6 s, padded": parity.noise(48000, 6),
        "silence": parity.silence(48000, 1),
    }
    ours = audio_encoder(list(clips.values()))
    for (name, clip), embedding in zip(clips.items(), ours, strict=True):
        assert embedding.shape == (1, 512)
        assert embedding.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(embedding), 1, rtol=1e-5)
        error = np.abs(embedding - original_audio(published[1], clip)).max()
        parity.within("CLAP: audio embeddings", AUDIO, name, error, 1e-5, "absolute")
    different = np.concatenate([ours[list(clips).index(name)] for name in ("hot", "noise, 6 s, padded", "silence")])
    assert ((different @ different.T)[np.triu_indices(3, 1)] < 0.98).all()  # random weights tell sounds apart


@pytest.mark.slow
def test_audio_embeddings_of_all_kinds_are_the_original_s(published, audio_encoder):
    clips = music.sounds(48000, 7.3)
    for (name, clip), embedding in zip(clips.items(), audio_encoder(list(clips.values())), strict=True):
        error = np.abs(embedding - original_audio(published[1], clip)).max()
        parity.within("CLAP: audio embeddings", AUDIO, name, error, 1e-5, "absolute")


def test_of_a_long_clip_the_beginning_counts(published, audio_encoder):
    clip = music.sounds(48000, 15, "bursts")["bursts"]
    state = np.random.get_state()
    (long,), (again,) = audio_encoder([clip]), audio_encoder([clip])
    np.testing.assert_array_equal(long, again)
    assert all(np.array_equal(a, b) for a, b in zip(state, np.random.get_state(), strict=True))
    error = np.abs(long - original_audio(published[1], clip[:480000])).max()
    parity.within("CLAP: audio embeddings", AUDIO, "the first 10 of 15 s", error, 1e-5, "absolute")
    with patch.object(np.random, "randint", lambda *_: 0):  # the package's random part, at the beginning
        error = np.abs(long - original_audio(published[1], clip)).max()
    parity.within("CLAP: audio embeddings", AUDIO, "15 s, its random part fixed", error, 1e-5, "absolute")


def test_text_embeddings_are_the_original_s(published, text_encoder):
    ours = text_encoder(CAPTIONS)
    for caption, embedding in zip(CAPTIONS, ours, strict=True):
        assert embedding.shape == (1, 512)
        assert embedding.dtype == np.float32
        with torch.inference_mode(), compat.quiet():
            expected = published[1].get_text_embedding([caption])
        error = np.abs(embedding - expected).max()
        parity.within("CLAP: text embeddings", TEXT, repr(caption[:20]), error, 1e-5, "absolute")
    cosines = np.concatenate(ours) @ np.concatenate(ours).T
    assert (cosines[np.triu_indices(len(CAPTIONS), 1)] < 0.98).all()


def test_long_captions_are_cut(published, text_encoder):
    long = CAPTIONS[2] * 3
    np.testing.assert_array_equal(*text_encoder([long, long + " and then something else"]))


def test_many_at_once_equal_one_by_one(audio_encoder, text_encoder):
    clips = [parity.noise(48000, 2), parity.sine(48000, 3)]
    for clip, many in zip(clips, audio_encoder(clips), strict=True):
        error = np.abs(many - audio_encoder([clip])[0]).max()
        parity.within("CLAP: many at once", "one by one", f"{len(clip)} samples", error, 1e-5, "absolute")
    for caption, many in zip(CAPTIONS[::-1], text_encoder(CAPTIONS[::-1]), strict=True):
        error = np.abs(many - text_encoder([caption])[0]).max()
        parity.within("CLAP: many at once", "one by one", repr(caption[:20]), error, 1e-5, "absolute")


def test_both_encoders_share_one_network(published):
    asset, _ = published
    cache = parity.cache()
    assert network_of(asset, cache, "cpu") is network_of(asset, cache, "cpu")
