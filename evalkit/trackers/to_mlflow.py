"""MLflow: runs of an experiment, in an SQLite file, or on the server that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from evalkit.errors import EvalkitError
from evalkit.store.files import make_folder
from evalkit.store.redaction import redacted
from evalkit.trackers import package
from evalkit.trackers.run import Limits, Run, shell

OUTPUT = "results/mlflow"
KEY = "evalkit_key"
BATCH, METRICS = 100, 1000  # parameters or tags, and metrics, that a server takes at once
NAME, VALUE, TAG = 250, 6000, 8000  # characters of a name, of a parameter, and of a tag

T = TypeVar("T")


@dataclass(frozen=True)
class Tracker:
    """Makes a run for each model, comparison or point; what was sent before is brought up to date.

    Attributes:
        project: the experiment.
        output: a folder for mlflow.db and artifacts, or the URI of a server or a database; None for
            MLFLOW_TRACKING_URI, or else results/mlflow.
        rows: of a table, at most.
        sounds: of each metric, the best and the worst clips, so many of each.
        report: whether the page of the record is an artifact.
    """

    project: str = "evalkit"
    output: str | None = None
    rows: int = 10_000
    sounds: int = 3
    report: bool = True

    @property
    def limits(self) -> Limits:
        """How much of a record it is given."""
        return Limits(self.rows, self.sounds, self.report)

    @property
    def place(self) -> Path | str:
        """A folder, or a URI."""
        given = self.output or os.environ.get("MLFLOW_TRACKING_URI") or OUTPUT
        return given if ":" in given or given == "databricks" else Path(given).expanduser().absolute()

    def check(self) -> None:
        """Raise EvalkitError where the packages are not installed, and for MLflow's old store of files."""
        _ = self.limits
        if str(self.place).startswith("file:"):
            raise EvalkitError(
                f"output={self.place}: MLflow's store of files cannot hold what evalkit sends: name a folder, in which "
                "an SQLite file is made, or sqlite:///FILE"
            )
        _mlflow()
        if isinstance(self.place, Path) or self.place.startswith("sqlite:"):
            for name in ("sqlalchemy", "alembic"):  # which mlflow-skinny alone does not bring
                package(name, "mlflow")

    def send(self, runs: Sequence[Run]) -> str:
        """Send the runs of one record, and say where they can be seen."""
        _mlflow()
        from mlflow.tracking import MlflowClient

        place = self.place
        if isinstance(place, Path):
            make_folder(place)
            uri = f"sqlite:///{place / 'mlflow.db'}"
        else:
            uri = place
        client = MlflowClient(tracking_uri=uri)
        experiment = self._experiment(client, place)
        parent = ""
        for run in runs:
            made = _send(client, experiment, run, parent)
            parent = made if run.kind == "sweep" else parent
        shown = str(redacted(uri))
        look = f"mlflow ui --backend-store-uri {shell(shown)}" if uri.startswith("sqlite:") else shown
        return f"the experiment {self.project} of MLflow: {look}"

    def _experiment(self, client: Any, place: Path | str) -> str:
        found = client.get_experiment_by_name(self.project)
        if found is None:
            artifacts = (place / "artifacts").as_uri() if isinstance(place, Path) else None
            return str(client.create_experiment(self.project, artifact_location=artifacts))
        if found.lifecycle_stage != "active":
            raise EvalkitError(f"the experiment {self.project} was deleted in MLflow: restore it, or name another")
        return str(found.experiment_id)


def _mlflow() -> None:
    """Import MLflow with its usage statistics off, and without its lines on how it makes a database."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    package("mlflow", "mlflow")
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _send(client: Any, experiment: str, run: Run, parent: str) -> str:
    """Make or find a run, and bring it up to date; return its id."""
    from mlflow.entities import Metric, Param, RunTag  # here, because importing MLflow takes seconds

    tags = {
        **run.tags,
        KEY: run.key,
        "evalkit_group": run.group,
        "evalkit_marks": ", ".join(run.marks),
        "mlflow.note.content": run.text,
        "mlflow.runName": run.name,
        **({"mlflow.parentRunId": parent} if parent else {}),
    }
    if run.tables:
        tags["mlflow.loggedArtifacts"] = json.dumps([{"path": f"{name}.json", "type": "table"} for name in run.tables])
    tags = {name: shortened(text, TAG) for name, text in tags.items() if text}
    milliseconds = int(run.time * 1000)
    known = client.search_runs([experiment], filter_string=f"tags.`{KEY}` = '{run.key}'", max_results=1)
    there = known[0] if known else client.create_run(experiment, start_time=milliseconds, run_name=run.name)
    own = str(there.info.run_id)
    metrics = [
        Metric(name, value, milliseconds, 0)
        for name, value in ((allowed(name), value) for name, value in run.scalars.items())
        if there.data.metrics.get(name) != value
    ]
    params = [
        Param(name, shortened(str(value), VALUE))
        for name, value in ((allowed(name), value) for name, value in run.parameters.items())
        if name not in there.data.params  # MLflow lets none change
    ]
    for some in batches(metrics, METRICS):
        client.log_batch(own, metrics=some)
    for few in batches(params, BATCH):
        client.log_batch(own, params=few)
    for part in batches([RunTag(name, text) for name, text in tags.items()], BATCH):
        client.log_batch(own, tags=part)
    for name, frame in run.tables.items():
        client.log_text(own, frame.to_json(orient="split", index=False), f"{name}.json")
    for sound in run.sounds:
        client.log_artifact(own, str(sound.path), "clips")
    if run.sounds:
        captions = {sound.path.name: sound.caption for sound in run.sounds}
        client.log_text(own, json.dumps(captions, indent=2, ensure_ascii=False), "clips/captions.json")
    for path in run.files.values():
        client.log_artifact(own, str(path))
    client.set_terminated(own, "FINISHED", milliseconds)
    return own


def allowed(name: str) -> str:
    """A name without the characters that MLflow refuses."""
    return re.sub(r"[^/\w.\- :]", "_", name)[:NAME]


def shortened(text: str, most: int) -> str:
    """The beginning of a text that a server would refuse."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Split a sequence into parts that a server takes at once."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
