"""How sure listening tests are: simulated raters whose opinions are known, in designs of `evalkit listen make`.

    OMP_NUM_THREADS=1 python -m benchmarks.listening [--part ratings|choices|ways|rules|correlations|all|none]

Raters have biases, use more or less of the scale, like some systems more than others do, and some answer at random;
prompts differ, and so do clips. evalkit's own functions then say how sure the numbers are (`evalkit/stats/crossed.py`,
`ratings.py`, `bradley_terry.py`, `correlation.py`) and who counts (`evalkit/listening/rules.py`). Writes
results/benchmarks/listening.json, and from it the section "Error rates" of docs/listening.md.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtr

from benchmarks.listening_correlations import METRIC, measure_correlations
from benchmarks.listening_raters import (
    VOTES,
    Opinions,
    compared,
    mus,
    rated,
    thoughts,
    true_means,
    true_strengths,
)
from benchmarks.listening_report import JSON, write
from benchmarks.parts import Row, measure
from evalkit.listening import design
from evalkit.listening.rules import Material, applied, load
from evalkit.results.listening_record import ANSWERS
from evalkit.stats import bradley_terry, crossed
from evalkit.stats.crossed import Draws, Statistic
from evalkit.stats.estimate import Estimate, student
from evalkit.stats.permutation import holm
from evalkit.stats.ratings import contrasts, effects, means

LEVEL = 0.95
RUNS = "rows are seeded by their settings: they are the same whether they are measured together or by themselves"
RESAMPLES = 400  # of each trial; evalkit's default is 2,000
GAP = 5.0  # points by which the best system is better than the others, where it is
GRID = [(raters, prompts) for raters in (5, 10, 25) for prompts in (20, 50)]
# Fixed before anything is measured: rows that look bad are not measured again by themselves.
TRIALS = {"ratings": 300, "incomplete": 100, "choices": 120, "ways": 400, "rules": 400}
SPAM = ("anything", "the middle", "always the same")  # what raters answer who do not listen


class Count:
    """How often intervals hold the truth, how wide they are, and how often systems are told apart."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.values: dict[str, list[list[float]]] = {}

    def covered(self, name: str, estimates: Sequence[Estimate], truth: np.ndarray) -> None:
        """Count how many intervals hold the truth."""
        for one, true in zip(estimates, truth, strict=True):
            low, high = one.interval(LEVEL)
            self.found[name] += bool(low <= true <= high)
            self.found[f"{name}_of"] += 1
            self.values.setdefault(f"{name}_error", []).append([one.error])
        self.values.setdefault(name, []).append([one.value for one in estimates])

    def told(self, name: str, estimates: Sequence[Estimate], chosen: Sequence[int]) -> None:
        """Count in how many trials any of some differences is told from none after Holm's correction."""
        adjusted = holm(np.array([p_of(one) for one in estimates]))
        self.found[name] += bool((adjusted[list(chosen)] < 1 - LEVEL).any())
        self.found[f"{name}_each"] += int((adjusted[list(chosen)] < 1 - LEVEL).sum())

    def row(self, trials: int) -> Row:
        """What was counted, with the ratio of the errors that are stated to those that there are."""
        result: Row = {"trials": trials, **self.found}
        for name in [name for name in self.values if f"{name}_error" in self.values]:
            true = np.array(self.values[name]).std(axis=0, ddof=1)
            stated = np.sqrt(np.mean(np.square(self.values[f"{name}_error"])))
            result[f"{name}_ratio"] = round(float(stated / np.sqrt(np.mean(true**2))), 3)
            result[f"{name}_sd"] = round(float(np.sqrt(np.mean(true**2))), 4)
        return result


def p_of(one: Estimate) -> float:
    """The two-sided p-value of no difference, as `Estimate.p` finds it by looking for it."""
    return float(2 * stdtr(one.df, -abs(one.value / one.error)))


