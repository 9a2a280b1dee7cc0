"""Weights & Biases: runs in a folder, for `wandb sync`, or on a server where that is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from evalkit.errors import EvalkitError, reason
from evalkit.store.files import make_folder
from evalkit.trackers import package
from evalkit.trackers.run import Limits, Run, shell

OUTPUT = "results"  # below which wandb makes a folder of its own name
MODES = ("offline", "online", "disabled")
ID = 32  # characters of a run's id
TAG = 64  # and of a tag


@dataclass(frozen=True)
class Tracker:
    """Makes a run for each model, comparison or point; runs of one record have the same ids each time.

    Attributes:
        project: of the runs.
        output: the folder below which wandb makes its own; None for WANDB_DIR, or else results.
        rows: of a table, at most.
        sounds: of each metric, the best and the worst clips, so many of each.
        report: whether the page of the record is an artifact.
        mode: offline, or online, for which you must be logged in; None for WANDB_MODE, or else offline.
    """

    project: str = "evalkit"
    output: str | None = None
    rows: int = 10_000
    sounds: int = 3
    report: bool = True
    mode: str | None = None

    @property
    def limits(self) -> Limits:
        """How much of a record it is given."""
        return Limits(self.rows, self.sounds, self.report)

    @property
    def chosen_mode(self) -> str:
        """Whether anything is sent over the network: not unless that is asked for."""
        return self.mode or os.environ.get("WANDB_MODE") or "offline"

    @property
    def folder(self) -> Path:
        """Below which wandb makes its own folder."""
        return Path(self.output or os.environ.get("WANDB_DIR") or OUTPUT).expanduser().absolute()

    def check(self) -> None:
        """Raise EvalkitError where the package is not installed, and for an online run without a login."""
        _ = self.limits
        mode = self.chosen_mode
        if mode not in MODES:
            raise EvalkitError(f"the mode of wandb is '{mode}': use {', '.join(MODES)}")
        if "://" in (self.output or ""):
            raise EvalkitError(f"output={self.output}: wandb needs a folder; its server is WANDB_BASE_URL")
        wandb = _wandb()
        if mode == "online":  # else it would ask for a key when the run is over
            try:
                wandb.login()
            except Exception as error:
                raise EvalkitError(
                    f"wandb is online, and nobody is logged in ({reason(error)}): run 'wandb login', or be offline"
                ) from error

    def send(self, runs: Sequence[Run]) -> str:
        """Write the runs of one record, and say how they get to a server."""
        wandb = _wandb()
        make_folder(self.folder)
        for run in runs:
            _send(wandb, self, run)
        if self.chosen_mode != "offline":
            return f"the project {self.project} of Weights & Biases, {self.chosen_mode}"
        made = self.folder / "wandb"
        return f"'{made}', offline; from there to a server: wandb sync {shell(made)}/offline-run-*"


def _wandb() -> ModuleType:
    """Import wandb, which sends no reports of its own errors then."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    return package("wandb", "wandb")


def _send(wandb: ModuleType, to: Tracker, run: Run) -> None:
    """Write one run."""
    made: Any = wandb.init(
        project=to.project,
        dir=str(to.folder),
        id=run.key[:ID],
        resume="allow",
        reinit="create_new",  # beside a run of whoever calls this
        mode=to.chosen_mode,
        name=run.name,
        group=run.group,
        job_type=run.kind,
        notes=run.text,
        tags=[mark[:TAG] for mark in run.marks],
        config={**run.parameters, **run.tags},
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, disable_job_creation=True,
            x_disable_stats=True, x_disable_machine_info=True, x_disable_meta=True, x_save_requirements=False,
        ),
    )  # fmt: skip
    try:
        tables = {f"table/{name}": wandb.Table(dataframe=frame.map(_plain)) for name, frame in run.tables.items()}
        heard = {f"clips/{one.name}": wandb.Audio(str(one.path), caption=one.caption) for one in run.sounds}
        made.log({**run.scalars, **tables, **heard})
        artifact = wandb.Artifact(f"evalkit-{run.key[:ID]}", type="evaluation", metadata={"record": run.group})
        for name, path in run.files.items():
            artifact.add_file(str(path), name=name)
        made.log_artifact(artifact)
    finally:
        made.finish()


def _plain(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
