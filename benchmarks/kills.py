"""Runs that are killed again and again, and then finished: their records and the store equal those of a whole run.

    python -m benchmarks.kills [--kills 500] [--seed 0] [--metrics fad,clap_score,chroma]

Each run begins with an empty store. It is killed (SIGKILL) at a random moment: by the clock, right before one of its
changes to files, or in the middle of a write. It is started again, killed again, and so on until it finishes. The
record and what the store holds must then be those of a run that nothing has disturbed, bit for bit. In between the
commands that compare records, write their pages and clean the store are killed in the same way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attempts import Ended, Moment, attempt
from evalkit.store import leases
from evalkit.store.cache import Cache
from evalkit.store.collection import ABOUT
from evalkit.store.digests import digest
from evalkit.store.entry import SUFFIX, Item, OtherSchema, digest_of, read_entry

METRICS = "fad,chroma,silence"
BATCH = 2  # clips that are computed at once
SHARE = 0.6  # of the time that the attempt before could have until its kill, that the next one has
MOST = 4  # kills of one run
TORN = 256  # bytes, of which a kill in the middle of a write leaves fewer of the file


def run_of(metrics: str = METRICS) -> list[str]:
    """The command of a small run, of real stages on one CPU."""
    return [
        *("run", "model=tiny_stereo", "prompts=demo", "prompts.first=6", "random_weights=0", "sampling.duration=1"),
        *(f"engine.batch_size={BATCH}", f"engine.feature_batch_size={BATCH}", "uncertainty.resamples=100"),
        *(f"metric=[{metrics}]", "cache_dir=cache", "output_dir=runs"),
    ]


@dataclass(frozen=True)
class Left:
    """What a finished run leaves.

    Attributes:
        folder: of the record.
        record: its files by name, but for the log.
        store: the digest of each item in the store, by what it is.
    """

    folder: Path
    record: Mapping[str, bytes]
    store: Mapping[str, str]

    def differences(self, other: Left) -> list[str]:
        """What another run has left out, or left otherwise."""
        return [*different(self.record, other.record), *different(self.store, other.store)]


def different(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The names under which two mappings have different values, or one has none."""
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def left_by(ended: Ended, place: Path) -> Left:
    """What a run that ended well has left."""
    assert ended.status == 0, f"status {ended.status}: {ended.err}"
    folder = folder_of(ended)
    return Left(folder, files(folder), stored(place / "cache"))


def folder_of(ended: Ended) -> Path:
    """The folder that a command has printed last."""
    return Path(ended.out.rstrip().rpartition(": ")[2])


def files(folder: Path) -> dict[str, bytes]:
    """The files of a record by name, but for the log."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.log"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


KINDS = ("clips", "codes", "features", "peaks", "resamples", "checkpoints")  # not what says who uses them, and when


def stored(root: Path) -> dict[str, str]:
    """The digest of each item in a store, by what it is, however items are spread over files."""
    found: dict[str, str] = {}
    for path in [path for kind in KINDS for path in root.glob(f"{kind}/*/**/*") if path.is_file()]:
        name = str(path.relative_to(root))
        if path.suffix == SUFFIX:
            try:
                entry = read_entry(path)
            except OtherSchema:
                continue
            for key, item in entry.items():
                assert isinstance(item, Item), f"damaged: {item}"
                own = digest_of(entry.kind, entry.collection, key, item)
                found[f"{path.parent.relative_to(root)} {key}"] = own.hex()
        elif path.name != ABOUT and ".partial-" not in name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@dataclass
class Tally:
    """What was counted of runs that were killed.

    Attributes:
        runs: that were finished after all.
        moments: kills, by how their moment was chosen.
        stages: kills, by what they hit.
        again: clips that were computed more often than in an undisturbed run, by what was computed of them.
        partial: files of stores that kills have left half written, which gc has removed.
        wrong: what was not as it is to be, one line each.
    """

    runs: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    partial: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How many attempts were killed."""
        return sum(self.stages.values())


