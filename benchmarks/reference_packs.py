"""How large reference packs are, and how long it takes to write, read and join them; docs/references.md quotes it.

python -m benchmarks.reference_packs

The shapes of features are those that each encoder gives of a clip of 10 s, on seeded random weights; a pack of all of
MusicCaps has made-up values of these shapes.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.parts import Row, measure
from evalkit.config import compose
from evalkit.packing.making import pack_of
from evalkit.packs.files import read_pack, write_pack
from evalkit.packs.joining import joined
from evalkit.packs.pack import Pack, PackedFeatures, Part
from evalkit.store.digests import digest

RECORD = Path(__file__).parent.parent / "results" / "benchmarks" / "reference_packs.json"
CLIPS = 5521  # of MusicCaps
METRICS = ("fad", "kld", "chroma", "kad", "fad_passt", "fad_clap", "kld_panns")
SETS = {"fad, kld, chroma": ("fad", "kld", "chroma"), "all": METRICS}


def of_one_clip() -> Pack:
    """The pack of one rendered clip of 10 s, for all metrics."""
    with tempfile.TemporaryDirectory() as folder:
        options = [
            "model=synth",
            "prompts=demo",
            "prompts.first=1",
            f"metric=[{','.join(METRICS)}]",
            "random_weights=0",
        ]
        return pack_of(compose([*options, f"cache_dir={folder}", "engine.device=cpu", "engine.quiet=true"])).pack


def sizes() -> Iterator[Row]:
    """Frames, dimensions and bytes of a clip of 10 s, by encoder."""
    pack = of_one_clip()
    for encoder in pack.about.encoders:
        frames, dimensions = pack.features[encoder.digest].part(0).shape
        yield {
            "encoder": encoder.kind, "metrics": encoder.metrics, "frames": frames, "dimensions": dimensions,
            "bytes": 4 * frames * dimensions,
        }  # fmt: skip


def of_all(one: Pack, metrics: tuple[str, ...]) -> Pack:
    """A pack of as many clips as MusicCaps has, with made-up values."""
    rng = np.random.default_rng(0)
    encoders = tuple(encoder for encoder in one.about.encoders if {*encoder.metrics} & {*metrics})
    contents = [digest(["content", number]) for number in range(CLIPS)]
    parts = tuple(sorted(Part(digest(["part", sha256]), sha256, 0, one.parts[0].samples) for sha256 in contents))
    features = {}
    for encoder in encoders:
        frames, dimensions = one.features[encoder.digest].part(0).shape
        values = rng.standard_normal((CLIPS * frames, dimensions), dtype=np.float32)
        features[encoder.digest] = PackedFeatures(values, np.full(CLIPS, frames))
    (first,) = one.references
    references = tuple(
        dataclasses.replace(first, id=f"clip{number:07d}", caption=digest(number), sha256=sha256)
        for number, sha256 in enumerate(contents)
    )
    about = dataclasses.replace(one.about, encoders=encoders)
    return Pack(about, references, parts, np.ones(CLIPS), {}, features)


def files() -> Iterator[Row]:
    """Megabytes, and seconds of writing, reading for the first time and again, and joining."""
    one = of_one_clip()
    for name, metrics in SETS.items():
        pack = of_all(one, metrics)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "all.safetensors"
            row: Row = {"metrics": name, "clips": CLIPS}
            row["write_s"] = seconds(partial(write_pack, path, pack))
            row["megabytes"] = round(path.stat().st_size / 1e6, 1)
            row["read_s"] = seconds(partial(read_pack, path))
            half = len(pack.references) // 2
            two = (pack.references[:half], pack.references[half:])
            packs = [dataclasses.replace(pack, references=some) for some in two]
            row["join_s"] = seconds(partial(joined, packs))
            yield row


def seconds(work: Callable[[], object]) -> float:
    """How long something takes on this machine's clock."""
    begun = time.perf_counter()
    work()
    return round(time.perf_counter() - begun, 2)


def main() -> None:
    """Measure what the command line asks for."""
    measure(__doc__, {"sizes": sizes, "files": files}, RECORD, {"clips": CLIPS}, lambda: None)


if __name__ == "__main__":
    main()
