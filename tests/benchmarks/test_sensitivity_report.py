"""docs/sensitivity.md says what was measured, and of random weights and chance before anybody believes it."""

from __future__ import annotations

import json
from typing import Any

from benchmarks import sensitivity_report as report
from evalkit.results.sensitivity import Sensitivity
from evalkit.results.sensitivity_text import answers, blind_to, rewards

from ..conftest import ROOT
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


def test_the_page_is_what_was_measured() -> None:
    measured = Sensitivity.load()
    text = report.text(json.loads((ROOT / report.JSON).read_text("utf-8")), measured)
    assert (ROOT / report.TEXT).read_text("utf-8") == text
    assert (ROOT / report.PLOT).stat().st_size > 10_000


def test_what_the_page_concludes_holds_in_the_table_that_ships() -> None:
    measured = Sensitivity.load()
    every = answers(measured)

    def blind(metric: str) -> set[str]:
        return set(blind_to(every, metric))

    kld = [one for (metric, _), one in every.items() if metric == "kld_musicnn"]
    assert all(one.state == "seen" for one in kld) and sum(one.step == 0 for one in kld) > len(kld) / 2
    assert blind("chroma") == {"noise", "mono"} and blind("fad_musicnn") == {"detuning"}
    for metric in ("precision", "recall", "density", "coverage", "mad"):
        assert {"detuning", "timing"} <= blind(f"{metric}_musicnn")
    assert rewards(every, "inception_score_musicnn") == ["detuning"]
    assert {"mono", "silence in clips", "silent clips"} <= set(rewards(every, "dc_offset"))
    assert {"timing", "drums gone", "repetition"} <= blind("fad") and every["fad", "noise"].at == "40 dB"
    trained = [metric.name for metric in measured.metrics if metric.weights == "trained"]
    low_pass = [every[metric, "low-pass"].at for metric in trained]
    assert not {"12 kHz", "8 kHz"} & set(low_pass)
    sure = [metric.name for metric in measured.metrics if metric.weights != "random"]
    assert "40 dB" not in {every[metric, "noise"].at for metric in sure}
