"""The plots of a sweep: what is drawn, what is said on it, and the files."""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from evalkit.results.plots import drawing, sweep_front, sweep_parameters, sweeps
from evalkit.results.sweep_record import Objective, SweepRecord

from .drawn_sweeps import OBJECTIVES, sweep, values

matplotlib = pytest.importorskip("matplotlib")

GUIDANCE, TOP_K = "sampling.guidance_scale", "sampling.top_k"
DEFAULT = {GUIDANCE: 3, TOP_K: 250}


def of_two(guidance: float, top_k: float) -> dict[str, float]:
    return values(math.log2(guidance / 3), math.log10(top_k / 250))


@pytest.fixture(scope="module")
def grid() -> SweepRecord:
    """Eighteen points of two parameters: two failed, and two dropped from a race."""
    swept = {GUIDANCE: [1, 2, 3, 4, 6, 8], TOP_K: [10, 50, 250]}
    return sweep(swept, of_two, DEFAULT, failed=[4, 5], dropped=[1, 2], name="of two")


@pytest.fixture(scope="module")
def drawn(grid: SweepRecord) -> dict[str, Any]:
    return sweeps.figures(grid)


def with_gid(axes: Any, name: str) -> list[Any]:
    """What is drawn in a panel and called NAME or NAME-…"""
    there = [*axes.lines, *axes.patches]
    return [one for one in there if one.get_gid() and (one.get_gid() == name or one.get_gid().startswith(f"{name}-"))]


def texts(figure: Any) -> list[str]:
    """Everything that is written on a figure."""
    return [one.get_text() for one in figure.findobj(matplotlib.text.Text) if one.get_text()]


def panels(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.axison]


def parts(path: Path) -> Iterator[str]:
    for element in ElementTree.parse(path).iter():
        yield element.text or ""


def test_a_sweep_of_two_parameters_has_a_plot_of_each_a_front_and_a_map(drawn: dict[str, Any]) -> None:
    assert list(drawn) == ["by-guidance_scale", "by-top_k", "pareto", "map"]


@pytest.mark.parametrize("name", ["by-guidance_scale", "by-top_k"])
def test_each_metric_has_a_panel_with_every_point(drawn: dict[str, Any], name: str) -> None:
    assert len(panels(drawn[name])) == 6
    for axes in panels(drawn[name]):
        assert {mark: len(with_gid(axes, mark)) for mark in ("point", "failed", "dropped", "default")} == {
            "point": 14, "failed": 2, "dropped": 2, "default": 1,
        }  # fmt: skip


def test_points_lie_at_their_values_with_their_intervals(grid: SweepRecord, drawn: dict[str, Any]) -> None:
    axes = panels(drawn["by-guidance_scale"])[0]
    fad = grid.scores[grid.scores["metric"] == "fad"].set_index("point")
    for marker in with_gid(axes, "point"):
        point = int(marker.get_gid().removeprefix("point-"))
        assert (marker.get_xdata()[0], marker.get_ydata()[0]) == (
            grid.points["options"][point - 1][GUIDANCE],
            fad["value"][point],
        )
    ends = {tuple(segment[:, 1]) for bars in axes.collections for segment in bars.get_segments()}
    measured = fad.drop(index=[1, 2])
    assert np.allclose(sorted(ends), sorted(zip(measured["low"], measured["high"], strict=True)))


def test_the_best_is_a_star_and_those_that_are_worse_are_hollow(grid: SweepRecord, drawn: dict[str, Any]) -> None:
    fad = grid.scores[grid.scores["metric"] == "fad"].set_index("point")
    for marker in with_gid(panels(drawn["by-top_k"])[0], "point"):
        point = int(marker.get_gid().removeprefix("point-"))
        assert (marker.get_marker() == "*") == bool(fad["best"][point])
        assert (marker.get_markerfacecolor() == "white") == (not fad["among_best"][point])


