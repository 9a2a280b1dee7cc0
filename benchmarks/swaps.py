"""How long FAD's test by swaps takes: 5,521 prompts, two clips of 19 windows of 128 numbers of each, 1,000 swaps.

    python -m benchmarks.swaps [--clips 5521] [--swaps 1000]

Baseline and candidate change places in random prompts, and both FADs are computed each time. evalkit has the clips of
both sides in one list, of which weights choose one per prompt, so that each clip's sums of products are computed once,
and the reference's Gaussian too; the naive loop puts the clips together, takes their covariances, and scipy's root of
their product: a few swaps are run and the rest extrapolated. Both get the same swaps, and the largest relative
difference of their FADs is recorded.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

import numpy as np

from benchmarks.bootstrap import DIMENSIONS, NAIVE, WINDOWS, clips_of, naive, write
from evalkit.stats.frechet import resampled_frechet_distances
from evalkit.stats.permutation import p_value, swaps

Clips = list[np.ndarray]


def both_fads(baseline: Clips, candidate: Clips, reference: Clips, swapped: np.ndarray) -> np.ndarray:
    """The FAD of what stands as the baseline after each swap, and of the candidate, (2, swaps)."""
    chosen = np.hstack([~swapped, swapped]).astype(float)
    weights = np.vstack([chosen, 1 - chosen])
    alike = np.ones((len(weights), len(reference)))
    return resampled_frechet_distances(baseline + candidate, reference, weights, alike).reshape(2, -1)


def naive_fads(baseline: Clips, candidate: Clips, reference: Clips, swapped: np.ndarray) -> list[float]:
    """The two FADs of one swap as the published implementations would compute them."""
    sides = [
        [other if change else own for own, other, change in zip(first, second, swapped, strict=True)]
        for first, second in ((baseline, candidate), (candidate, baseline))
    ]
    return [naive(side, reference, np.ones(len(side))) for side in sides]


def main() -> None:
    """Measure, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=5521)
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/swaps_cpu.json"))
    arguments = parser.parse_args()
    load = os.getloadavg()
    baseline, candidate, reference = (clips_of(arguments.clips, seed) for seed in (0, 2, 1))
    # the first is as it is: no prompt swapped
    swapped = np.vstack([np.zeros(arguments.clips, bool), swaps(arguments.clips, arguments.swaps, seed=0)])
    seconds, cpu = [], []
    for _ in range(3):
        started, used = time.perf_counter(), time.process_time()
        fads = both_fads(baseline, candidate, reference, swapped)
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    expected, naive_seconds = [], []
    for row in swapped[:NAIVE]:
        started = time.perf_counter()
        expected.append(naive_fads(baseline, candidate, reference, row))
        naive_seconds.append(time.perf_counter() - started)
    each = min(naive_seconds)  # the loop at its fastest, as evalkit at its fastest
    observed, *differences = fads[1] - fads[0]
    record = {
        "what": "seconds of FAD's test by swapping two sides within prompts, against the naive loop over swaps",
        "clips": arguments.clips,
        "windows_per_clip": WINDOWS,
        "dimensions": DIMENSIONS,
        "swaps": arguments.swaps,
        "seconds": round(min(seconds), 2),
        "all_seconds": [round(s, 2) for s in seconds],
        "cpu_seconds": round(min(cpu), 2),
        "peak_memory_gib": round(peak, 2),
        "naive_seconds_per_swap": round(each, 3),
        "all_naive_seconds_per_swap": [round(s, 3) for s in naive_seconds],
        "naive_seconds_extrapolated": round(each * len(swapped)),
        "times_faster": round(each * len(swapped) / min(seconds)),
        "largest_relative_difference": float(np.max(np.abs(fads[:, :NAIVE] / np.transpose(expected) - 1))),
        "difference": float(observed),
        "p": p_value(observed, np.array(differences)),
    }
    write(record, arguments.output, load_before=load)


if __name__ == "__main__":
    main()
