"""A sweep as a record: saved, loaded, its points beside it, and in every form that is read."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import evalkit as package
from evalkit.errors import EvalkitError
from evalkit.report import renderer
from evalkit.results import loading
from evalkit.results.gate import MISTAKE
from evalkit.results.plots import sweeps
from evalkit.results.result import Result
from evalkit.results.sweep import FRAMES, Sweep
from evalkit.results.sweep_points import Point, Rung
from evalkit.results.sweep_record import Parameter, SweepRecord
from tests.conftest import Run
from tests.results.swept import GRID, GUIDANCE, PARAMETERS, TOP_K, N, grid, measured, options, sweep, worse


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep, with the results of its points in it, one of which failed."""
    target = tmp_path_factory.mktemp("runs") / "20261127-made"
    features = tmp_path_factory.mktemp("features")
    points = []
    for number, at in enumerate(GRID, 1):
        side = measured(features, number, worse(*at), config={"seed": 1})
        made = Result(**{field.name: getattr(side.record, field.name) for field in dataclasses.fields(side.record)})
        saved = made.save(target / "points" / f"{number:03}")
        points.append(Point(options(*at), dataclasses.replace(side, record=saved)))
    points.insert(2, Point(options(100.5, 50), None, "failed", "ValueError: guidance of 100.5 is too much"))
    (target / "run.log").write_text("made\n")
    facts: dict[str, Any] = {"rungs": [Rung(20, 7, 0, 140), Rung(N, 7, 0, 280)], "search_facts": {"trials": 7}}
    parameters = [dataclasses.replace(PARAMETERS[0], values=[1, 3, 6, 100.5]), PARAMETERS[1]]
    again = measured(features, 50, 0.5), measured(features, 51)
    sweep(points, parameters=parameters, confirmed=again, fresh_seed=12, **facts).save(target)
    return target


@pytest.fixture(scope="module")
def saved(folder: Path) -> Sweep:
    return Sweep.load(folder)


def test_what_is_loaded_equals_what_was_saved(saved: Sweep, tmp_path: Path) -> None:
    again = dataclasses.replace(saved, plots=[]).save(tmp_path / "again")
    found = package.load(tmp_path / "again")
    assert isinstance(found, Sweep)
    for field in dataclasses.fields(SweepRecord):
        ours, theirs = (getattr(one, field.name) for one in (again, found))
        if field.name in FRAMES:
            pd.testing.assert_frame_equal(ours, theirs)
        else:
            assert ours == theirs, field.name
    assert [one.values for one in found.parameters] == [[1, 3, 6, 100.5], [50, 250]]


def test_options_keep_their_types(tmp_path: Path) -> None:
    values = [1, 2.5, "a", None, True, [1, "b"], {"x": 1}]
    parameter = Parameter("k", "k", values, 1, False)
    points = [Point({"k": value}, None, "failed", "no") for value in values]
    made = sweep(points, parameters=[parameter], default=None).save(tmp_path / "s")
    found = Sweep.load(tmp_path / "s")
    assert [one["k"] for one in found.points["options"]] == values == [one["k"] for one in made.points["options"]]
    assert found.points["name"].tolist() == [
        "k=1", "k=2.5", "k=a", "k=null", "k=true", 'k=[1, "b"]', 'k={"x": 1}'
    ]  # fmt: skip


def test_results_of_points_are_read_from_the_folder_wherever_it_lies(
    folder: Path, saved: Sweep, tmp_path: Path
) -> None:
    assert saved.points["path"].tolist() == ["points/001", "points/002", "", *(f"points/00{k}" for k in range(3, 7))]
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    found = Sweep.load(moved).result(4)
    assert isinstance(found, Result) and found.path == moved / "points" / "003"
    with pytest.raises(EvalkitError, match=r"the sweep has no point 8: it has 7, from 1"):
        saved.result(8)
    with pytest.raises(EvalkitError, match=r"point 3 has no result: ValueError: guidance of 100\.5 is too much"):
        saved.result(3)
    manifest = moved / "points" / "001" / "result.json"
    manifest.write_text(manifest.read_text().replace('"finished"', '"finished" '))
    with pytest.raises(EvalkitError, match="is not the result that the sweep was made from: copy the whole sweep"):
        Sweep.load(moved).result(1)


