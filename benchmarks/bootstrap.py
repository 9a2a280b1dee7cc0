"""How long FAD's bootstrap takes: 5,521 clips of 19 windows of 128 numbers, 1,000 resamples.

    python -m benchmarks.bootstrap [--clips 5521] [--resamples 1000]

evalkit's `resampled_frechet_distances` against the naive loop (for each resample put the drawn clips together, take
their covariances, and scipy's root of their product), of which a few resamples are run and the rest extrapolated. Both
get the same draws, and the largest relative difference of their values is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import threadpoolctl

from evalkit.stats.bootstrap import draws
from evalkit.stats.frechet import resampled_frechet_distances, resampled_gaussians

WINDOWS, DIMENSIONS = 19, 128
NAIVE = 3  # resamples


def clips_of(clips: int, seed: int) -> list[np.ndarray]:
    """Made-up embeddings (windows, dimensions) whose windows are alike within a clip."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((DIMENSIONS, DIMENSIONS)) / DIMENSIONS**0.5
    common = rng.standard_normal((clips, 1, DIMENSIONS))
    own = rng.standard_normal((clips, WINDOWS, DIMENSIONS))
    return list(((common + own + 0.1 * seed) @ mixing).astype(np.float32))


def naive(generated: list[np.ndarray], reference: list[np.ndarray], weights: np.ndarray) -> float:
    """One resample as the published implementations would compute it."""
    chosen = np.repeat(np.arange(len(weights)), weights.astype(int))
    frames = [np.concatenate([clips[i] for i in chosen]).astype(np.float64) for clips in (generated, reference)]
    (mean1, cov1), (mean2, cov2) = ((x.mean(axis=0), np.cov(x, rowvar=False)) for x in frames)
    root = scipy.linalg.sqrtm(cov1 @ cov2)
    return float(((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * np.trace(root).real)


def write(record: dict[str, Any], output: Path, **machine: Any) -> None:
    """Store what was measured, with the machine and what else is known of it, and print it."""
    about = {
        "cpu_count": os.cpu_count(),
        "blas_threads": [pool["num_threads"] for pool in threadpoolctl.threadpool_info()],
        "platform": platform.platform(),
        **machine,
        "load": os.getloadavg(),
    }
    text = json.dumps(record | {"machine": about}, indent=2)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text + "\n")
    print(text)


def main() -> None:
    """Measure, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=5521)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/bootstrap_cpu.json"))
    arguments = parser.parse_args()
    generated, reference = clips_of(arguments.clips, 0), clips_of(arguments.clips, 1)
    weights = draws(arguments.clips, arguments.resamples, seed=0)
    seconds, cpu = [], []
    for _ in range(3):
        started, used = time.perf_counter(), time.process_time()
        values = resampled_frechet_distances(generated, reference, weights, weights)
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    started = time.perf_counter()
    for _ in resampled_gaussians(generated, weights):
        pass
    sums = 2 * (time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    started = time.perf_counter()
    expected = np.array([naive(generated, reference, row) for row in weights[:NAIVE]])
    each = (time.perf_counter() - started) / NAIVE
    record = {
        "what": "seconds of FAD's bootstrap, against the naive loop over resamples",
        "clips": arguments.clips,
        "windows_per_clip": WINDOWS,
        "dimensions": DIMENSIONS,
        "resamples": arguments.resamples,
        "seconds": round(min(seconds), 2),
        "all_seconds": [round(s, 2) for s in seconds],
        "cpu_seconds": round(min(cpu), 2),
        "seconds_of_means_and_covariances": round(sums, 2),
        "peak_memory_gib": round(peak, 2),
        "naive_seconds_per_resample": round(each, 3),
        "naive_seconds_extrapolated": round(each * arguments.resamples),
        "times_faster": round(each * arguments.resamples / min(seconds)),
        "largest_relative_difference": float(np.max(np.abs(values[:NAIVE] / expected - 1))),
    }
    write(record, arguments.output)


if __name__ == "__main__":
    main()