def test_axes_say_what_they_are_and_where_better_is(drawn: dict[str, Any]) -> None:
    labels = [axes.get_ylabel() for axes in panels(drawn["by-top_k"])]
    assert labels == [
        "FAD ↓ lower is better", "KLD ↓ lower is better", "CLAP score ↑ higher is better",
        "silence share ↓ lower is better", "clipped clips ↓ lower is better", "loudness, LUFS",
    ]  # fmt: skip
    assert {axes.get_xlabel() for axes in panels(drawn["by-top_k"])} == {"top_k (logarithmic)"}


def test_the_caption_has_n_and_prompts_of_those_that_are_drawn(drawn: dict[str, Any]) -> None:
    for figure in drawn.values():
        said = " ".join(" ".join(texts(figure)).split())
        assert "n = 200; 200 prompts of musiccaps, subset all, protocol musicgen" in said
        assert "of two" in said
        assert re.search("95 % intervals? of each point alone", said)  # as all plots write it
        assert "Random weights" not in said


def test_random_weights_are_said_on_every_plot(grid: SweepRecord) -> None:
    for figure in sweeps.figures(replace(grid, random=["facebook/musicgen-small", "CLAP"])).values():
        assert any(text.startswith("Random weights: facebook/musicgen-small, CLAP.") for text in texts(figure))


def test_the_legend_has_the_other_parameter_and_only_marks_that_occur(drawn: dict[str, Any]) -> None:
    said = [text.get_text() for legend in drawn["by-guidance_scale"].legends for text in legend.get_texts()]
    assert said == [
        "10", "50", "250", "the best", "not worse than the best beyond noise", "worse than the best", "not judged",
        "default", "failed", "dropped from the race",
    ]  # fmt: skip
    alone = sweeps.figures(sweep({TOP_K: [50, 250]}, lambda k: {"fad": k / 50}, objectives=OBJECTIVES[:1]))
    said = [text.get_text() for legend in alone["by-top_k"].legends for text in legend.get_texts()]
    assert said == ["the best", "worse than the best"]


@pytest.mark.parametrize(
    ("given", "scale"),
    [
        ([1, 2, 3, 4, 6, 8], "linear"), ([10, 50, 250], "log"), ([1, 1000], "linear"), ([0, 10, 50, 250], "symlog"),
        ([0.0, 0.1, 0.3], "linear"), ([-4, 1, 20], "linear"), ([0.7, 0.8, 0.9, 1.0], "linear"),
        ([0.1, 1, 2, 3, 4, 5], "linear"),
    ],
)  # fmt: skip
def test_an_axis_is_logarithmic_where_that_spaces_values_evenly(given: list[float], scale: str) -> None:
    assert sweep_parameters._kind(given) == scale


@pytest.mark.parametrize("given", [[1, 2, 3, 4, 6, 8], [10, 50, 250, 1000], [0, 10, 50, 250], [7], ["a", "b"]])
def test_all_values_lie_within_the_axis(given: list[Any]) -> None:
    record = sweep({"x": given, "y": [1, 2]}, lambda x, y: {"fad": len(str(x)) + y}, objectives=OBJECTIVES[:1])
    scale = sweep_parameters._Scale(record, record.parameters[0], 3.0)
    parts = scale._parts(np.array(scale.ticks))
    assert parts.min() > 0.03
    assert parts.max() < 0.97
    assert (np.diff(parts) > 0).all()


