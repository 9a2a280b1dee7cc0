"""How metrics order systems, beside how people do: for other systems, raters and prompts than these."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evalkit.agreeing.matching import Metric
from evalkit.listening.gathered import Choices, Ratings
from evalkit.stats import bradley_terry, crossed, ratings
from evalkit.stats.crossed import Draws, Statistic
from evalkit.stats.estimate import Estimate
from evalkit.stats.permutation import holm
from evalkit.stats.rank_agreement import (
    LEAST,
    NAMES,
    accuracy,
    coefficients,
    correlation_of_errors,
    difference,
    estimates,
    of_panels,
    p_values,
)

Row = dict[str, Any]
FEW = f"fewer than {LEAST} systems have a value"
RANDOM = "random weights: nothing is claimed"
SAME = "no correlation: all systems have the same value, or the same rating"
GAPS = "no interval: on too many draws of raters and prompts a system has no rating"
JUDGED_BY = NAMES.index("kendall")  # whose p-value is the metric's: its intervals are narrower than Spearman's


def judged_by(data: Ratings | Choices) -> Statistic:
    """What systems are judged by: their mean rating, or their strength in choices."""
    if isinstance(data, Ratings):
        return ratings.means(data.sums, data.counts)
    return bradley_terry.strengths(data.wins, data.ties)


def of_people(statistic: Statistic, drawn: Draws) -> np.ndarray:
    """What systems are judged by on all ratings, (systems,)."""
    values: np.ndarray = statistic(np.ones_like(drawn.raters[:1]), np.ones_like(drawn.prompts[:1]))[0]
    return values


def variance(statistic: Statistic, drawn: Draws) -> np.ndarray:
    """The variance of a statistic's values over raters and prompts, (K,); over those of which there are several."""
    raters, prompts = drawn.raters.shape[1], drawn.prompts.shape[1]
    if min(raters, prompts) > 1:
        return np.array([one.error**2 for one in crossed.estimates(statistic, drawn)])
    n = max(raters, prompts)
    if n == 1:
        return np.zeros(len(of_people(statistic, drawn)))
    return crossed.variance_over(crossed.resampled(statistic, drawn)) * n / (n - 1)


def over_systems(
    data: Ratings | Choices, metrics: Sequence[Metric], drawn: Draws, level: float, seed: int
) -> tuple[list[Row], list[Row]]:
    """Correlate each metric with what people said, and compare metrics two by two.

    Returns rows of metrics, in their order, and rows of two metrics each, of which neither has random weights.
    """
    statistic = judged_by(data)
    said = of_people(statistic, drawn)
    several = [n for n in (drawn.raters.shape[1], drawn.prompts.shape[1]) if n > 1]
    wider = min(several) / (min(several) - 1) if several else 0.0  # of so few, resamples show less than there is
    rows, known = [], dict[str, tuple[Metric, list[Estimate]]]()
    there = {metric.name: np.isfinite(metric.values) & np.isfinite(said) for metric in metrics}
    claimed = [metric for metric in metrics if not metric.random and there[metric.name].sum() >= LEAST]
    panels = crossed.resampled(statistic, drawn) if claimed else np.empty((0, len(said)))
    more_of = {m.name: wider * of_panels(m.better[there[m.name]], panels[:, there[m.name]]) for m in claimed}
    for metric in metrics:
        own = there[metric.name]
        x, y, n = metric.better[own], said[own], int(own.sum())
        found = coefficients(x, y) if n > 1 else np.full(len(NAMES), math.nan)
        row: Row = {"metric": metric, "n": n, "p": math.nan, "note": "", "bounds": [(math.nan, math.nan)] * len(NAMES)}
        if metric.random:
            row["note"] = RANDOM
        elif n < LEAST:
            row["note"] = FEW
        else:
            more = more_of[metric.name]
            p = p_values(x, y, seed)
            made = estimates(x, y, more, p)
            row |= {"p": float(p[JUDGED_BY]), "bounds": [one.interval(level) for one in made]}
            row["note"] = SAME if np.isnan(found).any() else GAPS if np.isnan(more).any() else ""
            if not np.isnan(found).any():
                known[metric.name] = metric, made
        rows.append(row | {"values": [float(value) for value in found]})
    adjusted = holm(np.array([row["p"] for row in rows]))
    for row, p_holm in zip(rows, adjusted, strict=True):
        told = _told(p_holm, level) and row["values"][JUDGED_BY]
        verdict = "" if math.isnan(p_holm) else ("agrees" if told > 0 else "contradicts") if told else "not told"
        row |= {"p_holm": float(p_holm), "verdict": verdict}
    return rows, _differences(said, list(known.values()), level)


def _told(p: float, level: float) -> bool:
    """Whether a p-value, of which few systems have only some, is at most 1 − level, rounding aside."""
    return bool(round(p, 9) <= round(1 - level, 9))


def reliability(data: Ratings | Choices, drawn: Draws) -> float:
    """Compute which share of the variance between systems is not due to the choice of raters and prompts; 0 to 1.

    NaN where nothing is known of that: of fewer than two systems, or of one rater's ratings for one prompt.
    """
    statistic = judged_by(data)

    def centred(raters: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        values = statistic(raters, prompts)
        found: np.ndarray = values - values.mean(axis=1, keepdims=True)
        return found

    values, errors = of_people(statistic, drawn), variance(centred, drawn)
    n = len(values)
    if n < 2 or max(drawn.raters.shape[1], drawn.prompts.shape[1]) < 2 or not np.isfinite([*values, *errors]).all():
        return math.nan
    # the error of a difference from the mean of all is (n − 1) / n of that of a system
    noise, spread = float(errors.mean()) * n / (n - 1), float(values.var(ddof=1))
    return max(0.0, 1 - noise / spread) if spread > 0 else math.nan


def _differences(said: np.ndarray, known: Sequence[tuple[Metric, list[Estimate]]], level: float) -> list[Row]:
    """By how much one of two metrics agrees better, with Holm's correction over all pairs."""
    rows: list[Row] = []
    for (first, ours), (second, theirs) in itertools.combinations(known, 2):
        both = np.isfinite(first.values) & np.isfinite(second.values) & np.isfinite(said)
        if not (np.isfinite(first.values) == np.isfinite(second.values)).all():
            continue  # of different systems: which agrees better on the same ones is not known
        shared = correlation_of_errors(first.better[both], second.better[both], said[both])
        made = [difference(a, b, shared) for a, b in zip(ours, theirs, strict=True)]
        rows.append(
            {
                **{"first": first, "second": second, "n": int(both.sum()), "p": made[JUDGED_BY].p()},
                "values": [one.value for one in made],
                "bounds": [one.interval(level) for one in made],
            }
        )
    for row, p_holm in zip(rows, holm(np.array([row["p"] for row in rows])), strict=True):
        told = _told(p_holm, level)
        better = row["first"] if row["values"][JUDGED_BY] > 0 else row["second"]
        row |= {"p_holm": float(p_holm), "better": better.name if told else ""}
    return rows


def scaled(name: str, value: float) -> float:
    """A coefficient as it is shown: of pairs ordered alike their share."""
    return accuracy(value) if name == "accuracy" else value


def scaled_difference(name: str, value: float) -> float:
    """The same of a difference."""
    return value / 2 if name == "accuracy" else value
