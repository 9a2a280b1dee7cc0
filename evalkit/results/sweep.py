"""A sweep, as it is returned by `evalkit.sweep`, saved, and loaded again."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit import report
from evalkit.errors import EvalkitError, reason
from evalkit.report import to_markdown
from evalkit.report.document import Document, Listing
from evalkit.results import folders, sweep_text
from evalkit.results.folders import FACTS, Kind, read_frame, write_frame
from evalkit.results.frames import typed
from evalkit.results.plots import sweeps
from evalkit.results.result import Result
from evalkit.results.sweep_record import CONFIRMED, POINTS, RUNGS, SCHEMA, SCORES, Objective, Parameter, SweepRecord
from evalkit.store.files import write_bytes, write_json

log = logging.getLogger(__name__)

FRAMES = {"points": POINTS, "scores": SCORES, "confirmed": CONFIRMED, "rungs": RUNGS}
SWEEP = Kind(
    name="sweep",
    about="a sweep",
    maker="the sweep",
    command="evalkit sweep",
    schema=SCHEMA,
    files=(FACTS, *(f"{name}.parquet" for name in FRAMES)),
)
PLOTS = "plots"
BESIDE = ("points", "confirmation", "study.db", "config.yaml", PLOTS)  # what the making of a sweep leaves in its folder


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sweep(SweepRecord):
    """What was measured at each point of a sweep; its fields are those of `SweepRecord`.

    It is complete but for the results of its points, which lie beside it: see `result`.
    """

    @classmethod
    def load(cls, folder: str | Path) -> Sweep:
        """Read a sweep from the folder that `evalkit sweep` printed.

        Raises EvalkitError for a folder without a finished sweep, a file that is missing or damaged, and a sweep of a
        later version of the record.
        """
        target = Path(folder).expanduser().absolute()
        folders.checked(target, SWEEP)
        facts: dict[str, Any] = json.loads((target / FACTS).read_text("utf-8"))
        facts["parameters"] = [Parameter(**one) for one in facts["parameters"]]
        facts["objectives"] = [Objective(**one) for one in facts["objectives"]]
        frames = {name: typed(read_frame(target / f"{name}.parquet"), columns) for name, columns in FRAMES.items()}
        frames["points"]["options"] = frames["points"]["options"].map(json.loads)
        return cls(**{**facts, **frames, "path": target})

    def save(self, folder: str | Path) -> Sweep:
        """Write the sweep into a folder, with what is said of it in plain forms and as plots, and return it as it lies
        there.

        Paths of results inside of the folder become relative to it. Raises EvalkitError where the folder holds a record
        already or cannot be written to.
        """
        target = Path(folder).expanduser().absolute()
        lying = [_relative(path, target) for path in self.points["path"]]
        kept = dataclasses.replace(self, points=self.points.assign(path=pd.Series(lying, dtype="str")), path=target)
        forms = ["summary.md", *(f"table.{name}" for name in ("csv", "json"))]
        folders.begin(target, SWEEP, [*forms, *BESIDE])
        kept = _with_plots(kept, target / PLOTS)
        document = kept.document()
        texts = [to_markdown.shortened(document), *(report.renderer(name)(document) for name in ("csv", "json"))]
        write_json(target / FACTS, folders.facts(kept, without=[*FRAMES, "path"]))
        for name in FRAMES:
            frame: pd.DataFrame = getattr(kept, name)
            if name == "points":  # values of one option may be of several types, which no column can be
                frame = frame.assign(options=frame["options"].map(json.dumps))
            write_frame(target / f"{name}.parquet", frame)
        for name, text in zip(forms, texts, strict=True):
            write_bytes(target / name, text.encode())
        folders.finish(target, SWEEP)
        return kept

    def result(self, point: int) -> Result:
        """Read the result of a point by its number.

        Raises EvalkitError for a point that there is not, or that failed, and for a result that is no longer there or
        is not the one that was compared.
        """
        chosen = self.points[self.points["point"] == point]
        if chosen.empty:
            raise EvalkitError(f"the sweep has no point {point}: it has {len(self.points)}, from 1")
        row = chosen.iloc[0]
        if not row["path"]:
            raise EvalkitError(f"point {point} has no result: {row['reason']}")
        folder = self.path / row["path"]
        result = Result.load(folder)
        if folders.identity(folder) != row["sha256"]:
            raise EvalkitError(f"'{folder}' is not the result that the sweep was made from: copy the whole sweep")
        return result

    def document(self) -> Document[Listing]:
        """Everything that is said of this sweep, for the renderers of `evalkit.report`."""
        return sweep_text.document(self)

    def print(self) -> None:
        """Print what is said of it, and where it lies if it was saved, on the terminal."""
        print(report.renderer("terminal")(self.document()), end="")
        if self.path != Path():
            print(f"sweep: {self.path}")

    def __repr__(self) -> str:
        size = f"{len(self.points):,} point{'' if len(self.points) == 1 else 's'}, {self.prompts:,} prompts"
        return f"Sweep({self.name}, {self.dataset}, {size}, {json.dumps(str(self.path), ensure_ascii=False)})"


def _with_plots(sweep: Sweep, folder: Path) -> Sweep:
    """Draw the plots; where that is not possible, the sweep says why, and is there all the same."""
    try:
        plots, why = sweeps.write(sweep, folder), ""
    except EvalkitError:  # where nothing can be written, the record cannot be either
        raise
    except Exception as error:
        log.warning("plots could not be drawn", exc_info=error)
        plots, why = [], f"no plots: {type(error).__name__}: {reason(error)}"
    return dataclasses.replace(sweep, plots=plots, remarks=[*sweep.remarks, *([why] if why else [])])


def _relative(path: str, folder: Path) -> str:
    """A path as seen from a folder that it lies in; any other as it is."""
    return Path(path).relative_to(folder).as_posix() if path and Path(path).is_relative_to(folder) else path
