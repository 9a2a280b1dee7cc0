"""The section that reads like a card's: what it has, and that nothing in it is taken for code."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from evalkit.page import drawn
from evalkit.page.sections import limits as section
from evalkit.page.view import View, view
from evalkit.report.document import Item, Listing, Quantity
from evalkit.results.limits.limit import Limit, OfModel
from evalkit.results.plots import limits
from evalkit.results.plots.plot import NARROW, Plot
from evalkit.results.result import Result

from ..results import limited, made
from .pages import EVIL, Read, opened, page_of, saved


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("limits")
    return limited.saved(folder / "result", limited.result(folder, random=True))


def seen(*records: Any) -> View:
    return view(list(records), Path("report.html"))


def test_the_section_has_sentences_tables_and_figures_and_says_first_that_weights_are_random(result: Result) -> None:
    shown = section.section(seen(result))
    assert shown is not None and not shown.blind
    page = Read(str(shown.body))
    headings = ["limits-vocals", "limits-languages", "limits-styles", "limits-silence"]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert [one for one in ids if one in headings] == headings
    assert page.text.index("Random weights: m.") < page.text.index("Unwanted vocals")
    assert "worse than the English originals in Japanese" in page.text
    assert sum(name == "figure" for name, _ in page.elements) == 2  # languages and aspects


def test_its_figures_are_exported_and_not_drawn_twice_on_a_page(result: Result) -> None:
    shown = seen(result)
    names = [one.name for one in drawn.plots(shown) if isinstance(one, Plot)]
    assert [name for name in names if name.startswith("limits-")] == ["limits-languages-1", "limits-styles-1"]
    own = [one.name for one in drawn.plots(shown, own=False) if isinstance(one, Plot)]
    assert own == [name for name in names if not name.startswith("limits-")]


def test_a_figure_that_cannot_be_drawn_is_said(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(models: Any) -> Any:
        raise ValueError("no room")

    monkeypatch.setattr("evalkit.results.plots.limits.plots", fail)
    shown = section.section(seen(result))
    assert shown is not None and "limits could not be drawn: ValueError: no room" in Read(str(shown.body)).text
    assert "Unwanted vocals" in Read(str(shown.body)).text


def test_a_figure_shows_the_table_s_numbers_at_any_width(result: Result) -> None:
    plot = next(plot for _, plot in drawn.of_limits(seen(result)))
    assert isinstance(plot, Plot) and "beyond noise" in plot.said and len(plot.numbers.rows) == 12
    for width in (NARROW, 10.0):
        figure = plot.figure(width)
        marks = [one.get_gid() for axes in figure.axes for one in axes.get_children() if one.get_gid()]
        assert marks.count("value-0") == 3 and marks.count("interval-0") == 3
        assert [name for name in marks if str(name).startswith("unknown-")] == [f"unknown-{i}" for i in range(4)]


def test_a_figure_says_what_is_judged_what_is_not_and_what_is_not_drawn(result: Result) -> None:
    keep = result.values["id"].str.endswith((".en", ".fr", ".hi")) | (result.values["id"] < "c005")
    keep &= ~((result.values["id"] > "c001") & result.values["id"].str.endswith(".de"))
    shown = seen(dataclasses.replace(result, values=result.values[keep]))
    plot = next(plot for _, plot in drawn.of_limits(shown))
    assert isinstance(plot, Plot) and plot.said.startswith("6 differences from English judged, 1 beyond noise: ")
    assert plot.said.endswith("4 too few to judge. No interval: CLAP score of German.")
    cells = [{"who": "a", "title": "KLD", "difference_low": math.nan, "verdict": ""}] * 2
    cells += [{"who": "b", "title": "KLD", "difference_low": 0.1, "verdict": ""}]
    said = limits._said(cells, ["b"], "the rest")
    assert said == "No difference from the rest is judged. 1 too few to judge. Not drawn: a."


def test_titles_of_a_figure_are_not_cut_where_two_lines_hold_them(result: Result) -> None:
    plot = next(plot for _, plot in drawn.of_limits(seen(result)))
    assert isinstance(plot, Plot)
    titles = [axes.get_title(loc="left") for axes in plot.figure(10.0).axes]
    assert titles[1] == "Collapsed to\nsilence ↓" and not any("…" in title for title in titles)


def test_tables_of_differences_without_groups_have_no_figure() -> None:
    cell = {"what": "guidance 3", "difference": 0.1, "difference_low": 0.0, "difference_high": 0.2}
    table = Listing([[Quantity("what", "point", "word")]], [Item(cell, cell)], title="Silence by point")
    found = OfModel("m", "clips of m", 0.95, [], [Limit("silence", "Collapse to silence", [], [table])])
    assert list(limits.plots([found])) == []


def test_no_page_has_it_without_what_it_needs(tmp_path: Path) -> None:
    assert section.section(seen(saved(tmp_path / "result", made.record()))) is None


def test_names_of_languages_and_groups_are_text(tmp_path: Path, browser: Any) -> None:
    evil = dataclasses.replace(limited.result(tmp_path, captions=14, worse={"en": 0.0, EVIL: 0.3, "de": 0.0}))
    page = page_of(tmp_path / "page.html", [limited.saved(tmp_path / "result", evil)])
    with opened(browser, page, "#limits", viewport={"width": 360, "height": 800}) as shown:
        assert shown.evaluate("window.hacked") is None
        assert shown.evaluate("document.documentElement.scrollWidth") <= 360
        assert "onerror" in shown.locator("#limits").inner_text()
