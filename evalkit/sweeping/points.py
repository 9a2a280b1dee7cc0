"""One point of a sweep: an ordinary run in a folder of the sweep's, and a file that says what came of it.

The file lies beside the folder, so that points may be measured anywhere: what gathers them needs nothing else.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import DictConfig, OmegaConf

from evalkit import pipeline
from evalkit.errors import EvalkitError, failure
from evalkit.filling.workers import Workers
from evalkit.parallel.units import Done, Unit, Work
from evalkit.progress import silenced
from evalkit.report.literal import literal
from evalkit.results.pairing import Side
from evalkit.results.result import Result
from evalkit.results.sweep_record import Objective
from evalkit.settings import Launcher
from evalkit.store.files import write_json
from evalkit.store.runs import RunFolder

FOLDER = "points"
LONGEST = 60  # characters of a folder's name that say which point it is


@dataclass(frozen=True)
class Outcome:
    """What came of a point.

    Attributes:
        options: the value of each parameter, by its key.
        rows: the models that it was to measure.
        result: None where it failed.
        error: why it failed.
    """

    options: Mapping[str, Any]
    rows: Sequence[str]
    result: Result | None
    error: str = ""

    @property
    def sides(self) -> list[Side | None]:
        """Each model's row of the result."""
        return [Side(self.result, row) if self.result is not None else None for row in self.rows]


def measure(config: DictConfig, folder: Path, number: int, options: Mapping[str, Any], name: str = "") -> Outcome:
    """Run a configuration as a point of a sweep, and write what came of it.

    Args:
        folder: of all points.
        number: of the point, from 1.
        options: the value of each parameter, by its key.
        name: what its folder is called; empty for its number and options.
    """
    found = run(config, _place(folder, number, options, name), options)
    write(folder, number, found)
    return found


@dataclass(frozen=True)
class Point:
    """What a worker measures, as `measure` takes it."""

    config: DictConfig
    options: Mapping[str, Any]
    name: str = ""

    def clear(self, folder: Path, number: int) -> None:
        """Remove what a worker has left of this point that died before it had measured it."""
        shutil.rmtree(_place(folder, number, self.options, self.name), ignore_errors=True)


@dataclass(frozen=True)
class Measure:
    """Points of a sweep, each a run of its own; the ids are their numbers.

    Attributes:
        folder: of all points.
        points: by number, as text.
    """

    folder: str
    points: Mapping[str, Point]
    title: ClassVar[str] = "points"
    counts: ClassVar[str] = "points"

    def begin(self) -> Work:
        """Load nothing: each run loads what it needs.

        Raises EvalkitError where the folder of the points is not there.
        """
        if not Path(self.folder).is_dir():
            raise EvalkitError(
                f"'{self.folder}' is not on {platform.node()}: set output_dir to a folder that all workers share"
            )

        def work(ids: Sequence[str]) -> Done:
            with silenced(True):
                for number in ids:
                    point = self.points[number]
                    point.clear(Path(self.folder), int(number))
                    config = point.config.copy()
                    config.engine.workers = 1  # the workers of the sweep are those of its points
                    config.engine.launcher, config.engine.address = Launcher.local, None
                    measure(config, Path(self.folder), int(number), point.options, point.name)
            return Done(tuple(ids))

        return work


def measure_with(workers: Workers, folder: Path, points: Mapping[int, Point]) -> list[Outcome]:
    """Measure points, each in one worker; give what came of them, in their order.

    A point whose worker dies again and again has failed. Raises EvalkitError where workers have other folders.
    """
    job = Measure(str(folder.absolute()), {str(number): _resolved(point) for number, point in points.items()})
    failed = workers.do([Unit(job, (number,)) for number in job.points], job.title, job.counts)
    found = []
    for number, point in points.items():
        if str(number) in failed:
            point.clear(folder, number)
            write(folder, number, Outcome(point.options, _rows(point.config), None, failed[str(number)]))
        elif not file_of(folder, number).is_file():
            raise EvalkitError(
                f"what a worker has measured is not in '{folder}': set output_dir to a folder that all workers share"
            )
        found.append(read(file_of(folder, number)))
    return found


