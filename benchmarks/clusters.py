"""How often intervals and gates are right where prompts belong together, and how often if prompts were drawn alone.

    pip install -c constraints.txt -e .
    python -m benchmarks.clusters [--part scores|fad|gate|gate_fad|all|none]

Clusters have as many prompts as Song Describer's tracks have captions. Writes results/benchmarks/clusters.json, and
what docs/uncertainty.md and docs/gate.md say of clusters; with `--part` what is not measured again is taken from the
JSON file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import gate_report, interval_coverage_report
from benchmarks.clusters_report import JSON
from benchmarks.interval_coverage import LEVEL, gaussians, population, share
from benchmarks.parts import measure
from evalkit.metrics.fad import FAD
from evalkit.results.clusters import Clusters
from evalkit.results.differences import Difference, Sets, Sums
from evalkit.results.scored import Chosen, compared, scored
from evalkit.settings import Uncertainty
from evalkit.stats import permutation
from evalkit.stats.clusters import numbered
from evalkit.stats.frechet import frechet_distance, gaussian
from evalkit.types import Features, Measured

Row = dict[str, Any]
NO_ENCODER: Any = None  # metrics only pass it on
CAPTIONS = {1: 476, 2: 127, 3: 57, 4: 25, 5: 21}  # tracks of Song Describer with so many captions
NUMBERS = (8, 60, 250, 706)  # of clusters
ALIKE = (0.0, 0.3, 0.8)  # correlation of two clips of a cluster
DIMENSIONS, WINDOWS = 8, 5  # of FAD
WITHIN = 0.5  # correlation of the windows of a clip
RESAMPLES, SWAPS = 200, 199
TRIALS, FADS = 1000, {60: 300, 250: 300, 706: 200}  # the latter by clusters
GATES = {8: 1000, 60: 1000, 250: 500, 706: 300}
WAYS = ("by_cluster", "by_prompt")


def tracks(rng: np.random.Generator, number: int) -> np.ndarray:
    """The cluster of each prompt: all of Song Describer's, or a sample with sizes like its tracks'."""
    sizes = np.repeat(list(CAPTIONS), list(CAPTIONS.values()))
    drawn = sizes if number == len(sizes) else rng.choice(sizes, number)
    return np.repeat(np.arange(number), drawn)


def normal(rng: np.random.Generator, which: np.ndarray, alike: float) -> np.ndarray:
    """Standard normal numbers, (prompts,), which correlate within clusters."""
    own = rng.standard_normal(which[-1] + 1)[which]
    return math.sqrt(alike) * own + math.sqrt(1 - alike) * rng.standard_normal(len(which))


def faults(rng: np.random.Generator, which: np.ndarray, alike: float, rate: float) -> np.ndarray:
    """Whether each prompt's clip has a fault, (prompts,), which correlates within clusters."""
    shared = rng.random(len(which)) < math.sqrt(alike)
    return np.where(shared, (rng.random(which[-1] + 1) < rate)[which], rng.random(len(which)) < rate).astype(float)


Draw = Callable[[np.random.Generator, np.ndarray, float], np.ndarray]
VALUES: dict[str, tuple[Draw, float, tuple[float, float]]] = {
    "normal (CLAP score)": (lambda r, w, a: 0.3 + 0.1 * normal(r, w, a), 0.3, (-1.0, 1.0)),
    "log-normal, σ = 0.5 (KLD)": (lambda r, w, a: np.exp(0.5 * normal(r, w, a)), math.exp(0.125), (0.0, math.inf)),
    "a fault of 2 %": (lambda r, w, a: faults(r, w, a, 0.02), 0.02, (0.0, 1.0)),
    "a fault of 10 %": (lambda r, w, a: faults(r, w, a, 0.1), 0.1, (0.0, 1.0)),
}


def clusters_of(which: np.ndarray, way: str, distinct: bool = False) -> tuple[list[str], Clusters]:
    """The ids of prompts, and their clusters, or none where prompts are drawn."""
    ids = [f"p{number:05}" for number in range(len(which))]
    units = {i: f"track {number}" for i, number in zip(ids, which, strict=True)} if way == "by_cluster" else {}
    return ids, Clusters(units, distinct)


