"""evalkit's generation against transformers' `generate()`, on the same networks of seeded random weights.

    python -m benchmarks.generation [--cases tiny:1:503 stereo-small:32:60] [--repeats 3] [--threads 2]
    python -m benchmarks.generation --device cuda

A case is SIZE:BATCH:STEPS. Both sides run in turns in one process, on the same captions: evalkit's loop with its keyed
noise, and `generate(do_sample=True, top_k=250, guidance_scale=3)` with whichever of its attentions is faster. Before
that both must choose the same greedy tokens. Codes are compared here, so audio is decoded by neither; `--whole` is the
case in which it is, by evalkit and by transformers' text-to-audio pipeline. Results go to results/benchmarks/.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.audiocraft_lm import language_model
from benchmarks.generation_report import write
from benchmarks.generation_sides import (
    check,
    forget,
    generated,
    measured,
    network_of,
    prompts_of,
    text_in_the_decoders_precision,
)
from benchmarks.roofline import Machine, floor, measure
from evalkit.audio import encode_flac
from evalkit.checkpoints.transformers import quiet_transformers
from evalkit.decoding.model import Model
from evalkit.decoding.sampler import Sampler
from evalkit.generation.clips import clips_of
from evalkit.models.musicgen import runner
from evalkit.models.tiny import TinyStereo
from evalkit.settings import Dtype, Engine, Sampling
from evalkit.store import provenance
from evalkit.store.cache import Cache
from evalkit.store.files import write_bytes
from evalkit.types import Prompt

ROOT = Path(__file__).parent.parent
CASES = {
    "cpu": ["tiny:1:503", "stereo-small:1:200", "stereo-small:8:120", "stereo-small:32:72"],
    "cuda": [f"stereo-medium:{batch}:503" for batch in (1, 8, 64, 128)],
}
WHOLE = {"cpu": "stereo-small:8:103", "cuda": "stereo-medium:64:503"}
BARS = {
    "cpu": {"tiny:1": 1.8, "stereo-small:1": 1.0, "stereo-small:8": 1.0, "stereo-small:32": 1.7},
    "cuda": {"stereo-medium:8": 3.0, "stereo-medium:64": 3.0, "stereo-medium:128": 2.0},
}
CHECKED = 12  # steps whose greedy tokens are compared
TRIED = 8  # steps of the trial that chooses generate()'s attention
FULL = 503  # steps of a 10-s clip
TAIL = 3  # frames, the largest delay


@dataclass(frozen=True)
class Case:
    size: str
    batch: int
    steps: int

    @classmethod
    def parse(cls, text: str) -> Case:
        size, batch, steps = text.split(":")
        return cls(size, int(batch), int(steps))

    @property
    def name(self) -> str:
        return f"{self.size}:{self.batch}"


def sampling_of(model: Model, steps: int) -> Sampling:
    """Clips that take so many steps."""
    return Sampling(duration=(steps - max(model.delays)) * model.codec.hop / model.codec.rate)


def faster_attention(model: Model, prompts: Sequence[Prompt], steps: int) -> dict[str, float]:
    """Seconds of generate() per attention of the decoder; leaves it set to the fastest."""
    seconds: dict[str, float] = {}
    for _ in range(2):
        for name in ("sdpa", "eager"):
            model.network.decoder.set_attn_implementation(name)
            _, run = measured(model, lambda: generated(model, prompts, steps))
            seconds[name] = min(seconds.get(name, run["seconds"]), run["seconds"])
    model.network.decoder.set_attn_implementation(min(seconds, key=seconds.__getitem__))
    return seconds


def compare(
    model: Model, case: Case, prompts: Sequence[Prompt], repeats: int, machine: Machine
) -> tuple[dict[str, Any], list[dict[str, np.ndarray]]]:
    """Run both sides in turns. Returns the figures, and evalkit's codes of each repetition by prompt id."""
    sampling, cpu = sampling_of(model, case.steps), model.engine.device == "cpu"
    first = prompts[: case.batch]
    attention = faster_attention(model, first, TRIED)
    equal = check(model, first, CHECKED)

    def ours(batch: Sequence[Prompt], seconds: Sampling = sampling) -> list[Any]:
        if cpu:
            forget(model)  # else only the first run's memory would grow
        return model.codes(batch, seconds, case.batch)

    # recorded graphs belong to a length: on a GPU all of it is warmed up
    _, warm = measured(model, lambda: ours(first, sampling_of(model, TRIED) if cpu else sampling))
    peaks: dict[str, list[int]] = {"evalkit": [warm["peak"]], "transformers": []}
    runs, codes = [], []
    for repeat in range(repeats):
        batch = prompts[repeat : repeat + case.batch]
        sides = {"evalkit": lambda: ours(batch), "transformers": lambda: generated(model, batch, case.steps)}  # noqa: B023
        row: dict[str, Any] = {}
        for side in sorted(sides, reverse=repeat % 2 == 1):
            result, run = measured(model, sides[side])
            row[side] = {"ms_per_step": 1000 * (run["seconds"] - run["text"]) / case.steps, "text": run["text"]}
            peaks[side].append(run["peak"])
            if side == "evalkit":
                codes.append({prompt.id: one for prompt, one in zip(batch, result, strict=True)})
        runs.append(row)
        print(case.name, {side: round(row[side]["ms_per_step"], 2) for side in row}, flush=True)
    if not cpu:
        forget(model)
    lengths = [len(model.tokenizer(prompt.text).input_ids) for prompt in prompts[: case.batch + repeats - 1]]
    size = model.loop.decoder.tables.element_size()
    least = floor(model.network.config.decoder, case.batch, statistics.mean(lengths), case.steps, size, machine)
    found: dict[str, Any] = {"steps": case.steps, "greedy": equal, "attention": attention, "runs": runs, "floor": least}
    found["ratio"] = statistics.median(r["transformers"]["ms_per_step"] / r["evalkit"]["ms_per_step"] for r in runs)
    for side in ("evalkit", "transformers"):
        times, text = [run[side]["ms_per_step"] for run in runs], min(run[side]["text"] for run in runs)
        found[side] = {
            "ms_per_step": min(times),
            "median": statistics.median(times),
            "text": text,
            "clips_per_second": case.batch / (text + FULL * min(times) / 1000),
            "peak": max(peaks[side]),
            "share_of_floor": 1000 * least["seconds"] / min(times),
        }
    return found, codes


