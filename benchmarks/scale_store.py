"""What the store costs for very many clips: writing, merging, finding, listing, checking and removing.

    python -m benchmarks.scale_store [--clips 10000 100000 1000000] [--kinds features clips]

A store holds one collection. Items of features have small values (64 bytes), and items of clips name audio files of
their own (8 bytes), so that a million fit on a disk: bytes cost extra, as fast as the disk is. Each measurement runs in
a process of its own on what those before it have left, and gives its time, and the most memory that the process itself
holds (RssAnon), less what it held before. The files are in the system's memory, as they were written just before.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.interval_coverage_report import table
from benchmarks.scale_stats import most_held
from evalkit.store import gc, registers
from evalkit.store.cache import Cache
from evalkit.store.collection import Collection
from evalkit.store.digests import digest
from evalkit.store.entry import Item
from evalkit.store.sizes import measure
from evalkit.store.verify import verify

Row = dict[str, Any]

CLIPS = (10_000, 100_000, 1_000_000)
KINDS = ("features", "clips")
BATCH = 64  # clips that are stored at once
FOUND = 5521  # clips that are looked for: as many as MusicCaps has


def key(number: int) -> str:
    return hashlib.sha256(number.to_bytes(8, "little")).hexdigest()


def collection(root: Path, kind: str) -> Collection:
    return Cache(root).collection(kind, "made up", "made up")


def item(kind: str, number: int) -> Item:
    if kind == "features":
        return Item(np.full((2, 8), number, np.float32))
    sha256 = hashlib.sha256(number.to_bytes(8, "big")).hexdigest()
    facts = {"id": str(number), "status": "ok", "audio": f"audio/{sha256[:32]}.flac", "sha256": sha256, "bytes": 8}
    return Item(
        None, {**facts, "frames": 320_000, "sample_rate": 32_000, "channels": 2, "gain": 1.0}, {"device": "cpu"}
    )


def prepare(root: Path, kind: str, clips: int) -> None:
    """Write the audio files of clips."""
    if kind == "clips":
        folder = collection(root, kind).folder / "audio"
        folder.mkdir(parents=True)
        for number in range(clips):
            data = number.to_bytes(8, "big")
            (folder / f"{hashlib.sha256(data).hexdigest()[:32]}.flac").write_bytes(data)


def write(root: Path, kind: str, clips: int) -> None:
    shelf = collection(root, kind)
    for start in range(0, clips, BATCH):
        shelf.write({key(number): item(kind, number) for number in range(start, min(start + BATCH, clips))})


def find(root: Path, kind: str, clips: int) -> None:
    keys = [key(number) for number in range(0, clips, clips // FOUND)][:FOUND]
    if len(collection(root, kind).read(keys)) != FOUND:
        raise AssertionError("items are missing")


def compact(root: Path, kind: str, clips: int) -> None:
    collection(root, kind).compact()


def ls(root: Path, kind: str, clips: int) -> None:
    if measure(root).kinds[kind].items != clips:
        raise AssertionError("items are missing")


def check(root: Path, kind: str, clips: int, read_data: bool = False) -> None:
    found = verify(root, read_data)
    if found.lost or found.counts[kind]["ok"] != clips:
        raise AssertionError("items are missing")


def used(root: Path, kind: str, numbers: Iterator[int]) -> None:
    """Let a finished run have used some items."""
    folder = root / "result"
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(digest(list(os.urandom(8))))
    keys = np.frombuffer(b"".join(bytes.fromhex(key(number)[:32]) for number in numbers), "S16")
    registers.write(root, folder, [collection(root, kind).name], lambda name: np.sort(keys))


def show(root: Path, kind: str, clips: int) -> None:
    """All is used by a finished run."""
    if gc.collect(root, remove=False).stays[kind, gc.RESULTS].items != clips:
        raise AssertionError("items are missing")


def remove(root: Path, kind: str, clips: int) -> None:
    """Every tenth item goes: every file is written again."""
    if gc.collect(root, remove=True).goes[kind, gc.UNUSED].items != clips // 10:
        raise AssertionError("other items were removed")


STEPS: dict[str, tuple[str, Callable[[Path, str, int], None]]] = {
    "write": (f"write, {BATCH} clips at once", write),
    "find_before": (f"find {FOUND:,} of them, before they are merged", find),
    "compact": ("merge", compact),
    "find": (f"find {FOUND:,} of them", find),
    "ls": ("`store ls`", ls),
    "verify": ("`store verify`", check),
    "verify_data": ("`store verify --read-data`", lambda root, kind, clips: check(root, kind, clips, True)),
    "gc_show": ("`store gc`, all is used", show),
    "gc_remove": ("`store gc --yes`, a tenth of each file goes", remove),
}


def measured_here(what: str, root: Path, kind: str, clips: int) -> Row:
    """Measure one step in this process."""
    gc.GRACE = -1.0  # what was written just now may go
    if what == "gc_show":
        used(root, kind, iter(range(clips)))
    if what == "gc_remove":
        used(root, kind, (number for number in range(clips) if number % 10))
    if what == "write":
        prepare(root, kind, clips)
    started, before = time.perf_counter(), time.process_time()
    with most_held() as held:
        STEPS[what][1](root, kind, clips)
    return {
        "seconds": round(time.perf_counter() - started, 3),
        "cpu_seconds": round(time.process_time() - before, 3),
        "mib": round((held[1] - held[0]) / 2**20, 1),
        "mib_resident": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
        "load": os.getloadavg()[0],
    }


def rows(clips: Sequence[int] = CLIPS, kinds: Sequence[str] = KINDS) -> Iterator[Row]:
    """Measure each step for each kind and number of clips."""
    for number in clips:
        for kind in kinds:
            with tempfile.TemporaryDirectory() as folder:
                for what in STEPS:
                    command = [sys.executable, "-m", "benchmarks.scale_store", "--in", folder, "--only", what]
                    command += ["--kinds", kind, "--clips", str(number)]
                    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                    files = sum(1 for _ in Path(folder).rglob("*.entry"))
                    yield {"what": what, "kind": kind, "clips": number, "files": files, **json.loads(found)}


MEASURED: dict[str, Callable[[], Iterator[Row]]] = {"store": rows}

ABOUT = (
    "A store of features has an item of 64 bytes for each clip, and each further encoder makes as many again; one of "
    f"clips has an item and an audio file for each. {BATCH} are stored at once. Seconds are those of a processor that "
    "others used as well; memory is what the process holds at most, besides what it held before."
)


def tables(record: Mapping[str, list[Row]]) -> list[str]:
    """What was measured, in Markdown."""
    found = {(row["what"], row["kind"], row["clips"]): row for row in record["store"]}
    numbers = sorted({number for _, _, number in found})
    head = [f"{number:,} clips: {what}" for number in numbers for what in ("CPU s", "µs each", "MiB")]
    return [
        *("## The store", "", ABOUT, ""),
        *table(
            ["kind", "step", *head],
            (
                [kind, title, *(cell for number in numbers for cell in cells(what, found.get((what, kind, number))))]
                for kind in KINDS
                for what, (title, _) in STEPS.items()
            ),
            left=2,
        ),
    ]


def cells(what: str, row: Row | None) -> list[str]:
    """What is said of a row: seconds, microseconds for each item, and memory."""
    if row is None:
        return ["–"] * 3
    seconds, each = row["cpu_seconds"], FOUND if what.startswith("find") else row["clips"]
    return [f"{seconds:,.2f}", f"{1e6 * seconds / each:,.0f}", f"{row['mib']:,.0f}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=list(CLIPS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--only", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        print(json.dumps(measured_here(arguments.only, arguments.folder, arguments.kinds[0], arguments.clips[0])))
        return
    for row in rows(arguments.clips, arguments.kinds):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
