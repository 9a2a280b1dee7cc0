"""PaSST's embeddings against hear21passt's own wrapper, loaded by its own code and run one segment at a time."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch

from evalkit import compat
from evalkit.assets import Asset
from evalkit.encoders.passt import PaSST, network_of
from evalkit.encoders.passt_embedding import PaSSTEmbedding
from tests import music, parity


@pytest.fixture(scope="module")
def published():
    path = parity.folder() / "passt-embedding.pt"
    torch.save(network_of(parity.random_asset("PaSST weights"), parity.cache()).net.state_dict(), path)
    compat.prepare()
    with compat.quiet():
        from hear21passt import base20sec
        from hear21passt.models.helpers import vit_helpers

        with patch.object(vit_helpers, "download_cached_file", lambda *_, **__: path):
            original = base20sec.get_basic_model(mode="embed_only").eval()
    return Asset(name="PaSST weights", path=str(path)), original


def test_embeddings_are_the_original_s(published):
    asset, original = published
    clips = {
        "noise, 1 s": parity.noise(32000, 1),
        "tone, 1 s": parity.sine(32000, 1),
        "too short to count": parity.sine(32000, 0.15),
        **music.sounds(32000, 2.5, "hot", "pauses", "very quiet", "bach.mp3", start=3),
        **music.sounds(32000, 0.5, "off centre", "low", "bursts", "anti-phase"),
    }
    encode = PaSSTEmbedding(PaSST(asset, segment=2.0)).load(parity.cache(), "cpu")
    ours = encode(list(clips.values()))
    assert [e.shape for e in ours[:4]] == [(1, 768), (1, 768), (0, 768), (2, 768)]
    for (name, clip), embeddings in zip(clips.items(), ours, strict=True):
        assert embeddings.dtype == np.float32
        for embedding, segment in zip(embeddings, torch.from_numpy(clip).split(64000), strict=False):
            with torch.inference_mode(), compat.quiet():
                theirs = original.get_scene_embeddings(segment[None]).numpy()[0]
            error = parity.difference(embedding, theirs)
            parity.within("PaSST, 20 s: embeddings", "hear21passt 0.0.26, one by one", name, error, 2e-5)
    assert parity.difference(ours[0], ours[1]) > 0.1


def test_the_head_turns_embeddings_into_the_probabilities_of_kld(published):
    """The two encoders are two views of one network."""
    asset, original = published
    clip = parity.noise(32000, 1)
    (embedding,) = PaSSTEmbedding(PaSST(asset)).load(parity.cache(), "cpu")([clip])
    (probabilities,) = PaSST(asset).load(parity.cache(), "cpu")([clip])
    with torch.inference_mode():
        theirs = original.net.head(torch.from_numpy(embedding)).softmax(-1).numpy()
    assert parity.difference(probabilities, theirs) < 1e-5
