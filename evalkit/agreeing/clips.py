"""How metrics order clips, beside how people do: all clips, and those of one prompt."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import stdtrit  # the quantiles of scipy.stats, which takes a second to import

from evalkit.agreeing.systems import variance
from evalkit.listening.clips import Clips
from evalkit.listening.correlating import ALIKE, LEAST_PROMPTS, PERFECT
from evalkit.listening.gathered import Choices, Ratings
from evalkit.stats.correlation import fisher, perfect
from evalkit.stats.crossed import Draws
from evalkit.stats.rank_agreement import LEAST, accuracy

Row = dict[str, Any]
COEFFICIENTS = {"clips": ("spearman",), "clips within prompts": ("spearman", "kendall", "accuracy")}
PLACE = {"spearman": 1, "kendall": 2, "accuracy": 3}  # behind Pearson's, of which nothing is said
FEW_PROMPTS = f"no interval: {LEAST_PROMPTS} prompts are needed"
FEW_SYSTEMS = f"no interval: {LEAST} systems are needed"


def over_clips(data: Ratings | Choices, x: np.ndarray, drawn: Draws, level: float, claimed: bool) -> list[Row]:
    """Correlate a metric's values of clips with what people said of them.

    An interval is Student's t of Fisher's z, whose variance is that over raters and prompts, these systems being given,
    and the jackknife's over systems.

    Args:
        x: values of clips, higher where they are better, (systems, prompts); NaN where there is none.
        claimed: whether intervals are wanted.
    """
    clips = Clips(data, x)
    systems, prompts = np.unique(clips.system), np.unique(clips.prompt)
    enough = FEW_PROMPTS if len(prompts) < LEAST_PROMPTS else FEW_SYSTEMS if len(systems) < LEAST else ""
    rows = []
    for name_of_over, names in COEFFICIENTS.items():
        over = clips.over(within=name_of_over != "clips", with_accuracy=True)
        if over is None:
            continue
        everybody = clips.ratings(np.ones(len(data.raters)))
        values = over.coefficients(everybody, np.ones(len(everybody)))
        errors, df = np.full(len(values), math.nan), 1
        if claimed and not enough:
            kept = [over.coefficients(everybody, (clips.system != one).astype(np.float64)) for one in systems]
            left = fisher(np.array(kept), over.n)
            of_systems = (len(systems) - 1) / len(systems) * ((left - left.mean(axis=0)) ** 2).sum(axis=0)
            errors = np.sqrt(variance(over.transformed, drawn) + of_systems)
            df = min(len(systems), len(prompts)) - 1
        whole, middle = perfect(values, over.n), fisher(values, over.n)
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
                    **{"over": name_of_over, "coefficient": name, "value": shown[0], "low": shown[1]},
                    **{"high": shown[2], "n": len(clips.values), "note": note},
                }
            )
    return rows
