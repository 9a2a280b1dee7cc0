"""How long a run takes when everything is cached: 5,521 clips, synthetic feature files.

    python -m benchmarks.warm [--clips 5521]

Clips and references are 10-s files of silence but for three samples, so that each has content of its own; their
features are seeded random numbers of the true shapes, which the feature stage itself stores, as those of the networks.
The first run computes the digest of each file, the others know them: these are the warm re-runs. Each run is a process
of its own and does all that a user waits for: imports, statistics, 1,000 resamples for each interval, the table, the
files.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from evalkit.config import compose
from evalkit.pipeline import generated_clips, reference_clips
from evalkit.plan import make_plan

SHAPES = {"fad": (19, 128), "kld": (1, 527), "clap_score": (1, 512), "chroma": (79, 12)}  # of one 10-s clip
RATE = 32000


def prepare(folder: Path, clips: int) -> list[str]:
    """Write clips, prompts and features; return the options of the run."""
    rng = np.random.default_rng(0)
    samples = np.zeros((10 * RATE, 2), np.int16)
    for kind in ("generated", "references"):
        (folder / kind).mkdir()
        for i in range(clips):
            samples[:3, 0] = (1 + i % 30000, i // 30000, len(kind))
            soundfile.write(folder / kind / f"clip{i}.flac", samples, RATE)
    with (folder / "prompts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *((f"clip{i}", f"caption number {i}") for i in range(clips))])
    options = [
        "model=folder", f"model.folder.path={folder / 'generated'}",
        "prompts=table", f"prompts.path={folder / 'prompts.csv'}", f"prompts.references={folder / 'references'}",
        "random_weights=0", f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}",
    ]  # fmt: skip

    plan = make_plan(compose(options))
    prompts = plan.prompts.load(plan.cache)

    def made(name: str, batch: list[Any]) -> list[np.ndarray]:
        values = rng.random((len(batch), *SHAPES[name]), dtype=np.float32)
        return list(values / values.sum(axis=-1, keepdims=True) if name == "kld" else values)

    extractor = plan.extractor()
    keyed = {name: (extractor.key(metric.encoder), metric.encoder) for name, metric in plan.metrics.items()}
    for name, (key, _) in keyed.items():
        extractor.networks[key] = partial(made, name)
    loudness = plan.protocol.generated_loudness
    own = dict(keyed.values())
    theirs = dict(keyed[name] for name in plan.paired)
    for clips_of, encoders, level in (
        (generated_clips(plan, "folder", prompts), own, loudness),
        (reference_clips(plan, prompts, whole=False), theirs, None),
    ):
        extractor.clips(clips_of, encoders, loudness=level, refuse_silence=False, title="clips of silence")
    text = plan.metrics["clap_score"].reference_encoder
    assert text is not None
    extractor.networks[extractor.key(text)] = partial(made, "clap_score")
    extractor.captions(prompts.prompts, text, extractor.key(text))
    return options


def main() -> None:
    """Prepare, run twice, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=5521)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/warm_rerun.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        options = prepare(Path(name), arguments.clips)
        time.sleep(3)  # files are trusted by their time once it has passed
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "evalkit.cli", "run", *options], check=True, stdout=subprocess.DEVNULL
            )
            seconds.append(round(time.perf_counter() - started, 2))
        (first, *_) = sorted((Path(name) / "runs").iterdir())
        files = {path: path.stat().st_size for path in first.rglob("*") if path.is_file()}
    features = sum(size for path, size in files.items() if path.parent.name == "features")
    thousands = 1e6 * arguments.clips / 1000
    record = {
        "what": "seconds of a whole `evalkit run` with four metrics when everything is cached",
        "clips": arguments.clips,
        "first": seconds[0],
        "warm": seconds[1:],
        "megabytes of a result per 1,000 clips": {
            "features of both sides": round(features / thousands, 1),
            "all else": round((sum(files.values()) - features) / thousands, 2),
        },
        "machine": {"cpu_count": os.cpu_count(), "platform": platform.platform(), "load": os.getloadavg()},
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
