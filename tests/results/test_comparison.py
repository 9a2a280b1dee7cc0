"""A comparison saved into a folder and read again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalkit.errors import EvalkitError
from evalkit.results import loading
from evalkit.results.comparison import Comparison
from evalkit.results.result import Result

from .made_comparison import comparison, group, metric, moved, side

FILES = {"result.json", "record.json", "metrics.parquet", "slices.parquet", "moved.parquet"}


@pytest.fixture
def made() -> Comparison:
    return comparison(
        [metric(), metric("kld", "BREACH", tier="advisory", note="音楽\nnaïve")],
        [group(), group(name="voice", gated=True, verdict="MISSING")],
        [moved(), moved("p1", caption="<script>alert(1)</script> | `x` \x1b[2J")],
        outcome="NO-GO",
        warnings=["Random weights: VGGish."],
        random=["VGGish"],
        candidate=[side("m"), side("m", "/runs/other", commit="")],
    )


def assert_equal(one: Comparison, other: Comparison) -> None:
    """Compare two comparisons field by field, but for where they lie."""
    for field in dataclasses.fields(Comparison):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(ours, pd.DataFrame):
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
        elif field.name != "path":
            assert ours == theirs, field.name


def test_what_is_loaded_is_what_was_saved(made: Comparison, tmp_path: Path) -> None:
    saved = made.save(tmp_path / "a" / "comparison")
    assert saved.path == tmp_path / "a" / "comparison"
    assert {path.name for path in saved.path.iterdir()} >= FILES
    for loaded in (Comparison.load(saved.path), loading.load(saved.path)):
        assert isinstance(loaded, Comparison) and loaded.path == saved.path
        assert_equal(loaded, made)
        assert_equal(loaded, saved)


def test_a_comparison_without_slices_or_moved_prompts_is_saved_too(tmp_path: Path) -> None:
    assert_equal(Comparison.load(comparison().save(tmp_path / "x").path), comparison())


def test_it_is_shown_in_one_line(made: Comparison, tmp_path: Path) -> None:
    assert repr(made.save(tmp_path)) == f'Comparison(NO-GO, musiccaps, 500 prompts × 2 metrics, "{tmp_path}")'


def test_it_is_saved_only_where_nothing_else_lies(made: Comparison, tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text("what a command logged")
    (tmp_path / "metrics.parquet").write_text("what a stopped save left")
    assert_equal(Comparison.load(made.save(tmp_path).path), made)
    with pytest.raises(EvalkitError, match="holds a finished result already: choose another folder"):
        made.save(tmp_path)
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "x.txt").write_text("z")
    with pytest.raises(EvalkitError, match="is not empty: choose a new folder"):
        made.save(tmp_path / "y")
    with pytest.raises(EvalkitError, match="choose another folder"):
        made.save(tmp_path / "y" / "x.txt")


@pytest.mark.parametrize("name", sorted(FILES - {"result.json"}))
def test_a_file_that_is_missing_or_altered_is_named(made: Comparison, tmp_path: Path, name: str) -> None:
    path = made.save(tmp_path).path / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(EvalkitError, match=f"{name}' is not the file that the comparison wrote: copy the comparison"):
        Comparison.load(tmp_path)
    path.unlink()
    with pytest.raises(EvalkitError, match=f"{name} is missing: copy the whole comparison"):
        Comparison.load(tmp_path)


def test_nothing_is_read_without_a_manifest(made: Comparison, tmp_path: Path) -> None:
    (made.save(tmp_path).path / "result.json").unlink()
    with pytest.raises(EvalkitError, match="no finished result: give the folder that evalkit compare printed"):
        Comparison.load(tmp_path)
    with pytest.raises(EvalkitError, match="is not a folder: give the one that evalkit compare printed"):
        Comparison.load(tmp_path / "gone")


def edited(folder: Path, **changes: Any) -> None:
    """Have a manifest say something else."""
    path = folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_other_schemas_and_kinds_are_named(made: Comparison, tmp_path: Path) -> None:
    made.save(tmp_path)
    with pytest.raises(
        EvalkitError, match="holds a comparison, not the result of a run: give a folder that evalkit run printed"
    ):
        Result.load(tmp_path)
    edited(tmp_path, schema=2)
    with pytest.raises(EvalkitError, match=r"later version of evalkit \(schema 2, this one reads 1\)"):
        loading.load(tmp_path)
    edited(tmp_path, schema=1, files={})
    with pytest.raises(EvalkitError, match="is damaged"):
        Comparison.load(tmp_path)
    edited(tmp_path, kind="result")
    with pytest.raises(EvalkitError, match="holds a result, not a comparison: give a folder that evalkit compare"):
        Comparison.load(tmp_path)
    edited(tmp_path, kind="tournament")
    with pytest.raises(EvalkitError, match="holds a tournament, which this version of evalkit cannot read: update it"):
        loading.load(tmp_path)
