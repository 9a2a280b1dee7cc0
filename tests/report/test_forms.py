"""One document in all its forms."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evalkit.errors import EvalkitError
from evalkit.report import document as model
from evalkit.report import formats, renderer
from evalkit.report.document import Case, Column, Document, Item, Link, Listing, Quantity, Row, Table, cell
from evalkit.report.to_csv import render as to_csv
from evalkit.report.to_json import render as to_json
from evalkit.report.to_markdown import render as to_markdown
from evalkit.report.to_terminal import render as to_terminal

from ..results.made import FORMS

COLUMNS = [Column("fad", "FAD", "↓"), Column("chroma", "Chroma similarity", "↑")]
MUSICGEN = {
    "fad": {"value": 4.9034, "low": 4.8923, "high": 4.9256, "n": 5469, "published": 4.88, "difference": 0.0234},
    "chroma": {"value": 0.1014, "n": 5521},
}
STEREO = {"fad": {"value": 5.1117, "n": 5469}, "chroma": {"value": math.nan, "n": 0}}


def made(name: str = "musicgen_small", **changes) -> Document:
    rows = [
        Row({"model": name}, MUSICGEN, {"clips": "5,521 of 5,521"}, {"clips": 5521, "note": "a note"}),
        Row({"model": "stereo"}, STEREO, {"clips": "5,521 of 5,521"}, {"clips": 5521, "note": ""}),
    ]
    table = Table(COLUMNS, rows, show_n=True)
    return replace(Document("musiccaps", "musiccaps, subset all", table, notes=["one", "two"]), **changes)


def cells(markdown: str, model: str) -> list[str]:
    line = next(x for x in markdown.splitlines() if x.startswith(f"| {model} "))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_forms_are_found_by_the_names_of_their_modules() -> None:
    assert formats() == ["csv", "json", "junit", "latex", "markdown", "terminal"]
    assert renderer("csv") is to_csv
    with pytest.raises(EvalkitError, match="unknown format 'markdwon': did you mean 'markdown'"):
        renderer("markdwon")


def test_a_new_quantity_shows_in_every_form_without_another_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "excellent" not in "".join(renderer(name)(made()) for name in FORMS)
    grade = Quantity("grade", "grade", "word", "of the difference")
    monkeypatch.setattr(model, "QUANTITIES", (*model.QUANTITIES, grade))
    known = {**MUSICGEN["fad"], "grade": "excellent", "metric": "fad"}
    rows = [Row({"model": "musicgen_small"}, {"fad": cell(known)})]
    document = Document("musiccaps", "musiccaps", Table(COLUMNS[:1], rows))
    for name in FORMS:
        text = renderer(name)(document)
        assert text.count("excellent") == 1 and "grade" in text, name
    assert "Grade: of the difference." in to_markdown(document)
    assert json.loads(to_json(document))["table"][0]["fad_grade"] == "excellent"


def test_a_warning_comes_before_the_numbers_in_every_form_that_people_read() -> None:
    document = made(warning="Random weights: VGGish.")
    for name in ("latex", "markdown", "terminal"):
        text = renderer(name)(document)
        assert 0 <= text.index("Random weights: VGGish.") < text.index("4.903"), name
    assert json.loads(to_json(document))["warning"] == "Random weights: VGGish."
    assert json.loads(to_json(made()))["warning"] is None and "> **" not in to_markdown(made())


def test_markdown_has_a_column_for_what_was_published_where_something_was() -> None:
    text = to_markdown(made())
    head = cells(text, "model")
    assert head == ["model", "clips", "FAD ↓", "FAD published", "FAD difference", "Chroma similarity ↑"]
    row = dict(zip(head, cells(text, "musicgen_small"), strict=True))
    assert row["FAD ↓"] == "4.903 \\[4.892, 4.926\\] (n 5,469)"
    assert (row["FAD published"], row["FAD difference"]) == ("4.88", "+0.02")
    assert (row["clips"], row["Chroma similarity ↑"]) == ("5,521 of 5,521", "0.101 (n 5,521)")
    assert cells(text, "stereo")[2:5] == ["5.112 (n 5,469)", "–", "–"]
    assert text.startswith("# evalkit: musiccaps\n\nmusiccaps, subset all\n\n| model ")
    assert "↓ lower is better, ↑ higher is better. Difference: measured − published." in text
    assert "- one\n- two\n" in text


def test_markdown_has_room_for_further_tables() -> None:
    slices = Table(
        COLUMNS[:1], [Row({"model": "m", "tag": "a|b"}, {"fad": {"value": 1.5, "n": 3}})], True, 30, "Slices"
    )
    published = Table(
        COLUMNS[:1],
        [Row({"model": "Riffusion", "source": Link("card_", "https://example.org")}, {"fad": {"value": 14.8}})],
        title="Other published numbers",
        intro="For context.",
        notes=["Riffusion: a caveat"],
        quantities=[Quantity("value", "published", "quoted")],
    )
    text = to_markdown(made(more=[slices, published], provenance={"commit": "abc123"}))
    assert "## Slices\n" in text and cells(text, "m") == ["m", "a\\|b", "1.500 (n 3, small)"]
    assert "## Other published numbers\n\nFor context." in text and "- Riffusion: a caveat" in text
    assert cells(text, "Riffusion") == ["Riffusion", "[card\\_](https://example.org)", "14.8"]
    assert text.endswith("## Provenance\n\n- commit: abc123\n")
    assert "Slices (1 row), Other published numbers (1 row)" in " ".join(
        renderer("terminal")(made(more=[slices, published])).split()
    )


@pytest.mark.parametrize("name", ["a|b", "<img src=x onerror=alert(1)>", "[link](http://x)", "`code` *b* _i_", "a\nb"])
def test_names_are_literal_in_markdown(name: str) -> None:
    text = to_markdown(made(name, provenance={"file": name}))
    rows = [x for x in text.splitlines() if x.startswith("|")]
    assert len(rows) == 4
    assert len({len(re.split(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "<img" not in text and "[link](" not in text and "`code`" not in text and "\n b" not in text
    if name == "a|b":
        assert "| a\\|b " in rows[2]
    if name.startswith("<img"):
        assert "&lt;img src=x onerror=alert(1)&gt;" in rows[2]


def test_csv_reads_back_equal() -> None:
    back = pd.read_csv(io.StringIO(to_csv(made())), float_precision="round_trip")
    expected = pd.DataFrame(made().table.records())
    assert list(back.columns) == list(expected.columns)
    assert list(back.columns)[:5] == ["model", "clips", "fad", "fad_low", "fad_high"]
    assert back["fad"].tolist() == [4.9034, 5.1117] and back["fad_difference"].tolist()[0] == 0.0234
    assert back["clips"].tolist() == [5521, 5521] and back["fad_published"].isna().tolist() == [False, True]


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@x"])
def test_csv_holds_no_formula(name: str) -> None:
    document = made(name)
    rows = [replace(document.table.rows[0], cells={"fad": {"value": -1.5}})]
    row = pd.read_csv(io.StringIO(to_csv(replace(document, table=Table(COLUMNS, rows))))).iloc[0]
    assert row.model == f"'{name}" and row.fad == -1.5


ACTING = {
    "escape": "\x1b[2J\x1b]0;title\x07",
    "C1 control": "\x9b2J\x7f",
    "right to left": "\u202eevil\u2066",
    "half a pair": "\ud800",
    "tag": "\U000e0041",
}


@pytest.mark.parametrize("form", formats())
@pytest.mark.parametrize("bad", ACTING.values(), ids=ACTING)
def test_no_character_that_acts_instead_of_showing_reaches_a_reader(form: str, bad: str) -> None:
    name = f"a{bad}z"
    column = Column("m", f"title {name}", "↑")
    row = Row({"model": name, "tag": name}, {"m": {"value": 1.0}}, {name: name}, {"note": name})
    table = Table([column], [row], title=name, intro=name, notes=[name])
    words = [Quantity("word", name, "word", name), Quantity("word", name, "verdict")]
    links = [Quantity("links", name, "links")]
    said = {"word": name, "links": [Link(name, "https://example.org")]}
    more = [
        replace(table, rows=[Row({"source": Link(name, "https://example.org")}, row.cells)]),
        Listing([words, links], [Item(said, {name: name})], name, name, [name]),
    ]
    cases = [Case(name, name, "failed", name, name, {name: name}), Case(name, name, "passed", name, name)]
    document = Document(name, name, table, name, [name], more, {name: name}, {name: [name]}, name, [name], name, cases)
    text = renderer(form)(document)
    assert not {character for character in bad if not character.isprintable()} & set(text)
    text.encode()
    if form == "json":
        assert json.loads(text)["heading"] == name
    else:
        escape = bad[0].encode("unicode_escape").decode()
        assert escape in text.replace("\\textbackslash{}", "\\").replace("\\\\", "\\")


def test_letters_of_every_script_stay_as_they_are() -> None:
    name = "naïve 音楽 می\u200cخواهم 👩\u200d🎤"
    for form in ("csv", "json", "latex", "markdown"):
        assert name in renderer(form)(made(name))


def test_json_has_null_for_what_is_no_finite_number() -> None:
    text = to_json(made(plain={"level": 0.95, "scores": [{"value": math.nan, "high": math.inf, "n": pd.NA}]}))
    assert "NaN" not in text and "Infinity" not in text
    back = json.loads(text)
    small, stereo = back["table"]
    assert (small["fad"], small["fad_published"], small["fad_n"], small["clips"]) == (4.9034, 4.88, 5469, 5521)
    assert stereo["fad_published"] is None and stereo["chroma"] is None
    assert back["level"] == 0.95 and back["scores"] == [{"value": None, "high": None, "n": None}]
    assert back["notes"] == ["one", "two"] and back["provenance"] == {}


def test_a_published_value_that_is_not_comparable_is_marked_wherever_people_read() -> None:
    beside = {"published": 0.5, "difference": 0.25}
    cells = [{"value": 0.75, **beside, "comparable": comparable} for comparable in (True, False, np.False_)]
    rows = [Row({"model": name}, {"fad": cell}) for name, cell in zip("abc", cells, strict=True)]
    for render in (to_terminal, to_markdown):
        text = render(Document("d", "d", Table([Column("fad", "FAD", "↓")], rows)))
        assert text.replace("\\", "").count("0.50*") == 2 and "not comparable: see the notes" in text
        alike = render(Document("d", "d", Table([Column("fad", "FAD", "↓")], rows[:1])))
        assert "*" not in alike.replace("**", "") and "not comparable" not in alike