def test_values_that_are_no_numbers_are_categories_as_they_are_written() -> None:
    names = ["musicgen_small", "$x^2$", True, None]
    record = sweep({"model": names}, lambda m: {"fad": len(str(m))}, {"model": "musicgen_small"},
                   objectives=OBJECTIVES[:1])  # fmt: skip
    axes = panels(sweeps.figures(record)["by-model"])[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["musicgen_small", r"\$x^2\$", "true", "null"]
    assert len(with_gid(axes, "point")) == 4


def test_a_third_parameter_gives_panels_of_their_own() -> None:
    swept = {GUIDANCE: [1, 3, 6], TOP_K: [50, 250, 1000], "sampling.temperature": [0.7, 1.0, 1.3]}
    record = sweep(swept, lambda g, k, t: {"fad": g + k / 100 + t, "kld": t}, objectives=OBJECTIVES[:2])
    figure = sweeps.figures(record)["by-guidance_scale"]
    assert [axes.get_title() for axes in panels(figure)[:3]] == ["top_k=50", "top_k=250", "top_k=1000"]
    assert [len(with_gid(axes, "point")) for axes in panels(figure)] == [9] * 6
    assert not any(name.startswith("map") for name in sweeps.figures(record))


def test_points_that_share_no_values_are_drawn_without_lines() -> None:
    points = [(1 + 0.37 * i, 10 + 53 * i) for i in range(14)]
    swept = {GUIDANCE: [g for g, _ in points], TOP_K: [k for _, k in points]}
    record = sweep(swept, of_two, points=points)
    figures = sweeps.figures(record)
    assert list(figures) == ["by-guidance_scale", "by-top_k", "pareto"]
    axes = panels(figures["by-guidance_scale"])[0]
    assert len(with_gid(axes, "point")) == 14
    assert not [line for line in axes.lines if len(line.get_xdata()) > 2]


def test_points_of_the_same_place_are_moved_aside() -> None:
    points = [(3, 10 + i) for i in range(10)] + [(4, 30)]
    record = sweep({GUIDANCE: [3, 4], TOP_K: [k for _, k in points]}, of_two, points=points)
    axes = panels(sweeps.figures(record)["by-guidance_scale"])[0]
    places = {round(float(m.get_transform().transform((3, 5))[0]), 3) for m in with_gid(axes, "point")[:10]}
    assert len(places) == 10


def test_intervals_that_are_not_known_are_no_bars() -> None:
    record = sweep({TOP_K: [10, 50, 250]}, lambda k: {"fad": k}, objectives=OBJECTIVES[:1], intervals=False)
    figure = sweeps.figures(record)["by-top_k"]
    assert not panels(figure)[0].collections
    assert "No intervals are known." in " ".join(" ".join(texts(figure)).split())


def test_a_metric_without_a_value_at_a_point_is_marked_on_the_axis() -> None:
    record = sweep({TOP_K: [10, 50, 250]}, lambda k: {"fad": math.nan if k == 50 else k, "kld": 1.0},
                   objectives=OBJECTIVES[:2])  # fmt: skip
    axes = panels(sweeps.figures(record)["by-top_k"])[0]
    assert [mark.get_gid() for mark in with_gid(axes, "ok")] == ["ok-2"]
    assert len(with_gid(axes, "point")) == 2


NOISE = [0.0, 0.03, 0.1, 1e39]


def caption(figure: Any) -> str:
    return " ".join(" ".join(texts(figure)).split())


def test_a_value_at_which_every_point_failed_does_not_stretch_the_axis() -> None:
    record = sweep({"noise": NOISE, "detune": [0, 20]}, lambda n, d: {"fad": 1 + n + d / 20}, failed=[7, 8],
                   objectives=OBJECTIVES[:1])  # fmt: skip
    figure = sweeps.figures(record)["by-noise"]
    axes = panels(figure)[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "0.03", "0.1"]
    low, high = axes.get_xlim()
    assert -0.02 < low < 0 < 0.1 < high < 0.12
    assert [mark.get_gid() for mark in with_gid(axes, "failed")] == ["failed-7", "failed-8"]
    assert {float(mark.get_xdata()[0]) for mark in with_gid(axes, "failed")} == {high}
    assert "Failed, at the right edge: noise=1e+39." in caption(figure)
    assert [tick.get_text() for tick in panels(sweeps.figures(record)["map"])[0].get_xticklabels()][-1] == "1e+39"


def test_values_at_both_edges_are_named_by_what_became_of_their_points() -> None:
    values = [-1e9, 0, 10, 50, 120, 250, 1e9, *(10.0**power for power in range(12, 20))]
    record = sweep({TOP_K: values}, lambda k: {"fad": k}, failed=[1, 2, 5, 7], dropped=range(8, 16),
                   objectives=OBJECTIVES[:1])  # fmt: skip
    figure = sweeps.figures(record)["by-top_k"]
    axes = panels(figure)[0]
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10", "50", "120", "250"]
    assert [float(mark.get_xdata()[0]) for mark in with_gid(axes, "failed")][2] == 120  # between others, it is in place
    assert "Failed, at the left edge: top_k=-1e+09, top_k=0. Failed, at the right edge: top_k=1e+09." in caption(figure)
    assert "Dropped from the race, at the right edge: top_k=1e+12," in caption(figure)
    assert "top_k=1e+17 and 2 more." in caption(figure)


@pytest.mark.parametrize(
    "given",
    [
        [0, *(10.0**power for power in range(-30, 31, 5))],
        [1.7**power for power in range(24)],
        [10, 11, 12, 13, 14, 1000],
        [0.0, 0.03, 0.1, 0.1001, 5],
        [f"prompt number {number}" for number in range(45)],
    ],
)
def test_there_are_no_more_names_of_ticks_than_fit(given: list[Any]) -> None:
    record = sweep({"x": given}, lambda x: {name: len(str(x)) + float(i) for i, name in enumerate(("fad", "kld"))},
                   objectives=OBJECTIVES[:2])  # fmt: skip
    figure = sweeps.figures(record)["by-x"]
    figure.draw_without_rendering()
    for axes in panels(figure):
        there = [tick for tick in axes.get_xticklabels() if tick.get_text()]
        assert len(there) > 1
        boxes = [tick.get_window_extent() for tick in there]
        if turned := there[0].get_rotation():  # lines of text above each other, which are 7 points high
            apart = np.diff([box.x1 for box in boxes]) * math.sin(math.radians(turned))
            assert min(apart) > 7 * figure.dpi / 72
        else:
            assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))