def measure_scores() -> Iterator[Row]:
    """Coverage of the intervals of means and shares."""
    for name, (draw, truth, bounds) in VALUES.items():
        for number in NUMBERS:
            for alike in ALIKE:
                rng = np.random.default_rng([number, round(10 * alike), *name.encode()])
                found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
                prompts = []
                for _ in range(TRIALS):
                    which = tracks(rng, number)
                    values = draw(rng, which, alike)
                    prompts.append(len(which))
                    for way in WAYS:
                        ids, clusters = clusters_of(which, way)
                        parts = {i: (float(value), 1.0) for i, value in zip(ids, values, strict=True)}
                        one = Measured(float(values.mean()), len(ids), parts=parts)
                        chosen = Chosen(ids, [], None, clusters)
                        said = scored(name, ids, [one], bounds, Uncertainty(level=LEVEL), chosen=chosen)
                        found[way].append((said.low, said.high))
                ends = {way: np.array(bounds_of) for way, bounds_of in found.items()}
                yield {
                    "values": name, "clusters": number, "prompts": float(np.mean(prompts)), "alike": alike,
                    "trials": TRIALS, **{way: share(one, truth) for way, one in ends.items()},
                    **{f"{way}_width": float(np.mean(one[:, 1] - one[:, 0])) for way, one in ends.items()},
                }  # fmt: skip


PAIR = gaussians(DIMENSIONS, 0.15)  # "near" of benchmarks.interval_coverage


def frames(rng: np.random.Generator, clips: np.ndarray, side: int) -> np.ndarray:
    """Windows of clips, (clips, windows, d) float32, of one of the two Gaussians."""
    mean, cov = PAIR[side]
    noise = rng.standard_normal((len(clips), WINDOWS, DIMENSIONS))
    own = math.sqrt(WITHIN) * clips[:, None] + math.sqrt(1 - WITHIN) * noise
    return np.asarray(own @ np.linalg.cholesky(cov).T + mean, np.float32)


def sets(rng: np.random.Generator, which: np.ndarray, alike: float, generated: int = 1) -> list[np.ndarray]:
    """Generated clips, of as many models as are asked for, and the references, which prompts of a cluster share."""
    common = rng.standard_normal((which[-1] + 1, DIMENSIONS))
    found = []
    for _ in range(generated):
        own = rng.standard_normal((len(which), DIMENSIONS))
        found.append(frames(rng, math.sqrt(alike) * common[which] + math.sqrt(1 - alike) * own, 0))
    return [*found, frames(rng, common, 1)[which]]


def features(values: np.ndarray) -> Features:
    return Features(tuple(f"p{number:05}" for number in range(len(values))), tuple(values))


def measure_fad() -> Iterator[Row]:
    """Coverage of FAD's interval of the value that is expected of so many clusters."""
    metric, uncertainty = FAD(NO_ENCODER), Uncertainty(level=LEVEL, resamples=RESAMPLES)
    for distinct in (False, True):
        for number, trials in FADS.items():
            for alike in ALIKE:
                rng = np.random.default_rng([number, round(10 * alike), distinct])
                values, found = [], {way: [] for way in WAYS}  # type: ignore[var-annotated]
                for trial in range(5 * trials):
                    which = tracks(rng, number)
                    ours, theirs = sets(rng, which, alike)
                    first = np.unique(which, return_index=True)[1]
                    if trial >= trials:  # for the expected value alone
                        against = theirs[first] if distinct else theirs
                        values.append(frechet_distance(*gaussian(list(ours)), *gaussian(list(against))))
                        continue
                    for way in WAYS:
                        ids, clusters = clusters_of(which, way, distinct)
                        pair = features(ours), features(theirs)
                        chosen = compared([pair], False, None, clusters)
                        if way == "by_prompt" and distinct:  # two sets, of which each is drawn by itself
                            chosen = Chosen(ids, [(pair[0], pair[1].select(ids[i] for i in first))], len(first))
                        clips, references = chosen.pairs[0]
                        assert references is not None
                        one = metric(clips, references)
                        said = scored("FAD", ids, [one], metric.bounds, uncertainty, chosen=chosen)
                        found[way].append((said.low, said.high))
                    values.append(said.value)
                expected = float(np.mean(values))
                ends = {way: np.array(bounds_of) for way, bounds_of in found.items()}
                yield {
                    "distinct": distinct, "clusters": number, "alike": alike, "trials": trials, "expected": expected,
                    "population": population(PAIR), "standard_deviation": float(np.std(values, ddof=1)),
                    **{way: share(one, expected) for way, one in ends.items()},
                    **{f"{way}_width": float(np.mean(one[:, 1] - one[:, 0])) for way, one in ends.items()},
                }  # fmt: skip


