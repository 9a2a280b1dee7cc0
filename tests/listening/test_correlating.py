"""How sure correlations of metrics with ratings are: no interval rather than a wrong one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit.listening import correlating, rules
from evalkit.listening.correlating import FEW_PROMPTS, OF_SYSTEMS, PERFECT
from evalkit.listening.gathered import Ratings
from evalkit.stats import crossed

ABOUT = {"metric": "clap_score", "title": "CLAP score", "higher_is_better": True}
WITHIN = "clips within prompts"


def rated(systems: int, prompts: int, gap: float, seed: int = 0, raters: int = 8) -> tuple[Ratings, np.ndarray]:
    """Ratings, and values of a metric that knows the clips but for some noise, (systems, prompts)."""
    rng = np.random.default_rng([seed, systems, prompts])
    clips = 50 + gap * np.arange(systems)[:, None] + rng.normal(0, 7, (systems, prompts))
    sums = np.clip(np.round(clips[:, None] + rng.normal(0, 14, (systems, raters, prompts))), 1, 100)
    names, people, heard = (
        [f"{kind}{k}" for k in range(n)] for kind, n in (("s", systems), ("r", raters), ("p", prompts))
    )
    data = Ratings(names, people, heard, sums, np.ones(sums.shape), pd.DataFrame())
    return data, clips + rng.normal(0, 2, clips.shape)


def clips(systems: int, prompts: int, gap: float, seed: int = 0) -> dict[tuple[str, str], dict[str, Any]]:
    data, x = rated(systems, prompts, gap, seed)
    known = {(s, p): float(x[i, j]) for i, s in enumerate(data.systems) for j, p in enumerate(data.prompts)}
    drawn = crossed.draws(len(data.raters), prompts, 100, 0)
    rows = correlating.over_clips(data, ABOUT, known, drawn, rules.load("none"), judged=True)
    return {(row["over"], row["coefficient"]): row for row in rows}


def test_of_two_systems_rank_coefficients_within_prompts_have_intervals_that_say_something() -> None:
    widths = []
    for seed in range(6):
        found = clips(2, 20, 16, seed)
        for coefficient in ("spearman", "kendall"):
            row = found[WITHIN, coefficient]
            if abs(row["value"]) < 0.95:
                assert row["low"] < row["value"] < row["high"] < 1 and not row["note"]
                widths.append(row["high"] - row["low"])
    assert len(widths) >= 6 and max(widths) < 1.6 and np.median(widths) < 1.2


def test_where_all_prompts_agree_nothing_is_said_of_how_sure_that_is() -> None:
    found = clips(2, 12, 80)
    for coefficient in ("spearman", "kendall"):
        row = found[WITHIN, coefficient]
        assert row["value"] == pytest.approx(1) and np.isnan([row["low"], row["high"]]).all() and row["note"] == PERFECT
    assert found["clips", "pearson"]["low"] < found["clips", "pearson"]["value"]


def test_few_prompts_have_no_intervals_over_clips() -> None:
    for row in clips(3, 9, 10).values():
        assert np.isfinite(row["value"]) and np.isnan([row["low"], row["high"]]).all() and row["note"] == FEW_PROMPTS
    for row in clips(3, 10, 10).values():
        assert row["low"] < row["value"] < row["high"] and not row["note"]


def test_over_systems_that_all_draws_order_alike_nothing_is_said_of_how_sure_that_is() -> None:
    for gap, certain in ((40.0, True), (1.0, False)):
        data, x = rated(3, 12, gap)
        systems = pd.DataFrame({"system": data.systems, "value": data.sums.mean(axis=(1, 2))})
        scores = [{**ABOUT, "system": name, "value": float(x[k].mean())} for k, name in enumerate(data.systems)]
        drawn = crossed.draws(len(data.raters), 12, 200, 0)
        rows = correlating.over_systems(data, systems, scores, drawn, rules.load("none"), judged=True)
        by = {row["coefficient"]: row for row in rows}
        assert np.isnan(by["pearson"]["low"]) and by["pearson"]["note"] == OF_SYSTEMS  # it would lie too low
        for coefficient in ("spearman", "kendall"):
            row = by[coefficient]
            assert np.isnan([row["low"], row["high"]]).all() == certain
            assert row["note"] == (PERFECT if certain else OF_SYSTEMS)


@pytest.mark.parametrize("value", [10**400, -(10**400), float("nan"), float("inf"), True, "3", None])
def test_what_no_float_holds_is_no_score(value: Any) -> None:
    scores = {"clap": {"value": value}, "fad": {"value": 2, "low": value, "high": 3}}
    (row,) = correlating.scores_of({"large": {"scores": scores}})
    assert (row["metric"], row["value"], row["low"], row["high"]) == ("fad", 2.0, None, 3.0)
