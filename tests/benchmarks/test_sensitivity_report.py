"""docs/sensitivity.md says what was measured, and of random weights and chance before anybody believes it."""

from __future__ import annotations

from typing import Any

from benchmarks import sensitivity_report as report

from ..results.sensed import table

RECORD: dict[str, Any] = {
    "level": 0.95, "music": "made-up captions.", "machine": {"cpu": "a CPU"},
    "parts": {"cheap": {"prompts": 100, "seconds": 4.0}},
    "degradations": [{"name": "low-pass", "about": "done so"}, {"name": "mono", "about": "done otherwise"}],
    "left_out": {"clap_score": "of such a reason", "vocals": "of such a reason"},
    "no_value": {"fad_inf": "too few clips"},
}  # fmt: skip


def test_the_page_has_what_was_done_what_was_found_and_what_was_left_out() -> None:
    letters = {"fad": {"low-pass": ".www", "mono": "..."}, "chroma": {"low-pass": "wwww", "mono": ".ww"}}
    text = report.text(RECORD, table(letters, again="w.b.", fad={"weights": "random"}))
    assert "The music: 100 made-up captions. Clips have 4 s." in text and "about one strength in 40" in text
    assert "| low-pass | done so | 12 kHz, 8 kHz, 4 kHz, 500 Hz |" in text
    assert "| low-pass | **12 kHz**: CHROMA | none |" in text  # none of random weights is among those that notice
    assert "| FAD ↓ | RANDOM | 8 kHz | blind |" in text
    assert "seen in 4 of 8 comparisons\n(50.0%)" in text and "by\nFAD, CHROMA: what they see" in text
    assert "- `clap_score`, `vocals`: of such a reason.\n- `fad_inf`: too few clips." in text


def test_a_table_without_other_renderings_says_nothing_of_false_alarms() -> None:
    assert report.alarms(table({"fad": {"mono": "..w"}})) == ""
