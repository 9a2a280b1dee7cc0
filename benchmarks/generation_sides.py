"""What evalkit's generation is measured with and against: networks, captions, `generate()`, equal tokens, a watch."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.roofline import synchronize
from evalkit import compat
from evalkit.checkpoints.transformers import quiet_transformers
from evalkit.decoding.model import Model
from evalkit.decoding.pattern import UNKNOWN, codes_of, sequence
from evalkit.models.tiny import make_audible
from evalkit.prompts.demo import Demo
from evalkit.store.cache import Cache
from evalkit.types import Prompt
from evalkit.weights import seeded

# Copet et al. 2023, section 4.1, and the configurations on the hub: layers, dimensions, heads
SIZES = {"small": (24, 1024, 16), "medium": (48, 1536, 24), "large": (48, 2048, 32)}
TOKENS = (75, 100)  # of a caption: MusicCaps' have about 50 words, and 70 tokens of T5, on average
TIE = {torch.float32: 1e-5, torch.float16: 5e-2, torch.bfloat16: 4e-1}  # of guided logits, whose spread is about 3


def network_of(size: str, seed: int = 0) -> Any:
    """A MusicGen of seeded random weights at the size of a published one, such as "stereo-small" or "medium"."""
    compat.prepare()
    import transformers

    stereo = size.startswith("stereo-")
    layers, hidden, heads = SIZES[size.removeprefix("stereo-")]
    config = transformers.MusicgenConfig(
        text_encoder=transformers.T5Config(
            vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12
        ),
        audio_encoder=transformers.EncodecConfig(
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
        decoder=transformers.MusicgenDecoderConfig(
            num_hidden_layers=layers,
            hidden_size=hidden,
            num_attention_heads=heads,
            ffn_dim=4 * hidden,
            num_codebooks=8 if stereo else 4,
            audio_channels=2 if stereo else 1,
        ),
    )
    with seeded(seed), quiet_transformers():
        network = transformers.MusicgenForConditionalGeneration(config)
        with torch.inference_mode():
            make_audible(network.audio_encoder)
    return network


def prompts_of(tokenizer: Any, count: int) -> list[Prompt]:
    """Captions of the demo, one after the other and cut to the lengths of MusicCaps'."""
    with tempfile.TemporaryDirectory() as folder:
        words = " ".join(prompt.text for prompt in Demo().load(Cache(Path(folder))).prompts).split()
    rng = np.random.default_rng(0)
    prompts = []
    for i in range(count):
        start, most = int(rng.integers(len(words))), int(rng.integers(*TOKENS, endpoint=True))
        taken = [words[(start + k) % len(words)] for k in range(most)]
        while len(tokenizer(" ".join(taken)).input_ids) > most:
            taken.pop()
        prompts.append(Prompt(str(i), " ".join(taken)))
    return prompts


def tokens_of(model: Model, prompts: Sequence[Prompt]) -> dict[str, torch.Tensor]:
    texts = [model.tokenizer(prompt.text).input_ids for prompt in prompts]
    tokens = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, text in enumerate(texts):
        tokens[row, : len(text)], mask[row, : len(text)] = torch.tensor(text), 1
    return {"input_ids": tokens.to(model.network.device), "attention_mask": mask.to(model.network.device)}


@contextlib.contextmanager
def text_in_the_decoders_precision(model: Model) -> Iterator[None]:
    """Let generate() take text from a float32 encoder to a decoder of 16 bits, once per batch."""
    dtype = model.network.decoder.lm_heads[0].weight.dtype
    hook = model.network.enc_to_dec_proj.register_forward_hook(lambda _, __, states: states.to(dtype))
    try:
        yield
    finally:
        hook.remove()


