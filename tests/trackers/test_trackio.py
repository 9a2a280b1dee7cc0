"""trackio reads from its SQLite file what was sent to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile

from evalkit.errors import EvalkitError
from evalkit.results.result import Result
from evalkit.trackers import send, to_trackio

from .records import PROMPTS

FOLDER = "TRACKIO_DIR"

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The only folder that trackio has in this process."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("trackio")
        patch.setenv(FOLDER, str(place))
        trackio = pytest.importorskip("trackio", reason="trackio is not installed")
        return Path(trackio.utils.TRACKIO_DIR)


def logged(project: str) -> tuple[Any, dict[str, Any]]:
    """The only run of a project, and what was logged."""
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = trackio.Api().runs(project)
    (log,) = SQLiteStorage.get_logs(project, run.name, run_id=run.id)
    return run, log


def test_scalars_table_sound_and_artifacts_are_read_back(made: Result, place: Path) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    tracker = to_trackio.Tracker(project="read back", output=str(place), sounds=2)
    tracker.check()
    assert "trackio show" in send(made, tracker)
    run, log = logged("read back")
    assert (log["fad"], log["fad/low"], log["fad/high"]) == pytest.approx((4.9, 4.65, 5.15))
    assert "Random weights" in log["summary"]["_value"]
    assert run.name.endswith("(random weights)")
    assert run.config["model.kind"] == "musicgen"
    assert len(log["table/clips"]["_value"]) == PROMPTS
    sounds = [value for name, value in log.items() if name.startswith("clips/") and isinstance(value, dict)]
    assert len(sounds) == 4
    assert soundfile.info(place / "media" / sounds[0]["file_path"]).channels == 2
    names = {one["name"] for one in SQLiteStorage.list_artifacts("read back")}
    assert any(name.endswith("report.html") for name in names)


def test_the_same_record_sent_again_takes_the_place_of_what_is_there(made: Result, place: Path) -> None:
    for sounds in (0, 1):
        send(made, to_trackio.Tracker(project="again", output=str(place), sounds=sounds))
    _, log = logged("again")
    assert log["clips/kld worst 1"]["_type"] == "trackio.audio"


def test_another_folder_than_the_one_that_trackio_was_imported_with_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match=FOLDER):
        to_trackio.Tracker(output=str(tmp_path / "other")).check()
