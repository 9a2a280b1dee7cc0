"""Audiobox Aesthetics at a size that tests have the time for."""

from __future__ import annotations

import pytest

from evalkit import compat
from evalkit.encoders import audiobox_aesthetics


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Have all its networks be small ones of the same architecture, a hundredth of the work."""
    compat.prepare()
    from audiobox_aesthetics.model.aes import DEFAULT_AUDIO_CFG

    convolutions = "[(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32, 2, 2)] * 2"
    shape = {"encoder_layers": 2, "encoder_embed_dim": 96, "encoder_ffn_embed_dim": 192}
    for name, value in {**shape, "conv_feature_layers": convolutions}.items():
        patch.setattr(DEFAULT_AUDIO_CFG, name, value)
    patch.setitem(audiobox_aesthetics.SHAPE, "nth_layer", 3)