def generated(model: Model, prompts: Sequence[Prompt], steps: int, **options: Any) -> torch.Tensor:
    """The codes (clips, codebooks, frames) that transformers' generate() would decode."""
    made: list[torch.Tensor] = []

    def keep(codes: torch.Tensor, *_: Any, **__: Any) -> Any:
        made.append(codes[0])
        return SimpleNamespace(audio_values=codes.new_zeros(len(prompts), 1, 1))

    decode = patch.object(model.network.audio_encoder, "decode", keep)
    with decode, text_in_the_decoders_precision(model), torch.inference_mode(), quiet_transformers():
        model.network.generate(
            **tokens_of(model, prompts), **({"do_sample": True, "top_k": 250} | options),
            guidance_scale=3.0, max_new_tokens=steps,
        )  # fmt: skip
    return torch.stack(made, dim=2).flatten(1, 2) if len(made) == 2 else made[0]


class Greedy:
    """Takes the largest guided logit, and notes by how much it is the largest."""

    def __init__(self) -> None:
        self.lead: list[torch.Tensor] = []

    def __call__(self, logits: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        conditional, unconditional = logits.float()
        largest = (unconditional + (conditional - unconditional) * 3.0).topk(2, dim=-1)
        self.lead.append(largest.values[..., 0] - largest.values[..., 1])
        return largest.indices[..., 0]


def check(model: Model, prompts: Sequence[Prompt], steps: int) -> dict[str, Any]:
    """Compare greedy tokens; raises SystemExit where they differ and no tie excuses it."""
    expected = generated(model, prompts, steps, do_sample=False, top_k=None)
    greedy = Greedy()
    texts = [model.tokenizer(prompt.text).input_ids for prompt in prompts]
    eager = dataclasses.replace(model.loop.backend, graphs=False)
    with torch.inference_mode(), patch.object(model.loop, "backend", eager):
        forget(model)
        conditions = model.conditioner(model.conditioner.encode(texts), [None] * len(texts), True)
        laid = sequence(torch.full_like(expected, UNKNOWN), model.delays, model.special)
        found = codes_of(model.loop(laid, conditions, greedy), model.delays)  # type: ignore[arg-type]
        forget(model)
    lead = torch.stack(greedy.lead, dim=-1)  # (clips, codebooks, steps)
    ties = 0
    for clip in range(len(prompts)):
        book, frame = (found[clip] != expected[clip]).nonzero(as_tuple=True)
        if not len(book):
            continue
        step = frame + torch.tensor(model.delays, device=frame.device)[book]
        first = step == step.min()  # what follows has another history
        leads = lead[clip, book[first], step[first]]
        if leads.max() >= TIE[model.loop.decoder.dtype]:
            raise SystemExit(f"greedy tokens differ at step {int(step.min())}, where one leads by {leads.max():.1e}")
        ties += 1
    return {"steps": steps, "clips": len(prompts), "clips_with_a_tie": ties}


def forget(model: Model) -> None:
    """Free what the loop keeps for the next batch of the same shape."""
    model.loop._kept = model._sampler = None


def measured(model: Model, run: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """The result, seconds, those of them in the text encoder, and bytes by which memory in use grew at its peak."""
    device, seconds, started = model.engine.device, 0.0, 0.0

    def before(*_: Any) -> None:
        nonlocal started
        synchronize(device)
        started = time.perf_counter()

    def after(*_: Any) -> None:
        nonlocal seconds
        synchronize(device)
        seconds += time.perf_counter() - started

    hooks = [model.network.text_encoder.register_forward_pre_hook(before)]
    hooks.append(model.network.text_encoder.register_forward_hook(after))
    held = _start_of_peak(device)
    begin = time.perf_counter()
    try:
        result = run()
        synchronize(device)
        total = time.perf_counter() - begin
    finally:
        for hook in hooks:
            hook.remove()
    return result, {"seconds": total, "text": seconds, "peak": _peak(device) - held}


def _start_of_peak(device: str) -> int:
    """Bytes in use, from which on a peak is sought: of the GPU, or the resident ones of this process on Linux."""
    gc.collect()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak(device: str) -> int:
    return int(torch.cuda.max_memory_allocated(device)) if device != "cpu" else _status("VmHWM")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024
