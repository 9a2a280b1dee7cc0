"""A study as webMUSHRA reads it."""

from __future__ import annotations

from pathlib import Path

import pyloudnorm
import pytest
import soundfile
import yaml

from evalkit.errors import EvalkitError
from evalkit.listening.webmushra import export
from tests.conftest import Run
from tests.listening.made import NAMES, result, study


def test_each_rater_has_a_configuration_whose_clips_are_there(evalkit: Run, tmp_path: Path) -> None:
    made = study(tmp_path).study
    output = tmp_path / "out"
    code, out, err = evalkit("listen", "export", str(made.folder), "--to", "webmushra", "--output", str(output))
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"index.html?config=evalkit-{made.id[:8]}-r01.yaml"
    configs = sorted((output / "configs").glob("*.yaml"))
    assert [path.stem.rpartition("-")[2] for path in configs] == list(made.sessions)
    for path, session in zip(configs, made.sessions.values(), strict=True):
        text = path.read_text("utf-8")
        assert not any(name in text for name in (*NAMES, "reference", "control", "prompt/", str(tmp_path)))
        config = yaml.safe_load(text)
        assert config["testId"] == path.stem
        welcome, volume, *pages, finish = config["pages"]
        assert (welcome["type"], volume["type"], finish["type"]) == ("generic", "volume", "finish")
        assert (output / volume["stimulus"]).is_file()
        assert [list(page["stimuli"]) for page in pages] == session["pages"]
        for page in pages:
            assert page["type"] == "likert_multi_stimulus" and page["mustRate"] and page["mustPlayback"] == "ended"
            assert [one["value"] for one in page["response"]] == [10, 30, 50, 70, 90]
            assert "<blockquote>A &lt;script&gt;alert(&quot;caption&quot;)&lt;/script&gt; waltz" in page["content"]
            for item, sound in page["stimuli"].items():
                samples, rate = soundfile.read(output / sound)
                assert Path(sound).name == f"{item}.wav"
                assert pyloudnorm.Meter(rate).integrated_loudness(samples) == pytest.approx(-14, abs=0.3)


def test_a_melody_can_be_played_beside_its_clips(tmp_path: Path) -> None:
    found = str(result(tmp_path, melodies=True).path)
    made = study(tmp_path, [found], axis="melody").study
    export(made, tmp_path / "out")
    for path in (tmp_path / "out" / "configs").glob("*.yaml"):
        for page in yaml.safe_load(path.read_text("utf-8"))["pages"][2:-1]:
            sound = page["content"].partition('src="')[2].partition('"')[0]
            assert (tmp_path / "out" / sound).is_file()


def test_what_webmushra_cannot_ask_is_refused(tmp_path: Path) -> None:
    found = str(result(tmp_path).path)
    with pytest.raises(EvalkitError, match="has no question of preference: export a study of --method rating"):
        export(study(tmp_path / "a", [found], method="pairs").study, tmp_path / "out")
    made = study(tmp_path / "b", [found]).study
    with pytest.raises(EvalkitError, match="something is there: name a new folder"):
        export(made, tmp_path)
    made.sound(made.sessions["r01"]["pages"][0][0]).unlink()
    with pytest.raises(EvalkitError, match="is not there: get it from a copy"):
        export(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()