def test_metrics_that_are_the_same_at_all_points_are_named_and_have_no_panel() -> None:
    record = sweep({TOP_K: [10, 50, 250], "x": [1, 2]},
                   lambda k, x: {"fad": k, "kld": 1.25, "silence_share": 0.0, "clipped_clips": 0.0, "loudness": -x},
                   failed=[6], objectives=OBJECTIVES[:2])  # fmt: skip
    for name, figure in sweeps.figures(record).items():
        if name == "pareto":
            continue
        said = caption(figure)
        assert "The same at all points: silence share 0, clipped clips 0." in said
        assert [axes.get_ylabel() or axes.get_title() for axes in panels(figure)] == (
            ["x"] * 3 if name == "map" else ["FAD ↓ lower is better", "KLD ↓ lower is better", "loudness, LUFS"]
        )


def test_a_metric_has_a_panel_where_it_is_not_known_to_be_the_same_everywhere() -> None:
    unknown = sweep({TOP_K: [10, 50, 250]}, lambda k: {"fad": k, "loudness": math.nan if k == 50 else -14.0},
                    objectives=OBJECTIVES[:1])  # fmt: skip
    assert drawing.same(unknown) == {}
    alone = sweep({TOP_K: [10, 50]}, lambda k: {"fad": k, "loudness": -14.0}, failed=[2], objectives=OBJECTIVES[:1])
    assert drawing.same(alone) == {}
    nothing_else = sweep({TOP_K: [10, 50]}, lambda k: {"loudness": -14.0}, objectives=[])
    assert list(drawing.differing(nothing_else)) == ["loudness"]
    assert len(panels(sweeps.figures(nothing_else)["by-top_k"])) == 1


def test_an_objective_that_is_the_same_everywhere_is_a_light_map_with_black_numbers() -> None:
    record = sweep({TOP_K: [10, 50, 250], "x": [1, 2]}, lambda k, x: {"fad": k, "kld": 1.25}, objectives=OBJECTIVES[:2])
    axes = panels(sweeps.figures(record)["map"])[1]
    assert {min(patch.get_facecolor()[:3]) > 0.9 for patch in with_gid(axes, "point")} == {True}
    assert {text.get_color() for text in axes.texts} == {drawing.ON_BRIGHT}
    assert min(text.get_fontsize() for text in axes.texts) > 7


