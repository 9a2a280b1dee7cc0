"""How sure `evalkit agree` is: simulated systems, raters and prompts, and metrics whose agreement is known.

    OMP_NUM_THREADS=1 python -m benchmarks.agreement [--part systems|choices|clips|all|none]

Systems differ in two qualities, which raters weigh differently, and so do prompts; ratings have biases, tastes and
noise. A metric measures a mixture of the two qualities and noise of its own, so that its correlation with the ratings
of any panel follows in closed form. evalkit's own functions then say how metrics agree (`evalkit/agreeing/systems.py`,
`clips.py`, `evalkit/stats/rank_agreement.py`). Writes results/benchmarks/agreement.json, and from it the section
"Error rates" of docs/agree.md.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.agreement_report import JSON, write
from benchmarks.parts import Row, measure
from evalkit.agreeing.clips import over_clips
from evalkit.agreeing.matching import Metric
from evalkit.agreeing.systems import over_systems
from evalkit.listening.gathered import Choices, Ratings
from evalkit.stats import crossed, rank_agreement
from evalkit.stats.correlation import coefficients, concordance, pairs_within
from evalkit.stats.rank_agreement import LEAST, NAMES

LEVEL = 0.95
RESAMPLES = 200  # of each trial; evalkit's are 1,000 over systems and 300 over clips
PERMUTED = 999  # evalkit's are 9,999
SYSTEMS = (4, 5, 6, 8, 12, 20, 30)
PANELS = ((5, 10), (14, 30))  # raters and prompts
OF_CLIPS = [(systems, *panel) for systems in (5, 10, 20) for panel in ((5, 12), (14, 30))]
# Fixed before anything is measured: rows that look bad are not measured again by themselves.
TRIALS = {"systems": 600, "choices": 200, "clips": 200}
WEIGHTS = np.array([0.75, 0.66])  # of the two qualities, for the mean rater of the mean prompt
DIRECTION = np.array([0.9, 0.436])  # what metrics measure of them
GOODNESS = {
    "none": 0.0,
    "fair": 0.5,
    "good": 0.85,
    "twin": 0.85,
    "best": 0.97,
}  # correlation with these two, all else being noise
SHOWN = ("none", "fair", "good", "best")
POPULATION = 4000  # panels that a truth is the mean of
LONG = (20, 60, 100)  # tests, systems and prompts that the truth over clips is the mean of


@dataclass(frozen=True)
class Opinions:
    """How raters rate, in standard deviations of the quality of systems.

    Attributes:
        raters, prompts: of the weights that raters and prompts give to each quality.
        bias, hard: of how strict raters are, and prompts hard.
        clip, taste, noise: of how well a system does on a prompt, of what a rater thinks of a system, and of a rating.
        heard: the part of what a system does well on a prompt that metrics of clips hear.
        deaf: of what a metric of clips makes of one clip beside that.
    """

    raters: float = 0.4
    prompts: float = 0.3
    bias: float = 1.0
    hard: float = 0.6
    clip: float = 0.7
    taste: float = 0.3
    noise: float = 1.0
    heard: float = 0.6
    deaf: float = 0.6


LIKE = Opinions()


def panel(systems: int, raters: int, prompts: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Qualities (systems, 2), how well systems do on prompts (systems, prompts), and ratings (…, raters, prompts)."""
    quality = rng.normal(size=(systems, 2))
    by_rater = WEIGHTS + rng.normal(0, LIKE.raters, (raters, 2))
    by_prompt = rng.normal(0, LIKE.prompts, (prompts, 2))
    clips = quality @ by_prompt.T + rng.normal(0, LIKE.clip, (systems, prompts))
    found = (quality @ by_rater.T + rng.normal(0, LIKE.taste, (systems, raters)))[:, :, None] + clips[:, None]
    found = found + rng.normal(0, LIKE.bias, (1, raters, 1)) + rng.normal(0, LIKE.hard, (1, 1, prompts))
    return quality, clips, found + rng.normal(0, LIKE.noise, found.shape)


def measured(quality: np.ndarray, rng: np.random.Generator) -> list[Metric]:
    """What metrics make of systems."""
    made = []
    for name, good in GOODNESS.items():
        values = good * (quality @ DIRECTION) + np.sqrt(1 - good**2) * rng.normal(size=len(quality))
        made.append(Metric(name, name, True, values, False))
    return made


