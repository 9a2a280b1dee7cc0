"""Sweeps in this process: which points there are, what fails, what is measured again, and how one goes on."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from omegaconf import DictConfig

from evalkit import load, pipeline, progress, sweep
from evalkit.config import compose
from evalkit.errors import EvalkitError
from evalkit.models.synth.synth import Synth
from evalkit.parallel.units import Done
from evalkit.results.pairing import Side, side
from evalkit.results.plots import sweeps
from evalkit.results.result import Result
from evalkit.results.sweep import Sweep
from evalkit.settings import Engine
from evalkit.store.cache import Cache
from evalkit.store.runs import RunFolder
from evalkit.sweeping import points
from evalkit.sweeping import sweep as sweeping
from evalkit.sweeping.checking import Asked
from evalkit.sweeping.race import nested
from evalkit.sweeping.sweep import FRESH

Make = Callable[..., Sweep]

# nothing that is measured here needs a network
BASE = ["model=synth", "prompts=synthetic", "prompts.first=6", "metric=[chroma]", "random_weights=0"]
BASE += ["engine.quiet=true", "sampling.duration=1", "uncertainty.resamples=0"]
WORSE = "# @package _global_\ndefaults: [override /model: synth]\nmodel: {synth: {seed: 1, detune: 300.0}}\n"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a sweep in an empty folder with a cache of its own, and without plots, which take seconds."""
    monkeypatch.setattr(sweeps, "write", lambda *_: [])
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    return lambda *options, **more: sweep(*BASE, f"output_dir={tmp_path / 'runs'}", *options, **more)


def measured(found: Sweep) -> list[dict[str, Any]]:
    return [*found.points["options"]]


def test_the_default_is_the_first_point_whether_or_not_the_grid_has_it(make: Make) -> None:
    inside = make("model.synth.detune=100.0,0.0", confirm=False)
    outside = make("model.synth.detune=100.0,200.0", "model.synth.mono=true", confirm=False)
    assert measured(inside) == [{"model.synth.detune": value} for value in (0.0, 100.0)]
    assert measured(outside) == [{"model.synth.detune": value} for value in (0.0, 100.0, 200.0)]
    for found in (inside, outside):
        assert found.default == 1
        assert [*found.points["default"]] == [True, *[False] * (len(found.points) - 1)]
        assert found.parameters[0].default == 0.0
        assert found.result(1).config["model"]["synth"]["detune"] == 0.0
        assert {"silence_share", "clipped_clips"} < {*found.scores["metric"]}
    assert outside.result(3).config["model"]["synth"] == {**outside.config["model"]["synth"], "detune": 200.0}
    assert "detune" not in outside.config["model"]["synth"]


def test_groups_are_points_with_the_selected_one_as_default(make: Make) -> None:
    found = make("protocol=musicgen,fadtk", confirm=False)
    assert measured(found) == [{"protocol": "musicgen"}, {"protocol": "fadtk"}]
    assert found.result(2).protocol.name == "fadtk" and found.parameters[0].default == "musicgen"


@pytest.mark.slow
def test_of_points_that_cannot_be_compared_none_is_the_best(make: Make) -> None:
    found = make("prompts.first=3,4")
    assert found.winner is None and not found.scores["best"].any() and found.points["front"].isna().all()
    assert found.document().reasons[0].startswith("No two points can be compared, so none is said to be the best")


@pytest.mark.parametrize("option", ["output_dir=a,b", "engine.batch_size=1,2", "uncertainty.level=0.95,0.99"])
def test_what_changes_no_score_is_not_swept(make: Make, option: str) -> None:
    with pytest.raises(EvalkitError, match=r"changes no clip and no score"):
        make(option)


def test_a_sweep_judges_at_95_percent_or_more(make: Make) -> None:
    with pytest.raises(EvalkitError, match=r"uncertainty\.level=0\.5: a sweep needs 0\.95 or more"):
        make("model.synth.noise=0.0,0.1", "uncertainty.level=0.5")


