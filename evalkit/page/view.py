"""What a page is made from: records, what is said of them, and whose clips can be listened to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.report.document import Document
from evalkit.results.comparison import Comparison
from evalkit.results.folders import MANIFEST
from evalkit.results.joined import join
from evalkit.results.listening import Listening
from evalkit.results.result import Result
from evalkit.results.sweep import Sweep
from evalkit.store.digests import sha256_file

Role = Literal["model", "calibration", "baseline", "candidate", "default", "winner"]


@dataclass(frozen=True)
class System:
    """One row of a result: what made its clips, as people listen to it.

    Attributes:
        name: unique on the page.
        role: why it is there.
        result, row: where its clips and their values are.
    """

    name: str
    role: Role
    result: Result
    row: str

    @property
    def clips(self) -> pd.DataFrame:
        """Its clips, one row each, as `Result.clips` has them."""
        clips = self.result.clips
        return clips[clips["model"] == self.row]


@dataclass(frozen=True)
class View:
    """What a page shows.

    Attributes:
        records: results that stand in one table, or one comparison or sweep; none where listening tests are alone.
        document: all that is said of them.
        systems: whose clips are shown, in the order in which they are named; all have the same prompts.
        missing: why other clips are not, one sentence each.
        output: the file of the page, which paths to audio are relative to.
        audio_bytes: how large the clips inside of the page may be in all.
        blind: whether names of systems are hidden at first.
        listenings: listening tests that are shown beside the records, or alone.
    """

    records: Sequence[Result | Comparison | Sweep]
    document: Document
    systems: Sequence[System]
    missing: Sequence[str]
    output: Path
    audio_bytes: int
    blind: bool
    listenings: Sequence[Listening] = ()

    @property
    def results(self) -> list[Result]:
        """The results that stand in the table."""
        return [record for record in self.records if isinstance(record, Result)]

    @property
    def comparison(self) -> Comparison | None:
        """The comparison, if it is one."""
        return next((record for record in self.records if isinstance(record, Comparison)), None)

    @property
    def sweep(self) -> Sweep | None:
        """The sweep, if it is one."""
        return next((record for record in self.records if isinstance(record, Sweep)), None)


def view(
    records: Sequence[Result | Comparison | Sweep | Listening],
    output: Path,
    *,
    across_protocols: bool = False,
    audio_bytes: int = 0,
    blind: bool = False,
) -> View:
    """Choose what a page shows of records. Raises EvalkitError for records that do not fit into one page."""
    listenings = [record for record in records if isinstance(record, Listening)]
    measured = [record for record in records if not isinstance(record, Listening)]
    results = [record for record in measured if isinstance(record, Result)]
    if len(measured) > 1 and len(results) < len(measured):
        raise EvalkitError("a comparison or a sweep is a page by itself: give it alone, or with listening tests")
    document: Document = (
        join(results, across_protocols) if len(measured) > 1 else [*measured, *listenings][0].document()
    )
    missing: list[str] = []
    systems = _unique([system for record in measured for system in _systems(record, missing)])
    return View(measured, document, systems, missing, output, audio_bytes, blind, listenings)


def _systems(record: Result | Comparison | Sweep, missing: list[str]) -> list[System]:
    """Whose clips a record speaks of; appends to `missing` why some are not there."""
    if isinstance(record, Result):
        return [
            System(name, "calibration" if info.calibration else "model", record, name)
            for name, info in record.rows.items()
        ]
    found = []
    if isinstance(record, Comparison):
        roles: tuple[Role, ...] = ("baseline", "candidate")
        for role in roles:
            for side in getattr(record, role):
                result = _named(side.path, side.sha256, missing)
                if result is not None and side.row in result.rows:
                    found.append(System(side.row, role, result, side.row))
                elif result is not None:
                    missing.append(f"'{side.path}' has no row '{side.row}': its clips are not shown")
        return found
    points: dict[int, Role] = {}
    if record.default is not None:
        points[record.default] = "default"
    if record.winner is not None:
        points.setdefault(record.winner, "winner")
    for number, role in points.items():
        try:
            result = record.result(number)
        except EvalkitError as error:
            missing.append(str(error))
            continue
        row = str(record.points.set_index("point")["row"][number])
        found.append(System(str(record.points.set_index("point")["name"][number]), role, result, row))
    return found


def _named(path: str, sha256: str, missing: list[str]) -> Result | None:
    """Read a result that a record names, if it is still there and still the same."""
    try:
        result = Result.load(path)
        if sha256_file(result.path / MANIFEST) == sha256:
            return result
        missing.append(f"'{path}' is not the result that was compared: its clips are not shown")
    except EvalkitError as error:
        missing.append(f"clips are not shown: {error}")
    return None


def _unique(systems: Sequence[System]) -> list[System]:
    """Give systems of the same name names that tell them apart."""
    names = [system.name for system in systems]
    return [
        System(f"{one.name} ({one.role if one.role not in ('model', 'calibration') else one.result.path.name})",
               one.role, one.result, one.row)
        if names.count(one.name) > 1 else one
        for one in systems
    ]  # fmt: skip
