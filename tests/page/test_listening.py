"""Listening tests on a page: alone, and beside what was measured."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from evalkit.errors import EvalkitError
from evalkit.report.document import Listing
from evalkit.report.numbers import NONE
from evalkit.results.listening import Listening
from evalkit.results.listening_text import best_first
from evalkit.results.plots.listening import plot

from ..results import heard
from .pages import EVIL, Read, compared, opened, page_of, saved, without_plots

FAST = (("alone", "dark", 1600), ("several", "light", 360))


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Listening:
    return heard.listening("rating", EVIL).save(tmp_path_factory.mktemp("heard") / "rated")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, rated: Listening) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    pairs = heard.listening("pairs").save(folder / "pairs")
    result, comparison = saved(folder / "result"), compared().save(folder / "comparison")
    with without_plots("listening"):
        drawn = {
            "alone": page_of(folder / "alone.html", [rated]),
            "several": page_of(folder / "several.html", [result, rated, pairs]),
        }
    with without_plots():
        return {
            **drawn,
            "result": page_of(folder / "result.html", [result, rated]),
            "comparison": page_of(folder / "comparison.html", [rated, comparison]),
            "two": page_of(folder / "two.html", [rated, pairs]),
        }


@pytest.mark.parametrize("kind", ["alone", "result", "comparison", "several", "two"])
def test_everything_that_is_said_of_a_test_is_on_the_page(pages: dict[str, Path], rated: Listening, kind: str) -> None:
    shown = Read(pages[kind].read_text("utf-8"))
    document = rated.document()
    for text in [*document.reasons, *document.notes, document.heading]:
        assert " ".join(text.split()) in shown.text, text
    for table in (document.table, *document.more):
        assert isinstance(table, Listing)
        for row in table.rows:
            for column in table.read():
                for quantity in column:
                    text = " ".join(quantity.text(row.cell).split())
                    assert text in shown.text or text == NONE, (table.title, text)
    assert len(shown.scripts) == 1 or all(EVIL not in script for script in shown.scripts)
    assert "<script>window.hacked" not in pages[kind].read_text("utf-8")


def test_metrics_stand_before_what_people_said(pages: dict[str, Path]) -> None:
    html = pages["result"].read_text("utf-8")
    order = [html.index(f'id="{name}"') for name in ("summary", "listening", "provenance")]
    assert order == sorted(order) and "Listening test" in html
    assert 'id="listening"' not in pages["alone"].read_text("utf-8")  # its tables are the summary
    assert "Listening tests" in pages["several"].read_text("utf-8") and 'id="listening"' in pages["two"].read_text(
        "utf-8"
    )


def test_a_comparison_is_alone_or_with_listening_tests(tmp_path: Path, rated: Listening) -> None:
    comparison = compared().save(tmp_path / "comparison")
    with pytest.raises(
        EvalkitError, match="a comparison or a sweep is a page by itself: give it alone, or with listen"
    ):
        page_of(tmp_path / "x.html", [comparison, saved(tmp_path / "result"), rated])


def test_a_test_alone_says_how_it_was_made_and_how_much_was_answered(pages: dict[str, Path]) -> None:
    shown = Read(pages["alone"].read_text("utf-8")).text
    assert "Asked a rating from 1 to 100" in shown and "Loudness -14 LUFS" in shown
    assert "default.yaml, at least 5 raters" in shown and "raters 9 10 90% excluded by the rules" in shown


def test_ratings_are_drawn_with_their_intervals(pages: dict[str, Path], rated: Listening) -> None:
    made = plot(rated)
    assert made is not None and [row.cell["is"] for row in made.numbers.rows].count("system") == 3
    axes = made.figure().axes[0]
    points = {line.get_gid(): line for line in axes.get_lines()}
    for number, row in enumerate(best_first(rated)):
        assert list(points[f"value-{number}"].get_xdata()) == [row["value"]]
        assert list(points[f"interval-{number}"].get_xdata()) == [row["low"], row["high"]]
    assert "9 raters on 14 prompts" in made.caption and "95 % intervals over raters and prompts" in made.caption
    for kind, number in (("alone", 1), ("several", 2)):
        assert pages[kind].read_text("utf-8").count('<h3 id="plots-ratings-') == number


def test_nothing_is_drawn_where_nobody_is_left(rated: Listening) -> None:
    nothing = dataclasses.replace(rated, systems=rated.systems.assign(value=math.nan))
    assert plot(nothing) is None


LOOKS = [
    pytest.param(kind, scheme, width, marks=[] if (kind, scheme, width) in FAST else [pytest.mark.slow])
    for kind in ("alone", "several")
    for scheme in ("light", "dark")
    for width in (360, 1600)
]


@pytest.mark.parametrize(("kind", "scheme", "width"), LOOKS)
def test_a_browser_has_nothing_to_complain_about(
    browser: Any, pages: dict[str, Path], kind: str, scheme: str, width: int
) -> None:
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with opened(browser, pages[kind], **options) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("window.hacked") is None
        assert [one["id"] for one in Axe().run(page).response["violations"]] == []