def test_models_are_points_of_which_none_is_the_default(make: Make) -> None:
    found = make("model=synth,tiny_stereo", "prompts.first=2")
    assert measured(found) == [{"model": "synth"}, {"model": "tiny_stereo"}] and found.default is None
    assert any("no point is the default: model is swept, and has none" in remark for remark in found.remarks)


@pytest.mark.parametrize("quiet", [True, False])
def test_what_is_said_while_points_are_measured_at_once_is_logged_and_told_unless_quiet(
    quiet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def measured(*_: Any) -> list[str]:
        logging.getLogger("evalkit.x").warning("a worker died")
        monkeypatch.setattr(progress, "_due", 0.0)
        monkeypatch.setattr(progress, "INTERVAL", 0.01)
        with progress.progress("points", 2, "points"):
            time.sleep(0.1)
        return ["a", "b"]

    monkeypatch.setattr(points, "measure_with", measured)
    plan = SimpleNamespace(engine=Engine(device="cpu", workers=2, quiet=quiet), cache=Cache(tmp_path / "cache"))
    checked: Any = SimpleNamespace(plan=plan, space=SimpleNamespace(parameters=[]), default=None)
    plan.config = {"allow_targets": []}
    folder = RunFolder(tmp_path, "sweep")
    point = points.Point(compose(BASE), {})
    sweeping._Points(checked, folder, None).ahead({1: point, 2: point})
    said = capfd.readouterr().err
    assert ("a worker died" in said, "points: 0 of 2 points" in said) == (not quiet, not quiet)
    assert "WARNING evalkit.x: a worker died" in (folder.path / "run.log").read_text()


def test_what_a_worker_that_died_has_left_of_a_point_is_no_part_of_the_record(tmp_path: Path) -> None:
    places = [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    options = {"model.synth.detune": 100.0}
    point = points.Point(compose([*BASE, *places, "model.synth.detune=100.0", "prompts.first=2"]), options)
    (left := tmp_path / "points" / "001-detune-100.0").mkdir(parents=True)
    (left / "run.log").write_text("half")
    job = points.Measure(str(tmp_path / "points"), {"1": point})
    assert job.begin()(["1"]) == Done(("1",))
    assert sorted(path.name for path in (tmp_path / "points").iterdir()) == ["001-detune-100.0", "001.json"]
    assert points.read(tmp_path / "points" / "001.json").result is not None


def test_a_point_whose_workers_all_died_leaves_nothing_but_its_reason(tmp_path: Path) -> None:
    point = points.Point(compose(BASE), {"model.synth.detune": 100.0})
    (tmp_path / "001-detune-100.0").mkdir()
    dead: Any = SimpleNamespace(do=lambda *_: {"1": "its worker died"})
    (found,) = points.measure_with(dead, tmp_path, {1: point})
    assert (found.result, found.error) == (None, "its worker died")
    assert [path.name for path in tmp_path.iterdir()] == ["001.json"]


def test_a_point_that_fails_is_a_row_with_its_reason_and_the_others_go_on(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    true = pipeline.evaluate

    def broken(config: DictConfig, **more: Any) -> Result:
        if config.model.synth.noise == 0.3:
            raise ZeroDivisionError("a bug")
        return true(config, **more)

    monkeypatch.setattr(pipeline, "evaluate", broken)
    found = make("model.synth.noise=0.0,0.3,1e39,0.1", confirm=False)
    assert [*found.points["status"]] == ["ok", "failed", "failed", "ok"]
    assert found.points["reason"][1] == "the run: ZeroDivisionError: a bug (the traceback is in run.log)"
    assert "the model's output holds NaN or infinity" in found.points["reason"][2]
    content = json.loads((found.path / "points" / "003.json").read_text())
    assert content["options"] == {"model.synth.noise": 1e39} and content["folder"] == ""
    assert content["error"] == found.points["reason"][2]


def test_values_that_look_like_paths_lead_nowhere(make: Make) -> None:
    found = make("prompts.dataset=a/b,../../c", "prompts.first=2", confirm=False)
    folders = [path for path in (found.path / "points").iterdir() if path.is_dir()]
    assert len(folders) == len(found.points) == 3 and all((path / "result.json").is_file() for path in folders)
    assert [found.result(point).prompts_info.dataset for point in (2, 3)] == ["a/b", "../../c"]


def test_a_sweep_that_has_measured_nothing_is_one_line(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(config: DictConfig, **_: Any) -> Result:
        raise EvalkitError(f"no duration {config.sampling.duration:g}")

    monkeypatch.setattr(pipeline, "evaluate", broken)
    said = "none of the 3 points could be measured: no duration 10; the others for other reasons"
    with pytest.raises(EvalkitError, match=said):
        make("sampling.duration=1,2")
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def worse(tmp_path: Path) -> dict[str, Any]:
    """A folder of YAMLs with the experiment "worse", whose default is not the best point."""
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "worse.yaml").write_text(WORSE)
    return {"config_dir": str(tmp_path / "own")}


def test_the_winner_is_measured_again_on_a_seed_that_nothing_was_chosen_by(make: Make, worse: dict[str, Any]) -> None:
    found = make("experiment=worse", "model.synth.detune=0.0,150.0", **worse)
    assert measured(found) == [{"model.synth.detune": value} for value in (300.0, 0.0, 150.0)]
    assert (found.default, found.winner, found.fresh_seed) == (1, 2, FRESH)
    (row,) = found.confirmed.to_dict("records")
    assert row["metric"] == "chroma" and row["verdict"] == "better"
    for name, detune in (("default", 300.0), ("winner", 0.0)):
        again = Result.load(found.path / "confirmation" / name)
        assert again.sampling["seed"] == FRESH and again.config["model"]["synth"]["detune"] == detune
        assert row[name] == pytest.approx(again.scores.set_index("metric")["value"]["chroma"])


@pytest.mark.slow
def test_nothing_is_confirmed_where_no_seed_is_fresh(
    make: Make, worse: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = make("experiment=worse", "sampling.seed=0,5", "model.synth.detune=0.0,300.0", **worse)
    assert swept.winner != swept.default == 1 and swept.confirmed.empty and swept.fresh_seed is None
    assert any("sampling.seed is swept itself" in remark for remark in swept.remarks)
    monkeypatch.setattr("evalkit.sweeping.sweep.FRESH", 0)
    same = make("experiment=worse", "model.synth.detune=0.0,150.0", **worse)
    said = "seed 0 makes the same clips for 100% of the prompts: nothing could be confirmed on it"
    assert same.confirmed.empty and said in same.remarks


def test_a_winner_that_cannot_be_measured_again_is_said_to_be_lacking(
    make: Make, worse: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = pipeline.evaluate

    def broken(config: DictConfig, **more: Any) -> Result:
        if config.sampling.seed == FRESH:
            raise EvalkitError("out of memory")
        return true(config, **more)

    monkeypatch.setattr(pipeline, "evaluate", broken)
    options = [*BASE, f"output_dir={worse['config_dir']}/runs", "experiment=worse", "model.synth.detune=0.0,150.0"]
    made = sweeping.make(options, Asked(), **worse)
    said = f"the default could not be measured again on seed {FRESH}: out of memory"
    assert made.sweep.confirmed.empty and said in made.sweep.remarks and said in made.incomplete


def test_clips_that_few_prompts_change_are_no_fresh_ones(make: Make, worse: dict[str, Any]) -> None:
    found = make("experiment=worse", "model.synth.detune=0.0,150.0", **worse)
    before, after = (side(found.result(point), None) for point in (1, 2))
    assert sweeping._same_clips(before, before) == 1.0 and sweeping._same_clips(before, after) == 0.0
    record = dataclasses.replace(before.record, clips=before.record.clips.assign(note="digital silence"))
    assert sweeping._same_clips(Side(record, before.row), after) == 0.0
    assert sweeping._same_clips(Side(record, before.row), Side(record, before.row)) == 1.0


def test_a_default_that_is_best_is_not_measured_again(make: Make) -> None:
    found = make("model.synth.detune=300.0,400.0")
    assert found.winner == found.default == 1
    assert found.confirmed.empty and not (found.path / "confirmation").exists()


def frames(found: Sweep) -> list[pd.DataFrame]:
    """What must be the same of two sweeps that are one."""
    return [found.points.drop(columns=["path", "sha256"]), found.scores, found.confirmed, found.rungs]


def test_a_sweep_that_was_stopped_goes_on_to_the_record_that_it_would_have_had(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = ["model.synth.detune=0.0,100.0,200.0", "model.synth.noise=0.0,1e39"]
    true = pipeline.evaluate
    runs = 0

    def stopped(config: DictConfig, **more: Any) -> Result:
        nonlocal runs
        runs += 1
        if runs == 4:
            raise KeyboardInterrupt
        return true(config, **more)

    monkeypatch.setattr(pipeline, "evaluate", stopped)
    with pytest.raises(KeyboardInterrupt):
        make(*options)
    (left,) = (tmp_path / "runs").iterdir()
    assert not (left / "result.json").exists()
    assert [path.name for path in sorted((left / "points").glob("*.json"))] == ["001.json", "002.json", "003.json"]
    rendered: list[float] = []
    render = Synth.render

    def counted(self: Synth, *given: Any) -> Any:
        rendered.append(self.detune)
        return render(self, *given)

    monkeypatch.setattr(Synth, "render", counted)
    monkeypatch.setattr(pipeline, "evaluate", true)
    again = make(*options)
    assert 0.0 not in rendered and rendered.count(200.0) == 12  # of 6 prompts, twice: half of them fail each time
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "another"))
    whole = make(*options)
    for ours, theirs in zip(frames(again), frames(whole), strict=True):
        pd.testing.assert_frame_equal(ours, theirs)
    assert load(again.path).remarks == whole.remarks


def test_a_race_measures_fewer_prompts_of_points_that_are_worse(make: Make) -> None:
    options = ["prompts.first=16", "model.synth.detune=0.0,200.0,400.0", "slices=[caption_length]"]
    raced = make(*options, race="12,all", confirm=False)
    assert raced.rungs.to_dict("records") == [
        {"prompts": 12, "points": 3, "dropped": 2, "clips": 36},
        {"prompts": 16, "points": 1, "dropped": 0, "clips": 4},
    ]
    assert [*raced.points["status"]] == ["ok", "dropped", "dropped"] and [*raced.points["n"]] == [16, 12, 12]
    few, winner = raced.result(3), raced.result(1)
    assert (few.config["min_references"], winner.config["min_references"]) == (0.0, 0.9)
    assert (few.config["slices"], winner.config["slices"]) == ([], ["caption_length"])
    assert [prompt for prompt in few.prompts["id"]] == sorted(nested([*winner.prompts["id"]])[:12])
    assert few.prompts_info.selected == 12 and few.path.name == "003-on-12-prompts"
    whole = make(*options, confirm=False)
    for metric in ("chroma", "silence_share"):
        own, other = (found.scores.query(f"metric == '{metric}' and point == 1")["value"] for found in (raced, whole))
        assert [*own] == [*other]


def test_a_point_that_is_asked_for_again_is_not_measured_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful:
        name = "grid"

        def __init__(self, *_: Any) -> None:
            self.left = [{"model.synth.noise": value} for value in (0.3, 0.0, 0.3)]
            self.told: list[Any] = []
            self.closed = False

        @property
        def facts(self) -> dict[str, Any]:
            return {"forgets": True}

        def ask(self) -> dict[str, Any] | None:
            return self.left.pop(0) if self.left else None

        def tell(self, options: Any, values: Any, error: str) -> None:
            self.told.append((options["model.synth.noise"], values, error))

        def close(self) -> None:
            self.closed = True

    search = Forgetful()
    monkeypatch.setattr("evalkit.sweeping.sweep.Grid", lambda space: search)
    found = make("model.synth.noise=0.0,0.3", confirm=False)
    assert measured(found) == [{"model.synth.noise": value} for value in (0.0, 0.3)]
    chroma = found.scores.query("metric == 'chroma'").set_index("point")["value"]
    assert search.told == [(0.3, [chroma[2]], ""), (0.0, [chroma[1]], ""), (0.3, [chroma[2]], "")]
    assert search.closed and found.search_facts == {"forgets": True}
