"""Names of systems, and all numbers, are hidden until they are revealed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.page.view import view

from .all_clips import IDS, LARGE, SMALL, ids, of, of_comparison, opened

NAMES = (SMALL, LARGE, "baseline", "candidate", "model")
NUMBER = re.compile(r"\d\.\d{3}")


def assert_hidden(page: Any) -> None:
    """No name and no number can be read, by eyes or by a screen reader."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for text in (page.locator("body").inner_text(), page.locator("html").aria_snapshot(), page.title()):
        assert [name for name in NAMES if name in text] == []
        assert NUMBER.findall(text) == []
        assert "evalkit" in text.lower() or "clips" in text.lower()


@pytest.fixture(params=["result", "comparison"])
def blind(browser: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    shown = of(blind=True) if request.param == "result" else of_comparison(blind=True)
    with opened(browser, tmp_path, shown) as page:
        yield page


def test_no_name_and_no_number_is_seen_before_they_are_revealed(blind: Any) -> None:
    assert_hidden(blind)
    assert ids(blind) == IDS[:3] + ids(blind)[3:] and len(ids(blind)) == 4, "each prompt has one row"
    blind.locator(".rows-body tr").first.click()
    assert blind.get_by_role("dialog").is_visible()
    assert_hidden(blind)
    blind.emulate_media(media="print")
    blind.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert_hidden(blind)


def test_revealing_shows_them(blind: Any) -> None:
    blind.get_by_role("button", name="Reveal").click()
    text = blind.locator("body").inner_text()
    assert SMALL in text and LARGE in text and "1.500" in text
    assert blind.title() != "Blind listening · evalkit"
    assert blind.get_by_role("button", name="Blind", exact=True).is_visible()
    assert SMALL in blind.locator("html").aria_snapshot()


def test_only_what_tells_nothing_can_be_sorted_and_filtered_by(blind: Any) -> None:
    heads = blind.locator("#rows-table thead button").all_inner_texts()
    assert [head.strip() for head in heads] == ["Id", "Caption"]
    seen = [name for name in ("search", "tag", "label", "group", "state", "change", "mode", "system", "a", "b", "csv")
            if blind.locator(f"#rows-{name}").is_visible()]  # fmt: skip
    assert seen in (["search", "tag", "label"], ["search", "tag", "label", "group"])


def test_orders_and_filters_of_before_are_forgotten(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, of()) as page:
        page.locator("#rows-state").select_option("silent (1)")
        page.get_by_role("button", name="KLD ↓", exact=True).click()
        page.get_by_role("button", name="Blind", exact=True).click()
        assert_hidden(page)
        assert ids(page)[:3] == IDS[:3] and len(ids(page)) == 4
        page.get_by_role("button", name="Reveal").click()
        assert ids(page)[:3] == IDS[:3], "the order that values gave does not come back"
        assert page.locator("#rows-table [aria-sort]").count() == 0


def test_other_parts_of_the_page_hear_of_it(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, of()) as page:
        page.evaluate(
            """() => {
              window.heard = [];
              document.addEventListener('evalkit:blind', () => heard.push('blind' in document.body.dataset));
            }"""
        )
        page.get_by_role("button", name="Blind", exact=True).click()
        page.get_by_role("button", name="Reveal").click()
        assert page.evaluate("heard") == [True, False]


def test_the_detail_changes_while_it_is_open(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, of(blind=True), "#prompt=p9") as page:
        assert_hidden(page)
        page.evaluate("delete document.body.dataset.blind; document.dispatchEvent(new CustomEvent('evalkit:blind'))")
        assert SMALL in page.get_by_role("dialog").inner_text()


def test_names_in_a_comparison_that_lost_its_results_are_hidden_too(browser: Any, tmp_path: Path) -> None:
    from ..results import made_comparison

    compared = made_comparison.comparison(
        [made_comparison.metric("kld")], prompts=[made_comparison.moved("p7")],
        baseline=[made_comparison.side(SMALL)], candidate=[made_comparison.side(LARGE)],
    )  # fmt: skip
    shown = dataclasses.replace(view([compared], tmp_path / "report.html"), blind=True)
    with opened(browser, tmp_path, shown) as page:
        assert_hidden(page)