@pytest.mark.parametrize("name", ["by-guidance_scale", "by-top_k", "pareto"])
def test_the_frame_of_the_default_is_behind_the_marks_and_little_larger(drawn: dict[str, Any], name: str) -> None:
    for axes in panels(drawn[name]):
        (frame,) = with_gid(axes, "default")
        points = with_gid(axes, "point")
        assert frame.get_zorder() < min(mark.get_zorder() for mark in points)
        (own,) = [mark for mark in points if mark.get_gid() == "point-9"]
        assert own.get_markersize() <= frame.get_markersize() <= own.get_markersize() + 5


def test_the_front_has_all_points_sized_by_their_probability(grid: SweepRecord, drawn: dict[str, Any]) -> None:
    front = grid.points.set_index("point")["front"]
    axes = panels(drawn["pareto"])
    assert [(one.get_xlabel(), one.get_ylabel()) for one in axes] == [
        ("FAD ↓ lower is better", "KLD ↓ lower is better"),
        ("FAD ↓ lower is better", "CLAP score ↑ higher is better"),
        ("KLD ↓ lower is better", "CLAP score ↑ higher is better"),
    ]
    for one in axes:
        sizes = {int(m.get_gid().removeprefix("point-")): m.get_markersize() for m in with_gid(one, "point")}
        assert len(sizes) == 14
        assert sizes == {point: pytest.approx(4.5 + 7.5 * front[point]) for point in sizes}
        assert len(with_gid(one, "default")) == 1


def test_default_and_winner_are_named_on_the_front() -> None:
    record = sweep({TOP_K: [10, 50, 250]}, lambda k: {"fad": k / 100, "kld": 3 - k / 100}, {TOP_K: 250},
                   objectives=OBJECTIVES[:2])  # fmt: skip
    said = [text.get_text() for text in panels(sweeps.figures(record)["pareto"])[0].texts]
    assert sorted(said) == ["2", "default (3)", "winner (1)"]


def test_the_line_of_the_front_goes_around_what_is_reached_from_edge_to_edge() -> None:
    values = np.array([[1.0, 3.0], [2.0, 2.0], [2.5, 2.5], [3.0, 1.0], [1.0, 4.0]])
    limits = np.array([[0.0, 5.0], [0.0, 6.0]])
    lower = [Objective("a", "A", False), Objective("b", "B", False)]
    assert sweep_front._steps(values, lower, limits).tolist() == [
        [1, 6], [1, 6], [1, 3], [2, 3], [2, 2], [3, 2], [3, 1], [5, 1],
    ]  # fmt: skip
    higher = [Objective("a", "A", False), Objective("b", "B", True)]
    assert sweep_front._steps(values, higher, limits).tolist() == [[1, 0], [1, 0], [1, 4], [5, 4]]


def test_one_objective_has_no_front() -> None:
    record = sweep({TOP_K: [10, 50]}, lambda k: {"fad": k}, objectives=OBJECTIVES[:1])
    assert list(sweeps.figures(record)) == ["by-top_k"]


def test_the_map_has_a_number_in_each_cell_and_hatches_where_there_is_none(drawn: dict[str, Any]) -> None:
    axes = panels(drawn["map"])[0]
    said = [text.get_text() for text in axes.texts]
    assert len(with_gid(axes, "point")) == 14
    assert "4.300" in said
    assert "[3.950, 4.720]" in said
    assert said.count("failed") == 2
    assert said.count("dropped\nn = 50") == 2
    assert all(patch.get_hatch() for name in ("failed", "dropped") for patch in with_gid(axes, name))
    assert len(with_gid(axes, "best")) == 2  # black between white
    assert len(with_gid(axes, "default")) == 1


def test_dark_cells_have_white_numbers(drawn: dict[str, Any]) -> None:
    axes = panels(drawn["map"])[0]
    inks = {text.get_text(): text.get_color() for text in axes.texts}
    assert inks["4.300"] == drawing.ON_DARK
    assert inks["6.884"] == drawing.ON_BRIGHT


