"""The plot of all values and intervals: what is drawn is what the record says, and nothing hides anything."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from evalkit.results.plots import intervals
from evalkit.results.plots.plot import NARROW, PAPER, Plot, short, shown

from .drawn import marks, overlapping, panels, result, texts
from .made import TITLES, VALUES, record, row

CALIBRATION = {"silence": {"fad": 412.0, "kld": 3.0, "clap_score": 0.01, "chroma": 0.0}}


def plot(**changes: Any) -> Plot:
    found = intervals.plot(shown([result(record(**changes))]))
    assert found is not None
    return found


def with_calibration(**changes: Any) -> Plot:
    values = {**CALIBRATION, **VALUES}
    return plot(values=values, rows={name: row(calibration=name == "silence") for name in values}, **changes)


def test_values_intervals_and_published_values_lie_where_the_record_has_them() -> None:
    made = record(spread=0.2)
    found = intervals.plot(shown([result(made)]))
    assert found is not None
    drawn = panels(found.figure())
    assert len(drawn) == len(TITLES)
    for axes, metric in zip(drawn, TITLES, strict=True):
        scores = made.scores[made.scores["metric"] == metric].reset_index()
        assert {n: mark.get_xdata()[0] for n, mark in marks(axes, "value").items()} == {
            n: value for n, value in scores["value"].items() if math.isfinite(value)
        }
        assert {n: tuple(mark.get_xdata()) for n, mark in marks(axes, "interval").items()} == {
            n: (low, high) for n, low, high in scores[["low", "high"]].itertuples(name=None) if math.isfinite(low)
        }
        assert {n: mark.get_xdata()[0] for n, mark in marks(axes, "published").items()} == {
            n: value for n, value in scores["published"].items() if math.isfinite(value)
        }


def test_the_table_has_the_numbers_of_the_record_and_the_sentence_its_extremes() -> None:
    found = plot(spread=0.2)
    assert [(row.cell["row"], row.cell["value"]) for row in found.numbers.rows] == [
        (model, VALUES[model][metric]) for metric in TITLES for model in VALUES if not math.isnan(VALUES[model][metric])
    ]
    assert "FAD 4.90 (musicgen_small) to 5.11 (musicgen_stereo_small), lower is better" in found.said
    assert "CLAP score 0.272 (musicgen_stereo_small) to 0.269 (musicgen_small), higher is better" in found.said
    assert found.caption == (
        "n = 12; musiccaps, subset all: 12 of 12 prompts, protocol musicgen. Bars: 95 % intervals over prompts."
    )


def test_calibration_rows_stand_apart_and_do_not_squash_the_models() -> None:
    axes = panels(with_calibration(spread=0.2).figure())[0]
    values, beyond = marks(axes, "value"), marks(axes, "beyond")
    assert (set(values), set(beyond)) == ({0, 1}, {2})
    assert (axes.get_xscale(), axes.get_xlim()[1] < 10) == ("linear", True)
    assert beyond[2].get_ydata()[0] - values[1].get_ydata()[0] > 1.5
    chroma = marks(panels(with_calibration(spread=0.2).figure())[3], "value")
    assert (chroma[2].get_marker(), chroma[2].get_markerfacecolor()) == ("s", "white")


def test_models_that_lie_far_apart_have_a_logarithmic_axis() -> None:
    axes = panels(plot(values={"a": {"fad": 3.0}, "b": {"fad": 2000.0}}, published={}).figure())[0]
    assert (axes.get_xscale(), set(marks(axes, "value"))) == ("log", {0, 1})


def test_what_lies_too_far_away_on_a_linear_axis_is_an_arrow_at_the_edge_with_its_number() -> None:
    values = {"silence": {"kld": -9.0}, "a": {"kld": 1.4}, "b": {"kld": 1.5}}
    found = plot(values=values, rows={name: row(calibration=name == "silence") for name in values}, published={})
    axes = panels(found.figure())[0]
    (arrow,) = marks(axes, "beyond").values()
    assert (arrow.get_marker(), arrow.get_xdata()[0]) == ("<", 0.015)
    assert "−9.00" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("rows", [1, 8, 20])
@pytest.mark.parametrize("width", [PAPER, NARROW])
def test_no_text_hides_another_however_many_rows_there_are(rows: int, width: float) -> None:
    names = [f"facebook/musicgen-stereo-melody-large, fine-tuned for {n} hours on our own music" for n in range(rows)]
    values = {name: {metric: 1.0 + n / 7 for metric in ("fad", "chroma")} for n, name in enumerate(names)}
    titles = {"fad": TITLES["fad"], "chroma": ("A metric whose title is rather longer than most others are", None)}
    found = plot(values=values, published={}, titles=titles, spread=0.4)
    assert overlapping(found.figure(width)) == []


def test_long_names_lose_their_middle_and_stay_unlike_each_other() -> None:
    assert short(["a" * 50, "a" * 51, "b"], 12) == ["aaaaaaa…aaaa", "aaaaaaa…aaaa (2)", "b"]
    assert short([r"cost $\frac{1}{2}$" + "\x1b[31m"], 60) == [r"cost \$\frac{1}{2}\$\x1b[31m"]


def test_names_of_any_kind_are_drawn_as_they_are() -> None:
    name = r"<script>$\frac$ 漢字 & 100 %"
    figure = plot(values={name: VALUES["musicgen_small"]}, published={}).figure()
    assert name in [text.get_text().replace(r"\$", "$") for text in texts(figure)]


def test_random_weights_are_said_on_the_figure() -> None:
    made = record()
    random = {name: replace(info, random=["VGGish"] if name == "fad" else []) for name, info in made.metrics.items()}
    figure = plot(metrics=random).figure(NARROW)
    assert any(text.get_text().startswith("Random weights: VGGish.") for text in figure.texts)


def test_the_same_calibration_row_of_several_results_is_there_once() -> None:
    from pathlib import Path

    values = {**CALIBRATION, "m": VALUES["musicgen_small"]}
    rows = {name: row(calibration=name == "silence") for name in values}
    runs = [result(record(values=values, rows=rows, published={}, path=Path(f"runs/{n}"))) for n in "ab"]
    assert [one.name for one in shown(runs)] == ["m (a)", "m (b)", "silence"]


def test_without_values_there_is_no_plot() -> None:
    assert intervals.plot(shown([result(record(values={"m": {"fad": math.nan}}, published={}))])) is None


def test_long_titles_have_two_lines_so_that_metrics_with_a_common_beginning_are_told_apart() -> None:
    names = ("Production quality", "Production complexity", "SongEval memorability", "SongEval musicality")
    values = {"m": dict.fromkeys(names, 1.0)}
    figure = plot(values=values, published={}, titles={one: (one, True) for one in names}, spread=0.4).figure(PAPER)
    found = [axes.get_title(loc="left") for axes in panels(figure)]
    assert [" ".join(title.split()) for title in found] == [f"{one} ↑" for one in names]
    assert overlapping(figure) == []
