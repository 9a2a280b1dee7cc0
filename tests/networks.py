"""MusicGen networks of seeded random weights at tiny sizes, in memory."""

from __future__ import annotations

from typing import Any

import torch

from evalkit import compat
from evalkit.checkpoints.transformers import prepare, quiet_transformers
from evalkit.models.tiny import codec_config, make_audible
from evalkit.weights import seeded

SPECIAL = 2048


def network(kind: str = "stereo", dtype: str = "float32", seed: int = 0, **sizes: Any) -> Any:
    """A mono, stereo, melody or stereo melody MusicGen on the CPU; `sizes` change its decoder's."""
    compat.prepare()
    import transformers

    melody, stereo = "melody" in kind, "stereo" in kind
    text = transformers.T5Config(vocab_size=800, d_model=24, d_kv=24, d_ff=48, num_layers=1, num_heads=1)
    shape: dict[str, Any] = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    shape |= {"num_codebooks": 8 if stereo else 4, "audio_channels": 2 if stereo else 1, "initializer_factor": 0.3}
    prefix = "MusicgenMelody" if melody else "Musicgen"
    decoder = getattr(transformers, f"{prefix}DecoderConfig")(**shape | sizes)
    extra = {"chroma_length": 20} if melody else {}
    config = getattr(transformers, f"{prefix}Config")(
        text_encoder=text, audio_encoder=codec_config(), decoder=decoder, **extra
    )
    with seeded(seed), quiet_transformers():
        made = getattr(transformers, f"{prefix}ForConditionalGeneration")(config)
        with torch.inference_mode():
            make_audible(made.audio_encoder)
    prepare("test", made, "cpu", dtype)
    return made


def captions(lengths: list[int], seed: int = 1) -> list[list[int]]:
    """Random tokens of captions."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 800, (length,), generator=generator).tolist() for length in lengths]
