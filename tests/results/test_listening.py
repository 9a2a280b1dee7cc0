"""The record of a listening test: saved, loaded again, and what is said of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from evalkit.errors import EvalkitError
from evalkit.report import formats, renderer
from evalkit.report.to_terminal import render
from evalkit.results import loading
from evalkit.results.comparison import Comparison
from evalkit.results.listening import FRAMES, Listening

from ..conftest import Run
from . import heard

FILES = {"result.json", "record.json", *(f"{name}.parquet" for name in FRAMES)}
EVIL = "<script>alert(1)</script> | `x` \x1b[2J"


@pytest.fixture(scope="module")
def rated() -> Listening:
    return heard.listening()


@pytest.fixture(scope="module")
def pairs() -> Listening:
    return heard.listening("pairs")


def assert_equal(one: Listening, other: Listening) -> None:
    """Compare two records field by field, but for where they lie."""
    for field in dataclasses.fields(Listening):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(ours, pd.DataFrame):
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
        elif field.name != "path":
            assert ours == theirs or (ours != ours and theirs != theirs), field.name


@pytest.mark.parametrize("method", ["rating", "pairs"])
def test_what_is_loaded_is_what_was_saved(method: str, tmp_path: Path) -> None:
    made = heard.listening(method)
    saved = made.save(tmp_path / "a")
    assert {path.name for path in saved.path.iterdir()} >= FILES | {"table.md", "table.json"}
    for loaded in (Listening.load(saved.path), loading.load(saved.path)):
        assert isinstance(loaded, Listening) and loaded.path == saved.path
        assert_equal(loaded, made)
    assert renderer("json")(loaded.document()) == renderer("json")(made.document())


def test_all_numbers_can_be_computed_again_from_the_record_alone(rated: Listening, tmp_path: Path) -> None:
    loaded = Listening.load(rated.save(tmp_path / "x").path)
    kept = loaded.answers[loaded.answers["excluded"] == ""]
    means = kept.groupby("system")["rating"].mean()
    for row in loaded.systems.to_dict("records"):
        assert row["value"] == pytest.approx(means[row["system"]])


def test_made_up_weights_are_said_at_the_correlations_and_not_of_ratings(rated: Listening) -> None:
    said = "the metrics' numbers mean nothing"
    document = dataclasses.replace(rated, warnings=[said]).document()
    assert not document.warning and said not in document.reasons and said not in document.table.intro
    intros = {table.title: table.intro for table in document.more if said in table.intro}
    assert intros and all("Metrics and ratings" in title for title in intros)


def test_a_file_that_is_missing_or_altered_is_named(rated: Listening, tmp_path: Path) -> None:
    saved = rated.save(tmp_path / "x").path
    for name in sorted(FILES - {"result.json"}):
        whole = (saved / name).read_bytes()
        (saved / name).write_bytes(whole + b" ")
        with pytest.raises(EvalkitError, match=f"{name}' is not the file that the analysis wrote: copy the listening"):
            Listening.load(saved)
        (saved / name).unlink()
        with pytest.raises(EvalkitError, match=f"{name} is missing: copy the whole listening"):
            Listening.load(saved)
        (saved / name).write_bytes(whole)
    Listening.load(saved)


def test_other_kinds_and_schemas_are_named(rated: Listening, tmp_path: Path) -> None:
    saved = rated.save(tmp_path / "x").path
    with pytest.raises(EvalkitError, match="holds a listening, not a comparison: give a folder that evalkit compare"):
        Comparison.load(saved)
    with pytest.raises(EvalkitError, match="holds a finished result already: choose another folder"):
        rated.save(saved)
    path = saved / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    with pytest.raises(EvalkitError, match=r"later version of evalkit \(schema 2, this one reads 1\)"):
        loading.load(saved)


@pytest.mark.parametrize("method", ["rating", "pairs"])
@pytest.mark.parametrize("form", formats())
def test_every_form_says_it_without_letting_names_out(method: str, form: str) -> None:
    made = heard.listening(method, evil=EVIL)
    text = renderer(form)(made.document())
    assert "\x1b[2J" not in text and text.endswith("\n")
    if form in ("html", "junit"):
        assert "<script>" not in text


@pytest.mark.parametrize("method", ["rating", "pairs"])
def test_the_terminal_has_it_in_80_columns(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = render(heard.listening(method).document()).splitlines()
    assert max(map(len, lines)) <= 80
    said = " ".join(" ".join(lines).split())
    assert "overall quality" in said and "large is better than small" in said and "9 of 10 raters" in said
    for title in ("Differences between systems", "Metrics and ratings, over systems", "Exclusions", "Raters"):
        assert title in said
    assert "Only 3 systems: this says how metrics order these, and little of any other." in said
    assert "Krippendorff's ordinal alpha" in said and "FAD ↓" in said
    assert ("Strength" in said and "Bradley–Terry" in said) == (method == "pairs")


def test_the_best_system_stands_first(rated: Listening, pairs: Listening) -> None:
    for made in (rated, pairs):
        names = [row.cell["system"] for row in made.document().table.rows]
        assert names == ["reference", "large", "medium", "small", "control: noise"]


def test_it_is_shown_in_one_line(rated: Listening, tmp_path: Path) -> None:
    saved = rated.save(tmp_path / "x")
    assert repr(saved) == f'Listening(quality, rating, 5 systems, 9 of 10 raters, "{tmp_path / "x"}")'


def test_commands_print_and_export_it(rated: Listening, evalkit: Run, tmp_path: Path) -> None:
    folder = str(rated.save(tmp_path / "x").path)
    status, out, err = evalkit("table", folder)
    assert (status, err) == (0, "") and "overall quality" in out
    status, out, err = evalkit("table", folder, folder)
    assert status == 2 and "is a table by itself" in err
    for form, part in (("csv", "system,role"), ("markdown", "| reference"), ("latex", "tabular"), ("json", '"axis"')):
        status, out, err = evalkit("export", folder, "--to", form)
        assert status == 0 and part in out, (form, out, err)
    status, _, err = evalkit("export", folder, "--to", "model-index")
    assert status == 2 and err.count("\n") == 1