def both(levels: Statistic, compared_by: Statistic | None, pairs: list[tuple[int, int]]) -> Statistic:
    """Levels of systems, and behind them their differences, of levels where they are not compared by anything else."""
    first, second = np.array(pairs).T

    def statistic(raters: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        values = levels(raters, prompts)
        others = values if compared_by is None else compared_by(raters, prompts)
        return np.concatenate([values, others[:, first] - others[:, second]], axis=1)

    return statistic


def simulated(part: str, raters: int, prompts: int, systems: int, size: int, spam: float, trials: int) -> Row:
    """Tests with ratings (`size` systems on a page), or with choices (size 2)."""
    about = {"raters": raters, "prompts": prompts, "systems": systems, "size": size, "spam": spam}
    rng = np.random.default_rng(list(json.dumps([part, about]).encode()))
    raters_like = Opinions(spam=spam)
    pairs = list(itertools.combinations(range(systems), 2))
    count = Count()
    for trial in range(trials):
        for gap in (0.0, GAP):
            mu = mus(systems, gap)
            drawn = crossed.draws(raters, prompts, RESAMPLES, trial)
            if part == "ratings":
                sums, counts = rated(mu, raters, prompts, size, raters_like, rng)
                estimates = crossed.estimates(both(means(sums, counts), effects(sums, counts), pairs), drawn)
                truth = true_means(tuple(mu), raters_like)
            else:
                levels = bradley_terry.strengths(*compared(mu, raters, prompts, raters_like, rng))
                estimates = crossed.estimates(both(levels, None, pairs), drawn)
                truth = true_strengths(tuple(mu), raters_like)
            differences = estimates[systems:]
            if not gap:
                count.told("false_alarm", differences, range(len(pairs)))
                continue
            count.covered("level", estimates[:systems], truth)
            count.covered("difference", differences, np.array([truth[i] - truth[j] for i, j in pairs]))
            count.told("power", differences, [k for k, (i, _) in enumerate(pairs) if i == 0])
    return about | count.row(trials)


def measure_ratings() -> Iterator[Row]:
    """Ratings, in complete pages and in incomplete ones."""
    for (raters, prompts), systems, spam in itertools.product(GRID, (3, 6), (0.0, 0.2)):
        sizes = [systems] if raters < 25 else [systems, {3: 2, 6: 4}[systems]]
        for size in sizes:
            trials = TRIALS["ratings" if size == systems else "incomplete"]
            yield simulated("ratings", raters, prompts, systems, size, spam, trials)


def measure_choices() -> Iterator[Row]:
    """Choices between two."""
    for (raters, prompts), systems, spam in itertools.product(GRID, (3, 6), (0.0, 0.2)):
        if spam and prompts != 20:  # spam is measured with few prompts alone, since choices take minutes
            continue
        yield simulated("choices", raters, prompts, systems, 2, spam, TRIALS["choices"])


# Other ways to say how sure a statistic is, from all draws of both, of raters alone, of prompts alone.
WAYS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, int, int], tuple[np.ndarray, np.ndarray]]] = {
    "raters": lambda both, of_raters, of_prompts, r, p: (of_raters, np.full(len(both), np.inf)),
    "prompts": lambda both, of_raters, of_prompts, r, p: (of_prompts, np.full(len(both), np.inf)),
    "pigeonhole": lambda both, of_raters, of_prompts, r, p: (both, np.full(len(both), np.inf)),
    "clustered": lambda both, of_raters, of_prompts, r, p: (
        np.maximum(2 * (of_raters + of_prompts) - both, 0),
        np.full(len(both), np.inf),
    ),
}


