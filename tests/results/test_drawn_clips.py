"""The plots of single prompts: their spread, and how much each differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evalkit.results.compare import compare
from evalkit.results.gate import Gate, Limit, Margin
from evalkit.results.pairing import Side
from evalkit.results.plots import clips, pairs
from evalkit.results.plots.drawing import BAD, GOOD
from evalkit.results.plots.plot import NARROW, PAPER, Plot, Shown

from .drawn import marks, overlapping, panels, result
from .made_comparison import comparison, metric
from .sides import side
from .swept import scored


def one(folder: Path, kld: np.ndarray, name: str = "m") -> Shown:
    """A row whose prompts have some KLDs, and side-to-mid ratios that are their opposites."""
    values = {"kld": kld[None], "side_to_mid": -kld[None], "silence_share": (kld > 1)[None].astype(float)}
    return Shown(name, result(scored(side(folder, "m", values)).record), "m")


@pytest.fixture
def few(tmp_path: Path) -> Shown:
    return one(tmp_path, np.linspace(0.5, 2.5, 21), "few")


@pytest.fixture
def many(tmp_path: Path) -> Shown:
    return one(tmp_path / "many", np.random.default_rng(0).gamma(2.0, 0.7, 400), "many")


def test_dots_bars_and_lines_lie_where_the_prompts_have_them(few: Shown) -> None:
    found = clips.plot([few])
    assert found is not None
    axes = panels(found.figure())[0]
    (dots,), (half,), (most,), (median,), (value,) = (
        marks(axes, name).values() for name in ("dots", "half", "most", "median", "value")
    )
    values = few.per_prompt("kld").to_numpy()
    assert sorted(dots.get_xdata()) == values.tolist()
    assert np.allclose(half.get_xdata(), np.quantile(values, (0.25, 0.75)))
    assert np.allclose(most.get_xdata(), np.quantile(values, (0.05, 0.95)))
    assert median.get_xdata()[0] == np.median(values)
    assert value.get_xdata()[0] == few.scores["kld"]["value"]
    assert found.numbers.rows[0].cell["q0.5"] == np.median(values)
    assert "KLD of few: median 1.50, 90 % between 0.600 and 2.40" in found.said


def test_of_many_prompts_there_is_a_shape_and_shares_have_no_panel(few: Shown, many: Shown) -> None:
    found = clips.plot([few, many])
    assert found is not None
    drawn = panels(found.figure())
    assert len(drawn) == 2  # of silence every prompt has 0 or 1
    assert set(marks(drawn[0], "dots")) == {0}
    assert [shape.get_gid() for shape in drawn[0].collections] == ["shape-1"]
    assert "Right: medians. Dots: prompts. Shape, of more than 120: how many prompts" in found.caption


def test_no_text_hides_another(few: Shown, many: Shown) -> None:
    found = clips.plot([few, many])
    assert found is not None
    assert [overlapping(found.figure(width)) for width in (PAPER, NARROW)] == [[], []]


def test_prompts_differ_in_order_and_by_colour(tmp_path: Path) -> None:
    before = one(tmp_path / "a", np.linspace(0.5, 2.5, 20))
    after = one(tmp_path / "b", np.linspace(0.5, 2.5, 20) + np.r_[np.full(5, -0.3), np.linspace(0.1, 0.4, 15)])
    found = pairs.plot(
        comparison([metric("kld", n=20), metric("side_to_mid", direction="same", n=20)]), [before], [after]
    )
    assert isinstance(found, Plot)
    axes = panels(found.figure())[0]
    patches = {patch.get_gid(): patch for patch in axes.patches}
    differences = np.sort((after.per_prompt("kld") - before.per_prompt("kld")).to_numpy())
    assert np.allclose(patches["differences"].get_data().values, differences)
    assert np.allclose(patches["above"].get_data().values, np.maximum(differences, 0))
    assert [patches[name].get_facecolor()[:3] for name in ("above", "below")] == [
        tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)) for colour in (BAD, GOOD)
    ]
    assert "KLD is better on 25% of prompts and worse on 75% of prompts" in found.said
    assert found.numbers.rows[0].cell["mean"] == pytest.approx(differences.mean())
    assert overlapping(found.figure(NARROW)) == []


def test_differences_are_of_the_prompts_that_were_compared(tmp_path: Path) -> None:
    base = np.random.default_rng(0).gamma(2, 0.7, (2, 40))
    later = base + 0.01 * np.random.default_rng(1).standard_normal((2, 40))
    later[0, :5] += 3.0  # of prompts whose second clip is silent
    before, after = (side(tmp_path / name, "m", {"kld": values}, digest=name) for name, values in
                     (("a", base), ("b", later)))  # fmt: skip
    ids = [f"p{i:05}" for i in range(5)]
    bad, lost = (frame["id"].isin(ids) & (frame["sample"] == 2) for frame in (after.record.clips, after.record.values))
    clips_of_it = after.record.clips.copy()
    clips_of_it.loc[bad, "status"] = "silent"
    after = Side(replace(after.record, clips=clips_of_it, values=after.record.values[~lost]), "m")
    made = compare([before], [after], Gate({"kld": Limit("critical", Margin(0.5))}, swaps=199))
    row = made.metrics.iloc[0]
    shown = [[Shown("m", result(one.record), "m")] for one in (before, after)]
    found = pairs.plot(made, *shown)
    assert isinstance(found, Plot)
    numbers = found.numbers.rows[0].cell
    assert (numbers["n"], row["n"]) == (35, 35)
    assert numbers["mean"] == pytest.approx(row["difference"])
    assert pairs.plot(replace(made, metrics=made.metrics.assign(n=34)), *shown) == (
        "Differences of single prompts are not drawn. KLD: the results have values of other prompts than were compared."
    )


def test_where_a_side_is_gone_or_nothing_differs_there_is_no_plot(few: Shown) -> None:
    made = comparison([metric("kld", n=21)])
    assert pairs.plot(made, [few], []) is None
    assert pairs.plot(made, [few], [few]) is None
