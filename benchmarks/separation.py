"""How long HT-Demucs takes for a reference: ten seconds of stereo, with the network's published shape.

    python -m benchmarks.separation [--clips 3] [--device cpu]

The weights are random: the published ones have the same shape (48 channels, 512 in the transformer, segments of 7.8 s,
two of which cover ten seconds) and take as long. Each clip is read, separated and added up as `references=instrumental`
does, one at a time on a CPU; loading is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmarks.interval_coverage import machine

SECONDS = 10.0
SHAPE: dict[str, Any] = {"bottom_channels": 512, "segment": Fraction(39, 5)}


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=3, help="how many are timed after a first one, which is not")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/separation_cpu.json"))
    arguments = parser.parse_args()
    import tempfile

    import numpy as np
    import soundfile
    import torch
    from demucs.htdemucs import HTDemucs

    from evalkit.assets import Asset
    from evalkit.separation import STEMS, Demucs
    from evalkit.settings import Dtype, Engine
    from evalkit.store.cache import Cache
    from evalkit.transforms.instrumental import Instrumental
    from evalkit.types import Clip

    class Shaped(Demucs):
        """The published shape with random weights."""

        def _network(self, cache: Cache) -> HTDemucs:
            return HTDemucs(STEMS, **SHAPE)

    engine = Engine(device=arguments.device, dtype=Dtype.float32)
    times, cpu = [], []
    with tempfile.TemporaryDirectory() as folder:
        path, frames = Path(folder) / "a.wav", round(SECONDS * 44100)
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (frames, 2)), 44100)
        clip = Clip("a", path, frames=frames, sample_rate=44100, channels=2)
        make = Instrumental(Shaped(Asset("HT-Demucs", random_seed=0))).load(Cache(folder), engine)
        load = os.getloadavg()
        for _ in range(arguments.clips + 1):
            started, used = time.perf_counter(), time.process_time()
            make([clip])
            times.append(time.perf_counter() - started)
            cpu.append(time.process_time() - used)
    found = {
        "seconds_of_clip": SECONDS,
        "segment": float(SHAPE["segment"]),
        "parameters": sum(p.numel() for p in HTDemucs(STEMS, **SHAPE).parameters()),
        "seconds": round(statistics.median(times[1:]), 2),
        "cpu_seconds": round(statistics.median(cpu[1:]), 2),
        "clips": arguments.clips,
        "device": arguments.device,
        "torch": torch.__version__,
        "load_before": load[0],
        "machine": machine(),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