def identical(codes: dict[int, list[dict[str, np.ndarray]]]) -> list[dict[str, Any]]:
    """The share of equal tokens of clips that were made in batches of different sizes, or with other neighbours."""
    rows = []
    for small in codes:
        for large in codes:
            if large < small:
                continue
            left, right = codes[small], codes[large]
            if small == large:
                left, right = left[:1], right[1:2]
            made, again = ({key: one for batch in side for key, one in batch.items()} for side in (left, right))
            both = sorted(made.keys() & again.keys(), key=int)
            if not both:
                continue
            # the last codebooks of a clip end later than the first, whose tokens they no longer see
            frames = min(made[both[0]].shape[1], again[both[0]].shape[1]) - TAIL
            same = [made[key][:, :frames] == again[key][:, :frames] for key in both]
            rows.append(
                {
                    "batches": [small, large],
                    "clips": len(both),
                    "frames": frames,
                    "tokens": float(np.mean(same)),
                    "whole_clips": float(np.mean([one.all() for one in same])),
                }
            )
    return rows


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
    runs = []
    for repeat in range(repeats):
        sides = {"evalkit": ours, "transformers": theirs}
        row, samples = {}, {}
        for side in sorted(sides, reverse=repeat % 2 == 1):
            result, run = measured(model, sides[side])
            row[side] = run["seconds"]
            samples[side] = [np.asarray(c.samples if side == "evalkit" else c["audio"]).shape[-1] for c in result]
        assert samples["evalkit"] == samples["transformers"]
        runs.append(row)
        print("from captions to samples", case.name, {side: round(s, 1) for side, s in row.items()}, flush=True)
    model.network.generation_config = kept
    found = {"case": case.name, "steps": case.steps, "runs": runs, "stages": stages(model, case, batch)}
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
    assert all(clip.ok for clip in clips)
    return {"clips": len(clips), "batch": size, "clip_seconds": seconds, "seconds": total}


