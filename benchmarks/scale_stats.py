"""How long statistics of very many clips take, and how much memory beside the features: FAD, its resamples, the gate.

    python -m benchmarks.scale_stats [--clips 10000 100000] [--only resamples]

Features are made up, 19 windows of 128 numbers of each clip, and lie in files that are mapped into memory, as those of
the store do. Each statistic runs in a process of its own, from whose files the pages come. Memory is what the process
itself holds at most (RssAnon, sampled every 10 ms), less what it held before; pages of the files are not in it, as the
system takes them away when it needs room. `benchmarks.scale` records `rows`; this prints them. Linux
only.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.interval_coverage import NO_ENCODER
from evalkit.metrics.fad import FAD
from evalkit.metrics.fad_inf import FADInfinity
from evalkit.metrics.kad import KAD
from evalkit.metrics.precision_recall import PrecisionRecall
from evalkit.results.differences import Sets
from evalkit.results.evidence import Side, Writer
from evalkit.results.gate import Gate
from evalkit.stats.bootstrap import resample
from evalkit.stats.permutation import swaps
from evalkit.types import Features, Measured

WINDOWS, DIMENSIONS = 19, 128
NAMES = ("baseline", "candidate", "reference")
RESAMPLES = 1000

Row = dict[str, Any]


def made(folder: Path, clips: int) -> None:
    """Write the features of two models and of references: windows of a clip are alike, and clips of a prompt too."""
    mixing = np.random.default_rng(0).standard_normal((DIMENSIONS, DIMENSIONS)) / DIMENSIONS**0.5
    rng = np.random.default_rng(1)
    shape = clips, WINDOWS, DIMENSIONS
    files = [np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, shape) for name in NAMES]  # type: ignore[no-untyped-call]
    for start in range(0, clips, 1000):
        number = min(1000, clips - start)
        prompt = rng.standard_normal((number, 1, DIMENSIONS), np.float32)
        for shift, file in enumerate(files):
            own = rng.standard_normal((number, 1, DIMENSIONS), np.float32)
            windows = rng.standard_normal((number, WINDOWS, DIMENSIONS), np.float32)
            file[start : start + number] = (0.7 * prompt + 0.7 * own + windows + 0.05 * shift) @ mixing
    for file in files:
        file.flush()


def sides(folder: Path) -> list[Features]:
    """The features as views of their files."""
    files = [np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in NAMES]
    return [Features(tuple(f"{i:07d}" for i in range(len(file))), tuple(file)) for file in files]


def measure(metric: Any, ours: Features, theirs: Features) -> Measured:
    measured: Measured = metric(ours, theirs)
    return measured


def resamples(ours: Features, reference: Features) -> None:
    resampled = measure(FAD(NO_ENCODER), ours, reference).resampled
    assert resampled is not None
    resample(resampled, len(ours.ids), None, RESAMPLES, 0)


def gate(baseline: Features, candidate: Features, reference: Features) -> None:
    """FAD's difference by the jackknife over groups of prompts, and its test by swaps, as in `evalkit compare`."""
    n, rules = len(baseline.ids), Gate({})
    pairs = [(baseline, reference)], [(candidate, reference)]
    sets = Sets(baseline.ids, 0, FAD(NO_ENCODER), *pairs, ([1], [1]), (rules.groups, rules.seed), False)
    sets.of(np.arange(n), np.concatenate([np.zeros((1, n), bool), swaps(n, rules.swaps, rules.seed)]))


def evidence(folder: Path, ours: Features) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as arrays:
        Writer(Path(arrays)).add(Side("encoder", "row", 1, "clips"), ours)


def statistic(name: str, folder: Path) -> Callable[[], Any]:
    """What is measured, by name, on the features in a folder."""
    baseline, candidate, reference = sides(folder)
    return {
        "digest": lambda: baseline.digest(),
        "evidence": lambda: evidence(folder, baseline),
        "value": lambda: measure(FAD(NO_ENCODER), baseline, reference),
        "influences": lambda: measure(FAD(NO_ENCODER), baseline, reference).influence(),  # type: ignore[misc]
        "resamples": lambda: resamples(baseline, reference),
        "infinity": lambda: measure(FADInfinity(NO_ENCODER), baseline, reference),
        "gate": lambda: gate(baseline, candidate, reference),
        "precision": lambda: measure(PrecisionRecall(NO_ENCODER, "precision"), baseline, reference),
        "kad": lambda: measure(KAD(NO_ENCODER), baseline, reference),
    }[name]


TITLES = {
    "digest": "digest of the features",
    "evidence": "evidence: features into the record",
    "value": "FAD: value",
    "influences": "FAD: influence of each clip",
    "resamples": f"FAD: {RESAMPLES:,} resamples",
    "infinity": "FAD∞: value",
    "gate": f"gate: difference of two FADs, {Gate({}).groups} groups left out, {Gate({}).swaps:,} swaps",
    "precision": "precision: value",
    "kad": "KAD: value",
}
QUADRATIC = {"precision": 20_000, "kad": 2_000}  # clips at most: time grows with their square


def held() -> int:
    """Bytes that this process itself holds, without pages of files."""
    status = Path("/proc/self/status").read_text("utf-8")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))


@contextmanager
def most_held() -> Iterator[list[int]]:
    """Sample what this process holds: the list's first item is what it was before, its second the most."""
    found, done = [held(), held()], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            found[1] = max(found[1], held())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        found[1] = max(found[1], held())


def measured_here(name: str, folder: Path) -> Row:
    """Measure one statistic in this process."""
    function = statistic(name, folder)
    started, before = time.perf_counter(), time.process_time()
    with most_held() as bytes_held:
        function()
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - before, 2),
        "mib_beside_features": round((bytes_held[1] - bytes_held[0]) / 2**20),
        "mib_resident": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
    }


def rows(clips: Sequence[int], only: Sequence[str] = ()) -> Iterator[Row]:
    """Measure each statistic at each number of clips, in a process of its own; those of squared cost at few clips."""
    for number in clips:
        with tempfile.TemporaryDirectory() as folder:
            made(Path(folder), number)
            for name in only or TITLES:
                if number > QUADRATIC.get(name, number):
                    continue
                command = [sys.executable, "-m", "benchmarks.scale_stats", "--in", folder, "--only", name]
                found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                yield {"what": name, "title": TITLES[name], "clips": number, **json.loads(found)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--only", nargs="+", choices=TITLES, default=[])
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        print(json.dumps(measured_here(arguments.only[0], arguments.folder)))
        return
    for row in rows(arguments.clips, arguments.only):
        took, holds = f"{row['seconds']:>9} s", f"{row['mib_beside_features']:>7} MiB"
        print(f"{row['clips']:>9,} {row['title']:<70} {took} {holds}", flush=True)


if __name__ == "__main__":
    main()
