"""The plots of groups of prompts: of a result, and of a comparison."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from evalkit.results.plots import slices
from evalkit.results.plots.drawing import BAD
from evalkit.results.plots.plot import NARROW, PAPER, shown

from .drawn import overlapping, panels, result, texts
from .made import VALUES, record
from .made_comparison import comparison, group, metric

MODELS = ("musicgen_small", "musicgen_stereo_small")


def score(name: str, model: str, metric: str, value: float, n: int) -> dict[str, Any]:
    return {
        "slice": "tag", "group": name, "model": model, "metric": metric, "value": value, "low": value - 0.3,
        "high": value + 0.3, "n": n, "protocol": "musicgen", "higher_is_better": False, "note": "", "small": n < 30,
    }  # fmt: skip


SCORES = [
    score(f"group number {i} of many, $x$", model, name, 1 + i / 9 + number, 100 - 9 * i)
    for i in range(10)
    for number, model in enumerate(MODELS)
    for name in ("fad", "kld")
]


def found_in(axes: Any, name: str) -> dict[str, Any]:
    return {one.get_gid().removeprefix(f"{name}-"): one for one in axes.lines if one.get_gid().startswith(f"{name}-")}


def test_each_group_has_the_value_of_each_model_and_small_groups_are_hollow() -> None:
    (found,) = slices.plots(shown([result(record(slices=SCORES))]))
    assert (found.name, found.title) == ("slices-tag", "Groups of prompts: tag")
    figure = found.figure()
    for axes, name in zip(panels(figure), ("fad", "kld"), strict=True):
        values, bars = found_in(axes, "value"), found_in(axes, "interval")
        for one in (one for one in SCORES if one["metric"] == name):
            key = f"{one['group'].split()[2]}-{MODELS.index(one['model'])}"
            assert values[key].get_xdata()[0] == one["value"]
            assert list(bars[key].get_xdata()) == [one["low"], one["high"]]
            assert (values[key].get_markerfacecolor() == "white") == one["small"]
    assert r"group number 0 …any, \$x\$ (100)" in [text.get_text() for text in texts(figure)]
    assert len(found.numbers.rows) == len(SCORES)


def test_the_same_model_of_two_results_is_drawn_twice() -> None:
    of_one = [one for one in SCORES if one["model"] == MODELS[0]]
    runs = []
    for number in range(2):
        moved = [{**one, "value": one["value"] + number} for one in of_one]
        runs.append(
            result(
                record(values={MODELS[0]: VALUES[MODELS[0]]}, published={}, slices=moved, path=Path(f"runs/{number}"))
            )
        )
    (found,) = slices.plots(shown(runs))
    values = found_in(panels(found.figure())[0], "value")
    assert values["0-1"].get_xdata()[0] - values["0-0"].get_xdata()[0] == pytest.approx(1)
    assert {row.cell["row"] for row in found.numbers.rows} == {f"{MODELS[0]} (0)", f"{MODELS[0]} (1)"}


def test_no_text_of_groups_hides_another() -> None:
    (found,) = slices.plots(shown([result(record(slices=SCORES))]))
    assert [overlapping(found.figure(width)) for width in (PAPER, NARROW)] == [[], []]


def test_a_group_alone_and_a_result_without_groups_have_no_plot() -> None:
    assert slices.plots(shown([result(record(slices=SCORES[:4]))])) == []
    assert slices.plots(shown([result(record())])) == []


CHANGES = [
    group(name=f"group {i}", metric=name, p_adjusted=(i + 1) / 40, difference=0.2 - i / 50, low=-0.1, high=0.4,
          change="worse" if i == 0 else "")
    for i in range(20)
    for name in ("kld", "clap")
]  # fmt: skip


def test_differences_of_the_surest_groups_are_drawn_with_their_adjusted_p() -> None:
    made = comparison([metric("kld"), metric("clap", direction="higher")], CHANGES)
    found = slices.of_comparison(made)
    assert found is not None
    figure = found.figure()
    for axes in panels(figure):
        values, bars = found_in(axes, "value"), found_in(axes, "interval")
        assert [values[str(i)].get_xdata()[0] for i in range(16)] == [0.2 - i / 50 for i in range(16)]
        assert list(bars["0"].get_xdata()) == [-0.1, 0.4]
        assert (values["0"].get_marker(), values["0"].get_markerfacecolor()) == ("X", BAD)
        assert (values["1"].get_marker(), values["1"].get_markerfacecolor()) == ("o", "white")
        assert [text.get_text() for text in axes.texts][:2] == ["0.025", "0.050"]
    assert "The 16 of 20 groups that differ most surely." in found.caption
    assert found.said == (
        "2 differences between the sides in a group of prompts are beyond noise: tag group 0, CLAP worse; "
        "tag group 0, KLD worse."
    )
    assert [overlapping(found.figure(width)) for width in (PAPER, NARROW)] == [[], []]


def test_metrics_that_are_the_same_in_all_groups_are_left_out_and_named() -> None:
    same = [{**one, "metric": "kld", "title": "Silent from", "difference": 0.0, "low": math.nan, "high": math.nan,
             "change": ""} if one["metric"] == "kld" else one for one in CHANGES]  # fmt: skip
    found = slices.of_comparison(comparison([metric("kld"), metric("clap", direction="higher")], same))
    assert found is not None
    assert len(panels(found.figure())) == 1
    assert "Left out, the same on both sides: Silent from." in found.caption
    assert (
        found.said == "1 difference between the sides in a group of prompts is beyond noise: tag group 0, CLAP worse."
    )
    assert slices.of_comparison(comparison([metric("kld")], [one for one in same if one["metric"] == "kld"])) is None


def test_hollow_marks_are_explained_only_where_there_are_any() -> None:
    large = [{**one, "small": False} for one in SCORES]
    captions = [slices.plots(shown([result(record(slices=scores))]))[0].caption for scores in (SCORES, large)]
    assert ["Hollow" in caption for caption in captions] == [True, False]


def test_without_differences_of_groups_there_is_no_plot() -> None:
    assert slices.of_comparison(comparison()) is None
    assert slices.of_comparison(comparison(slices=[group(difference=math.nan)])) is None


def test_names_of_files_are_plain_and_unlike_each_other() -> None:
    kinds = [{**one, "slice": kind} for kind in ("caption_length", "漢字", "мелодия") for one in SCORES]
    found = slices.plots(shown([result(record(slices=kinds))]))
    assert [one.name for one in found] == ["slices-caption-length", "slices-other", "slices-other-2"]
    assert found[0].title == "Groups of prompts: caption length"