@cache
def truth(raters: int, prompts: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Coefficients of each metric over infinitely many systems: by such panels, on average, and by infinite ones."""
    rng = np.random.default_rng([raters, prompts])
    shape = (POPULATION, 2)
    weights = WEIGHTS + rng.normal(0, LIKE.raters / np.sqrt(raters), shape)
    weights = weights + rng.normal(0, LIKE.prompts / np.sqrt(prompts), shape)
    noise = LIKE.clip**2 / prompts + LIKE.taste**2 / raters + LIKE.noise**2 / (raters * prompts)
    found = {}
    for name, good in GOODNESS.items():
        size = np.sqrt(good**2 * (DIRECTION @ DIRECTION) + 1 - good**2)
        here = good * (weights @ DIRECTION) / size / np.sqrt((weights**2).sum(axis=1) + noise)
        ever = good * (WEIGHTS @ DIRECTION) / size / np.linalg.norm(WEIGHTS)
        found[name] = of_normal(here).mean(axis=1), of_normal(np.array([ever]))[:, 0]
    return found


def of_normal(correlation: np.ndarray) -> np.ndarray:
    """Spearman's, Kendall's and Somers' coefficients of normal data with some correlation, (3, …)."""
    tau = 2 / np.pi * np.arcsin(correlation)
    return np.stack([6 / np.pi * np.arcsin(correlation / 2), tau, tau])


def data_of(found: np.ndarray) -> Ratings:
    """Complete ratings."""
    return Ratings(*names_of(found.shape), found, np.ones(found.shape), pd.DataFrame())


def names_of(shape: tuple[int, ...]) -> tuple[list[str], list[str], list[str]]:
    """Names of systems, raters and prompts."""
    systems, raters, prompts = ([f"{kind}{k}" for k in range(n)] for kind, n in zip("srp", shape, strict=True))
    return systems, raters, prompts


class Held:
    """Counts how often intervals hold the truth, and how wide they are."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.widths: list[float] = []
        self.values: list[float] = []

    def take(self, value: float, bounds: tuple[float, float], true: float, ever: float = np.nan) -> None:
        """Count one interval."""
        low, high = bounds
        self.counts["of"] += bool(np.isfinite(low))
        self.counts["held"] += bool(low - 1e-9 <= true <= high + 1e-9)
        self.counts["held_ever"] += bool(low - 1e-9 <= ever <= high + 1e-9)
        self.widths.append(high - low)
        self.values.append(value)

    def row(self, true: float) -> Row:
        """What was counted."""
        return {
            **{"truth": round(true, 3), "mean": round(float(np.mean(self.values)), 3), **self.counts},
            "width": round(float(np.median(self.widths)), 3) if self.counts["of"] else None,
        }


def seeded(about: Mapping[str, Any]) -> np.random.Generator:
    return np.random.default_rng(list(json.dumps(about).encode()))


def measure_systems() -> Iterator[Row]:
    """Ratings of systems: coefficients of each metric, verdicts, and comparisons of metrics."""
    for systems in SYSTEMS:
        for raters, prompts in PANELS:
            yield rated(systems, raters, prompts, TRIALS["systems"])


def rated(systems: int, raters: int, prompts: int, trials: int) -> Row:
    """Tests of so many systems, raters and prompts."""
    about = {"systems": systems, "raters": raters, "prompts": prompts}
    rng, true = seeded(about), truth(raters, prompts)
    held: dict[tuple[str, str], Held] = {}
    apart: dict[str, Held] = {name: Held() for name in NAMES}
    said: Counter[str] = Counter()
    rank_agreement.DRAWN = PERMUTED  # of this process, which does nothing else
    for trial in range(trials):
        quality, _, found = panel(systems, raters, prompts, rng)
        metrics, drawn = measured(quality, rng), crossed.draws(raters, prompts, RESAMPLES, trial)
        rows, differences = over_systems(data_of(found), metrics, drawn, LEVEL, trial)
        for row in rows:
            name = row["metric"].name
            for k, one in enumerate(NAMES[:2]):
                here, ever = (float(part[k]) for part in true[name])
                held.setdefault((name, one), Held()).take(row["values"][k], row["bounds"][k], here, ever)
            said[f"p_{name}"] += row["p"] < 1 - LEVEL
            said[f"told_{name}"] += row["verdict"] in ("agrees", "contradicts")
            said["wrong_sign"] += name != "none" and row["verdict"] == "contradicts"
        said["claims"] += any(row["verdict"] for row in rows) or bool(differences)
        for row in differences:
            first, second = row["first"].name, row["second"].name
            for k, one in enumerate(NAMES[:2]):
                gap = float(true[first][0][k] - true[second][0][k])
                apart[one].take(row["values"][k], row["bounds"][k], gap)
            same = GOODNESS[first] == GOODNESS[second]
            better = max(first, second, key=GOODNESS.__getitem__)
            said["false_better"] += bool(row["better"]) and (same or row["better"] != better)
            said[f"alone_{first}_{second}"] += row["p"] < 1 - LEVEL
            said[f"found_{first}_{second}"] += row["better"] == better and not same
    shown = {
        name: {one: held[name, one].row(float(true[name][0][k])) for k, one in enumerate(NAMES[:2])} for name in SHOWN
    }
    return about | {
        **{"trials": trials, "metrics": shown, "said": dict(said)},
        "differences": {one: dict(apart[one].counts) for one in NAMES[:2]},
    }


def measure_choices() -> Iterator[Row]:
    """Choices between two systems: the truth is the mean of all tests of a row."""
    for systems in (6, 12, 20):
        about = {"choices": systems, "raters": 8, "prompts": 20}
        rng, found, said = seeded(about), list[Row](), Counter[str]()
        rank_agreement.DRAWN = PERMUTED
        for trial in range(TRIALS["choices"]):
            quality, _, ratings = panel(systems, 8, 20, rng)
            drawn = crossed.draws(8, 20, RESAMPLES, trial)
            rows, _ = over_systems(chosen(ratings, rng), measured(quality, rng), drawn, LEVEL, trial)
            found.append({row["metric"].name: row for row in rows})
            for name, told in found[-1].items():
                said[f"told_{name}"] += told["verdict"] in ("agrees", "contradicts")
        row: Row = about | {"trials": TRIALS["choices"], "said": dict(said), "metrics": {}}
        for name in SHOWN:
            row["metrics"][name] = {}
            for k, one in enumerate(NAMES[:2]):
                true = float(np.mean([test[name]["values"][k] for test in found]))
                held = Held()
                for test in found:
                    held.take(test[name]["values"][k], test[name]["bounds"][k], true)
                row["metrics"][name][one] = held.row(true)
        yield row


def chosen(ratings: np.ndarray, rng: np.random.Generator) -> Choices:
    """Choices: for each prompt each rater hears systems two by two, each once, and calls close ones alike."""
    systems, raters, prompts = ratings.shape
    wins, ties = np.zeros((2, systems, systems, raters, prompts))
    for r, p in np.ndindex(raters, prompts):
        order = rng.permutation(systems)
        for a, b in zip(order[::2], order[1::2], strict=False):
            gap = ratings[a, r, p] - ratings[b, r, p]
            if abs(gap) < 0.4:
                ties[a, b, r, p] += 1
                ties[b, a, r, p] += 1
            elif gap > 0:
                wins[a, b, r, p] += 1
            else:
                wins[b, a, r, p] += 1
    return Choices(*names_of(ratings.shape), wins, ties, pd.DataFrame())


def clip_values(quality: np.ndarray, clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a metric makes of clips, (systems, prompts)."""
    found: np.ndarray = (0.85 * (quality @ DIRECTION))[:, None] + LIKE.heard * clips
    return found + rng.normal(0, LIKE.deaf, found.shape)


@cache
def truth_of_clips(raters: int) -> dict[tuple[str, str], float]:
    """Coefficients over clips of very many systems and prompts, by panels of so many raters, on the average."""
    rng, found = np.random.default_rng([raters, 1]), list[dict[tuple[str, str], float]]()
    tests, systems, prompts = LONG
    prompt = np.broadcast_to(np.arange(prompts), (systems, prompts)).ravel()
    pairs, once = pairs_within(prompt), np.ones(systems * prompts)
    for _ in range(tests):
        quality, clips, ratings = panel(systems, raters, prompts, rng)
        x, y = clip_values(quality, clips, rng).ravel(), ratings.mean(axis=1).ravel()
        within = coefficients(x, y, once, prompt, pairs)
        found.append(
            {
                ("clips", "spearman"): coefficients(x, y, once, np.zeros_like(prompt), None)[1],
                ("clips within prompts", "spearman"): within[1],
                ("clips within prompts", "kendall"): within[2],
                ("clips within prompts", "accuracy"): (1 + concordance(x, y, once, pairs)) / 2,
            }
        )
    return {key: float(np.mean([one[key] for one in found])) for key in found[0]}


def measure_clips() -> Iterator[Row]:
    """Coefficients over clips, and within prompts."""
    for systems, raters, prompts in OF_CLIPS:
        about = {"clips": systems, "raters": raters, "prompts": prompts}
        rng, true, held = seeded(about), truth_of_clips(raters), dict[tuple[str, str], Held]()
        for trial in range(TRIALS["clips"]):
            quality, clips, ratings = panel(systems, raters, prompts, rng)
            drawn = crossed.draws(raters, prompts, RESAMPLES // 2, trial)
            for row in over_clips(data_of(ratings), clip_values(quality, clips, rng), drawn, LEVEL, True):
                key = row["over"], row["coefficient"]
                held.setdefault(key, Held()).take(row["value"], (row["low"], row["high"]), true[key])
        over: dict[str, Row] = {}
        for (where, name), one in held.items():
            over.setdefault(where, {})[name] = one.row(true[where, name])
        yield about | {"trials": TRIALS["clips"], "over": over}


def facts() -> Row:
    """What the record holds besides."""
    return {
        **{"level": LEVEL, "resamples": RESAMPLES, "permuted": PERMUTED, "least": LEAST, "opinions": asdict(LIKE)},
        **{"goodness": GOODNESS, "weights": WEIGHTS.tolist(), "direction": DIRECTION.tolist(), "long": LONG},
    }


def main() -> None:
    """Measure what the command line asks for."""
    parts = {"systems": measure_systems, "choices": measure_choices, "clips": measure_clips}
    measure(__doc__, parts, JSON, facts(), write)


if __name__ == "__main__":
    main()
