"""MLflow reads from its SQLite file what was sent to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from evalkit.errors import EvalkitError
from evalkit.results.result import Result
from evalkit.trackers import send, tracker

from .records import MODEL, PROMPTS

mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


def sent(made: Result, place: Path, **options: Any) -> tuple[Any, Any]:
    """Send a result, and return MLflow's client and the only run."""
    assert "mlflow ui --backend-store-uri" in send(made, tracker("mlflow", output=str(place), **options))
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{place / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("evalkit").experiment_id])
    return client, run


def test_metrics_parameters_tags_and_artifacts_are_read_back(
    made: Result, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, run = sent(made, place, sounds=2)
    metrics = run.data.metrics
    assert metrics["fad"] == pytest.approx(4.9)
    assert (metrics["fad/low"], metrics["fad/high"], metrics["fad/n"]) == pytest.approx((4.65, 5.15, PROMPTS))
    assert metrics["calibration/noise at -40 dB/fad"] == pytest.approx(40.0)
    assert run.info.run_name == f"{MODEL} (random weights)"
    assert run.data.params["model.kind"] == "musicgen"
    assert "Random weights" in run.data.tags["evalkit_warning"]
    assert "Random weights" in run.data.tags["mlflow.note.content"]
    assert run.info.status == "FINISHED"

    folder = Path(client.download_artifacts(run.info.run_id, ""))
    assert {"report.html", "config.yaml", "clips.json", "table.md"} <= {x.name for x in folder.iterdir()}
    sounds = sorted((folder / "clips").glob("*.mp3"))
    assert [path.name[4:] for path in sounds] == [
        "kld-worst-1.mp3", "kld-worst-2.mp3", "kld-best-1.mp3", "kld-best-2.mp3",
    ]  # fmt: skip
    assert soundfile.info(sounds[0]).channels == 2
    assert set(json.loads((folder / "clips" / "captions.json").read_text("utf-8"))) == {path.name for path in sounds}
    assert "hf_secret" not in (folder / "config.yaml").read_text("utf-8")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'mlflow.db'}")  # MLflow asks for it here alone
    table = client.load_table(run.info.experiment_id, "clips.json")
    assert list(table["kld"]) == list(range(PROMPTS))


def test_the_same_record_sent_again_is_the_same_run(made: Result, place: Path) -> None:
    client, before = sent(made, place, sounds=0)
    client, after = sent(made, place, sounds=0)
    assert before.info.run_id == after.info.run_id
    assert len(client.get_metric_history(after.info.run_id, "fad")) == 1


def test_a_store_of_files_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match="SQLite"):
        tracker("mlflow", output=(tmp_path / "mlruns").as_uri())
