"""Each checkpoint of the model card: its true architecture, without weights, and a shrunken one, run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from evalkit import compat, config
from evalkit.checkpoints.transformers import quiet_transformers
from evalkit.models.tiny import TinyStereo
from evalkit.settings import Sampling, conf_dir
from evalkit.store.cache import Cache
from evalkit.types import Prompt
from tests.engines import cpu
from tests.networks import network

# Copet et al. 2023, section 4.1, and the configurations on the hub: layers, dimensions, heads; a melody model without
# a size in its name is a medium one
SIZES = {"small": (24, 1024, 16), "medium": (48, 1536, 24), "large": (48, 2048, 32)}
CHECKPOINTS = {
    f"musicgen_{stereo}{kind}": (stereo, kind)
    for stereo in ("", "stereo_")
    for kind in ("small", "medium", "large", "melody", "melody_large")
}
T5_BASE = 109_628_544  # parameters of the encoder
ENCODEC_32KHZ = 56_884_674  # and 2.1 million numbers of codebooks, which are no parameters: 59 million on the hub


def published(stereo: str, kind: str) -> Any:
    """The configuration of a checkpoint on the hub."""
    import transformers

    size = "medium" if kind == "melody" else kind.removeprefix("melody_")
    layers, hidden, heads = SIZES[size]
    shape = {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads, "ffn_dim": 4 * hidden}
    shape |= {"num_codebooks": 8 if stereo else 4, "audio_channels": 2 if stereo else 1}
    parts = {
        "text_encoder": transformers.T5Config(
            d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, vocab_size=32128
        ),
        "audio_encoder": transformers.EncodecConfig(
            sampling_rate=32000,
            audio_channels=1,
            target_bandwidths=[2.2],
            codebook_size=2048,
            codebook_dim=128,
            num_filters=64,
            upsampling_ratios=[8, 5, 4, 4],
            use_causal_conv=False,
            use_conv_shortcut=False,
        ),
    }
    if "melody" in kind:
        return transformers.MusicgenMelodyConfig(**parts, decoder=transformers.MusicgenMelodyDecoderConfig(**shape))
    return transformers.MusicgenConfig(**parts, decoder=transformers.MusicgenDecoderConfig(**shape))


def decoder_parameters(codebooks: int, layers: int, hidden: int, melody: bool) -> int:
    """As the paper describes the decoder: a transformer without biases, 2048 codes and the special one."""
    attention, mlp, norm = 4 * hidden**2, 8 * hidden**2, 2 * hidden
    layer = 2 * norm + attention + mlp if melody else 3 * norm + 2 * attention + mlp
    return codebooks * (2049 + 2048) * hidden + layers * layer + norm


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_parameter_counts_of_the_true_architecture(name: str) -> None:
    compat.prepare()
    import transformers

    stereo, kind = CHECKPOINTS[name]
    melody = "melody" in kind
    config = published(stereo, kind)
    made = "MusicgenMelodyForConditionalGeneration" if melody else "MusicgenForConditionalGeneration"
    with torch.device("meta"), quiet_transformers():
        whole = getattr(transformers, made)(config)
    count = {part: sum(p.numel() for p in module.parameters()) for part, module in whole.named_children()}
    layers, hidden, _ = SIZES["medium" if kind == "melody" else kind.removeprefix("melody_")]
    expected = {
        "text_encoder": T5_BASE,
        "audio_encoder": ENCODEC_32KHZ,
        "decoder": decoder_parameters(8 if stereo else 4, layers, hidden, melody),
        "enc_to_dec_proj": 768 * hidden + hidden,
    }
    assert count == expected | ({"audio_enc_to_dec_proj": 12 * hidden + hidden} if melody else {})


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_shrunken_one_runs(name: str, tmp_path: Path) -> None:
    """From its YAML to a clip, with the codebooks, channels and conditions of the true one."""
    stereo, kind = CHECKPOINTS[name]
    folder = tmp_path / "checkpoint"
    made = network(f"{'stereo' if stereo else 'mono'}{' melody' if 'melody' in kind else ''}")
    with quiet_transformers():
        made.save_pretrained(folder)
    for path in TinyStereo().folder(Cache(tmp_path / "cache")).glob("tokenizer*"):
        shutil.copy(path, folder)
    node = OmegaConf.select(OmegaConf.load(conf_dir() / "model" / f"{name}.yaml"), name)
    node.checkpoint.path = str(folder)
    model = config.build(node)
    assert model.published == f"facebook/{name.replace('_', '-')}"
    run = model.load(Cache(tmp_path / "cache"), cpu(batch_size=1))
    (clip,) = run([Prompt("a", "a slow piano")], Sampling(duration=0.2))
    assert clip.samples.shape == (2 if stereo else 1, 6400) and clip.rate == 32000
    assert np.isfinite(clip.samples).all() and clip.samples.std() > 0
