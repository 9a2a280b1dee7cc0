"""Listings: tables with another quantity in each column."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from evalkit.report.document import Column, Document, Item, Link, Listing, Quantity
from evalkit.report.to_csv import render as to_csv
from evalkit.report.to_markdown import render as to_markdown
from evalkit.report.to_markdown import shortened
from evalkit.report.to_terminal import render as to_terminal

COLUMNS = [
    [Quantity("name", "metric", "word"), Quantity("tier", "tier", "word")],
    [Quantity("baseline", "baseline", "number"), Quantity("candidate", "candidate", "number")],
    [Quantity("difference", "difference", "signed", "candidate − baseline"), Quantity("i", "interval", "interval")],
    [Quantity("p", "p", "p"), Quantity("n", "n", "count")],
    [Quantity("verdict", "verdict", "verdict"), Quantity("effect", "effect", "word")],
    [Quantity("links", "listen", "links")],
]
TITLES = ["FAD", "KLD", "Chroma cosine similarity", "Vocals, probability in instrumental prompts", "x" * 70]
WORDS = ["PASS", "BREACH", "INSUFFICIENT_EVIDENCE", "MISSING"]


def item(i: int, **changes: object) -> Item:
    """A row whose numbers are all different."""
    cell = {
        "name": Column(f"m{i}", TITLES[i % 5], "↓↑"[i % 2]), "tier": "supporting", "baseline": 1.107 + i,
        "candidate": 1.219 + i, "difference": 0.331 + i, "low": -0.441 - i, "high": 1.551 + i, "p": 0.0011 * (i + 1),
        "n": 5521, "verdict": WORDS[i % 4], "effect": "small: better on 41%, worse on 58%",
        "links": [Link("clip", f"file:///a/{i}.flac"), Link("reference", "b%20c.wav")],
    }  # fmt: skip
    return Item({**cell, **changes}, {"metric": f"m{i}", "difference": 0.331 + i})


def made(rows: int = 8, **changes: object) -> Document[Listing]:
    return Document("title", "heading", Listing(COLUMNS, [item(i, **changes) for i in range(rows)]))


def printed(document: Document, width: int, **options: object) -> str:
    return to_terminal(document, Console(width=width, file=io.StringIO(), **{"color_system": None, **options}))


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 100, 120, 160, 200])
def test_every_number_is_whole_and_no_line_is_too_long(width: int) -> None:
    text = printed(made(), width)
    assert max(map(len, text.splitlines())) <= width
    if width > 20:  # on which an interval takes two lines
        words = text.split()
        for row in made().table.rows:
            for key in ("baseline", "candidate"):
                assert words.count(f"{row.cell[key]:.3f}") == 1
            assert text.count(f"[{row.cell['low']:.3f}, {row.cell['high']:.3f}]") == 1
            assert words.count(f"{row.cell['difference']:+.3f}") == 1


def test_at_80_columns_what_belongs_together_stands_below_each_other() -> None:
    lines = printed(made(2), 80).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("FAD"))
    assert lines[at].split() == ["FAD", "↓", "1.107", "+0.331", "0.001", "PASS"]
    assert lines[at + 1].split()[:6] == ["supporting", "1.219", "[-0.441,", "1.551]", "5,521", "small:"]
    assert [line.split() for line in lines[at - 3 : at - 1]] == [
        ["metric", "baseline", "difference", "p", "verdict"],
        ["tier", "candidate", "interval", "n", "effect"],
    ]


def test_with_room_each_quantity_has_a_column() -> None:
    lines = printed(made(4), 200).splitlines()
    (row,) = [line for line in lines if line.startswith("KLD")]
    assert row.split()[:10] == [
        "KLD",
        "↑",
        "supporting",
        "2.107",
        "2.219",
        "+1.331",
        "[-1.441,",
        "2.551]",
        "0.002",
        "5,521",
    ]


def test_no_word_of_a_title_is_broken_unless_it_is_very_long() -> None:
    words = set(printed(made(4), 80).split())
    for title in TITLES[:4]:
        assert words >= set(title.split())
    assert {"INSUFFICIENT_", "EVIDENCE", "BREACH"} <= set(printed(made(4), 70).split())
    assert printed(made(5), 80).count("x") == 70


def test_what_no_row_says_has_no_column_and_what_one_row_lacks_is_a_dash() -> None:
    nothing = {"p": None, "effect": "", "links": None, "low": float("nan")}
    for text in (printed(made(2, **nothing), 120), to_markdown(made(2, **nothing))):
        assert not {"p", "effect", "listen", "interval"} & set(re.split(r"[\s|]+", text))
    rows = [item(0), item(1, candidate=float("nan"))]
    (row,) = [x for x in to_markdown(Document("t", "h", Listing(COLUMNS, rows))).splitlines() if "KLD" in x]
    assert [cell.strip() for cell in row.split("|")][3:6] == ["2.107", "–", "+1.331"]


def test_markdown_has_all_quantities_and_links() -> None:
    text = to_markdown(made(1))
    (row,) = [line for line in text.splitlines() if line.startswith("| FAD")]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "FAD ↓", "supporting", "1.107", "1.219", "+0.331", "\\[-0.441, 1.551\\]", "0.001", "5,521", "**PASS**",
        "small: better on 41%, worse on 58%", "[clip](file:///a/0.flac) [reference](b%20c.wav)",
    ]  # fmt: skip
    assert "↓ lower is better, ↑ higher is better. Difference: candidate − baseline." in text


def test_verdicts_have_colours_where_there_are_any() -> None:
    text = printed(made(2), 80, force_terminal=True, color_system="standard")
    assert "\x1b[32mPASS\x1b[0m" in text and "\x1b[1;31mBREACH\x1b[0m" in text
    assert "\x1b" not in printed(made(2), 80)


def test_plain_forms_have_the_plain_values() -> None:
    assert to_csv(made(2)) == "metric,difference\nm0,0.331\nm1,1.331\n"


def test_an_outcome_and_its_reasons_come_before_all_numbers() -> None:
    document = replace(made(2), outcome="NO-GO", reasons=["FAD is worse", "so is KLD"], warning="Random weights.")
    text = printed(document, 80)
    assert text.splitlines()[:5] == ["NO-GO: title", "Random weights.", "- FAD is worse", "- so is KLD", "heading"]
    start = "# evalkit: NO-GO: title\n\n> **Random weights.**\n\n- FAD is worse\n- so is KLD\n\nheading\n\n| metric"
    assert to_markdown(document).startswith(start)
    coloured = printed(document, 80, force_terminal=True, color_system="standard")
    assert coloured.startswith("\x1b[1;37;41mNO-GO: title")


def test_listings_are_shown_on_a_terminal_beside_the_main_table() -> None:
    more = replace(made(2).table, title="Further", intro="two rows", notes=["a note"])
    lines = printed(replace(made(1), more=[more]), 80).splitlines()
    assert lines.index("Further") > 0 and lines[lines.index("Further") + 1] == "two rows" and lines[-1] == "- a note"
    assert "further tables" not in "".join(lines)


@pytest.mark.parametrize("most", [60_000, 3_000, 700, 250])
def test_a_summary_of_any_length_fits_and_says_what_is_left_out(most: int) -> None:
    more = [replace(made(40).table, title=title) for title in ("First 音楽", "Second")]
    document = replace(made(3), more=more, provenance={"commit": "abc"})
    text, whole = shortened(document, most), to_markdown(document)
    assert len(text.encode()) <= most
    if len(whole.encode()) <= most:
        assert text == whole
        return
    kept, _, said = text.rpartition("\n**")
    assert whole.startswith(kept)
    left = whole.removeprefix(kept)
    assert f"{left.count(chr(10)):,} lines are left out" in said
    for title in ("First 音楽", "Second", "Provenance"):
        assert (title in said) == (f"## {title}\n" in left)
