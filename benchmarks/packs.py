"""How large a reference pack of all of MusicCaps is, and how long a run takes to read it.

    python -m benchmarks.packs [--references 5521]

A few recordings of 10.03 s, as long as downloads commonly are, are packed as `evalkit references pack` does, with
networks of random weights, whose features have the shapes of published ones. Each then has two parts: the whole, and
the 10 s that are compared with generated clips; a file of exactly 10 s has one. A pack of as many references as asked
for is then written with features of these shapes and seeded random numbers, for two parts of each reference and for
one, and read in a process of its own: opened with its digest checked, and all features taken. The file has just been
written, so that reading does not wait for a disk.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.interval_coverage import machine
from evalkit.config import compose
from evalkit.packing.making import pack_of
from evalkit.packs.pack import Pack, PackedFeatures, Part, write_pack
from evalkit.store.digests import digest

SECONDS = 10.03
RATE = 48000
SMALL = 3  # recordings that are really packed
METRICS = {"default": "[fad,kld,chroma]", "more": "[fad,kld,chroma,kad,fad_clap,fad_passt,precision_recall]"}
READ = """\
import json, re, sys, time
from pathlib import Path
from evalkit.packs.pack import read_pack
started = time.perf_counter()
pack = read_pack(Path(sys.argv[1]))
opened = time.perf_counter()
keys = [part.key for part in pack.parts]
total = sum(float(value[0, 0]) for name in pack.features for value in pack.features_of(name, keys).values())
taken = time.perf_counter()
peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024  # mapped pages too
print(json.dumps({"open_s": opened - started, "take_s": taken - opened, "peak_mb": peak}))
"""


def small(folder: Path, metrics: str) -> Pack:
    """Pack a few recordings of noise."""
    clips = folder / "clips"
    clips.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    rows = ["id,text"]
    for number in range(SMALL):
        soundfile.write(clips / f"{number}.flac", rng.normal(0, 0.1, (round(SECONDS * RATE), 2)), RATE)
        rows.append(f"{number},a piece of noise")
    (folder / "noise.csv").write_text("\n".join(rows) + "\n")
    options = [
        "model=synth", "prompts=table", f"prompts.path={folder / 'noise.csv'}", f"prompts.references={clips}",
        f"metric={metrics}", "random_weights=0", f"cache_dir={folder / 'cache'}", "engine.quiet=true",
    ]  # fmt: skip
    return pack_of(compose(options)).pack


def large(pack: Pack, references: int, parts: int) -> Pack:
    """A pack of as many references, with features of the same shapes."""
    rng = np.random.default_rng(1)
    known = next(one for one in pack.references if one.status == "ok")
    of = [dataclasses.replace(known, id=f"reference-{i}", sha256=digest(i)) for i in range(references)]
    keys = [Part(digest([i, k]), digest(i), 0, 320_000 + 960 * k) for i in range(references) for k in range(parts)]
    features = {
        name: PackedFeatures(
            rng.standard_normal((int(own.frames[0]) * len(keys), own.values.shape[1]), np.float32),
            np.full(len(keys), own.frames[0]),
        )
        for name, own in pack.features.items()
    }
    return Pack(pack.about, tuple(of), tuple(keys), np.ones(len(keys)), {}, features)


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=5521)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/packs.json"))
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    load = os.getloadavg()
    for name, metrics in METRICS.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            packed = small(folder, metrics)
            kinds = {encoder.digest: encoder.kind for encoder in packed.about.encoders}
            shapes = {kinds[n]: [int(own.frames[0]), own.values.shape[1]] for n, own in packed.features.items()}
            for parts in (1, 2):
                path = folder / f"{parts}.safetensors"
                write_pack(path, large(packed, arguments.references, parts))
                command = [sys.executable, "-c", READ, str(path)]
                read = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(5)]
                rows.append(
                    {
                        "metrics": metrics,
                        "parts_of_each": parts,
                        "mb": round(path.stat().st_size / 1e6, 1),
                        **{key: round(statistics.median(one[key] for one in read), 2) for key in read[0]},
                        "shapes": shapes,
                    }
                )
                print(json.dumps({"set": name, **rows[-1]}))
    found = {"references": arguments.references, "rows": rows, "load_before": load[0], "machine": machine()}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
