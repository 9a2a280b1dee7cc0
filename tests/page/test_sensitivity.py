"""The section of what metrics notice: those of the page alone, and nothing in the table is taken for code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.errors import EvalkitError
from evalkit.page.page import static
from evalkit.page.sections import plots
from evalkit.page.sections import sensitivity as section
from evalkit.page.view import View, view
from evalkit.results.plots.drawing import STEPS
from evalkit.results.plots.sensitivity import DARK
from evalkit.results.sensitivity import Sensitivity
from evalkit.results.sweep import Sweep

from ..results import made as made_record
from ..results.drawn_sweeps import sweep
from ..results.made_comparison import comparison, metric
from ..results.sensed import rows, table
from ..results.swept import GUIDANCE
from .pages import EVIL, Read, opened, page_of, saved

MADE_UP = Path(__file__).parent.parent / "results" / "fixtures" / "sensitivity.csv"


def seen(found: Sensitivity | None, *records: Any) -> View:
    return view(list(records), Path("report.html"), sensitivity=found)


def body(shown: View) -> Read:
    found = section.section(shown)
    assert found is not None and not found.blind
    return Read(str(found.body))


def test_it_has_the_metrics_of_the_page_and_says_of_which_weights_they_were(tmp_path: Path) -> None:
    page = body(seen(Sensitivity.load(MADE_UP), saved(tmp_path / "result")))
    assert "Random weights: FAD." in page.text and "which show what to expect: FAD (musicnn)." in page.text
    assert "A metric that is blind to something says nothing about it" in page.text
    assert "Mono clips" not in page.text and "Channel correlation" not in page.text
    assert sum(name == "svg" for name, _ in page.elements) == 2
    assert sum(name == "table" for name, _ in page.elements) == 3
    assert "1 of 2" in page.text  # false alarms of FAD
    assert "it is not known what they notice: KLD, CLAP score." in page.text


def test_a_comparison_has_it_for_the_metrics_that_it_compares() -> None:
    made = table({"kld": {"mono": "..."}, "fad": {"mono": "www"}})
    page = body(seen(made, comparison([metric("kld")])))
    assert "KLD" in page.text and "FAD" not in page.text
    assert "Random weights" not in page.text and "it is not known" not in page.text


def test_a_metric_that_was_not_measured_has_one_of_its_kind_with_trained_weights_beside_it(tmp_path: Path) -> None:
    made = table({"mad_musicnn": {"mono": "..w"}}, mad_musicnn={"kind": "mad", "weights": "trained"})
    infos = {"mad": made_record.metric("MAD", False, definition={"kind": "mad"})}
    page = body(seen(made, saved(tmp_path / "result", values={"m": {"mad": 1.0}}, titles={}, metrics=infos)))
    assert "which show what to expect: MAD_MUSICNN." in page.text and "what they notice: MAD." in page.text


def test_a_sweep_has_it_for_the_metrics_of_its_points() -> None:
    made = sweep({GUIDANCE: [1, 3]}, lambda x: {"fad": float(x), "kld": 1.0})
    record = Sweep(**{one.name: getattr(made, one.name) for one in fields(made)})
    assert "it is not known what they notice: KLD" in body(seen(table({"fad": {"mono": "..w"}}), record)).text


def test_no_page_has_it_whose_metrics_were_not_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = table({"mad": {"mono": "www"}})
    monkeypatch.setattr(Sensitivity, "load", lambda: other)
    result = saved(tmp_path / "result")
    assert section.section(seen(None, result)) is None
    with pytest.raises(EvalkitError, match="no metric of this page: it has mad"):
        seen(other, result)


def test_text_of_a_table_is_text_and_fits_a_phone_in_both_themes(tmp_path: Path, browser: Any) -> None:
    letters = {"kld": {EVIL: "..w", "low-pass": "b.ww"}, "fad": {EVIL: "w"}}
    frame = tmp_path / "table.csv"
    rows(letters, kld={"title": EVIL, "weights": "random"}).to_csv(frame, index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "section", lambda view: None)
        page = page_of(tmp_path / "page.html", [saved(tmp_path / "result")], sensitivity=frame)
    assert "of the table that the page was given" in Read(page.read_text("utf-8")).text
    for width, theme in ((360, "dark"), (1200, "light")):
        with opened(
            browser, page, "#sensitivity", viewport={"width": width, "height": 800}, color_scheme=theme
        ) as shown:
            assert shown.evaluate("window.hacked") is None
            assert shown.evaluate("document.documentElement.scrollWidth") <= width
            assert "onerror" in shown.locator("#sensitivity").inner_text()


def test_strengths_are_read_on_each_step_in_both_themes() -> None:
    style = "\n".join(static("css"))
    colours = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\)", style))

    def luminance(name: str, theme: int) -> float:
        parts = [int(colours[name].split(", ")[theme][i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.05 + float(np.dot((0.2126, 0.7152, 0.0722), linear))

    for theme in (0, 1):
        for step in range(len(STEPS)):
            pair = luminance(f"plots-step-{step + 1}", theme), luminance("panel" if step >= DARK else "ink", theme)
            assert max(pair) / min(pair) >= 4.5, (theme, step)
