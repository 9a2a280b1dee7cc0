"""What a page is made from: records, what is said of them, and whose clips can be listened to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.report.document import Document
from evalkit.results.comparison import Comparison
from evalkit.results.folders import identity
from evalkit.results.gate import HIGHER_IS_BETTER
from evalkit.results.joined import join
from evalkit.results.limits.found import limits
from evalkit.results.limits.limit import OfModel
from evalkit.results.listening import Listening
from evalkit.results.names import told_apart
from evalkit.results.plots.plot import Metric
from evalkit.results.result import Result
from evalkit.results.sensitivity import Sensitivity
from evalkit.results.sensitivity_text import among
from evalkit.results.summary import unique_titles
from evalkit.results.sweep import Sweep

Role = Literal["model", "calibration", "baseline", "candidate", "default", "winner"]
SIDES: tuple[Role, Role] = ("baseline", "candidate")


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

    @cached_property
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
        gone: name and role of each side of a comparison of which no result is there.
        sensitivity: what metrics notice, as a user has measured it; None for what comes with evalkit.
    """

    records: Sequence[Result | Comparison | Sweep]
    document: Document
    systems: Sequence[System]
    missing: Sequence[str]
    output: Path
    audio_bytes: int
    blind: bool
    listenings: Sequence[Listening] = ()
    gone: Sequence[tuple[str, Role]] = ()
    sensitivity: Sensitivity | None = None

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

    @cached_property
    def measured(self) -> Mapping[str, str]:
        """The titles of all metrics that the records have measured, by name."""
        found: dict[str, str] = {}
        for one in self.records:
            if isinstance(one, Result):
                titles: Mapping[str, str] = unique_titles(one.metrics)
            else:
                frame = one.metrics if isinstance(one, Comparison) else one.scores
                titles = dict(zip(frame["metric"], frame["title"], strict=True))
            found = {**titles, **found}
        return found

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """The kinds of all these metrics, by name; empty where no result that says it is there."""
        infos = {name: info for system in self.systems for name, info in system.result.metrics.items()}
        return {name: str(infos[name].definition.get("kind", "")) if name in infos else "" for name in self.measured}

    @cached_property
    def limits(self) -> list[OfModel]:
        """What the records have to say of limits of their models, computed once for text, tables and figures."""
        return [model for one in self.records if not isinstance(one, Comparison) for model in limits(one)]

    @cached_property
    def metrics(self) -> list[Metric]:
        """The metrics with values of single clips, as the records have them; then those only a comparison names."""
        found: dict[str, Metric] = {}
        for system in self.systems:
            clips, titles = system.clips, unique_titles(system.result.metrics)
            for name, info in system.result.metrics.items():
                if name in clips and clips[name].notna().any():
                    found.setdefault(name, Metric(name, titles[name], info.higher_is_better))
        if (comparison := self.comparison) is not None:
            directions = comparison.metrics.set_index("metric")["direction"]
            for name, title in comparison.moved.drop_duplicates("metric")[["metric", "title"]].itertuples(index=False):
                higher = HIGHER_IS_BETTER.get(directions.get(name, "same"))
                found.setdefault(str(name), Metric(str(name), str(title), higher))
        return list(found.values())


def view(
    records: Sequence[Result | Comparison | Sweep | Listening],
    output: Path,
    *,
    across_protocols: bool = False,
    audio_bytes: int = 0,
    blind: bool = False,
    sensitivity: Sensitivity | None = None,
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
    systems = [system for record in measured for system in _systems(record, missing)]
    gone = [one for record in measured if isinstance(record, Comparison) for one in _gone(record, systems)]
    names = told_apart([*map(_names, systems), *([name, f"{name} ({role})"] for name, role in gone)])
    found = View(
        measured,
        document,
        [replace(system, name=name) for system, name in zip(systems, names, strict=False)],
        missing,
        output,
        audio_bytes,
        blind,
        listenings,
        [(name, role) for (_, role), name in zip(gone, names[len(systems) :], strict=True)],
        sensitivity,
    )
    if sensitivity is not None and not among(sensitivity, found.kinds).metrics:
        own = ", ".join(one.name for one in sensitivity.metrics) or "none"
        raise EvalkitError(f"the table of sensitivities has no metric of this page: it has {own}")
    return found


def _systems(record: Result | Comparison | Sweep, missing: list[str]) -> list[System]:
    """Whose clips a record speaks of; appends to `missing` why some are not there."""
    if isinstance(record, Result):
        return [
            System(name, "calibration" if info.calibration else "model", record, name)
            for name, info in record.rows.items()
        ]
    found = []
    if isinstance(record, Comparison):
        for role in SIDES:
            for side in getattr(record, role):
                result = _named(side.path, side.sha256, missing)
                if result is not None and side.row in result.rows:
                    found.append(System(side.row, role, result, side.row))
                elif result is not None:
                    missing.append(f"'{side.path}' has no row '{side.row}': its clips are not shown")
        return found
    roles: dict[int, Role] = {}
    if record.default is not None:
        roles[record.default] = "default"
    if record.winner is not None:
        roles.setdefault(record.winner, "winner")
    points = record.points.set_index("point")
    for number, role in roles.items():
        try:
            result = record.result(number)
        except EvalkitError as error:
            missing.append(str(error))
            continue
        found.append(System(str(points["name"][number]), role, result, str(points["row"][number])))
    return found


def _named(path: str, sha256: str, missing: list[str]) -> Result | None:
    """Read a result that a record names, if it is still there and still the same."""
    try:
        result = Result.load(path)
        if identity(result.path) == sha256:
            return result
        missing.append(f"'{path}' is not the result that was compared: its clips are not shown")
    except EvalkitError as error:
        missing.append(f"clips are not shown: {error}")
    return None


def _gone(comparison: Comparison, systems: Sequence[System]) -> list[tuple[str, Role]]:
    """The sides of which no result is there, with the row of the first."""
    there = {system.role for system in systems}
    return [(getattr(comparison, role)[0].row, role) for role in SIDES if role not in there]


def _names(system: System) -> list[str]:
    """What a system can be called: by its row, by its role, by the folder of its result."""
    name, path = system.name, system.result.path
    if system.role in ("model", "calibration"):
        return [name, f"{name} ({path.name})", f"{name} ({path})"]
    return [name, f"{name} ({system.role})", *(f"{name} ({system.role}, {folder})" for folder in (path.name, path))]
