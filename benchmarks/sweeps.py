"""How often a sweep leaves out the best, a race drops it, and a winner is said to be better that is not.

    OMP_NUM_THREADS=1 python -m benchmarks.sweeps [--part best|fad|front|races|fad_races|synth|winner|all]

Points of a sweep are drawn from known distributions again and again, or rendered by the synthesizer, and evalkit's own
functions decide (`evalkit/stats/best.py`). Writes results/benchmarks/sweeps.json, and from it the section "Error rates"
of docs/sweep.md; with `--part` what is not measured again is taken from the JSON file.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import parts, sweep_runs
from benchmarks.parts import Row
from benchmarks.sweep_draws import (
    KINDS,
    SHAPES,
    NestedFADs,
    apart,
    fad_points,
    fads,
    front_of,
    grouped,
    of_means,
    values,
)
from benchmarks.sweeps_report import JSON, write
from evalkit.stats import paired
from evalkit.stats.best import dominated, multipliers, not_worse, on_front

Measured = tuple[np.ndarray, np.ndarray]

LEVEL = 0.95
DRAWS = 2000
PROMPTS = (50, 200, 1000)
POINTS = (6, 24)
RUNGS = (50, 200, 1000, 5521)
FAD_RUNGS = (50, 200, 1000, 2000)


@functools.cache
def drawn(groups: int) -> np.ndarray:
    return multipliers(groups, DRAWS, 0)


def rng_of(about: Row, trial: int) -> np.random.Generator:
    """Random numbers of a trial of a setting."""
    return np.random.default_rng([trial, *json.dumps(about).encode()])


def chosen(measured: Measured) -> np.ndarray:
    """Which points are not worse than the best, (K,), where lower is better."""
    estimates, influences = measured
    return not_worse(estimates, influences, drawn(influences.shape[1]), LEVEL, True)[0]


def means_of(truth: str, points: int, error: float) -> np.ndarray:
    """True values of points, of which the first is the best, by the standard error of a difference."""
    steps = np.arange(points, dtype=float)
    return error * {"all equal": 0 * steps, "1 error apart": steps, "clear": 6.0 * (steps > 0)}[truth]


def measure_best() -> Iterator[Row]:
    """How often the best is left out, and how many are chosen."""
    for name in ("normal, shared noise", "normal, neighbours alike", "log-normal, shared noise", "rare fault"):
        kind = KINDS[name]
        for points in POINTS:
            for n in PROMPTS:
                for truth in ("all equal", "1 error apart", "clear") if not kind.fault else ("all equal",):
                    groups = grouped(n)
                    means = means_of(truth, points, apart(kind) / math.sqrt(n))
                    about: Row = {"values": name, "points": points, "prompts": n, "truth": truth}
                    trials = 1000 if truth == "all equal" else 200
                    found = np.array(
                        [chosen(of_means(values(rng_of(about, i), kind, means, n), groups)) for i in range(trials)]
                    )
                    yield about | {"trials": trials} | said_of_best(found)


def said_of_best(found: np.ndarray) -> Row:
    """Counts over trials, (trials, points), of which the first point is the best."""
    size = found.sum(axis=1)
    return {
        "left_out": int((~found[:, 0]).sum()),
        "size": float(size.mean()),
        "alone": int((found[:, 0] & (size == 1)).sum()),
    }


def measure_fad() -> Iterator[Row]:
    """The same of FAD by the jackknife, of points of equal FAD that are alike or of another shape, and of others."""
    truths = ("all equal", "equal, other shapes", "5 % apart")
    for d, points, numbers, trials, several in (
        (8, 6, PROMPTS, 300, truths),
        (8, 12, PROMPTS, 100, truths),
        (128, 6, (50,), 60, truths),
        (128, 6, (200,), 140, truths[1:2]),
    ):
        for truth in several:
            for n in numbers:
                groups = grouped(n)
                about: Row = {"dimensions": d, "points": points, "prompts": n, "truth": truth}
                shapes = ["same", *(["same"] * (points - 1))]
                margins = [0.0] * points
                if truth == "equal, other shapes":
                    shapes = [("same", "less varied", "collapsed")[i % 3] for i in range(points)]
                elif truth == "5 % apart":
                    shapes, margins = ["same", *["shifted"] * (points - 1)], [0.05 * i for i in range(points)]
                each, reference = fad_points(shapes, margins, d)
                found = []
                for i in range(trials):
                    found.append(chosen(fads(rng_of(about, i), each, reference, groups)))
                row = about | {"trials": trials} | said_of_best(np.array(found))
                if truth == "equal, other shapes":
                    row["by_shape"] = {
                        shape: int((~np.array(found)[:, shapes.index(shape)]).sum()) for shape in dict.fromkeys(shapes)
                    }
                yield row


def measure_front() -> Iterator[Row]:
    """How often points are on the Pareto front that are said to be with some probability."""
    edges = (0.0, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 1.0)
    n, kind = 200, KINDS["normal"]
    groups = grouped(n)
    lower = np.array([True, True, True])
    for metrics in (2, 3):
        for points in (6, 12):
            for spread in (0.5, 2.0, 8.0):
                about: Row = {"metrics": metrics, "points": points, "spread": spread}
                said, true = [], []
                trials = 300
                for i in range(trials):
                    rng = rng_of(about, i)
                    truth = spread * apart(kind) / math.sqrt(n) * rng.standard_normal((metrics, points))
                    both = [of_means(values(rng, kind, one, n), groups) for one in truth]
                    estimates, influences = np.stack([b[0] for b in both]), np.stack([b[1] for b in both])
                    share = on_front(estimates, influences, drawn(influences.shape[2])[:1000], lower[:metrics])
                    said.append(share)
                    true.append(front_of(truth))
                shares, on = np.concatenate(said), np.concatenate(true)
                place = np.clip(np.searchsorted(edges, shares, side="right") - 1, 0, len(edges) - 2)
                bins = [
                    {
                        "from": edges[b],
                        "to": edges[b + 1],
                        "points": int((place == b).sum()),
                        "said": float(shares[place == b].mean()) if (place == b).any() else math.nan,
                        "on": int(on[place == b].sum()),
                    }
                    for b in range(len(edges) - 1)
                ]
                yield about | {"trials": trials, "bins": bins, "expected": float(shares.sum()), "on": int(on.sum())}


def raced(
    measure: Callable[[Sequence[int], int], tuple[np.ndarray, np.ndarray]],
    points: int,
    rungs: Sequence[int],
    default: int,
    margins: np.ndarray,
) -> tuple[list[int], int]:
    """Run a race as `evalkit sweep --race` does: the points that are left, and how many clips it took.

    Args:
        measure: estimates (metrics, K) and influences (metrics, K, groups) of some points over the first prompts.
    """
    left, clips, before = list(range(points)), 0, 0
    level = 1 - (1 - LEVEL) / (len(rungs) - 1)
    for n in rungs:
        clips += len(left) * (n - before)
        before = n
        if n == rungs[-1] or len(left) < 2:
            continue
        estimates, influences = measure(left, n)
        lower = np.ones(len(estimates), bool)
        by = dominated(estimates, influences, drawn(influences.shape[2]), level, lower, margins)
        left = [point for point, other in zip(left, by, strict=True) if other < 0 or point == default]
    return left, clips


TRUTHS: dict[str, Callable[[int], np.ndarray]] = {  # from 0, the best, to 1
    "ladder": lambda points: np.arange(points) / (points - 1),
    "valley": lambda points: (2 * np.arange(points) / (points - 1) - 2 / 3) ** 2,
    "two groups": lambda points: (np.arange(points) >= points / 2).astype(float),
}


def measure_races() -> Iterator[Row]:
    """What is saved and lost where values are means: one metric, and three that are at odds."""
    settings = [("all equal", 0.0), *((truth, gap) for truth in TRUTHS for gap in (0.1, 0.5))]
    for name in ("normal, shared noise", "log-normal, shared noise", "rare fault"):
        for points in (6, 12, 24) if name == "normal, shared noise" else (12,):
            for truth, gap in settings if name != "rare fault" else settings[:1]:
                yield race_of_means([name], points, truth, gap, 500 if truth == "all equal" else 200)
    for first in (1, 2):
        yield race_of_means(["rare fault"], 12, "all equal", 0.0, 500, RUNGS[first:])
    three = ["normal, shared noise", "log-normal, shared noise", "normal"]
    several = [settings[0], *((truth, gap) for truth in ("trade-off", "valley") for gap in (0.1, 0.5))]
    for points in (6, 12):
        for truth, gap in several:
            yield race_of_means(three, points, truth, gap, 150)


def true_values(truth: str, gap: float, points: int, metrics: int, rng: np.random.Generator) -> np.ndarray:
    """True values (metrics, K) in standard deviations of a clip, in an order by chance; `gap` is best to worst."""
    if truth == "all equal":
        return np.zeros((metrics, points))
    if truth == "trade-off":
        # the first half trade one metric for another; each of the others is worse than one of these in all
        along = np.linspace(0, 1, (points + 1) // 2)
        good = np.stack([along, 1 - along, along * (1 - along)])[:metrics]
        bad = good[:, : points // 2] + 0.3
        each = np.concatenate([good, bad], axis=1)
    else:
        each = np.stack([TRUTHS[truth](points)] * metrics)
    return gap * each[:, rng.permutation(points)]


def race_of_means(
    names: Sequence[str], points: int, truth: str, gap: float, trials: int, rungs: Sequence[int] = RUNGS
) -> Row:
    about: Row = {"values": list(names), "points": points, "truth": truth, "gap": gap}
    kinds = [KINDS[name] for name in names]
    races = []
    for i in range(trials):
        rng = rng_of(about, i)
        means = true_values(truth, gap, points, len(kinds), rng)
        each = [values(rng, kind, one, rungs[-1]) for kind, one in zip(kinds, means, strict=True)]

        def measure(which: Sequence[int], n: int, each: list[np.ndarray] = each) -> Measured:
            found = [of_means(one[which, :n], grouped_once(n)) for one in each]
            return np.stack([f[0] for f in found]), np.stack([f[1] for f in found])

        left, clips = raced(measure, points, rungs, points - 1, np.zeros(len(kinds)))
        races.append((means, left, clips))
    return about | {"rungs": list(rungs)} | said_of_races(races, points, rungs, {points - 1})


@functools.cache
def grouped_once(n: int) -> np.ndarray:
    return grouped(n)


def said_of_races(
    races: Sequence[tuple[np.ndarray, list[int], int]], points: int, rungs: Sequence[int], kept: set[int]
) -> Row:
    """Count what races lost: of the points that are truly best (on the front), and not the default.

    Args:
        races: true values (metrics, K), points left, and clips.
        kept: points that a race never drops.
    """
    lost = first = optimal = with_first = 0
    any_lost = 0
    for means, left, _ in races:
        front = {int(k) for k in np.flatnonzero(front_of(means))} - kept
        gone = front - set(left)
        lost += len(gone)
        optimal += len(front)
        any_lost += bool(gone)
        if front:
            with_first += 1
            first += min(front) in gone
    clips = np.array([clips for _, _, clips in races])
    return {
        "trials": len(races),
        "with_best": with_first,
        "best_dropped": first,
        "optimal": optimal,
        "optimal_dropped": lost,
        "any_dropped": any_lost,
        "left": float(np.mean([len(left) for _, left, _ in races])),
        "saved": float(1 - clips.mean() / (points * rungs[-1])),
    }


def measure_fad_races() -> Iterator[Row]:
    """The same of FAD, alone and with a mean."""
    settings = (("all equal", 0.0), ("other shapes", 0.0), ("ladder", 0.1), ("ladder", 0.5), ("valley", 0.5))
    for truth, gap in settings:
        for also in ((), ("log-normal, shared noise",)):
            yield race_of_fads(12, truth, gap, also, 60)


def race_of_fads(points: int, truth: str, gap: float, also: Sequence[str], trials: int, d: int = 8) -> Row:
    about: Row = {"dimensions": d, "also": list(also), "points": points, "truth": truth, "gap": gap}
    races = []
    margins = np.zeros(1 + len(also))
    for i in range(trials):
        rng = rng_of(about, i)
        shapes = ["shifted"] * points
        known = "all equal" if truth == "other shapes" else truth
        means = true_values(known, gap, points, 1 + len(also), rng)
        if truth == "other shapes":
            shapes = [("same", *SHAPES[1:])[k % 3] for k in rng.permutation(points)]
        each, reference = fads_once(tuple(shapes), tuple(np.round(means[0], 12)), d)
        nested = NestedFADs(rng, each, reference, FAD_RUNGS[-1])
        others = [values(rng, KINDS[name], one, FAD_RUNGS[-1]) for name, one in zip(also, means[1:], strict=True)]

        def measure(
            which: Sequence[int], n: int, nested: NestedFADs = nested, others: list[np.ndarray] = others
        ) -> Measured:
            found = [nested.on(which, n), *(of_means(one[which, :n], grouped_once(n)) for one in others)]
            return np.stack([f[0] for f in found]), np.stack([f[1] for f in found])

        left, clips = raced(measure, points, FAD_RUNGS, points - 1, margins)
        races.append((means, left, clips))
    return about | said_of_races(races, points, FAD_RUNGS, {points - 1})


@functools.cache
def fads_once(shapes: tuple[str, ...], margins: tuple[float, ...], d: int) -> Any:
    return fad_points(shapes, margins, d)


def measure_winner() -> Iterator[Row]:
    """How often the winner of a sweep is said to be better than the default, though all points are equal."""
    for points in (2, 6, 12, 24):
        for lasting in (0.0, 0.3, 0.6):
            for n in (200,):
                yield winner(points, lasting, n)


def winner(points: int, lasting: float, n: int, trials: int = 4000) -> Row:
    """Says so on the seed of the sweep, and on a fresh one.

    Args:
        lasting: share of the variance of a difference that is of the prompts, and is the same on every seed.
    """
    about: Row = {"points": points, "lasting": lasting, "prompts": n}
    ones = np.ones((1, n))
    same_seed = fresh = given_same = given_fresh = 0
    for i in range(trials):
        rng = rng_of(about, i)
        stays = math.sqrt(lasting) * rng.standard_normal((points, n))
        first = stays + math.sqrt(1 - lasting) * rng.standard_normal((points, n))
        best = int(first.mean(axis=1).argmin())
        if best == 0:  # the default itself
            continue
        second = stays + math.sqrt(1 - lasting) * rng.standard_normal((points, n))
        said = []
        for seed in (first, second):
            estimate = paired.mean_difference((seed[:1], ones), (seed[best : best + 1], ones))
            said.append(estimate.interval(LEVEL)[1] < 0)
        not_so = stays[best].mean() >= stays[0].mean()  # on these prompts, over all seeds
        same_seed += bool(said[0])
        fresh += bool(said[1])
        given_same += bool(said[0] and not_so)
        given_fresh += bool(said[1] and not_so)
    found = {
        "same_seed": same_seed,
        "fresh": fresh,
        "on_these_prompts": {"same_seed": given_same, "fresh": given_fresh},
    }
    return about | {"trials": trials} | found


def measure_synth() -> Iterator[Row]:
    """Races of the synthesizer's knobs, on real features."""
    yield from sweep_runs.measured(10)


MEASURED: dict[str, Callable[[], Iterator[Row]]] = {
    "best": measure_best,
    "fad": measure_fad,
    "front": measure_front,
    "races": measure_races,
    "fad_races": measure_fad_races,
    "synth": measure_synth,
    "winner": measure_winner,
}


def main() -> None:
    """Measure, record, write the section."""
    parts.measure(__doc__, MEASURED, JSON, {"level": LEVEL, "draws": DRAWS, "synth_run": sweep_runs.ABOUT}, write)


if __name__ == "__main__":
    main()
