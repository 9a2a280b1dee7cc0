"""Whose clips are heard, of each kind of record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from evalkit.errors import EvalkitError
from evalkit.results.result import Result
from evalkit.results.sweep_points import Point
from evalkit.store.digests import sha256_file
from tests.listening.made import NAMES, result, study, tone
from tests.results import made_comparison, swept


def compared(folder: Path, *results: Result) -> str:
    """A comparison of the first row of one result with the second row of another one."""
    sides = [
        made_comparison.side(row, str(one.path), sha256=sha256_file(one.path / "result.json"))
        for row, one in zip(NAMES, results, strict=True)
    ]
    made = made_comparison.comparison(baseline=[sides[0]], candidate=[sides[1]])
    return str(made.save(folder / "comparison").path)


def test_of_a_comparison_both_sides_are_heard(tmp_path: Path) -> None:
    both = result(tmp_path / "a"), result(tmp_path / "b")
    record = compared(tmp_path, *both)
    facts = study(tmp_path, [record], axis="quality").study.facts
    found = {name: (one["row"], one["path"]) for name, one in facts["systems"].items() if one["role"] == "system"}
    assert found == {NAMES[0]: (NAMES[0], str(both[0].path)), NAMES[1]: (NAMES[1], str(both[1].path))}
    assert [one["kind"] for one in facts["records"]] == ["comparison"]
    with pytest.raises(EvalkitError, match="only a result has rows"):
        study(tmp_path / "x", [f"{record}::{NAMES[0]}"])


def test_a_side_that_has_changed_since_is_not_heard(tmp_path: Path) -> None:
    both = result(tmp_path / "a"), result(tmp_path / "b")
    record = compared(tmp_path, *both)
    manifest = both[1].path / "result.json"
    manifest.write_text(manifest.read_text() + " ")
    with pytest.raises(EvalkitError, match="is not the result that was compared"):
        study(tmp_path, [record])


def test_of_a_sweep_the_default_and_the_best_are_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.results.plots.sweeps.write", lambda *arguments: [])  # drawing takes seconds
    points = []
    for number, at in enumerate(swept.GRID[:3], 1):
        side = swept.measured(tmp_path / "features", number, swept.worse(*at), n=8)
        files = [tone(tmp_path / f"{number}-{i}.wav", f"{number} {i}") for i in range(8)]
        clips = side.record.clips.assign(
            path=[str(file) for file in files], sha256=[sha256_file(file) for file in files], length=1.0
        )
        made = dataclasses.replace(side.record, clips=clips)
        fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
        saved = Result(**fields).save(tmp_path / "points" / f"{number}")
        points.append(Point(swept.options(*at), dataclasses.replace(side, record=saved)))
    sweep = swept.sweep(points, draws=50).save(tmp_path / "sweep")
    facts = study(tmp_path, [str(sweep.path)], axis="quality", reference=False).study.facts
    names = dict(zip(sweep.points["point"], sweep.points["name"], strict=True))
    assert {name: one["role"] for name, one in facts["systems"].items()} == {
        **{str(names[point]): "system" for point in (sweep.default, sweep.winner)},
        "control: noise": "control",
    }


def test_results_are_heard_side_by_side_by_names_of_their_own(tmp_path: Path) -> None:
    one = result(tmp_path / "a")
    same = str(one.path)
    with pytest.raises(EvalkitError, match="has no row 'nobody'"):
        study(tmp_path, [f"{same}::nobody"])
    rows = study(tmp_path, [f"{same}::{NAMES[1]}", f"{same}::{NAMES[0]}"], control=False, reference=False)
    assert set(rows.study.facts["systems"]) == set(NAMES)


def test_without_references_none_is_hidden_and_it_is_said(tmp_path: Path) -> None:
    one = study(tmp_path, [str(result(tmp_path, references=False).path)])
    assert one.notes == ["no references: none is hidden among the clips"]
    assert [system["role"] for system in one.study.facts["systems"].values()] == ["system", "system", "control"]
    assert one.study.facts["systems"]["control: wrong caption"]["row"] == NAMES[0]
