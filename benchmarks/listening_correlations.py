"""How sure correlations of metrics with ratings are, of a metric that knows how good clips are but for some noise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.listening_raters import Opinions, asked, thoughts, true_means
from benchmarks.parts import Row
from evalkit.listening import correlating
from evalkit.listening.gathered import Ratings
from evalkit.listening.rules import load
from evalkit.stats import crossed
from evalkit.stats.correlation import NAMES, coefficients, pairs_within

SETTINGS = [(systems, raters, prompts) for systems in (2, 3, 5) for raters in (8, 15) for prompts in (12, 30)]
TRIALS = 100
RESAMPLES = 100  # of each trial; evalkit's default is 300 over clips, and 2,000 over systems
STEP = 10.0  # points by which each system is better than the one before it
NOISE = 5.0  # of the metric, in points: standard deviation of one clip's value, and of one system's
OTHERS = 200  # raters whose mean opinion of a clip is how good it is
METRIC = {"step": STEP, "noise": NOISE, "others": OTHERS, "resamples": RESAMPLES}
LONG = (20, 300)  # tests, and prompts of each, that the truth is the mean of
OVER = ("systems", "clips", "clips within prompts")
ABOUT = {"metric": "m", "title": "m", "higher_is_better": True}


def test(mu: np.ndarray, raters: int, prompts: int, rng: np.random.Generator) -> tuple[Ratings, np.ndarray]:
    """Ratings on complete pages, and the metric's values of clips, (systems, prompts)."""
    like, n = Opinions(), len(mu)
    counts = asked(n, raters, prompts, n, rng)
    thought = thoughts(mu, raters + OTHERS, prompts, like, rng)
    sums = like.rate(thought[:, :raters], rng) * counts
    systems, people, heard = (
        [f"{kind}{k}" for k in range(many)] for kind, many in (("s", n), ("r", raters), ("p", prompts))
    )
    # the metric knows what others think: the taste of the raters that a test happens to have is no part of it
    x = thought[:, raters:].mean(axis=1) + rng.normal(0, NOISE, (n, prompts))
    return Ratings(systems, people, heard, sums, counts, pd.DataFrame()), x


@cache
def truth(systems: int, raters: int) -> dict[str, np.ndarray]:
    """What tests by so many raters have over clips, and within prompts, of very many prompts, on the average."""
    rng = np.random.default_rng([systems, raters])
    tests, prompts = LONG
    found: dict[str, list[np.ndarray]] = {over: [] for over in OVER[1:]}
    prompt = np.broadcast_to(np.arange(prompts), (systems, prompts)).ravel()
    for _ in range(tests):
        data, x = test(mu_of(systems), raters, prompts, rng)
        y = data.sums.sum(axis=1) / data.counts.sum(axis=1)
        for over, groups in zip(found, (np.zeros_like(prompt), prompt), strict=True):
            pairs = pairs_within(groups) if over != "clips" else None
            found[over].append(coefficients(x.ravel(), y.ravel(), np.ones(x.size), groups, pairs))
    return {over: np.mean(rows, axis=0) for over, rows in found.items()}


def mu_of(systems: int) -> np.ndarray:
    """What systems are rated, in equal steps about the middle of the scale's upper half."""
    return 60 + STEP * (np.arange(systems) - (systems - 1) / 2)


def correlated(systems: int, raters: int, prompts: int, trials: int) -> Row:
    """Tests of so many systems: how many have an interval, how many of these hold the truth, how wide they are."""
    about = {"systems": systems, "raters": raters, "prompts": prompts}
    rng = np.random.default_rng(list(json.dumps(about).encode()))
    mu, rules = mu_of(systems), load("none")
    means = true_means(tuple(mu), Opinions())
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for trial in range(trials):
        data, x = test(mu, raters, prompts, rng)
        drawn = crossed.draws(raters, prompts, RESAMPLES, trial)
        of_systems = mu + rng.normal(0, NOISE, systems)
        one_group = np.zeros(systems, int)
        true = truth(systems, raters) | {
            "systems": coefficients(of_systems, means, np.ones(systems), one_group, pairs_within(one_group))
        }
        known = {(s, p): float(x[i, j]) for i, s in enumerate(data.systems) for j, p in enumerate(data.prompts)}
        said = pd.DataFrame(
            {"system": data.systems, "value": data.sums.sum(axis=(1, 2)) / data.counts.sum(axis=(1, 2))}
        )
        scores = [{**ABOUT, "system": s, "value": of_systems[k]} for k, s in enumerate(data.systems)]
        for row in (
            *correlating.over_systems(data, said, scores, drawn, rules, True),
            *correlating.over_clips(data, ABOUT, known, drawn, rules, True),
        ):
            cell = cells.setdefault((row["over"], row["coefficient"]), {"truth": [], "widths": [], "held": 0})
            value = float(true[row["over"]][NAMES.index(row["coefficient"])])
            cell["truth"].append(value)
            if np.isfinite(row["low"]):
                cell["widths"].append(row["high"] - row["low"])
                cell["held"] += bool(row["low"] - 1e-9 <= value <= row["high"] + 1e-9)
    found: dict[str, dict[str, Row]] = {}
    for (over, name), cell in cells.items():
        widths = cell["widths"]
        found.setdefault(over, {})[name] = {
            "truth": round(float(np.mean(cell["truth"])), 3), "intervals": len(widths), "held": cell["held"],
            "width": round(float(np.median(widths)), 3) if widths else None,
        }  # fmt: skip
    return about | {"trials": trials, "over": found}


def measure_correlations() -> Iterator[Row]:
    """Correlations over systems, over clips, and within prompts."""
    for systems, raters, prompts in SETTINGS:
        yield correlated(systems, raters, prompts, TRIALS)
