"""Plots on the page: readable in both themes, on any screen, by eye, by ear and by search."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.page import drawn, figures
from evalkit.page.page import render
from evalkit.page.sections import plots as section
from evalkit.page.view import Role, System, View, view
from evalkit.results.plots import clips, intervals
from evalkit.results.plots.plot import Plot
from evalkit.results.result import Result
from evalkit.results.sweep import Sweep

from ..results.drawn import result
from ..results.drawn_sweeps import sweep
from ..results.made import VALUES, record
from ..results.made_comparison import comparison, group, metric
from ..results.sides import side
from ..results.swept import GUIDANCE, TOP_K, scored

NAME = '<script>alert("$x$")</script>'


def seen(*records: Any) -> View:
    return view(list(records), Path("report.html"))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A result with values of prompts and features, whose row has a name that nobody should trust."""
    rng = np.random.default_rng(0)
    values = {"kld": rng.gamma(2.0, 0.7, (1, 24)), "clap_score": rng.normal(0.3, 0.1, (1, 24))}
    features = {"fad": (rng.standard_normal((1, 24, 4, 3)) + 0.3, rng.standard_normal((24, 4, 3)))}
    return result(scored(side(tmp_path_factory.mktemp("features"), NAME, values, features)).record)


@pytest.fixture(scope="module")
def body(measured: Result) -> str:
    found = section.section(seen(measured))
    assert found is not None
    return str(found.body)


