"""How metrics agree with what people said: over systems by the study alone, over clips where results are there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.listening import form
from evalkit.listening.clips import LEAST, Clips
from evalkit.listening.gathered import Choices, Ratings
from evalkit.listening.rules import Rules
from evalkit.results.folders import identity
from evalkit.results.listening_record import SystemInfo
from evalkit.results.result import Result
from evalkit.stats import bradley_terry, crossed, ratings
from evalkit.stats.correlation import NAMES, coefficients, pairs_within, perfect
from evalkit.stats.crossed import Draws, Statistic

ALIKE = 1e-9  # coefficients that differ by no more are the same
LEAST_PROMPTS = 10  # with fewer, correlations over clips have no intervals
DRAWS = 300  # of those of raters and prompts, as many serve correlations over clips
HEARD = 1  # which clip of a prompt studies are made of
NO_DIRECTION = "neither direction is better: positive where higher values are rated higher"
OF_SYSTEMS = "intervals over raters and prompts, for these systems, of rank coefficients alone"
FEW_PROMPTS = f"no interval: over clips, {LEAST_PROMPTS} prompts are needed"
PERFECT = "no interval where agreement is as good as perfect: how far from it others would be cannot be seen"
Row = dict[str, Any]


def scores_of(systems: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The metrics of each system, one row each, as `ListeningRecord.scores` has them; what is no number is left out."""
    rows = []
    for name, facts in systems.items():
        scores = facts.get("scores")
        for metric, score in (scores if isinstance(scores, Mapping) else {}).items():
            if isinstance(score, Mapping) and form.finite(score.get("value")):
                higher = score.get("higher_is_better")
                rows.append(
                    {
                        "system": name,
                        "metric": metric,
                        "title": str(score.get("title") or metric),
                        "higher_is_better": higher if isinstance(higher, bool) else None,
                        **{key: _number(score.get(key)) for key in ("value", "low", "high")},
                        "random": score.get("random") is True,
                    }
                )
    return rows


def _number(value: Any) -> float | None:
    return float(value) if form.finite(value) else None


def correlations(
    data: Ratings | Choices,
    systems: pd.DataFrame,
    scores: Sequence[Mapping[str, Any]],
    infos: Sequence[SystemInfo],
    drawn: Draws,
    rules: Rules,
    judged: bool,
) -> tuple[list[Row], list[str]]:
    """Correlate every metric with what people said. Returns rows of `ListeningRecord.correlations`, and remarks."""
    values, remarks = _of_clips(infos)
    about = {row["metric"]: row for row in scores}
    of_systems = over_systems(data, systems, scores, drawn, rules, judged)
    known = [(metric, found) for metric, found in values.items() if metric in about]
    few = Draws(drawn.raters[:DRAWS], drawn.prompts[:DRAWS])
    of_clips = [row for metric, found in known for row in over_clips(data, about[metric], found, few, rules, judged)]
    return [*of_systems, *of_clips], remarks


def _statistic(data: Ratings | Choices) -> Statistic:
    """What systems are judged by."""
    return (
        ratings.means(data.sums, data.counts)
        if isinstance(data, Ratings)
        else bradley_terry.strengths(data.wins, data.ties)
    )


def over_systems(
    data: Ratings | Choices,
    systems: pd.DataFrame,
    scores: Sequence[Mapping[str, Any]],
    drawn: Draws,
    rules: Rules,
    judged: bool,
) -> list[Row]:
    """Correlations over systems, with percentiles of the two-way bootstrap; metrics' own errors are not in them.

    Percentiles, since rank coefficients of so few have a handful of values: nothing takes off here what such draws have
    too much of spread (`evalkit.stats.crossed`), so that these intervals are rather too wide. There is none where all
    draws have the same value, which is no certainty. Pearson's has none: noise of ratings brings it nearer to 0, draws
    have more noise yet, and their percentiles lie below what infinitely many raters would give.
    """
    rows: list[Row] = []
    said = dict(zip(systems["system"], systems["value"], strict=True))
    draws = crossed.resampled(_statistic(data), drawn) if judged else np.empty((0, len(data.systems)))
    for metric in dict.fromkeys(row["metric"] for row in scores):
        own = [row for row in scores if row["metric"] == metric and math.isfinite(said.get(row["system"], math.nan))]
        own = [row for row in own if row["system"] in data.systems]
        if len(own) < LEAST:
            continue
        x = _sign(own[0]) * np.array([row["value"] for row in own])
        at = [list(data.systems).index(row["system"]) for row in own]
        once, group = np.ones(len(own)), np.zeros(len(own), int)
        pairs = pairs_within(group)
        found = coefficients(x, np.array([said[row["system"]] for row in own]), once, group, pairs)
        drawn_values = np.array([coefficients(x, y[at], once, group, pairs) for y in draws if np.isfinite(y[at]).all()])
        enough = len(drawn_values) >= crossed.LEAST_KNOWN * len(draws) > 0
        tails = [(1 - rules.level) / 2, (1 + rules.level) / 2]
        for k, name in enumerate(NAMES):
            known = drawn_values[:, k][np.isfinite(drawn_values[:, k])] if enough else np.empty(0)
            low, high, note = math.nan, math.nan, OF_SYSTEMS
            if len(known) and name != "pearson":
                low, high = np.quantile(known, tails)
                if high - low <= ALIKE:
                    low, high, note = math.nan, math.nan, PERFECT
            rows.append(_row(own[0], "systems", name, found[k], low, high, len(own), note))
    return rows


