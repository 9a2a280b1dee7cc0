"""trackio: runs in an SQLite file of their project, with clips and files beside it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.store.files import make_folder
from evalkit.trackers import package
from evalkit.trackers.run import Limits, Run, part, shell

OUTPUT = "results/trackio"
FOLDER = "TRACKIO_DIR"
KEY = "evalkit_key"


@dataclass(frozen=True)
class Tracker:
    """Makes a run for each model, comparison or point, in the place of what was sent of the same record before.

    Attributes:
        project: of the runs.
        output: the folder of all projects; None for TRACKIO_DIR, or else results/trackio.
        rows: of a table, at most.
        sounds: of each metric, the best and the worst clips, so many of each.
        report: whether the page of the record is an artifact.
    """

    project: str = "evalkit"
    output: str | None = None
    rows: int = 1000
    sounds: int = 3
    report: bool = True

    @property
    def limits(self) -> Limits:
        """How much of a record it is given."""
        return Limits(self.rows, self.sounds, self.report)

    @property
    def folder(self) -> Path:
        """The folder of all projects."""
        return Path(self.output or os.environ.get(FOLDER) or OUTPUT).expanduser().absolute()

    def check(self) -> None:
        """Raise EvalkitError where the package is not installed, or was imported with another folder."""
        _ = self.limits
        if "://" in (self.output or ""):
            raise EvalkitError(f"output={self.output}: trackio needs a folder; its server is TRACKIO_SERVER_URL")
        self._trackio()

    def _trackio(self) -> ModuleType:
        """Import trackio, which reads once where its folder is."""
        if "trackio" not in sys.modules:
            os.environ[FOLDER] = str(self.folder)
        trackio = package("trackio", "trackio")
        there = Path(trackio.utils.TRACKIO_DIR).absolute()
        if there != self.folder:
            raise EvalkitError(f"trackio was imported with the folder '{there}': set {FOLDER} before that")
        return trackio

    def send(self, runs: Sequence[Run]) -> str:
        """Write the runs of one record, and say how they are shown."""
        trackio = self._trackio()
        make_folder(self.folder)
        project = part(self.project)
        keys = {run.key for run in runs}
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            there: list[Any] = []
            with contextlib.suppress(ValueError):  # there is no such project yet
                there = list(trackio.Api().runs(project))
            for old in there:
                if (old.config or {}).get(KEY) in keys:
                    old.delete()
            for run in runs:
                _send(trackio, project, run)
        # trackio makes warnings of what it could not keep
        if lost := [str(one.message) for one in said if "trackio" in str(one.message).lower()]:
            raise EvalkitError(lost[0])
        return (
            f"the project {project} of trackio: {FOLDER}={shell(self.folder)} trackio show --project {shell(project)}"
        )


def _send(trackio: ModuleType, project: str, run: Run) -> None:
    made = trackio.init(
        project=project,
        name=part(run.name),
        group=part(run.group),
        config={**run.parameters, **run.tags, KEY: run.key},
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    try:
        tables = {
            f"table/{name}": trackio.Table(dataframe=frame.astype(object).where(frame.notna(), None))
            for name, frame in run.tables.items()
        }
        heard = {f"clips/{one.name}": trackio.Audio(one.path, caption=one.caption) for one in run.sounds}
        made.log({**run.scalars, **tables, **heard, "summary": trackio.Markdown(run.text)})
        for name, path in run.files.items():
            artifact = trackio.Artifact(f"{run.key[:12]}-{name}", type="evaluation")
            artifact.add_file(path)
            made.log_artifact(artifact, overwrite=True)
    finally:
        trackio.finish()