def _resolved(point: Point) -> Point:
    """A point that does not depend on the variables and the time of where it is measured."""
    config = point.config.copy()
    OmegaConf.resolve(config)
    return replace(point, config=config)


def run(config: DictConfig, place: Path, options: Mapping[str, Any]) -> Outcome:
    """Run a configuration; whatever it raises is what came of it. Only an interrupt ends the sweep.

    Args:
        place: the folder of its result.
    """
    rows = _rows(config)
    config = config.copy()
    config.report, config.tracker = False, {}  # which show the sweep as a whole
    try:
        return Outcome(options, rows, pipeline.evaluate(config, place=place))
    except EvalkitError as error:
        return Outcome(options, rows, None, str(error))
    except Exception as error:  # a bug in one point, as in a model of the user's own, is no reason to lose the others
        return Outcome(options, rows, None, failure("the run", error))


def _rows(config: DictConfig) -> list[str]:
    return [str(row) for row in config.model]


def tell(found: Outcome, what: str, objectives: Sequence[Objective]) -> None:
    """Print on stderr what came of a point, in one line."""
    said = f"{what}: failed: {found.error}" if found.result is None else f"{what}: {_values(found.result, objectives)}"
    print(literal(said), file=sys.stderr, flush=True)


def _values(result: Result, objectives: Sequence[Objective]) -> str:
    models = [name for name, info in result.rows.items() if not info.calibration]
    parts = []
    for objective in objectives:
        own = result.scores[(result.scores["metric"] == objective.metric) & result.scores["model"].isin(models)]
        parts += [f"{objective.title} {', '.join(f'{value:.4g}' for value in own['value'])}"] if len(own) else []
    return ", ".join(parts) or "measured"


def write(folder: Path, number: int, found: Outcome) -> None:
    """Write what came of a point into the file beside its folder. Raises EvalkitError where it cannot be written."""
    place = found.result.path.name if found.result is not None else ""
    content = {"options": dict(found.options), "rows": list(found.rows), "folder": place, "error": found.error}
    write_json(file_of(folder, number), content)


def file_of(folder: Path, number: int) -> Path:
    """The file that says what came of a point."""
    return folder / f"{number:03d}.json"


def gather(folder: Path) -> list[Outcome]:
    """Read what came of all points, in the order of their numbers."""
    return [read(path) for path in sorted(folder.glob("[0-9]*.json"), key=lambda path: int(path.stem))]


def read(path: Path) -> Outcome:
    """Read what came of a point from the file beside its folder."""
    content = json.loads(path.read_text("utf-8"))
    result = Result.load(path.parent / content["folder"]) if content["folder"] else None
    return Outcome(content["options"], content["rows"], result, content["error"])


def discard(folder: RunFolder) -> None:
    """Remove the folder of a sweep of which no point has left a folder of its own, and what was made for it."""
    inside = folder.path / FOLDER
    if not inside.is_dir() or any(path.is_dir() for path in inside.iterdir()):
        return
    for path in inside.iterdir():
        path.unlink()
    inside.rmdir()
    folder.discard()


def _place(folder: Path, number: int, options: Mapping[str, Any], name: str) -> Path:
    return folder / (name or _named(number, options))


def _named(number: int, options: Mapping[str, Any]) -> str:
    said = re.sub(r"[^\w.+ -]", "_", "-".join(_words(options)))  # values may be paths, which must not lead elsewhere
    return f"{number:03d}" + (f"-{said[:LONGEST]}" if said else "")


def _words(options: Mapping[str, Any]) -> Iterator[str]:
    for key, value in options.items():
        yield f"{key.rpartition('.')[2]}-{value}"