def over_clips(
    data: Ratings | Choices,
    about: Mapping[str, Any],
    found: Mapping[tuple[str, str], float],
    drawn: Draws,
    rules: Rules,
    judged: bool,
) -> list[Row]:
    """Correlations over clips and within prompts, with Student's t intervals of Fisher's z by the two-way bootstrap.

    docs/listening.md has the measured coverage. There are no intervals with few prompts, of which that is not so, and
    where a coefficient is as good as 1, or hardly changes from draw to draw.
    """
    x = np.array([[found.get((system, prompt), math.nan) for prompt in data.prompts] for system in data.systems])
    clips = Clips(data, _sign(about) * x)
    enough = len(np.unique(clips.prompt)) >= LEAST_PROMPTS
    judged = judged and enough
    rows = []
    for name_of_over in ("clips", "clips within prompts"):
        over = clips.over(within=name_of_over != "clips")
        if over is None:
            continue
        once = crossed.without_errors(over.statistic, drawn)
        estimates = crossed.estimates(over.transformed, drawn) if judged else once
        values = np.array([one.value for one in once])
        for name, value, whole, one in zip(NAMES, values, perfect(values, over.n), estimates, strict=True):
            if name == "kendall" and over.pairs is None:
                continue
            low, high, note = math.nan, math.nan, "" if enough else FEW_PROMPTS
            if judged and (whole or one.error <= ALIKE):
                note = PERFECT
            elif judged:
                low, high = np.tanh(one.interval(rules.level))
            rows.append(_row(about, name_of_over, name, value, low, high, len(clips.values), note))
    return rows


def _row(
    about: Mapping[str, Any], over: str, coefficient: str, value: float, low: float, high: float, n: int, note: str
) -> Row:
    notes = [note, NO_DIRECTION if about["higher_is_better"] is None else ""]
    return {
        **{key: about[key] for key in ("metric", "title", "higher_is_better")},
        **{"over": over, "coefficient": coefficient, "value": float(value), "low": float(low), "high": float(high)},
        **{"n": n, "note": "; ".join(filter(None, notes))},
    }


def _sign(about: Mapping[str, Any]) -> float:
    return -1.0 if about["higher_is_better"] is False else 1.0


def _of_clips(infos: Iterable[SystemInfo]) -> tuple[dict[str, dict[tuple[str, str], float]], list[str]]:
    """The values of single clips by metric, then system and prompt, from results that are there and the same."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    out: dict[str, list[str]] = {}
    results: dict[str, Result] = {}
    for info in infos:
        if info.role != "system" or not info.path:
            continue
        try:
            if info.path not in results:
                results[info.path] = Result.load(info.path)
            if identity(results[info.path].path) != info.sha256:
                raise EvalkitError(f"'{info.path}' is not the result whose clips were heard")
        except EvalkitError as error:
            out.setdefault(str(error), []).append(info.name)
            continue
        values = results[info.path].values
        own = values[(values["model"] == info.row) & (values["sample"] == HEARD)]
        for metric, id, value in zip(own["metric"], own["id"], own["value"], strict=True):
            found.setdefault(str(metric), {})[info.name, str(id)] = float(value)
    return found, [f"not in correlations over clips: {', '.join(names)}: {error}" for error, names in out.items()]