def swapped(which: np.ndarray, way: str, seed: int) -> np.ndarray:
    """In which prompts, or whole clusters, the sides change places, (1 + swaps, prompts); the first row is all 0."""
    numbers = numbered(map(str, which)) if way == "by_cluster" else None
    units = len(which) if numbers is None else int(numbers.max()) + 1
    drawn = np.concatenate([np.zeros((1, units), bool), permutation.swaps(units, SWAPS, seed)])
    return drawn if numbers is None else drawn[:, numbers]


def rates(each: dict[str, list[Difference]]) -> Row:
    """How often a metric of which less is better is a BREACH at a margin of 0, and how often it differs by its test."""
    return {
        **{
            f"{way}_breach": sum(bool(one.estimate.interval(LEVEL)[0] > 0) for one in found)
            for way, found in each.items()
        },
        **{f"{way}_test": sum(one.p < 1 - LEVEL for one in found) for way, found in each.items()},
    }


def measure_gate() -> Iterator[Row]:
    """Rates of the verdicts on means and shares of two models of which none is better."""
    for name in ("log-normal, σ = 0.5 (KLD)", "a fault of 2 %", "a fault of 10 %"):
        draw, _, bounds = VALUES[name]
        for number, trials in GATES.items():
            for alike in ALIKE:
                rng = np.random.default_rng([number, round(10 * alike), *name.encode()])
                each: dict[str, list[Difference]] = {way: [] for way in WAYS}
                for trial in range(trials):
                    which = tracks(rng, number)
                    values = [draw(rng, which, alike)[None] for _ in range(2)]
                    before, after = ((own, np.ones_like(own)) for own in values)
                    for way in WAYS:
                        ids, clusters = clusters_of(which, way)
                        made = Sums(ids, 0, before, after, ([1], [1]), bounds, False, clusters)
                        each[way].append(made.of(np.arange(len(ids)), swapped(which, way, trial)))
                yield {"values": name, "clusters": number, "alike": alike, "trials": trials, **rates(each)}


def measure_gate_fad() -> Iterator[Row]:
    """The same of FAD, whose references the prompts of a cluster share."""
    metric = FAD(NO_ENCODER)
    for distinct in (False, True):
        for number, trials in {60: 300, 250: 100}.items():
            for alike in ALIKE:
                rng = np.random.default_rng([number, round(10 * alike), distinct])
                each: dict[str, list[Difference]] = {way: [] for way in WAYS if way == "by_cluster" or not distinct}
                for trial in range(trials):
                    which = tracks(rng, number)
                    before, after, references = map(features, sets(rng, which, alike, generated=2))
                    for way, found in each.items():
                        ids, clusters = clusters_of(which, way, distinct)
                        pairs = [(before, references)], [(after, references)]
                        made = Sets(ids, 0, metric, *pairs, ([1], [1]), (50, 0), False, clusters)
                        found.append(made.of(np.arange(len(ids)), swapped(which, way, trial)))
                yield {"distinct": distinct, "clusters": number, "alike": alike, "trials": trials, **rates(each)}


MEASURED = {
    "scores": measure_scores,
    "fad": measure_fad,
    "gate": measure_gate,
    "gate_fad": measure_gate_fad,
}


def write() -> None:
    """Write what both documents say."""
    interval_coverage_report.write_text()
    gate_report.write_text()


def main() -> None:
    """Measure, record, write the sections."""
    facts = {"level": LEVEL, "captions": CAPTIONS, "resamples": RESAMPLES, "swaps": SWAPS}
    measure(__doc__, MEASURED, JSON, facts | {"dimensions": DIMENSIONS, "windows": WINDOWS}, write)


if __name__ == "__main__":
    main()
