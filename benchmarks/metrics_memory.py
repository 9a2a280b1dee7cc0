"""The peak memory of the metric stage at several numbers of 10-s clips, for FAD, KLD, CLAP score and chroma.

    python -m benchmarks.metrics_memory [100 1000]

Each number in a process of its own. The rows go into results/benchmarks/metrics_cpu.json, beside the speeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.metrics import ROOT, WEIGHTS, make_clips
from benchmarks.metrics_report import write
from evalkit import compat
from evalkit.encoders import Encoder, clap, passt, vggish
from evalkit.encoders.chroma import Chroma
from evalkit.features.extractor import Extractor
from evalkit.metrics import Metric
from evalkit.metrics.chroma import ChromaSimilarity
from evalkit.metrics.fad import FAD
from evalkit.metrics.kld import KLD
from evalkit.prompts.demo import Demo
from evalkit.store.cache import Cache
from evalkit.types import Clip


def peak_of_stage(folder: Path, count: int) -> dict[str, float]:
    """In this process: the peak memory of the metric stage over `count` pairs of clips, in MB.

    Decoding, resampling, loudness, VGGish's and CLAP's preparation of samples, chroma, the cache, all statistics and
    1,000 resamples are the real ones. The forward passes of the three networks, hours for this many clips on a CPU, are
    replaced by constants of the same shape: on a CPU they see one clip at a time however many there are.
    """
    prompts = Demo().load(Cache(folder / "prompts")).prompts[:4]
    references, generated = make_clips(folder / "clips", 4, prompts)

    def many(clips: list[Clip]) -> list[Clip]:
        """The same few files under as many contents, so that nothing is found in the cache."""
        return [dataclasses.replace(clips[i % 4], id=str(i), sha256=f"{clips[i % 4].sha256}{i}") for i in range(count)]

    class Constant(torch.nn.Module):
        def __init__(self, size: int):
            super().__init__()
            self.register_buffer("values", torch.linspace(0, 1, size))

        def forward(self, batch: Any) -> Any:
            return self.values.expand(len(batch), -1)

        def get_audio_embedding_from_data(self, batch: Any, use_tensor: bool) -> Any:
            return self.forward(batch)

    vggish.network_of = lambda *_: Constant(128)
    passt.network_of = lambda *_: Constant(527)
    clap.network_of = lambda *_: Constant(512)
    encoders: dict[str, Encoder] = {
        "fad": vggish.VGGish(WEIGHTS), "kld": passt.PaSST(WEIGHTS), "clap_score": clap.CLAPAudio(WEIGHTS),
        "chroma": Chroma(),
    }  # fmt: skip
    metrics: dict[str, Metric] = {
        "fad": FAD(encoders["fad"]),
        "kld": KLD(encoders["kld"]),
        "chroma": ChromaSimilarity(encoders["chroma"]),
    }
    extractor = Extractor(Cache(folder / "cache"), "cpu", 16, 32000)
    keys = {name: extractor.key(encoder) for name, encoder in encoders.items()}
    keyed = {keys[name]: encoder for name, encoder in encoders.items()}
    for clips, loudness in ((references, None), (generated, -14.0)):  # loads and warms up
        extractor.clips(clips, keyed, loudness=loudness, refuse_silence=False, title="warm-up")
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    theirs, _ = extractor.clips(many(references), keyed, loudness=None, refuse_silence=False, title="references")
    ours, _ = extractor.clips(many(generated), keyed, loudness=-14.0, refuse_silence=False, title="clips")
    embedded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    weights = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=1000).astype(float)
    for name, metric in metrics.items():
        measured = metric(ours[keys[name]], theirs[keys[name]])
        assert measured.resampled is not None
        measured.resampled(weights, weights)
    features = sum(value.nbytes for side in (ours, theirs) for part in side.values() for value in part.values)
    return {
        "clips": count,
        "after_loading_mb": loaded,
        "after_embedding_mb": embedded,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "features_mb": features / 2**20,
        "weights_of_resamples_mb": weights.nbytes / 2**20,
    }


def memory(counts: Sequence[int]) -> list[dict[str, float]]:
    """`peak_of_stage` for each number of clips, each in a process of its own."""
    rows = []
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.metrics_memory", "--peak-of", str(count)]
        output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        rows.append(json.loads(output.splitlines()[-1]))
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "benchmarks")
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        compat.laion_clap()
        with tempfile.TemporaryDirectory(prefix="evalkit-benchmark-") as name:
            print(json.dumps(peak_of_stage(Path(name), options.peak_of)))
    else:
        write(options.output / "metrics_cpu.json", {"memory": memory(options.clips)})


if __name__ == "__main__":
    main()
