"""Listening tests on a page: alone, and beside what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from evalkit.errors import EvalkitError
from evalkit.report.document import Listing
from evalkit.report.numbers import NONE
from evalkit.results.listening import Listening

from ..results import heard
from .pages import EVIL, Read, compared, opened, page_of, saved


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Listening:
    return heard.listening("rating", EVIL).save(tmp_path_factory.mktemp("heard") / "rated")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, rated: Listening) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    pairs = heard.listening("pairs").save(folder / "pairs")
    result, comparison = saved(folder / "result"), compared().save(folder / "comparison")
    return {
        "alone": page_of(folder / "alone.html", [rated]),
        "result": page_of(folder / "result.html", [result, rated]),
        "comparison": page_of(folder / "comparison.html", [rated, comparison]),
        "several": page_of(folder / "several.html", [result, rated, pairs]),
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


@pytest.mark.parametrize("kind", ["alone", "several"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_has_nothing_to_complain_about(browser: Any, pages: dict[str, Path], kind: str, scheme: str) -> None:
    for width in (360, 1600):
        options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
        with opened(browser, pages[kind], **options) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("window.hacked") is None
            found = Axe().run(page).response["violations"]
            assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