class Killing:
    """Runs in one folder that are killed, and the undisturbed one that they are compared with.

    Attributes:
        place: the folder; what is in it is removed.
        command: the run.
        whole: the undisturbed one, and `left` what it has left.
        tally: what was counted so far.
    """

    def __init__(self, place: Path, command: Sequence[str]):
        self.place, self.command = place, command
        self.tally = Tally()
        self.whole = attempt(command, place)
        self.left = left_by(self.whole, place)
        self._compared = attempt(comparing(self.left.folder), place)
        self._table = self._table_of(self._compared, self.left.folder)
        self._reported = attempt(reporting(self.left.folder), place)
        self._page = self._page_of(self._reported, self.left.folder)
        useless(place / "cache")
        age(place / "cache")
        self._collected = attempt(COLLECT, place)
        assert not self._collected.status, self._collected.err

    def empty(self) -> None:
        """Remove the store, the records and the attempts."""
        for path in self.place.iterdir():
            shutil.rmtree(path)

    def run(self, seed: int) -> None:
        """Make a run that is killed, and what may come after it, and compare what they leave."""
        self.empty()
        self.tally.wrong += [f"seed {seed}: {line}" for line in self._run(np.random.default_rng(seed))]
        self.tally.runs += 1

    def _run(self, rng: np.random.Generator) -> Iterator[str]:
        *killed, last = attempts = list(self._attempts(self.command, rng, self.whole))
        again = sum((one.computed() for one in attempts), Counter()) - self.whole.computed()
        counts = Counter(what for what, _ in again.elements())
        self.tally.again += counts
        for what, times in counts.items():
            if times > BATCH * len(killed):
                yield f"{what}: computed again for {times} clips after {len(killed)} kills of batches of {BATCH}"
        self.tally.partial += sum(1 for _ in self.place.glob("cache/**/.partial-*"))
        yield from _complaints(attempts)
        if last.status:
            return
        left = left_by(last, self.place)
        yield from (f"{name} differs" for name in self.left.differences(left))

        attempts = list(self._attempts(comparing(left.folder), rng, self._compared, 1))
        yield from _complaints(attempts)
        if not attempts[-1].status and self._table_of(attempts[-1], left.folder) != self._table:
            yield "the comparison differs"

        attempts = list(self._attempts(reporting(left.folder), rng, self._reported, 1))
        yield from _complaints(attempts)
        if not attempts[-1].status and self._page_of(attempts[-1], left.folder) != self._page:
            yield "the report differs"

        yield from self._clean(rng)

    def _clean(self, rng: np.random.Generator) -> Iterator[str]:
        """Have gc killed while it removes what nobody uses, and finish it: all else is left, and is enough."""
        root = self.place / "cache"
        nobodys = useless(root)
        age(root)
        partial = set(root.glob("**/.partial-*"))
        if any(held.holds for held in leases.holders(root, leases.now(root))):
            partial = set()  # a kill came between a record and the note of what it uses: all that it may use stays
        attempts = list(self._attempts(COLLECT, rng, self._collected, 1))
        yield from _complaints(attempts)
        for path in sorted(partial | {nobodys}):
            # a folder from which a killed gc has removed something is young
            if (path.is_file() or any(path.glob("*"))) and time.time() - path.stat().st_mtime > DAYS / 2:
                yield f"gc has left {path.relative_to(root)}, which nobody uses"
        last = attempt(self.command, self.place)
        yield from _complaints([last])
        # codes and tokenizers are needed by no result whose run has found what was made with them
        different = self.left.differences(left_by(last, self.place))
        yield from (f"after gc {name} differs" for name in different if not name.startswith(("codes/", "checkpoints/")))
        if last.computed():
            yield f"after gc this was computed again: {last.computed()}"

    def _attempts(
        self, command: Sequence[str], rng: np.random.Generator, whole: Ended, most: int = MOST
    ) -> Iterator[Ended]:
        """Attempts that are killed, at most so many, at moments that come earlier and earlier, and one that is not.

        Args:
            whole: an undisturbed attempt.
        """
        for number in range(most):
            share = SHARE**number
            change, torn = int(rng.integers(1, max(2, round(share * whole.changes)))), int(rng.integers(TORN))
            kind = str(rng.choice(["clock", "change", "write"]))
            if kind == "clock":
                ended = attempt(command, self.place, after=rng.uniform(0, share * whole.worked))
            else:
                ended = attempt(command, self.place, at=Moment(change, torn if kind == "write" else None))
            yield ended
            if not ended.killed:
                return
            self.tally.moments[kind] += 1
            self.tally.stages[ended.stage if command is self.command else command[0]] += 1
        yield attempt(command, self.place)

    def _table_of(self, compared: Ended, folder: Path) -> str:
        """What the record of a comparison says, but for the name of the run that was compared with itself."""
        shown = attempt(["table", str(folder_of(compared)), "--format", "markdown"], self.place)
        assert not shown.status, shown.err
        return shown.out.replace(folder.name, "RUN")

    def _page_of(self, reported: Ended, folder: Path) -> str:
        """The page that a report has written, but for the name of the run."""
        assert not reported.status, reported.err
        return (self.place / PAGE).read_text("utf-8").replace(folder.name, "RUN")


