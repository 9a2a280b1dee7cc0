"""Which clips are the same, bit for bit, in batches of 8, 64 and 128, with settings that ask cuBLAS for it and without.

    python -m benchmarks.invariance --device cuda [--batches 8 64 128] [--clips 64] [--settings usual invariant]

A clip's tokens depend on the batch size only through the last bits of matrix products, which cuBLAS adds in an order
that it chooses by their shape. The settings are those of vLLM's batch-invariant mode on Hopper: small workspaces, in
which no product can be split along its sum, cublasLt preferred, and no reduced-precision reductions. cuBLAS reads them
when it is first used, so each is measured in a process of its own. The same batch is also made twice in a row, which
must give the same clips. The figures go beside those of `benchmarks.generation`, of which this is a part on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.generation_report import write
from benchmarks.generation_sides import RESULTS, TIE, forget, measured, network_of, prompts_of, sampling_of, tiny_model
from evalkit import precision
from evalkit.decoding.model import Model
from evalkit.models.musicgen import runner
from evalkit.settings import Dtype, Engine

SETTINGS = {
    "usual": {},
    "invariant": {"CUBLAS_WORKSPACE_CONFIG": ":16:8", "CUBLASLT_WORKSPACE_SIZE": "1"},
}
LIMIT = 300  # seconds of one setting
Codes = dict[int, np.ndarray]


def settings_apart(device: str, dtype: str, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Measure each setting in a process of its own. Raises SystemExit with what it said if one fails."""
    found = {}
    for name, variables in SETTINGS.items():
        command = [sys.executable, "-m", "benchmarks.invariance", "--device", device, "--dtype", dtype, *arguments]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CUBLAS")} | variables
        made = subprocess.run(
            [*command, "--settings", name], env=environment, capture_output=True, text=True, timeout=LIMIT
        )  # fmt: skip
        if made.returncode:
            raise SystemExit(f"invariance, {name} settings: {(made.stderr or made.stdout)[-2000:]}")
        found[name] = json.loads(made.stdout.splitlines()[-1])[name]
        print("invariance", name, found[name], flush=True)
    return found


def prefer_invariance(stack: ExitStack) -> None:
    """Set what no variable of the environment does, until the stack is closed."""
    if torch.cuda.is_available():
        preferred = torch.backends.cuda.preferred_blas_library()
        stack.callback(torch.backends.cuda.preferred_blas_library, preferred)
        torch.backends.cuda.preferred_blas_library("cublaslt")
    stack.enter_context(patch.object(precision, "SPLIT_SUMS", False))


def measure(model: Model, batches: Sequence[int], clips: int, steps: int) -> dict[str, Any]:
    """Make clips in batches of each size, and compare."""
    tokenizer, sampling = model.tokenizer, sampling_of(model, steps)
    prompts = prompts_of(tokenizer, max(clips, *batches))
    made: dict[int, list[np.ndarray | None]] = {}
    times: dict[int, float] = {}
    repeated: dict[int, bool] = {}
    for size in batches:
        codes: list[np.ndarray | None] = []
        seconds = []
        # the first batch warms up, and is made again at the end
        for start in [*range(0, max(clips, size), size), 0]:
            batch = prompts[start : start + size]
            result, run = measured(model, lambda: model.codes(batch, sampling, size))  # noqa: B023
            seconds.append(run["seconds"] - run["text"])
            codes += result
        again, codes = codes[-size:], codes[:-size]
        repeated[size] = all(map(_same, again, codes))
        made[size], times[size] = codes[:clips], 1000 * min(seconds[1:]) / steps
        forget(model)
    pairs = []
    for i, small in enumerate(batches):
        for large in batches[i + 1 :]:
            both = list(zip(made[small], made[large], strict=True))
            tokens = [np.mean(one == other) for one, other in both if one is not None and other is not None]
            same = [_same(one, other) for one, other in both]
            pairs.append({"batches": [small, large], "clips": len(both), "tokens": float(np.mean(tokens))})
            pairs[-1]["whole_clips"] = float(np.mean(same))
    return {
        "size": model.name,
        "facts": model.facts(),
        "steps": steps,
        "ms_per_step": {str(size): ms for size, ms in times.items()},
        "repeated": {str(size): same for size, same in repeated.items()},
        "pairs": pairs,
    }


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is not None and other is not None and bool((one == other).all())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float16", choices=[str(d).removeprefix("torch.") for d in TIE])
    parser.add_argument("--size", default="stereo-medium", help="tiny, [stereo-]small, medium or large")
    parser.add_argument("--batches", nargs="*", type=int, default=[8, 64, 128])
    parser.add_argument("--clips", type=int, default=64, help="that are compared")
    parser.add_argument("--steps", type=int, default=503)
    parser.add_argument("--settings", choices=SETTINGS, help="print those of this process, and record nothing")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not options.settings:
        passed = ["--size", options.size, "--clips", str(options.clips), "--steps", str(options.steps)]
        passed += ["--batches", *map(str, options.batches)]
        found = settings_apart(options.device, options.dtype, passed)
        write(options.output / f"generation_{torch.device(options.device).type}.json", {"invariance": found})
        return
    engine = Engine(device=options.device, dtype=Dtype(options.dtype))
    with ExitStack() as stack:
        if SETTINGS[options.settings]:
            prefer_invariance(stack)
        stack.enter_context(precision.fixed_precision())
        tiny = tiny_model()
        network = tiny.network if options.size == "tiny" else network_of(options.size, options.device)
        model = runner(options.size, network, tiny.tokenizer, engine)
        found = measure(model, options.batches, options.clips, options.steps)
    print(json.dumps({options.settings: found}))


if __name__ == "__main__":
    main()