def variances(statistic: Statistic, drawn: Draws) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The variances over draws of both, of raters alone, and of prompts alone."""
    ones = np.ones_like(drawn.raters), np.ones_like(drawn.prompts)
    kinds = (drawn, Draws(drawn.raters, ones[1]), Draws(ones[0], drawn.prompts))
    found = [crossed.resampled(statistic, kind).var(axis=0, ddof=1) for kind in kinds]
    return found[0], found[1], found[2]


def measure_ways() -> Iterator[Row]:
    """What other intervals would hold: of ratings as if they were independent, over raters alone, and others."""
    for kind, raters, prompts in itertools.product(("ratings", "choices"), (5, 25), (20, 50)):
        about = {"kind": kind, "raters": raters, "prompts": prompts}
        rng = np.random.default_rng(list(json.dumps(about).encode()))
        like, mu = Opinions(), mus(3, GAP)
        truth = true_means(tuple(mu), like) if kind == "ratings" else true_strengths(tuple(mu), like)
        counts = {way: Count() for way in ("independent", *WAYS, "evalkit")}
        trials = TRIALS["ways"] // (1 if kind == "ratings" else 4)
        for trial in range(trials):
            drawn = crossed.draws(raters, prompts, RESAMPLES, trial)
            if kind == "ratings":
                sums, rated_by = rated(mu, raters, prompts, 3, like, rng)
                statistic = means(sums, rated_by)
            else:
                statistic = bradley_terry.strengths(*compared(mu, raters, prompts, like, rng))
            ours = crossed.estimates(statistic, drawn)
            counts["evalkit"].covered("level", ours, truth)
            values = np.array([one.value for one in ours])
            parts = variances(statistic, drawn)
            for way, make in WAYS.items():
                variance, df = make(*parts, raters, prompts)
                errors = np.sqrt(variance)
                made = [student(float(v), float(e), float(d)) for v, e, d in zip(values, errors, df, strict=True)]
                counts[way].covered("level", made, truth)
            if kind == "ratings":
                alone = [sums[s][rated_by[s] > 0].std(ddof=1) / np.sqrt(rated_by[s].sum()) for s in range(3)]
                made = [student(float(v), float(e), np.inf) for v, e in zip(values, alone, strict=True)]
                counts["independent"].covered("level", made, truth)
        covered = {way: one.found["level"] for way, one in counts.items() if one.found}
        yield about | {"trials": trials, "of": counts["evalkit"].found["level_of"], "covered": covered}


def simulated_answers(
    raters: int, prompts: int, spam: dict[int, str], about: Opinions, rng: np.random.Generator
) -> tuple[pd.DataFrame, dict[str, str], np.ndarray, np.ndarray]:
    """Answers to a study with hidden references and bad controls, as rules see them, with sums and counts.

    Args:
        spam: by the number of a rater, what is answered without listening.
    """
    names = ["best", "second", "third", "reference", "control"]
    roles = dict(zip(names, ["system"] * 3 + ["reference", "control"], strict=True))
    mu = np.array([60 + GAP, 60.0, 60.0, 80.0, 12.0])
    values = about.rate(thoughts(mu, raters, prompts, about, rng), rng)
    shape = values[:, 0].shape
    for rater, how in spam.items():
        middle = rng.integers(30, 71)
        values[:, rater] = {
            "anything": rng.integers(1, 101, shape),
            "the middle": np.clip(np.round(rng.normal(50, 12, shape)), 1, 100),
            "always the same": np.clip(middle + rng.integers(-3, 4, shape), 1, 100),
        }[how]
    plan = design.ratings(len(mu), prompts, VOTES, len(mu))
    counts, rows = np.zeros(values.shape), []
    for rater, pages in enumerate(design.rating_sessions(plan, raters, rng)):
        for page, (prompt, systems) in enumerate(pages):
            for s in systems:
                counts[s, rater, prompt] += 1
                rows.append((f"r{rater}", page, f"p{prompt}", f"{s}-{prompt}", names[s], values[s, rater, prompt]))
    frame = pd.DataFrame(rows, columns=["rater", "page", "prompt", "item", "system", "rating"])
    frame = frame.assign(
        session=frame["rater"], second_item="", second_system="", choice="", heard=1.0, second_heard=np.nan,
        seconds=12.0, plays=1, excluded="",
    )  # fmt: skip
    return frame[list(ANSWERS)].astype(ANSWERS), roles, values * counts, counts


def measure_rules() -> Iterator[Row]:
    """Whom the default rules exclude, and what is left of the harm that others do."""
    rules, like = load(), Opinions()
    honest = true_means(tuple([60 + GAP, 60.0, 60.0]), like)
    pairs = list(itertools.combinations(range(3), 2))
    truth = np.array([honest[i] - honest[j] for i, j in pairs])
    for raters, prompts in ((10, 20), (25, 20), (25, 50)):
        about = {"raters": raters, "prompts": prompts, "spam": 0.2}
        rng = np.random.default_rng(list(json.dumps(about).encode()))
        found: Counter[str] = Counter()
        by_rule: Counter[str] = Counter()
        counts = {"rules": Count(), "none": Count()}
        for trial in range(TRIALS["rules"]):
            spam = {int(r): SPAM[k % 3] for k, r in enumerate(np.flatnonzero(rng.random(raters) < 0.2))}
            frame, roles, sums, cells = simulated_answers(raters, prompts, spam, like, rng)
            asked = {str(name): int(n) for name, n in frame.groupby("rater").size().items()}
            excluded, rows, out = applied(rules, Material(frame, "rating", roles, asked))
            by_rule.update({row["rule"]: row["raters"] for row in rows})
            found["honest"] += raters - len(spam)
            found["honest_out"] += sum(int(name[1:]) not in spam for name in out)
            found["answers"] += len(frame)
            found["answers_out"] += int(((excluded != "") & ~frame["rater"].isin(out)).sum())
            for rater, how in spam.items():
                found[how] += 1
                found[f"{how}_out"] += f"r{rater}" in out
            stays = [r for r in range(raters) if f"r{r}" not in out]
            for name, chosen in (("rules", stays), ("none", list(range(raters)))):
                part = sums[:3, chosen], cells[:3, chosen]
                drawn = crossed.draws(len(chosen), prompts, RESAMPLES, trial)
                counts[name].covered("level", crossed.estimates(means(*part), drawn), honest)
                gaps = crossed.estimates(contrasts(effects(*part), pairs), drawn)
                counts[name].covered("difference", gaps, truth)
                counts[name].told("power", gaps, [0, 1])
        yield about | {
            "trials": TRIALS["rules"], "gap": float(truth[0]), **found, "by_rule": dict(by_rule),
            **{name: one.row(TRIALS["rules"]) for name, one in counts.items()},
        }  # fmt: skip


MEASURED: dict[str, Callable[[], Iterator[Row]]] = {
    "ratings": measure_ratings,
    "choices": measure_choices,
    "ways": measure_ways,
    "rules": measure_rules,
    "correlations": measure_correlations,
}


def main() -> None:
    """Measure, record, write the section."""
    facts = {"level": LEVEL, "resamples": RESAMPLES, "gap": GAP, "votes": VOTES, "metric": METRIC, "runs": RUNS}
    measure(__doc__, MEASURED, JSON, {**facts, "opinions": dataclasses.asdict(Opinions())}, write)


if __name__ == "__main__":
    main()
