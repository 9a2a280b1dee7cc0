"""How long FAD's bootstrap takes: 5,521 clips of 19 windows of 128 numbers, 1,000 resamples.

    python -m benchmarks.bootstrap [--clips 5521] [--resamples 1000] [--before COMMIT]
    python -m benchmarks.bootstrap --wide [--before COMMIT]

evalkit's `resampled_frechet_distances` against the naive loop (for each resample put the drawn clips together, take
their covariances, and scipy's root of their product), of which a few resamples are run and the rest extrapolated; and
against evalkit's own as it was at a commit, in turns. All get the same draws, and the largest relative differences of
their values are recorded. Memory is what the process itself holds at most, less what it held before.

`--wide` measures a resample in 768 and 1,024 dimensions instead, of 100 and of 500 clips of ten windows, made of
independent numbers of which the last spread 60 times less than the first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import threadpoolctl

from benchmarks.scale_stats import most_held
from evalkit.stats.bootstrap import draws
from evalkit.stats.frechet import resampled_frechet_distances

WINDOWS, DIMENSIONS = 19, 128
NAIVE = 3  # resamples


def wide_clips_of(clips: int, dimensions: int, seed: int) -> list[np.ndarray]:
    """Made-up states (10, dimensions), alike within a clip, whose dimensions depend on each other."""
    spread = np.linspace(1, 0.13, dimensions)[:, None] ** 2
    mixing = spread * np.random.default_rng(99).standard_normal((dimensions, dimensions)) / dimensions**0.5
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal((clips, 1, dimensions)), rng.standard_normal((clips, 10, dimensions))
    return list(((common + own + 0.1 * seed) @ mixing).astype(np.float32))


def clips_of(clips: int, seed: int) -> list[np.ndarray]:
    """Made-up embeddings (windows, dimensions) whose windows are alike within a clip."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((DIMENSIONS, DIMENSIONS)) / DIMENSIONS**0.5
    common = rng.standard_normal((clips, 1, DIMENSIONS))
    own = rng.standard_normal((clips, WINDOWS, DIMENSIONS))
    return list(((common + own + 0.1 * seed) @ mixing).astype(np.float32))


Way = Callable[[list[np.ndarray], list[np.ndarray], np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Run:
    """One way's values of all resamples, the time that they took, and the MiB that were held for them at most."""

    values: np.ndarray
    seconds: float
    cpu_seconds: float
    mib: float


def as_it_was(commit: str) -> Way:
    """evalkit's own function at a commit."""
    path = "evalkit/stats/frechet.py"
    source = subprocess.run(["git", "show", f"{commit}:{path}"], check=True, capture_output=True, text=True).stdout
    module = types.ModuleType("before")
    exec(compile(source, f"{commit}:{path}", "exec"), module.__dict__)
    function: Way = module.resampled_frechet_distances
    return function


def run(way: Way, generated: list[np.ndarray], reference: list[np.ndarray], weights: np.ndarray) -> Run:
    """Compute all resamples once."""
    started, used = time.perf_counter(), time.process_time()
    with most_held() as held:
        values = way(generated, reference, weights, weights)
    took = time.perf_counter() - started, time.process_time() - used
    return Run(values, *took, (held[1] - held[0]) / 2**20)


def told(runs: list[Run]) -> dict[str, Any]:
    """What is recorded of the runs of one way."""
    return {
        "seconds": round(min(one.seconds for one in runs), 2),
        "all_seconds": [round(one.seconds, 2) for one in runs],
        "cpu_seconds": round(min(one.cpu_seconds for one in runs), 2),
        "mib_held": round(max(one.mib for one in runs)),
    }


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


def wide(before: str | None) -> list[dict[str, Any]]:
    """Measure a resample of each size, in turns with evalkit's own at a commit."""
    ways: dict[str, Way] = {"now": resampled_frechet_distances} | ({"before": as_it_was(before)} if before else {})
    rows = []
    for clips, dimensions, resamples in ((100, 768, 20), (100, 1024, 20), (500, 768, 56), (500, 1024, 31)):
        sets = wide_clips_of(clips, dimensions, 0), wide_clips_of(clips, dimensions, 1)
        weights = draws(clips, resamples, seed=0)
        runs = {name: run(way, *sets, weights) for name, way in ways.items()}
        row: dict[str, Any] = {"clips": clips, "windows": 10 * clips, "dimensions": dimensions, "resamples": resamples}
        row |= {name: {"cpu_seconds_per_resample": round(one.cpu_seconds / resamples, 3)} for name, one in runs.items()}
        if before:
            ratio = runs["now"].values / runs["before"].values
            row["largest_relative_difference"] = float(np.max(np.abs(ratio - 1)))
        rows.append(row)
    return rows


def main() -> None:
    """Measure, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=5521)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--before", metavar="COMMIT", help="measure evalkit as it was at this commit too")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--wide", action="store_true", help="measure a resample in 768 and 1,024 dimensions instead")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    name = "bootstrap_wide_cpu.json" if arguments.wide else "bootstrap_cpu.json"
    output = arguments.output or Path("results/benchmarks") / name
    if arguments.wide:
        what = "CPU seconds of a resample of FAD where dimensions are many"
        write({"what": what, "before": arguments.before, "sizes": wide(arguments.before)}, output)
        return
    generated, reference = clips_of(arguments.clips, 0), clips_of(arguments.clips, 1)
    weights = draws(arguments.clips, arguments.resamples, seed=0)
    ways: dict[str, Way] = {"now": resampled_frechet_distances}
    if arguments.before:
        ways["before"] = as_it_was(arguments.before)
    found: dict[str, list[Run]] = {name: [] for name in ways}
    for turn in range(arguments.turns):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            found[name].append(run(ways[name], generated, reference, weights))
    values = found["now"][-1].values
    started = time.perf_counter()
    expected = np.array([naive(generated, reference, row) for row in weights[:NAIVE]])
    each = (time.perf_counter() - started) / NAIVE
    record = {
        "what": "seconds of FAD's bootstrap, against the naive loop over resamples",
        "clips": arguments.clips,
        "windows_per_clip": WINDOWS,
        "dimensions": DIMENSIONS,
        "resamples": arguments.resamples,
        **told(found["now"]),
        "naive_seconds_per_resample": round(each, 3),
        "naive_seconds_extrapolated": round(each * arguments.resamples),
        "times_faster": round(each * arguments.resamples / min(one.seconds for one in found["now"])),
        "largest_relative_difference": float(np.max(np.abs(values[:NAIVE] / expected - 1))),
    }
    if arguments.before:
        pairs = list(zip(found["before"], found["now"], strict=True))
        record["before"] = {
            "commit": arguments.before,
            **told(found["before"]),
            "ratio_of_each_turn": [round(before.seconds / now.seconds, 2) for before, now in pairs],
            "median_ratio": round(statistics.median(before.seconds / now.seconds for before, now in pairs), 2),
            "median_ratio_of_cpu": round(statistics.median(b.cpu_seconds / n.cpu_seconds for b, n in pairs), 2),
            "largest_relative_difference": float(np.max(np.abs(values / found["before"][-1].values - 1))),
        }
    write(record, output)


if __name__ == "__main__":
    main()