def about(options: argparse.Namespace, machine: Machine, load: float) -> dict[str, Any]:
    cpus = [l.split(":")[1].strip() for l in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in l]  # noqa: E741
    names = {"cpu": f"{cpus[0]}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"}
    if options.device != "cpu":
        names["gpu"] = torch.cuda.get_device_name(options.device)
    versions = {name: provenance.versions()[name] for name in ("evalkit", "torch", "transformers", "numpy")}
    return {
        "date": datetime.date.today().isoformat(),
        "device": options.device,
        "dtype": options.dtype,
        "threads": torch.get_num_threads(),
        "machine": {**names, "python": platform.python_version(), "versions": versions},
        "bandwidth": machine.bandwidth,
        "rate": machine.rate,
        "load": [load, os.getloadavg()[0]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", help="of the language model; float32 on a CPU, float16 on a GPU")
    parser.add_argument("--cases", nargs="*", help="SIZE:BATCH:STEPS, where SIZE is tiny, [stereo-]small, medium, …")
    parser.add_argument("--repeats", type=int, default=3, help="of each case, both sides in turns")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch, on both sides")
    parser.add_argument("--whole", help="the case from captions to samples; - for none")
    parser.add_argument("--clips", type=int, help="10-s clips from prompts to files; 512 on a GPU, none on a CPU")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "benchmarks")
    options = parser.parse_args()
    kind = torch.device(options.device).type
    options.dtype = options.dtype or ("float32" if kind == "cpu" else "float16")
    cases = [Case.parse(text) for text in (CASES[kind] if options.cases is None else options.cases)]
    last = None if options.whole == "-" else Case.parse(options.whole or WHOLE[kind])
    clips = options.clips if options.clips is not None else {"cuda": 512}.get(kind, 0)
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    machine = measure(options.device, getattr(torch, options.dtype))
    engine = Engine(device=options.device, dtype=Dtype(options.dtype))
    with tempfile.TemporaryDirectory(prefix="evalkit-benchmark-") as folder:
        tiny = TinyStereo().load(Cache(Path(folder)), engine)
    prompts = prompts_of(
        tiny.tokenizer, max([c.batch for c in cases] + [clips, last.batch if last else 0]) + 3 * options.repeats
    )
    found: dict[str, Any] = {"cases": {}, "identical": {}}
    for size in dict.fromkeys(case.size for case in [*cases, *([last] if last else [])]):
        model = tiny if size == "tiny" else runner(size, network_of(size), tiny.tokenizer, engine)
        codes: dict[int, list[dict[str, np.ndarray]]] = {}
        for case in [case for case in cases if case.size == size]:
            repeats = options.repeats * (3 if size == "tiny" else 1)  # which takes seconds
            figures, codes[case.batch] = compare(model, case, prompts, repeats, machine)
            found["cases"][case.name] = figures | {"bar": BARS[kind].get(case.name)}
        found["identical"][size] = identical(codes)
        if last and last.size == size:
            found["whole"] = whole(model, last, prompts, min(2, options.repeats))
            if clips:
                found["everything"] = {"size": size} | everything(model, prompts[:clips], 10.0)
        del model
    write(options.output / f"generation_{kind}.json", {**about(options, machine, load), **found})


if __name__ == "__main__":
    main()
