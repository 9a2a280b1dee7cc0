"""FAD by number of clips: measured on stored features, and no longer than there is time for."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalkit.results import sizes as measuring
from evalkit.results.pairing import Side
from evalkit.results.plots import sizes
from evalkit.results.plots.plot import NARROW, PAPER, Plot, Shown

from .drawn import marks, overlapping, panels, result
from .made import metric
from .sides import FAD, KNOWN, side
from .swept import scored

INFINITY = {"kind": "fad_infinity", "version": 1, "ddof": 1, "repeats": 5, "seed": 0, "encoder": FAD["encoder"]}


def one(folder: Path, n: int, d: int = 3, infinity: bool = False, apart: float = 0.3) -> Shown:
    """A row with clips of four windows each, some distance from the references."""
    rng = np.random.default_rng(0)
    own = {"kld": np.ones((1, n))}
    features = {"fad": (rng.standard_normal((1, n, 4, d)) + apart, rng.standard_normal((n, 4, d)))}
    infos = {**KNOWN}
    made = side(folder, "m", own, features, infos=infos).record
    if infinity:
        info = metric("FAD∞", False, definition=INFINITY, encoder="vggish", reference_encoder="vggish")
        more = made.scores[made.scores["metric"] == "fad"].assign(metric="fad_inf")
        made = replace(
            made, metrics={**made.metrics, "fad_inf": info}, scores=pd.concat([made.scores, more], ignore_index=True)
        )
    return Shown("m", result(scored(Side(made, "m")).record), "m")


def test_all_clips_have_the_fad_of_the_table_and_smaller_subsets_lie_within_larger_ones(tmp_path: Path) -> None:
    row = one(tmp_path, 48)
    found = sizes.plot([row])
    assert isinstance(found, Plot)
    axes = panels(found.figure())[0]
    (subsets,) = marks(axes, "subsets").values()
    n = np.round(1 / subsets.get_xdata()).astype(int)
    assert n.tolist() == [48] + 4 * [24] + 4 * [16] + 4 * [12]
    assert subsets.get_ydata()[0] == pytest.approx(row.scores["fad"]["value"], rel=1e-9)
    ids = [f"p{i:05}" for i in range(48)]
    chosen = [ids[i] for i in np.sort(np.random.default_rng(0).permutation(48)[:24])]
    assert subsets.get_ydata()[1] == pytest.approx(row.record.score("m", "fad", chosen).value, rel=1e-9)
    assert [row.cell["clips"] for row in found.numbers.rows] == ["12", "16", "24", "48", "∞, extrapolated"]
    assert "On average FAD is larger the fewer clips it is of." in found.caption  # of a row it may be less
    assert overlapping(found.figure(NARROW)) == overlapping(found.figure(PAPER)) == []


def test_fad_infinity_is_drawn_as_it_was_measured_with_its_interval(tmp_path: Path) -> None:
    row = one(tmp_path, 48, infinity=True)
    found = sizes.plot([row])
    assert isinstance(found, Plot)
    score = row.scores["fad_inf"]
    assert math.isfinite(score["low"])
    axes = panels(found.figure())[0]
    (end,), (bar,) = marks(axes, "infinity").values(), marks(axes, "interval").values()
    assert (end.get_xdata()[0], end.get_ydata()[0]) == (0, score["value"])
    assert tuple(bar.get_ydata()) == (score["low"], score["high"])
    assert end.get_markerfacecolor() != "white"
    assert found.numbers.rows[-1].cell["value"] == score["value"]


def test_of_too_few_clips_nothing_is_extrapolated_and_of_hardly_any_nothing_is_drawn(tmp_path: Path) -> None:
    found = sizes.plot([one(tmp_path / "few", 14, d=40)])
    assert isinstance(found, Plot)
    assert "There is no extrapolation" in found.caption
    axes = panels(found.figure())[0]
    assert not marks(axes, "infinity") and not marks(axes, "curve")
    assert sizes.plot([one(tmp_path / "fewer", 5)]) is None


def test_what_would_take_too_long_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [one(tmp_path / "a", 24), replace(one(tmp_path / "b", 24), name="b")]
    monkeypatch.setattr(measuring, "WORK", 27 * 4 + 24 * 8 * 9 / 18 * (1 + 13 / 12) + 1)  # of one row
    found = sizes.plot(rows)
    assert isinstance(found, Plot)
    assert "FAD: left out 1 row whose features have so many dimensions that distances take long." in found.caption
    (subsets,) = marks(panels(found.figure())[0], "subsets").values()
    assert len(subsets.get_xdata()) == 4  # one of each size
    monkeypatch.setattr(measuring, "WORK", 1)
    assert sizes.plot(rows) == (
        "FAD by number of clips is not drawn. "
        "FAD: left out 2 rows whose features have so many dimensions that distances take long."
    )
