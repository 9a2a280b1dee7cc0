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
from evalkit.models.tiny import TinyStereo, make_audible
from evalkit.prompts.demo import Demo
from evalkit.settings import Dtype, Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.types import Prompt
from evalkit.weights import seeded

RESULTS = Path(__file__).parent.parent / "results" / "benchmarks"
# Copet et al. 2023, section 4.1, and the configurations on the hub: layers, dimensions, heads
SIZES = {"small": (24, 1024, 16), "medium": (48, 1536, 24), "large": (48, 2048, 32)}
TRIED = 8  # steps that warm a side up, or try one of its attentions
TOKENS = (75, 100)  # of a caption: MusicCaps' have about 50 words, and 70 tokens of T5, on average
TIE = {torch.float32: 1e-5, torch.float16: 1e-1, torch.bfloat16: 4e-1}  # of guided logits, whose spread is about 3


def network_of(size: str, device: str = "cpu", seed: int = 0) -> Any:
    """A MusicGen of seeded random weights at the size of a published one, such as "stereo-small" or "medium".

    They are drawn on the device, where billions of numbers take seconds, and in float32.
    """
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
    with seeded(seed), quiet_transformers(), torch.device(device):
        if torch.device(device).type == "cuda":
            torch.cuda.manual_seed(seed)
        network = transformers.MusicgenForConditionalGeneration(config)
        with torch.inference_mode():
            make_audible(network.audio_encoder)
    return network


def tiny_model() -> Model:
    """evalkit's tiny MusicGen on the CPU, whose tokenizer serves all sizes."""
    with tempfile.TemporaryDirectory(prefix="evalkit-benchmark-") as folder:
        return TinyStereo().load(Cache(Path(folder)), Engine(device="cpu", dtype=Dtype.float32))


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


def greedy(model: Model, prompts: Sequence[Prompt], steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """evalkit's greedy tokens (clips, codebooks, frames), and by how much each one led (clips, codebooks, steps)."""
    chosen = Greedy()
    texts = [model.tokenizer(prompt.text).input_ids for prompt in prompts]
    eager = dataclasses.replace(model.loop.backend, graphs=False)
    frames = steps - max(model.delays)
    with torch.inference_mode(), patch.object(model.loop, "backend", eager):
        forget(model)
        conditions = model.conditioner(model.conditioner.encode(texts), [None] * len(texts), True)
        open_ = torch.full((len(prompts), len(model.delays), frames), UNKNOWN, device=model.network.device)
        laid = sequence(open_, model.delays, model.special)
        found = codes_of(model.loop(laid, conditions, chosen), model.delays)  # type: ignore[arg-type]
        forget(model)
    return found, torch.stack(chosen.lead, dim=-1)


def check(model: Model, prompts: Sequence[Prompt], steps: int) -> dict[str, Any]:
    """Compare greedy tokens with generate()'s; raises SystemExit where they differ and no tie excuses it."""
    expected = generated(model, prompts, steps, do_sample=False, top_k=None)
    return {"steps": steps, "clips": len(prompts), "clips_with_a_tie": ties(model, expected, prompts, steps)}


def ties(model: Model, expected: torch.Tensor, prompts: Sequence[Prompt], steps: int) -> int:
    """In how many clips greedy tokens differ from expected ones, each after a tie; raises SystemExit for any other."""
    found, lead = greedy(model, prompts, steps)
    different = 0
    for clip in range(len(prompts)):
        book, frame = (found[clip] != expected[clip]).nonzero(as_tuple=True)
        if not len(book):
            continue
        step = frame + torch.tensor(model.delays, device=frame.device)[book]
        first = step == step.min()  # what follows has another history
        leads = lead[clip, book[first], step[first]]
        if leads.max() >= TIE[model.loop.decoder.dtype]:
            raise SystemExit(f"greedy tokens differ at step {int(step.min())}, where one leads by {leads.max():.1e}")
        different += 1
    return different


def forget(model: Model) -> None:
    """Free what the loop keeps for the next batch of the same shape."""
    model.loop._kept = model._sampler = None
    if model.network.device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def sampling_of(model: Model, steps: int) -> Sampling:
    """Clips that take so many steps."""
    return Sampling(duration=(steps - max(model.delays)) * model.codec.hop / model.codec.rate)


def turns(sides: Sequence[str], repeats: int, device: str) -> list[tuple[int, str]]:
    """In which order sides run, each so many times.

    On a CPU in turns, because the machine may be busy with something else for a while. On a GPU, whose memory does not
    hold the batches of both, one side after the other.
    """
    if device == "cpu":
        return [(i, side) for i in range(repeats) for side in (sides if i % 2 == 0 else reversed(sides))]
    return [(i, side) for side in sides for i in range(repeats)]


def planned(model: Model, sampling: Sampling, prompts: Sequence[Prompt]) -> int | None:
    """The bytes that evalkit reckons a batch to take before it is made; None on a CPU, where nothing is planned."""
    return None if model.engine.device == "cpu" else model.planned(prompts, sampling)


def measured(model: Model, run: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """The result, seconds, those of them in the text encoder, and bytes by which memory in use grew at its peak.

    On a GPU also the bytes that torch had reserved then, weights counted.
    """
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
    found = {"seconds": total, "text": seconds, "peak": _peak(device) - held}
    return result, found if device == "cpu" else {**found, "reserved": torch.cuda.max_memory_reserved(device)}


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