def test_a_damaged_sweep_is_one_line(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "a")
    (tmp_path / "a" / "scores.parquet").unlink()
    with pytest.raises(EvalkitError, match=r"is incomplete: scores\.parquet is missing: copy the whole sweep"):
        package.load(tmp_path / "a")
    shutil.copytree(folder, tmp_path / "b")
    (tmp_path / "b" / "points.parquet").write_bytes(b"x")
    with pytest.raises(EvalkitError, match=r"points\.parquet' is not the file that the sweep wrote"):
        package.load(tmp_path / "b")
    shutil.copytree(folder, tmp_path / "c")
    manifest = json.loads((tmp_path / "c" / "result.json").read_text())
    (tmp_path / "c" / "result.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(EvalkitError, match=r"later version of evalkit \(schema 99, this one reads 1\)"):
        loading.load(tmp_path / "c")


def test_a_folder_that_holds_a_record_or_anything_else_is_left_as_it_is(saved: Sweep, folder: Path) -> None:
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(EvalkitError, match="holds a finished result already"):
        saved.save(folder)
    with pytest.raises(EvalkitError, match="is not empty: choose a new folder"):
        saved.save(folder / "points")
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_plots_lie_in_the_folder_and_are_named(saved: Sweep, folder: Path) -> None:
    assert saved.plots and "by-top_k" in saved.plots
    for name in saved.plots:
        assert (folder / "plots" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert b"<svg" in (folder / "plots" / f"{name}.svg").read_bytes()


def test_plots_that_cannot_be_drawn_take_nothing_else_with_them(
    saved: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(sweep: SweepRecord, folder: Path) -> list[str]:
        raise ValueError("no such font")

    monkeypatch.setattr(sweeps, "write", write)
    again = saved.save(tmp_path / "s")
    assert again.plots == [] and "no plots: ValueError: no such font" in Sweep.load(tmp_path / "s").remarks


def test_the_terminal_has_every_point_in_80_columns(
    saved: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    saved.print()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:-1])) <= 80 and lines[-1] == f"sweep: {saved.path}"
    text = "\n".join(lines)
    assert lines[0] == "- Best FAD: point 7 (guidance_scale=6, top_k=250)."
    row = next(line for line in lines if line.startswith("1 default  3"))
    assert row.split()[:4] == ["1", "default", "3", "250"] and row.endswith("7%      10.0")
    assert "3 failed   100.5" in text and "7 best     6" in text
    assert "- point 3: failed: ValueError: guidance of 100.5 is too much" in text
    for title in ("FAD ↓", "KLD ↓", "CLAP score ↑", "The best point again", "Race"):
        assert f"\n{title}\n" in text
    assert "Better than the default on these prompts, confirmed on a fresh seed (12): FAD -" in " ".join(
        " ".join(lines).split()
    )


@pytest.mark.parametrize("width", [40, 60, 100, 160])
def test_no_line_is_wider_than_the_terminal(saved: Sweep, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(map(len, renderer("terminal")(saved.document()).splitlines())) <= width


def test_nothing_but_a_fresh_seed_says_better_than_the_default(saved: Sweep) -> None:
    confirmed = saved.confirmed
    phrase = "better than the default"
    found = {
        name: " ".join(dataclasses.replace(saved, **changes).document().reasons)
        for name, changes in {
            "better": {},
            "worse": {"confirmed": confirmed.assign(verdict="worse")},
            "untold": {"confirmed": confirmed.assign(verdict="not told apart")},
            "unknown": {"confirmed": confirmed.assign(difference=math.nan)},
            "none": {"confirmed": confirmed.iloc[:0]},
            "default": {"winner": 1},
            "no default": {"default": None},
        }.items()
    }
    assert "Better than the default on these prompts, confirmed" in found.pop("better")
    assert all("confirmed on" not in text for text in found.values())
    assert f"Whether it is {phrase} is open: it was not measured again" in found["none"]
    assert f"Whether it is {phrase} is open: it has no value on a fresh seed" in found["unknown"]
    assert "Worse than the default on a fresh seed (12): FAD" in found["worse"]
    assert "Not told apart from the default on a fresh seed (12): FAD" in found["untold"]
    assert "The default is the best point." in found["default"]
    assert f"No point is the default, so nothing is said of being {phrase[:6]} than it." in found["no default"]


def test_which_may_be_the_best_is_one_sentence(saved: Sweep) -> None:
    scores = saved.scores
    of_fad = scores["metric"] == "fad"

    def said(among: Callable[[int], Any]) -> str:
        chosen = scores.assign(among_best=scores["among_best"].where(~of_fad, scores["point"].map(among)))
        reasons = dataclasses.replace(saved, scores=chosen).document().reasons
        return next((reason for reason in reasons if reason.startswith("FAD")), "")

    assert said(lambda n: n in (1, 7)) == "FAD: not worse than the best beyond noise: 2 of 6 points (1, 7)."
    assert said(lambda n: n == 7) == "FAD: every other point that was compared is worse than point 7 beyond noise."
    assert "no point is worse than the best beyond noise; more prompts may tell" in said(lambda n: True)
    assert said(lambda n: pd.NA) == ""


def test_csv_has_one_wide_row_per_point(saved: Sweep, folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((folder / "table.csv").read_text("utf-8"))))
    assert [row["point"] for row in rows] == [str(k) for k in range(1, 8)]
    first, failed = rows[0], rows[2]
    assert (first[GUIDANCE], first[TOP_K], first["default"], first["status"]) == ("3", "250", "True", "ok")
    assert (failed[GUIDANCE], failed["status"], failed["fad"]) == ("100.5", "failed", "")
    for metric in ("fad", "kld", "clap_score", "silence_share", "side_to_mid"):
        own = saved.scores[(saved.scores["point"] == 2) & (saved.scores["metric"] == metric)].iloc[0]
        assert float(rows[1][metric]) == own["value"] and float(rows[1][f"{metric}_to_default"]) == own["to_default"]
    assert {"fad_low", "fad_to_best_high", "fad_among_best", "fad_p_best", "front", "silence_share"} <= {*first}
    assert [row["best"] for row in rows] == ["False"] * 6 + ["True"]


def test_json_has_everything_and_no_number_that_is_none(folder: Path) -> None:
    value = json.loads((folder / "table.json").read_text("utf-8"), parse_constant=lambda name: pytest.fail(name))
    assert value["winner"] == 7 and value["default"] == 1 and value["fresh_seed"] == 12
    assert [one["key"] for one in value["parameters"]] == [GUIDANCE, TOP_K]
    assert len(value["scores"]) == 30 and len(value["confirmed"]) == 3 and len(value["rungs"]) == 2
    assert value["table"][2]["reason"] == "ValueError: guidance of 100.5 is too much"


def test_markdown_has_the_points_and_all_metrics(folder: Path) -> None:
    text = (folder / "summary.md").read_text("utf-8")
    assert text.startswith("# evalkit: made: m, guidance_scale, top_k\n")
    assert "| 1 default |" in text and "## All metrics" in text and "## The best point again" in text
    assert "| 1: guidance_scale=3, top_k=250" in text and "plots/by-top_k.png" in text


def test_values_of_fewer_prompts_do_not_stand_beside_those_of_all(tmp_path: Path) -> None:
    points = [*grid(tmp_path), Point(options(9, 50), measured(tmp_path, 9, 0.8, n=20), "dropped", "worse", 20)]
    table = sweep(points).document().table
    assert {"fad", "kld"} <= {*table.rows[0].cell} and not {"fad", "kld"} & {*table.rows[6].cell}
    assert table.rows[6].cell["number"] == "7 dropped" and table.rows[6].plain["fad"] > 0


def test_long_values_are_shortened_where_people_read_them_and_whole_for_machines(tmp_path: Path) -> None:
    paths = [f"/data/checkpoints/run-{k}/step-0120000-of-many-more-steps.ckpt" for k in (1, 2)]
    parameter = Parameter("model.m.path", "path", paths, paths[0], False)
    points = [Point({"model.m.path": path}, point.side) for path, point in zip(paths, grid(tmp_path), strict=False)]
    document = sweep(points, parameters=[parameter]).document()
    assert [row.cell["option model.m.path"] for row in document.table.rows] == ["/data/c…eps.ckpt"] * 2
    assert [row.plain["model.m.path"] for row in document.table.rows] == paths
    other = [f"/data/{k}.ckpt" for k in "ab"]
    parameter = Parameter("model.m.path", "path", other, other[0], False)
    points = [Point({"model.m.path": path}, None, "failed", "no") for path in other]
    rows = sweep(points, parameters=[parameter]).document().table.rows
    assert [row.cell["option model.m.path"] for row in rows] == ["a.ckpt", "b.ckpt"]


def test_random_weights_are_said_first(saved: Sweep) -> None:
    warned = dataclasses.replace(saved, random=["vggish", "m"], warnings=["Something else."])
    assert warned.document().warning.startswith("Random weights: vggish, m. The numbers below mean nothing")
    assert warned.document().warning.endswith("Something else.")


def test_table_prints_a_sweep_in_every_form(folder: Path, evalkit: Run) -> None:
    for form, part in (("markdown", "| 1 default |"), ("csv", GUIDANCE), ("json", '"winner": 7')):
        status, out, _ = evalkit("table", str(folder), "--format", form)
        assert status == 0 and part in out
    status, out, err = evalkit("table", str(folder), str(folder / "points" / "001"))
    assert (status, out) == (2, "")
    assert "a comparison, a sweep or a listening test is a table by itself: give it alone" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pack", "SWEEP", "a.zip"], "holds a sweep, not the result of a run: give a folder that evalkit run printed"),
        (["compare", "SWEEP", "SWEEP"], "or one inside of it, such as 'SWEEP/points/001'"),
        (["power", "SWEEP"], "is a sweep: give the result of one of its points"),
    ],
)
def test_where_a_result_is_needed_a_sweep_is_one_line(
    folder: Path, evalkit: Run, arguments: list[str], said: str
) -> None:
    status, out, err = evalkit(*(str(folder) if one == "SWEEP" else one for one in arguments))
    assert (
        status in (2, MISTAKE)
        and out == ""
        and said.replace("SWEEP", str(folder)) in err
        and len(err.strip().splitlines()) == 1
    )


def test_a_sweep_is_described_in_one_line(saved: Sweep) -> None:
    assert repr(saved) == f'Sweep(made, musiccaps, 7 points, {N} prompts, "{saved.path}")'