def test_files_are_png_and_svg_that_are_the_same_each_time(grid: SweepRecord, tmp_path: Path) -> None:
    record = replace(grid, objectives=OBJECTIVES[:2], scores=grid.scores[grid.scores["metric"].isin(["fad", "kld"])])
    names = sweeps.write(record, tmp_path / "a")
    assert names == ["by-guidance_scale", "by-top_k", "pareto", "map"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(
        f"{name}.{ending}" for name in names for ending in ("png", "svg")
    )
    with matplotlib.rc_context({"svg.hashsalt": None, "font.size": 20, "axes.grid": False}):
        assert sweeps.write(record, tmp_path / "b") == names
        assert matplotlib.rcParams["font.size"] == 20
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    for name in names:
        assert (tmp_path / "a" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert any("lower is better" in text for text in parts(tmp_path / "a" / f"{name}.svg"))


def test_no_figure_stays_open_and_no_backend_is_chosen(grid: SweepRecord, tmp_path: Path) -> None:
    import subprocess

    program = (
        "import sys; from tests.results.drawn_sweeps import sweep; from evalkit.results.plots import sweeps\n"
        "from pathlib import Path\n"
        "assert not any(name.startswith('matplotlib') for name in sys.modules)\n"
        "record = sweep({'x': [1, 2]}, lambda x: {'fad': x})\n"
        "assert sweeps.write(record, Path(sys.argv[1])) == ['by-x']\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])


def test_names_of_files_are_safe_and_none_is_taken_twice(tmp_path: Path) -> None:
    swept = {"a.Top/K": [1, 2], "b.top k": [1, 2], "c.top_$(k)": [1, 2], "d.../": [1, 2], "e." + 90 * "x": [1, 2]}
    record = sweep(swept, lambda *given: {"fad": sum(given)}, objectives=OBJECTIVES[:1])
    record = replace(record, parameters=[replace(one, name=one.key[2:]) for one in record.parameters])
    assert sweeps.write(record, tmp_path) == [
        "by-Top-K", "by-top-k-2", "by-top_-k", "by-option", "by-" + 60 * "x",
    ]  # fmt: skip


def test_texts_of_any_kind_can_be_drawn(tmp_path: Path) -> None:
    odd = ["漢字", "$\\frac{", "a\nb\x00", "<b>&amp;--></b>", "x" * 200, "", "_^%#\\"]
    record = sweep({"odd": odd, "x": [1, 2]}, lambda o, x: {"fad": len(o) + x, "kld": x}, name="$\\odd\x1b[0m")
    names = sweeps.write(record, tmp_path)
    assert names == ["by-odd", "by-x", "pareto", "map"]
    assert any("\\frac{" in text for text in parts(tmp_path / "by-odd.svg"))
    assert drawing.words("\ud800\n") == "��"


@pytest.mark.parametrize("missing", ["all failed", "no points", "one point"])
def test_what_has_nothing_to_show_has_no_plots(missing: str, tmp_path: Path) -> None:
    record = sweep({TOP_K: [10, 50]}, lambda k: {"fad": k}, failed=[1, 2] if missing == "all failed" else [])
    if missing == "no points":
        record = replace(record, points=record.points[:0], scores=record.scores[:0])
    if missing == "one point":
        record = sweep({TOP_K: [10]}, lambda k: {"fad": k})
    assert sweeps.write(record, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_directions_are_those_of_metrics_whether_they_are_objectives_or_not(grid: SweepRecord) -> None:
    assert drawing.directions(grid) == {
        "fad": False, "kld": False, "clap_score": True, "silence_share": False, "clipped_clips": False,
        "loudness": None,
    }  # fmt: skip


def test_where_all_points_are_the_same_none_is_marked_as_the_best() -> None:
    same = sweep({TOP_K: [10, 50]}, lambda k: {"fad": float(k), "silence_share": 0.0}, objectives=OBJECTIVES[:1])
    assert [spot.best for spot in drawing.spots(same, "silence_share")] == [False, False]
    assert [spot.best for spot in drawing.spots(same, "fad")] == [True, False]
    assert isinstance(same.scores, pd.DataFrame)
