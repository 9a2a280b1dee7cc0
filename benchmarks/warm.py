"""How long a run takes when everything is cached: 5,521 clips, synthetic features.

    python -m benchmarks.warm [--clips 5521] [--against CHECKOUT]

Clips and references are files of silence but for three samples, so that each has content of its own; their
features are seeded random numbers of the shapes of ten seconds, which a first run stores as those of the networks. The
others are the warm re-runs, but for one that computes the digests of files, which are trusted once they are some
seconds old. Each is a process of its own and does all that a user waits for: imports, statistics, the table, the
files. Runs of the code of another checkout take turns with those of this one, on the same files.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 32000
SHAPES = {  # of one 10-s clip or its caption, by the kind of the encoder
    "vggish": (19, 128),
    "passt_output": (1, 527 + 768),
    "clap_audio": (1, 512),
    "clap_text": (1, 512),
    "chromagram": (79, 12),
}
HERE = Path(__file__).parents[1]


def write_files(folder: Path, clips: int) -> None:
    """Write clips, references and prompts."""
    samples = np.zeros((RATE, 2), np.int16)  # a second is the least, and how long they are changes nothing here
    for kind in ("generated", "references"):
        (folder / kind).mkdir()
        for i in range(clips):
            samples[:3, 0] = (1 + i % 30000, i // 30000, len(kind))
            soundfile.write(folder / kind / f"clip{i}.flac", samples, RATE)
    with (folder / "prompts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *((f"clip{i}", f"caption number {i}") for i in range(clips))])


def options_of(folder: Path, side: str) -> list[str]:
    """The options of a run, of which each side has a cache of its own."""
    return [
        "model=folder", f"model.folder.path={folder / 'generated'}",
        "prompts=table", f"prompts.path={folder / 'prompts.csv'}", f"prompts.references={folder / 'references'}",
        "random_weights=0", f"cache_dir={folder / side / 'cache'}", f"output_dir={folder / side / 'runs'}",
    ]  # fmt: skip


def fill_cache(options: list[str]) -> None:
    """Make a run with networks that give seeded random numbers."""
    from evalkit import evaluate
    from evalkit.config import compose
    from evalkit.encoders import Headed
    from evalkit.plan import make_plan

    rng = np.random.default_rng(0)

    def made(shape: tuple[int, int], batch: list[Any]) -> list[np.ndarray]:
        return list(rng.random((len(batch), *shape), dtype=np.float32))

    metrics = make_plan(compose(options)).metrics.values()
    for encoder in [one for metric in metrics for one in (metric.encoder, metric.reference_encoder) if one]:
        network = encoder.trunk if isinstance(encoder, Headed) else encoder
        load = partial(made, SHAPES[network.kind])
        type(network).load = lambda self, cache, device, load=load: load  # type: ignore[method-assign,misc]
    evaluate(*options)


def started(checkout: Path, arguments: list[str]) -> dict[str, float]:
    """Run the code of a checkout as a process of its own: the seconds that it took, and those of all its threads."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(seconds, 2), "CPU seconds": round(cpu, 2)}


def sizes(run: Path, clips: int) -> dict[str, float]:
    """Megabytes of a result for 1,000 clips."""
    files = {path: path.stat().st_size for path in run.rglob("*") if path.is_file()}
    features = sum(size for path, size in files.items() if path.parent.name == "features")
    thousands = 1e6 * clips / 1000
    return {
        "features of both sides": round(features / thousands, 1),
        "all else": round((sum(files.values()) - features) / thousands, 2),
    }


def main() -> None:
    """Prepare, run, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=5521)
    parser.add_argument("--against", type=Path, help="a checkout of other code, which takes turns")
    parser.add_argument("--repeats", type=int, default=3, help="warm runs of each")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/warm_rerun.json"))
    parser.add_argument("--fill", nargs="+", metavar="OPTION", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fill:
        fill_cache(arguments.fill)
        return
    code = {"before": arguments.against.absolute()} if arguments.against else {}
    code["now"] = HERE
    record: dict[str, Any] = {
        "what": "seconds of a whole `evalkit run` with four metrics when everything is cached",
        "clips": arguments.clips,
        **{side: {"commit": commit(checkout), "warm": []} for side, checkout in code.items()},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, arguments.clips)
        for side, checkout in code.items():
            started(checkout, [__file__, "--fill", *options_of(folder, side)])
        time.sleep(3)  # files are trusted by their time once it has passed
        for turn in range(1 + arguments.repeats):
            for side, checkout in code.items():
                took = started(checkout, ["-m", "evalkit.cli", "run", *options_of(folder, side)])
                print(side, turn, took, flush=True)
                record[side]["warm"] += [took] if turn else []
        first = min((folder / "now" / "runs").iterdir())
        record["megabytes of a result per 1,000 clips"] = sizes(first, arguments.clips)
    record["machine"] = {"cpu_count": os.cpu_count(), "platform": platform.platform(), "load": os.getloadavg()}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


def commit(checkout: Path) -> str:
    """The commit of a checkout."""
    asked = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
