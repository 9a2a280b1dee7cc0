"""audiocraft's own language model at the sizes of a MusicGen, where audiocraft can be imported."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch

from evalkit import compat

ABSENT = ("av", "spacy", "xformers", "xformers.ops")  # imported by audiocraft 1.3.0, and not needed here


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """Empty modules in the place of those that are absent."""
    made = {name: types.ModuleType(name) for name in ABSENT if importlib.util.find_spec(name.split(".")[0]) is None}
    if "xformers" in made:
        made["xformers"].__dict__["ops"] = made["xformers.ops"]
        made["xformers.ops"].__dict__.update(
            memory_efficient_attention=None, LowerTriangularMask=None, unbind=torch.unbind
        )
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            sys.modules.pop(name, None)


def language_model(decoder: Any, device: str, dtype: torch.dtype) -> Callable[[int, int, int], torch.Tensor] | str:
    """Make audiocraft's LM of random weights at the sizes of a transformers decoder's configuration.

    Its weights are its own: only its time can be compared. Returns a function of clips, frames and tokens of text that
    gives codes (clips, codebooks, frames), or the reason why there is none.
    """
    if importlib.util.find_spec("audiocraft") is None:
        return "not run: audiocraft is not installed here"
    with stand_ins():
        try:
            compat.laion_clap()  # whose import, which audiocraft does, would look for a network
            from audiocraft.models.lm import LMModel
            from audiocraft.modules.codebooks_patterns import DelayedPatternProvider
            from audiocraft.modules.conditioners import ConditionFuser, ConditioningAttributes
        except ImportError as error:
            return f"not run: audiocraft cannot be imported ({error})"
        books, channels, hidden = decoder.num_codebooks, decoder.audio_channels, decoder.hidden_size
        states: list[torch.Tensor] = []

        def provide(conditions: Any) -> Any:
            # the text as the conditioners give it, nothing for the second half
            text = states[0].repeat(len(conditions), 1, 1)
            mask = torch.ones(text.shape[:2], dtype=torch.long, device=device)
            text[len(text) // 2 :] = 0
            mask[len(mask) // 2 :] = 0
            return {"description": (text, mask)}

        provide.tokenize = lambda conditions: conditions  # type: ignore[attr-defined]
        lm = LMModel(
            DelayedPatternProvider(books, delays=[k // channels for k in range(books)]),
            provide,
            ConditionFuser({"cross": ["description"], "prepend": [], "sum": [], "input_interpolate": []}),
            n_q=books,
            card=decoder.vocab_size,
            dim=hidden,
            num_heads=decoder.num_attention_heads,
            hidden_scale=decoder.ffn_dim // hidden,
            num_layers=decoder.num_hidden_layers,
            norm_first=True,
            activation="gelu",
            dropout=0.0,
            causal=True,
            cross_attention=True,
            memory_efficient=True,
            bias_proj=False,
            bias_ff=False,
            bias_attn=False,
            weight_init="gaussian",
            depthwise_init="current",
            zero_bias_init=True,
            cfg_coef=3.0,
        )
    lm = lm.to(device, dtype).eval()

    def generate(clips: int, frames: int, text: int) -> torch.Tensor:
        states[:] = [torch.randn(1, text, hidden, device=device, dtype=dtype)]
        conditions = [ConditioningAttributes(text={"description": "music"}) for _ in range(clips)]
        with stand_ins():  # it imports again while it runs
            codes: torch.Tensor = lm.generate(conditions=conditions, max_gen_len=frames, top_k=250)
        return codes

    return generate
