"""evalkit's generation against transformers' `generate()`, on the same networks of seeded random weights.

    python -m benchmarks.generation [--cases tiny:1:503 stereo-small:32:60] [--repeats 3] [--threads 2]
    python -m benchmarks.generation --device cuda [--parts cases backends] [--sizes stereo-medium]

A case is SIZE:BATCH:STEPS, or SIZE:BATCH:STEPS:FEWER, where generate() takes fewer steps to save time. Both sides run
in one process, on the same captions: evalkit's loop with its keyed noise, and `generate(do_sample=True, top_k=250,
guidance_scale=3)` with whichever of its attentions is fastest. Before that both must choose the same greedy tokens.
Codes are compared here, so audio is decoded by neither. These are the `cases`; the other parts:

whole        from captions to samples, by evalkit and by transformers' text-to-audio pipeline
everything   on a GPU, many clips from prompts to files, with all that a run overlaps
backends     on a GPU, evalkit's kernels against torch's attention, and CUDA graphs against single launches
invariance   on a GPU, which clips are the same in batches of other sizes, see benchmarks/invariance.py

What is measured is written at once to results/benchmarks/, beside what is there; a part that fails leaves the others.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import statistics
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import invariance
from benchmarks.generation_backends import backends
from benchmarks.generation_report import write
from benchmarks.generation_sides import (
    RESULTS,
    TRIED,
    check,
    forget,
    generated,
    measured,
    network_of,
    planned,
    prompts_of,
    sampling_of,
    tiny_model,
    turns,
)
from benchmarks.generation_whole import everything, whole
from benchmarks.roofline import Machine, floor, measure
from evalkit.decoding.model import Model
from evalkit.models.musicgen import runner
from evalkit.precision import fixed_precision
from evalkit.settings import Dtype, Engine, Sampling
from evalkit.store import provenance
from evalkit.types import Prompt

PARTS = {"cpu": ["cases", "whole"], "cuda": ["cases", "whole", "everything", "backends", "invariance"]}
PUBLISHED = ("stereo-medium", "stereo-small", "stereo-large")
CASES = {
    "cpu": ["tiny:1:503", "stereo-small:1:200", "stereo-small:8:120", "stereo-small:32:72"],
    # generate() needs 10 to 17 s for 503 steps whatever the batch: all of them where the goals are judged
    "cuda": [
        f"{size}:{batch}:503:{fewer if size == 'stereo-medium' else min(fewer, 256)}"
        for size in PUBLISHED
        for batch, fewer in ((1, 64), (8, 128), (64, 503), (128, 503))
    ],
}
WHOLE = {"cpu": "stereo-small:8:103", "cuda": "stereo-medium:64:503"}
BACKENDS = [f"stereo-medium:{batch}:256" for batch in (8, 64, 128)]
BARS = {
    "cpu": {"tiny:1": 1.8, "stereo-small:1": 1.0, "stereo-small:8": 1.0, "stereo-small:32": 1.7},
    "cuda": {f"{size}:{batch}": bar for size in PUBLISHED for batch, bar in ((8, 3.0), (64, 3.0), (128, 2.5))},
}
CHECKED = 12  # steps whose greedy tokens are compared
FULL = 503  # steps of a 10-s clip
TAIL = 3  # frames, the largest delay


@dataclass(frozen=True)
class Case:
    """What is timed; `fewer` are the steps of generate()."""

    size: str
    batch: int
    steps: int
    fewer: int

    @classmethod
    def parse(cls, text: str) -> Case:
        size, batch, steps, *fewer = text.split(":")
        return cls(size, int(batch), int(steps), int(fewer[0] if fewer else steps))

    @property
    def name(self) -> str:
        return f"{self.size}:{self.batch}"


def faster_attention(model: Model, prompts: Sequence[Prompt], steps: int) -> dict[str, float]:
    """Seconds of generate() per attention of the decoder that it can use; leaves it set to the fastest."""
    from transformers.utils import is_flash_attn_2_available

    tried = ["sdpa", "eager"]
    if model.engine.device != "cpu" and is_flash_attn_2_available():
        tried.append("flash_attention_2")
    seconds: dict[str, float] = {}
    for name in tried * 2:
        try:
            model.network.decoder.set_attn_implementation(name)
            _, run = measured(model, lambda: generated(model, prompts, steps))
        except (ImportError, ValueError, RuntimeError) as error:
            if name != "flash_attention_2":  # a package of others, which may be there and not fit
                raise
            print("generate() cannot use", name, error, flush=True)
        else:
            seconds[name] = min(seconds.get(name, run["seconds"]), run["seconds"])
    model.network.decoder.set_attn_implementation(min(seconds, key=seconds.__getitem__))
    return seconds


def compare(
    model: Model, case: Case, prompts: Sequence[Prompt], repeats: int, machine: Machine
) -> tuple[dict[str, Any], list[dict[str, np.ndarray]]]:
    """Run both sides. Returns the figures, and evalkit's codes of each repetition by prompt id.

    A side that runs out of memory has no figures, and where greedy tokens differ, it is said among them.
    """
    device, sampling = model.engine.device, sampling_of(model, case.steps)
    cpu, first = device == "cpu", prompts[: case.batch]
    attention = faster_attention(model, first, TRIED)
    equal: dict[str, Any]
    try:
        equal = check(model, first, CHECKED)
    except SystemExit as error:
        equal = {"steps": CHECKED, "clips": case.batch, "failed": str(error)}

    def ours(batch: Sequence[Prompt], seconds: Sampling = sampling) -> list[Any]:
        if cpu:
            forget(model)  # else only the first run's memory would grow
        return model.codes(batch, seconds, case.batch)

    steps = {"evalkit": case.steps, "transformers": case.fewer}
    run_of: dict[str, Callable[[Sequence[Prompt]], Any]] = {
        "evalkit": ours,
        "transformers": lambda batch: generated(model, batch, case.fewer),
    }
    plan = planned(model, sampling, first)
    peaks: dict[str, list[dict[str, Any]]] = {side: [] for side in steps}
    failed: dict[str, str] = {}
    runs: list[dict[str, Any]] = [{} for _ in range(repeats)]
    codes = []
    for i, side in [(-1, "evalkit"), *turns(list(steps), repeats, device)]:
        if side in failed:
            continue
        batch = prompts[max(i, 0) : max(i, 0) + case.batch]
        if not cpu and side == "transformers":
            forget(model)
        try:
            if i < 0:  # recorded graphs belong to a length: on a GPU all of it is warmed up
                result, run = measured(model, lambda: ours(first, sampling_of(model, TRIED) if cpu else sampling))
            else:
                result, run = measured(model, lambda: run_of[side](batch))  # noqa: B023
        except torch.OutOfMemoryError:
            failed[side] = "out of memory"
            continue
        peaks[side].append(run)
        if i < 0:
            continue
        runs[i][side] = {"ms_per_step": 1000 * (run["seconds"] - run["text"]) / steps[side], "text": run["text"]}
        if side == "evalkit":
            codes.append({prompt.id: one for prompt, one in zip(batch, result, strict=True)})
        print(case.name, side, round(runs[i][side]["ms_per_step"], 2), "ms/step", flush=True)
    forget(model)
    lengths = [len(model.tokenizer(prompt.text).input_ids) for prompt in prompts[: case.batch + repeats - 1]]
    size = model.loop.decoder.tables.element_size()

    def least(side: str) -> dict[str, float]:
        return floor(
            model.network.config.decoder, case.batch, statistics.mean(lengths), steps[side], size, machine
        )  # fmt: skip

    found: dict[str, Any] = {
        **{"steps": case.steps, "fewer_steps": case.fewer, "greedy": equal, "attention": attention, "runs": runs},
        **{"floor": least("evalkit"), "facts": model.facts(), "planned": plan},
    }
    for side in steps:
        if side in failed:
            found[side] = {"failed": failed[side]}
            continue
        times, text = [run[side]["ms_per_step"] for run in runs], min(run[side]["text"] for run in runs)
        found[side] = {
            "ms_per_step": min(times),
            "median": statistics.median(times),
            "text": text,
            "clips_per_second": case.batch / (text + FULL * min(times) / 1000),
            "peak": max(run["peak"] for run in peaks[side]),
            "reserved": max(run.get("reserved", 0) for run in peaks[side]),
            "share_of_floor": 1000 * least(side)["seconds"] / min(times),
        }
    found["ratio"] = None if failed else ratio(runs, cpu)
    return found, codes


def ratio(runs: Sequence[dict[str, Any]], pairs: bool) -> float:
    """How many times as fast evalkit is: the median of pairs where sides ran in turns, else of the least times."""
    theirs, ours = ([run[side]["ms_per_step"] for run in runs] for side in ("transformers", "evalkit"))
    return statistics.median(t / o for t, o in zip(theirs, ours, strict=True)) if pairs else min(theirs) / min(ours)


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


@contextlib.contextmanager
def noted(failures: list[str], what: str) -> Iterator[None]:
    """Go on after a part that fails, and note it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        failures.append(f"{what}: {str(error) or type(error).__name__}".splitlines()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", help="of the language model; float32 on a CPU, float16 on a GPU")
    parser.add_argument("--parts", nargs="*", choices=PARTS["cuda"], help="what is measured; all but the GPU's own")
    parser.add_argument("--cases", nargs="*", help="SIZE:BATCH:STEPS, where SIZE is tiny, [stereo-]small, medium, …")
    parser.add_argument("--sizes", nargs="*", help="of the cases, only those of these sizes")
    parser.add_argument("--backends", nargs="*", default=BACKENDS, help="cases of the part of that name, of one size")
    parser.add_argument("--repeats", type=int, help="of each case; 3 on a CPU, 2 on a GPU")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch, on both sides")
    parser.add_argument("--whole", help="the case from captions to samples, and the size of everything; - for none")
    parser.add_argument("--clips", type=int, default=512, help="of everything")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each of these clips")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    kind = torch.device(options.device).type
    options.dtype = options.dtype or ("float32" if kind == "cpu" else "float16")
    options.parts = options.parts or PARTS[kind]
    options.repeats = options.repeats or (3 if kind == "cpu" else 2)
    torch.set_num_threads(options.threads)
    with fixed_precision():
        failures = measure_all(options, kind)
    if failures:
        raise SystemExit("\n".join(["failed:", *failures]))


def measure_all(options: argparse.Namespace, kind: str) -> list[str]:
    """Measure what is asked for, size by size, and record it. Returns what failed, and why."""
    parts = set(options.parts)
    cases = [Case.parse(text) for text in (CASES[kind] if options.cases is None else options.cases)]
    cases = [case for case in cases if "cases" in parts and case.size in (options.sizes or [case.size])]
    last = Case.parse(options.whole or WHOLE[kind]) if options.whole != "-" else None
    last = last if parts & {"whole", "everything"} else None
    variants = [Case.parse(text) for text in options.backends] if "backends" in parts else []
    load = os.getloadavg()[0]
    machine = measure(options.device, getattr(torch, options.dtype))
    engine = Engine(device=options.device, dtype=Dtype(options.dtype))
    tiny = tiny_model()
    tokenizer = tiny.tokenizer
    together = [case.batch for case in [*cases, *variants, *([last] if last else [])]]
    clips = options.clips if last and "everything" in parts else 0
    prompts = prompts_of(tokenizer, max([clips, *together], default=0) + 3 * options.repeats)
    failures: list[str] = []

    def record(**found: Any) -> None:
        about_ = about(options, machine, load)
        write(options.output / f"generation_{kind}.json", {**about_, **found})

    for size in dict.fromkeys(case.size for case in [*cases, *([last] if last else []), *variants]):
        network = tiny.network if size == "tiny" else network_of(size, options.device)
        model = runner(size, network, tokenizer, engine)
        codes: dict[int, list[dict[str, np.ndarray]]] = {}
        for case in [case for case in cases if case.size == size]:
            repeats = options.repeats * (3 if size == "tiny" and kind == "cpu" else 1)  # which takes seconds
            with noted(failures, case.name):
                figures, codes[case.batch] = compare(model, case, prompts, repeats, machine)
                record(cases={case.name: figures | {"bar": BARS[kind].get(case.name)}})
                if "failed" in figures["greedy"]:
                    failures.append(f"{case.name}: {figures['greedy']['failed']}")
            if case.batch not in codes:
                record(cases={case.name: {"failed": failures[-1].removeprefix(f"{case.name}: ")}})
            forget(model)
        record(identical={size: identical(codes)})
        if last and last.size == size and "whole" in parts:
            with noted(failures, "from captions to samples"):
                record(whole=whole(model, last, prompts, min(2, options.repeats)))
            forget(model)
        if last and last.size == size and "everything" in parts:
            with noted(failures, "everything"):
                record(everything={"size": size} | everything(model, prompts[:clips], options.seconds))
            forget(model)
        chosen = [(case.batch, case.steps) for case in variants if case.size == size]
        if chosen:
            with noted(failures, "backends"):
                record(backends={"size": size, "rows": backends(model, chosen, prompts)})
        del model, network
        if kind == "cuda":
            torch.cuda.empty_cache()
    if "invariance" in parts:
        with noted(failures, "invariance"):
            record(invariance=invariance.settings_apart(options.device, options.dtype))
    return failures


if __name__ == "__main__":
    main()