class Elements(HTMLParser):
    """All elements of a page, with their attributes and the text directly in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}, []))

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1][2].append(data)

    def of(self, tag: str) -> list[tuple[dict[str, str], str]]:
        return [(attributes, "".join(texts).strip()) for name, attributes, texts in self.found if name == tag]


def test_each_plot_has_a_heading_a_sentence_a_figure_for_each_screen_and_its_numbers(body: str) -> None:
    page = Elements(body)
    assert [text for _, text in page.of("h3")] == [
        "Values and intervals", "Values of single prompts", "FAD by number of clips",
    ]  # fmt: skip
    assert len(page.of("svg")) == 2 * len(page.of("h3")) == 2 * len(page.of("table"))
    assert len(page.of("details")) == len(page.of("figcaption")) == len(page.of("h3"))
    assert all(attributes["role"] == "img" for attributes, _ in page.of("svg"))


def test_ids_are_unique_and_whatever_is_referred_to_is_there(body: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', body)
    assert len(ids) == len(set(ids))
    referred = re.findall(r'href="#([^"]+)"', body) + re.findall(r"url\(#([^)]+)\)", body)
    referred += [one for names in re.findall(r'aria-(?:labelled|described)by="([^"]+)"', body) for one in names.split()]
    assert len(referred) > 20
    assert set(referred) <= set(ids)
    assert all(name.startswith("plots-") for name in ids)


def test_figures_have_a_title_a_description_and_text_that_can_be_found(body: str) -> None:
    page = Elements(body)
    assert [text for _, text in page.of("title")][:2] == ["Values and intervals"] * 2
    assert all(text.endswith(".") for _, text in page.of("desc"))
    assert {"FAD ↓", "KLD ↓", "CLAP score ↑", "lower is better"} <= {text.strip() for _, text in page.of("text")}


def test_untrusted_names_stay_text(body: str) -> None:
    assert "<script" not in body
    assert NAME in [text.strip() for _, text in Elements(body).of("text")]


def test_colours_are_those_of_the_page_so_that_both_themes_are_readable(body: str) -> None:
    assert not re.search(r"#(?:000000|ffffff)\b", body, re.IGNORECASE)
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", body)) <= {"none", *figures.COLOURS.values()}
    assert "<style" not in body and "<metadata" not in body
    assert "http" not in body


def test_numbers_upon_a_map_keep_the_colours_that_are_read_on_it() -> None:
    made = sweep({GUIDANCE: [1, 3], TOP_K: [50, 250]}, lambda x, y: {"fad": x + y / 250, "kld": y / x})
    found = section.section(seen(Sweep(**{field.name: getattr(made, field.name) for field in fields(made)})))
    assert found is not None
    map_of_two = str(found.body).partition('id="plots-map"')[2]
    inks = set(re.findall(r'<text style="[^"]*fill: ([^;"]+)', map_of_two.partition("<figcaption")[0]))
    assert {"#010101", "#fefefe"} & inks
    assert not re.search(r"#(?:000000|ffffff)\b", map_of_two, re.IGNORECASE)
    assert [text for _, text in Elements(str(found.body)).of("h3")] == [
        "By guidance_scale", "By top_k", "Pareto front", "Map of two parameters",
    ]  # fmt: skip


def test_the_same_record_gives_the_same_bytes(measured: Result, body: str) -> None:
    again = section.section(seen(measured))
    assert again is not None and str(again.body) == body


def test_a_plot_that_fails_is_a_sentence_and_a_warning_and_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, measured: Result
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("no <b>room</b>")

    monkeypatch.setattr(clips, "plot", fails)
    with caplog.at_level(logging.WARNING):
        found = section.section(seen(measured))
    assert found is not None
    assert "values of single prompts could not be drawn: RuntimeError: no &lt;b&gt;room&lt;/b&gt;" in found.body
    assert [text for _, text in Elements(str(found.body)).of("h3")] == [
        "Values and intervals",
        "FAD by number of clips",
    ]
    assert "values of single prompts could not be drawn" in caplog.text


def test_a_figure_that_cannot_be_laid_out_is_a_sentence_too(monkeypatch: pytest.MonkeyPatch, measured: Result) -> None:
    monkeypatch.setattr(intervals, "_figure", lambda *_: 1 / 0)
    found = section.section(seen(measured))
    assert found is not None
    assert "Values and intervals could not be drawn: ZeroDivisionError" in found.body


def test_a_record_without_numbers_has_no_plots() -> None:
    nothing = {"m": {"fad": math.nan}}
    assert section.section(seen(result(record(values=nothing, published={})))) is None


def test_a_comparison_whose_results_are_gone_has_the_plots_that_need_them_not() -> None:
    made = comparison([metric(), metric("kld", "BREACH")], [group(), group(name="drums")])
    assert [one.name for one in drawn.plots(seen(made)) if not isinstance(one, str)] == ["differences", "slices"]


def test_plots_of_whole_results_say_where_a_comparison_is_of_fewer_prompts(measured: Result) -> None:
    roles: tuple[Role, ...] = ("baseline", "candidate")
    systems = [System(role, role, measured, NAME) for role in roles]
    for prompts in (24, 20):
        made = comparison([metric("kld")], path=measured.path)
        made = replace(made, prompts=prompts)
        found = drawn.plots(View([made], made.document(), systems, [], Path("report.html"), 0, False))
        captions = {one.name: one.caption for one in found if isinstance(one, Plot)}
        for name in ("clips", "sizes"):
            assert ("Of all prompts of each result; the comparison is of 20." in captions[name]) == (prompts == 20)


def test_results_side_by_side_have_one_plot_of_all() -> None:
    runs = [result(record(values={"m": VALUES["musicgen_small"]}, path=Path(f"runs/{n}"))) for n in "ab"]
    (found,) = [one for one in drawn.plots(seen(*runs)) if not isinstance(one, str)][:1]
    assert {row.cell["row"] for row in found.numbers.rows} == {"m (a)", "m (b)"}


def test_in_a_browser_one_figure_of_each_plot_is_seen_in_both_themes_on_any_screen(
    browser: Any,
    tmp_path: Path,
    measured: Result,
) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(seen(measured)), "utf-8")
    for width, theme in ((1600, "dark"), (360, "light")):
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=theme)
        said: list[str] = []
        tab.on("console", lambda message, said=said: said.append(message.text))
        tab.goto(page.as_uri())
        assert said == []
        svgs = tab.locator("#plots svg")
        assert sum(svgs.nth(number).is_visible() for number in range(svgs.count())) == svgs.count() / 2
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        inks = tab.eval_on_selector_all("#plots svg text", "all => all.map(one => getComputedStyle(one).fill)")
        bright = {max(map(int, re.findall(r"\d+", ink)[:3])) > 128 for ink in inks}
        assert bright == {theme == "dark"}
        scales = tab.eval_on_selector_all(
            "#plots svg",
            "all => all.filter(one => one.checkVisibility())"
            ".map(one => one.getBoundingClientRect().width / one.viewBox.baseVal.width)",
        )
        assert min(scales) * 8 > 9  # pixels of the smallest text, which is of 8 points
        tab.locator("#plots summary").first.click()
        assert tab.locator("#plots table").first.is_visible()
        tab.close()