PAGE = "pages/report.html"
COLLECT = ["store", "gc", "--yes", "--cache", "cache"]
DAYS = 2 * 86400.0  # more than what gc leaves alone for its youth


def age(root: Path) -> None:
    """Make all files of a store two days older."""
    for path in root.rglob("*"):
        modified = path.stat().st_mtime - DAYS
        os.utime(path, (modified, modified))


def useless(root: Path) -> Path:
    """Put a collection into a store that nobody uses, and give its folder."""
    collection = Cache(root).collection("features", "nobody's")
    collection.write({digest(i): Item(np.full((1, 8), i, np.float32)) for i in range(4)})
    return collection.folder


def comparing(folder: Path) -> list[str]:
    """The command that compares a record with itself, and makes a record of that."""
    return ["compare", str(folder), str(folder), "--allow-random", "--output", "comparisons"]


def reporting(folder: Path) -> list[str]:
    """The command that writes the page of a record."""
    return ["report", str(folder), "--output", PAGE]


def _complaints(attempts: Sequence[Ended]) -> Iterator[str]:
    """What attempts of one command have said that no kill may make them say."""
    for one in attempts:
        if "damaged" in one.err:
            yield f"found damaged: {one.err}"
        if "Traceback" in one.err or one.status > 0:
            yield f"status {one.status}: {one.err}"


def main() -> None:
    """Kill until there were enough, and record what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500, help="at least so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--metrics", default=METRICS)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/kills.json"))
    arguments = parser.parse_args()
    os.environ["PRELOADED_METRICS"] = arguments.metrics
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        killing = Killing(Path(name), run_of(arguments.metrics))
        seed = arguments.seed
        while killing.tally.kills < arguments.kills:
            killing.run(seed)
            seed += 1
            print(f"{killing.tally.kills} kills, {killing.tally.runs} runs, wrong: {killing.tally.wrong}", flush=True)
        tally = killing.tally
    record = {
        "what": "runs that were killed at random moments and then finished, against one that was not disturbed",
        "command": " ".join(run_of(arguments.metrics)),
        "seeds": [arguments.seed, seed - 1],
        "runs": tally.runs,
        "kills": tally.kills,
        "kills by moment": dict(sorted(tally.moments.items())),
        "kills by stage": dict(sorted(tally.stages.items())),
        "clips computed again": dict(sorted(tally.again.items())),
        "of batches of": BATCH,
        "files left half written, until gc": tally.partial,
        "runs that differ or complain": tally.wrong,
        "seconds": round(time.monotonic() - began),
        "machine": {"cpu_count": os.cpu_count(), "platform": platform.platform(), "load": os.getloadavg()},
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
