"""Weights & Biases' own file of an offline run has what was sent to it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from evalkit.errors import EvalkitError
from evalkit.results.result import Result
from evalkit.trackers import send, tracker

from .records import MODEL, PROMPTS

pytest.importorskip("wandb", reason="wandb is not installed")

from wandb.proto import wandb_internal_pb2

pytestmark = pytest.mark.usefixtures("no_network")

BLOCK, HEAD = 32768, 7  # of LevelDB's log, as which wandb writes


def records(path: Path) -> Iterator[Any]:
    """Read the records of a .wandb file, which may be split at the ends of blocks."""
    data, place, whole = path.read_bytes(), HEAD, b""
    while place + HEAD <= len(data):
        if BLOCK - place % BLOCK < HEAD:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEAD])
        whole += data[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if kind in (1, 4):  # full, last
            yield wandb_internal_pb2.Record.FromString(whole)  # type: ignore[attr-defined]  # protobuf makes it
            whole = b""


@pytest.fixture(scope="module")
def written(made: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wandb")
    said = send(made, tracker("wandb", output=str(folder), sounds=2, mode="offline"))
    assert "wandb sync" in said
    (run,) = (folder / "wandb").glob("offline-run-*")
    return run


def test_scalars_configuration_table_sound_and_artifact_are_read_back(written: Path) -> None:
    found = list(records(next(written.glob("*.wandb"))))
    history: dict[str, Any] = {}
    for one in found:
        history |= {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in one.history.item}
    assert history["fad"] == pytest.approx(4.9)
    assert (history["fad/low"], history["fad/high"]) == pytest.approx((4.65, 5.15))
    assert history["table/clips.nrows"] == PROMPTS
    assert history["clips/kld worst 1._type"] == "audio-file"
    runs = [one.run for one in found if one.HasField("run")]
    assert runs[0].display_name == f"{MODEL} (random weights)"
    assert list(runs[0].tags) == ["random weights"]
    assert "Random weights" in runs[0].notes
    config = {item.key: item.value_json for one in runs for item in one.config.update}
    assert json.loads(config["model.kind"]) == "musicgen"
    assert "Random weights" in config["evalkit_warning"]
    files = {entry.path for one in found for entry in one.request.log_artifact.artifact.manifest.contents}
    files |= {entry.path for one in found for entry in one.artifact.manifest.contents}
    assert {"report.html", "config.yaml", "table.md"} <= files


def test_sounds_and_the_table_lie_in_the_run(written: Path) -> None:
    sounds = sorted((written / "files" / "media" / "audio").rglob("*.mp3"))
    assert len(sounds) == 4
    assert soundfile.info(sounds[0]).channels == 2
    (table,) = (written / "files" / "media" / "table").rglob("*.table.json")
    assert len(json.loads(table.read_text("utf-8"))["data"]) == PROMPTS


def test_no_program_no_packages_and_no_machine_are_described(written: Path) -> None:
    assert not (written / "files" / "wandb-metadata.json").exists()
    assert "hf_secret" not in next(written.glob("*.wandb")).read_bytes().decode(errors="ignore")


def test_a_mode_that_there_is_not_is_refused() -> None:
    with pytest.raises(EvalkitError, match="offline"):
        tracker("wandb", mode="offlin")


def test_online_without_a_login_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(EvalkitError, match="wandb login"):
        tracker("wandb")
