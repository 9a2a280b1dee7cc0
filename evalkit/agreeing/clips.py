"""How metrics order clips, beside how people do: all clips, and those of one prompt."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import stdtrit  # the quantiles of scipy.stats, which takes a second to import

from evalkit.agreeing.systems import variance
from evalkit.listening.correlating import ALIKE, LEAST_PROMPTS, clip_cells
from evalkit.listening.gathered import Choices, Ratings
from evalkit.stats.correlation import coefficients, concordance, fisher, pairs_within, perfect
from evalkit.stats.crossed import Draws
from evalkit.stats.rank_agreement import LEAST, accuracy

Row = dict[str, Any]
COEFFICIENTS = {"clips": ("spearman",), "clips within prompts": ("spearman", "kendall", "accuracy")}
PLACE = {"spearman": 1, "kendall": 2, "accuracy": 3}  # behind Pearson's, of which nothing is said
FEW_PROMPTS = f"no interval: {LEAST_PROMPTS} prompts are needed"
FEW_SYSTEMS = f"no interval: {LEAST} systems are needed"
PERFECT = "no interval where agreement is as good as perfect: how far from it others would be cannot be seen"


def over_clips(data: Ratings | Choices, x: np.ndarray, drawn: Draws, level: float, claimed: bool) -> list[Row]:
    """Correlate a metric's values of clips with what people said of them.

    An interval is Student's t of Fisher's z, whose variance is that over raters and prompts, these systems being given,
    and the jackknife's over systems.

    Args:
        x: values of clips, higher where they are better, (systems, prompts); NaN where there is none.
        claimed: whether intervals are wanted.
    """
    sums, counts = clip_cells(data)
    chosen = np.isfinite(x) & (counts.sum(axis=1) > 0)
    system, prompt = (place[chosen] for place in np.indices(x.shape))
    flat, systems, prompts = x[chosen], np.unique(system), np.unique(prompt)
    enough = FEW_PROMPTS if len(prompts) < LEAST_PROMPTS else FEW_SYSTEMS if len(systems) < LEAST else ""
    rows = []
    for over, names in COEFFICIENTS.items():
        within = over != "clips"
        groups = prompt if within else np.zeros_like(prompt)
        pairs = pairs_within(groups) if within else None
        if len(flat) < 3 or (pairs is not None and not pairs.size):
            continue
        n = len(np.unique(groups)) if within else len(flat)

        def of(
            y: np.ndarray, weights: np.ndarray, groups: np.ndarray = groups, pairs: np.ndarray | None = pairs
        ) -> np.ndarray:
            d = math.nan if pairs is None else concordance(flat, y, weights, pairs)
            return np.array([*coefficients(flat, y, weights, groups, pairs), d])

        def ratings(by_rater: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore", divide="ignore"):
                y = np.tensordot(by_rater, sums, (0, 1)) / np.tensordot(by_rater, counts, (0, 1))
            found: np.ndarray = y[chosen]
            return found

        def z(raters: np.ndarray, heard: np.ndarray, of: Any = of, n: int = n) -> np.ndarray:
            made = [of(ratings(one), other[prompt]) for one, other in zip(raters, heard, strict=True)]
            return fisher(np.array(made), n)

        y = ratings(np.ones(counts.shape[1]))
        values = of(y, np.ones(len(flat)))
        errors, df = np.full(4, math.nan), 1
        if claimed and not enough:
            kept = [of(y, (system != one).astype(np.float64)) for one in systems]
            left = fisher(np.array(kept), n)
            of_systems = (len(systems) - 1) / len(systems) * ((left - left.mean(axis=0)) ** 2).sum(axis=0)
            errors, df = np.sqrt(variance(z, drawn) + of_systems), min(len(systems), len(prompts)) - 1
        whole, middle = perfect(values, n), fisher(values, n)
        for name in names:
            k = PLACE[name]
            low, high, note = math.nan, math.nan, enough if claimed else ""
            if claimed and not enough and (whole[k] or errors[k] <= ALIKE):
                note = PERFECT
            elif claimed and not enough:
                away = float(stdtrit(df, (1 + level) / 2)) * errors[k]
                low, high = np.tanh(middle[k] - away), np.tanh(middle[k] + away)
            shown = [accuracy(v) if name == "accuracy" else v for v in (float(values[k]), float(low), float(high))]
            rows.append(
                {
                    **{"over": over, "coefficient": name, "value": shown[0], "low": shown[1], "high": shown[2]},
                    **{"n": len(flat), "note": note},
                }
            )
    return rows
