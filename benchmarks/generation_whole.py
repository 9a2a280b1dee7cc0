"""All of generation, from captions to samples and to files: evalkit, and transformers' text-to-audio pipeline."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.audiocraft_lm import language_model
from benchmarks.generation_sides import (
    TRIED,
    forget,
    measured,
    sampling_of,
    text_in_the_decoders_precision,
    turns,
)
from evalkit.audio import encode_flac
from evalkit.checkpoints.transformers import quiet_transformers
from evalkit.decoding.model import Model
from evalkit.decoding.sampler import Sampler
from evalkit.generation.clips import clips_of
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.files import write_bytes
from evalkit.types import Prompt

if TYPE_CHECKING:
    from benchmarks.generation import Case


def whole(model: Model, case: Case, prompts: Sequence[Prompt], repeats: int) -> dict[str, Any]:
    """From captions to samples: evalkit against the text-to-audio pipeline, and where evalkit's time goes."""
    from transformers import TextToAudioPipeline

    batch, sampling, device = prompts[: case.batch], sampling_of(model, case.steps), model.engine.device
    kept = model.network.generation_config
    pipeline = TextToAudioPipeline(
        model=model.network, tokenizer=model.tokenizer, device=torch.device(device), sampling_rate=model.codec.rate
    )
    options = {"do_sample": True, "top_k": 250, "guidance_scale": 3.0, "max_new_tokens": case.steps}

    def theirs() -> Any:
        with text_in_the_decoders_precision(model), quiet_transformers(), torch.inference_mode():
            return pipeline([p.text for p in batch], batch_size=case.batch, generate_kwargs=options)

    def ours() -> Any:
        return model.audio(model.codes(batch, sampling, case.batch), sampling)

    if device != "cpu":
        ours()  # records the graphs
    sides = {"evalkit": ours, "transformers": theirs}
    runs: list[dict[str, float]] = [{} for _ in range(repeats)]
    samples = set()
    for repeat, side in turns(list(sides), repeats, device):
        if device != "cpu" and side == "transformers":
            forget(model)
        result, run = measured(model, sides[side])
        runs[repeat][side] = run["seconds"]
        samples |= {np.asarray(c.samples if side == "evalkit" else c["audio"]).shape[-1] for c in result}
        print("from captions to samples", case.name, side, round(run["seconds"], 1), "s", flush=True)
    assert len(samples) == 1, samples
    model.network.generation_config = kept
    if device != "cpu":
        model.codes(batch, sampling, case.batch)  # its graphs were forgotten
    found = {"case": case.name, "steps": case.steps, "runs": runs, "stages": stages(model, case, batch)}
    forget(model)
    found["ratio"] = statistics.median(run["transformers"] / run["evalkit"] for run in runs)
    found["audiocraft"] = audiocraft(model, case, batch)
    return found


def audiocraft(model: Model, case: Case, batch: Sequence[Prompt]) -> float | str:
    """Milliseconds per step of audiocraft's own language model, or why it did not run."""
    generate = language_model(model.network.config.decoder, model.engine.device, model.loop.decoder.dtype)
    if isinstance(generate, str):
        return generate
    text = max(len(model.tokenizer(prompt.text).input_ids) for prompt in batch)
    generate(case.batch, TRIED, text)
    _, run = measured(model, lambda: generate(case.batch, case.steps - max(model.delays), text))
    return 1000 * float(run["seconds"]) / case.steps


def stages(model: Model, case: Case, batch: Sequence[Prompt]) -> dict[str, float | None]:
    """Seconds of evalkit per stage, of one batch; what is sampled within a CUDA graph has no time of its own."""
    sampling, cpu = sampling_of(model, case.steps), model.engine.device == "cpu"
    sampler, sampled = Sampler.__call__, 0.0

    def timed(self: Sampler, *arguments: Any) -> torch.Tensor:
        nonlocal sampled
        started = time.perf_counter()
        chosen = sampler(self, *arguments)
        sampled += time.perf_counter() - started
        return chosen

    with patch.object(Sampler, "__call__", timed):
        codes, tokens = measured(model, lambda: model.codes(batch, sampling, case.batch))
    clips, codec = measured(model, lambda: model.audio(codes, sampling))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for i, clip in enumerate(clips):
            write_bytes(Path(folder) / f"{i}.flac", encode_flac(clip))
        writing = time.perf_counter() - started
    return {
        "text": tokens["text"],
        "decoder": tokens["seconds"] - tokens["text"] - (sampled if cpu else 0),
        "noise and sampling": sampled if cpu else None,
        "codec": codec["seconds"],
        "writing": writing,
    }


@dataclass(frozen=True)
class Loaded:
    """A model that is in memory already, as `clips_of` takes one."""

    model: Model

    def identity(self, cache: Cache) -> str:
        return "benchmark"

    def load(self, cache: Cache, engine: Engine) -> Model:
        return self.model


def everything(model: Model, prompts: Sequence[Prompt], seconds: float) -> dict[str, float]:
    """Seconds from prompts to stored clips, with all that overlaps, in batches as large as evalkit chooses."""
    sampling = Sampling(duration=seconds)
    size = model.batch_size(sampling, prompts).rows
    if model.engine.device != "cpu":
        model.codes(prompts[:size], sampling, size)  # records the graphs, of which many batches share one
    with tempfile.TemporaryDirectory() as folder, patch.object(model.engine, "batch_size", size):
        started = time.perf_counter()
        clips = clips_of(Loaded(model), prompts, sampling, Cache(Path(folder)), model.engine, "benchmark")
        total = time.perf_counter() - started
    forget(model)
    assert all(clip.ok for clip in clips)
    return {"clips": len(clips), "batch": size, "clip_seconds": seconds, "seconds": total}
