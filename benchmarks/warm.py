"""How long a run takes when everything is cached: 5,521 clips, synthetic feature files.

    python benchmarks/warm.py [--clips 5521]

Clips and references are 10-s files of silence but for three samples, so that each has content of its own; their
features are seeded random numbers of the true shapes, in the cache under the true keys. The first run finds them one by
one, the others in one file per encoder: these are the warm re-runs. Each run is a process of its own and does all that
a user waits for: imports, digests, statistics, 1,000 resamples for each interval, the table, the files.
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
from pathlib import Path

import numpy as np
import soundfile

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

    from evalkit.config import compose
    from evalkit.features.extractor import PEAK, Extractor
    from evalkit.pipeline import generated_clips, reference_clips
    from evalkit.plan import make_plan
    from evalkit.store.digests import digest

    plan = make_plan(compose(options))
    prompts = plan.prompts.load(plan.cache)
    extractor = Extractor(plan.cache, plan.device, 8, plan.config.protocol.sample_rate)
    sets = [(generated_clips(plan, "folder", prompts), plan.config.protocol.generated_loudness)]
    sets += [(reference_clips(plan, prompts), None)]
    for name, metric in plan.metrics.items():
        frames, size = SHAPES[name]
        key = extractor.key(metric.encoder)

        def values(frames: int = frames, size: int = size, name: str = name) -> np.ndarray:
            made = rng.random((frames, size), dtype=np.float32)
            return made / made.sum(axis=-1, keepdims=True) if name == "kld" else made

        for clips_of, loudness in sets:
            for clip in clips_of:
                plan.cache.write_feature(key, extractor._clip_key(clip, loudness), values())
                plan.cache.write_feature(PEAK, extractor._clip_key(clip, loudness), np.ones(1))
        if name == "clap_score":
            text = extractor.key(metric.reference_encoder)
            for prompt in prompts.prompts:
                plan.cache.write_feature(text, digest(prompt.text), values())
    return options


def main() -> None:
    """Prepare, run twice, record."""
    parser = argparse.ArgumentParser(description=__doc__)
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
    record = {
        "what": "seconds of a whole `evalkit run` with four metrics when everything is cached",
        "clips": arguments.clips,
        "first": seconds[0],
        "warm": seconds[1:],
        "machine": {"cpu_count": os.cpu_count(), "platform": platform.platform(), "load": os.getloadavg()},
    }
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
