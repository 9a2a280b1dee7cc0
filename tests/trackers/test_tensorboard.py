"""TensorBoard reads what was written for it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import soundfile

from evalkit.results.result import Result
from evalkit.trackers import send, tracker

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from .records import PROMPTS

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def written(made: Result, tmp_path: Path) -> Path:
    said = send(made, tracker("tensorboard", output=str(tmp_path / "tb"), sounds=2))
    assert "tensorboard --logdir" in said
    (folder,) = (tmp_path / "tb" / "evalkit" / "run").glob("small*")
    return folder


def text(events: EventAccumulator, tag: str) -> str:
    (event,) = events.Tensors(f"{tag}")
    (value,) = event.tensor_proto.string_val
    return bytes(value).decode()


def test_scalars_text_clips_and_sound_are_read_back(written: Path) -> None:
    events = EventAccumulator(str(written), size_guidance={"tensors": 0}).Reload()
    scalars = {
        tag: events.Tensors(tag)[0].tensor_proto.float_val[0] for tag in events.Tags()["tensors"] if "fad" in tag
    }
    assert scalars["fad"] == pytest.approx(4.9)
    assert (scalars["fad/low"], scalars["fad/high"]) == pytest.approx((4.65, 5.15))
    assert scalars["calibration/noise at -40 dB/fad"] == pytest.approx(40.0)
    assert "Random weights" in text(events, "summary")
    assert written.name == "small_.._model (random weights)"
    rows = text(events, "table/clips").splitlines()
    assert len(rows) == 2 + PROMPTS
    assert "<script>" not in rows[2] and r"\|" in rows[2]
    sounds = [tag for tag in events.Tags()["tensors"] if tag.startswith("clips/k")]
    assert len(sounds) == 4
    (sound,) = events.Tensors("clips/kld worst 1")
    audio, caption = sound.tensor_proto.string_val
    samples, rate = soundfile.read(io.BytesIO(audio))
    assert (samples.shape, rate) == ((16000, 2), 32000)
    assert "&lt;script&gt;" in caption.decode()
    assert events.SummaryMetadata("clips/kld worst 1").plugin_data.plugin_name == "audio"


def test_the_page_lies_beside_the_runs_and_the_text_says_where(written: Path) -> None:
    page = written.parent / "report.html"
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert str(page) in text(EventAccumulator(str(written)).Reload(), "summary")


def test_the_same_record_sent_again_takes_the_place_of_what_is_there(written: Path, made: Result) -> None:
    before = sorted(path.name for path in written.parent.rglob("*") if "tfevents" not in path.name)
    send(made, tracker("tensorboard", output=str(written.parents[2]), sounds=0))
    assert sorted(path.name for path in written.parent.rglob("*") if "tfevents" not in path.name) == before
    assert len(list(written.glob("*tfevents*"))) == 1
    tags = EventAccumulator(str(written)).Reload().Tags()["tensors"]
    assert "fad" in tags and "clips/kld worst 1" not in tags
