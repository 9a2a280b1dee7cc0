"""How often MAD's intervals hold what they should, and how often two equal models are said to differ.

    pip install -c constraints.txt -e '.[mad]'
    OMP_NUM_THREADS=1 python -m benchmarks.mad [--part halves|orders|coverage|pairs|all|none]

Clips are single vectors that are drawn from known distributions again and again; evalkit's own functions compute
values, intervals and comparisons. Writes results/benchmarks/mad.json, and from it the section "MAD" of
docs/uncertainty.md; with `--part` what is not measured again is taken from the JSON file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.interval_coverage import ALIKE, LEVEL, NO_ENCODER, SETS, TAIL, Gaussian, features, gaussians, share
from benchmarks.interval_coverage_report import write_text
from benchmarks.mad_report import JSON
from benchmarks.parts import Row, measure
from evalkit.metrics.mad import MAD
from evalkit.results.differences import Sets
from evalkit.results.gate import Gate
from evalkit.stats import permutation
from evalkit.stats.bootstrap import draws, interval
from evalkit.types import Features, Measured

D = 32
RESAMPLES, SWAPS, ORDERS = 200, 199, 5
TRIALS = {50: 100, 100: 100, 300: 50, 1000: 12}  # by clips; fixed before anything is measured
PAIRS = {50: 150, 100: 150, 300: 200}
GENRES = 12  # places where the clips of a clustered set lie
SCATTER = 0.5  # around them, as a share of the distance between two
WORSE = 1.25  # how many times as far from the references the mean of a worse candidate lies
GATE = Gate(metrics={})
METRIC, SINGLE = MAD(NO_ENCODER), MAD(NO_ENCODER, clusterings=1)

Draw = Callable[[np.random.Generator, int, int], list[Features]]


@dataclass(frozen=True)
class Apart(MAD):
    """MAD whose sides are compared each in clusters of its own, and whose intervals keep the clusters."""

    def __call__(self, generated: Features, reference: Features) -> Measured:
        measured = super().__call__(generated, reference)
        return replace(measured, together=False, resampled=measured.kept, kept=None)


def normals(rng: np.random.Generator, n: int, models: int) -> Iterator[np.ndarray]:
    """Standard normal numbers, (n, D), of so many models and of the references, which correlate by prompt."""
    prompt = rng.standard_normal((n, D))
    for _ in range(models + 1):
        yield math.sqrt(ALIKE) * prompt + math.sqrt(1 - ALIKE) * rng.standard_normal((n, D))


def of_gaussians(pair: tuple[Gaussian, Gaussian], last: Gaussian | None = None) -> Draw:
    """Clips of models, of which the last may have another distribution, and their references."""
    model, reference = pair

    def draw(rng: np.random.Generator, n: int, models: int) -> list[Features]:
        own = [model] * (models - 1) + [last or model, reference]
        numbers = normals(rng, n, models)
        return [one(x @ np.linalg.cholesky(cov).T + mean) for x, (mean, cov) in zip(numbers, own, strict=True)]

    return draw


def clustered(rng: np.random.Generator, n: int, models: int) -> list[Features]:
    """Clips around some places, of which models leave out a quarter, and their references."""
    places = np.random.default_rng(5).standard_normal((GENRES, D))
    genre = rng.integers(GENRES, size=n)
    played = np.where(genre < GENRES // 4, genre + GENRES // 2, genre)
    which = [played] * models + [genre]
    numbers = normals(rng, n, models)
    return [one(places[own] + SCATTER * x) for own, x in zip(which, numbers, strict=True)]


def one(points: np.ndarray) -> Features:
    return features(list(points[:, None].astype(np.float32)))


KINDS: dict[str, Draw] = {name: of_gaussians(gaussians(D, unlike)) for name, unlike in SETS.items()}
KINDS["clustered"] = clustered


def seeded(*settings: object) -> np.random.Generator:
    return np.random.default_rng([*" ".join(map(str, settings)).encode()])


def halves() -> Iterator[Row]:
    """MAD between two halves of one set, which have nothing else in common."""
    _, reference = gaussians(D, 0.0)
    for n, trials in TRIALS.items():
        rng, values = seeded("halves", n), []
        for _ in range(trials):
            parts = rng.standard_normal((2, n, D)) @ np.linalg.cholesky(reference[1]).T
            values.append(METRIC(*map(one, parts)).value)
        yield {"clips": n, "trials": trials, "mean": float(np.mean(values)), "largest": float(np.max(values))}


def orders() -> Iterator[Row]:
    """How far one clustering's value moves with its start, beside how far other clips move it."""
    for name in KINDS:
        for n in (100, 300):
            rng, values, within, means = seeded("orders", name, n), [], [], []
            for _ in range(40):
                generated, reference = KINDS[name](rng, n, 1)
                each = [_start(generated, reference, start) for start in range(ORDERS)]
                values.append(each[0])
                within.append(np.var(each, ddof=1))
                means.append(np.mean(each))
            yield {
                "sets": name,
                "clips": n,
                "trials": len(values),
                "starts": ORDERS,
                "of_start": float(np.sqrt(np.mean(within))),
                "of_single": float(np.std(values, ddof=1)),
                "of_mean": float(np.std(means, ddof=1)),
            }


def _start(generated: Features, reference: Features, start: int) -> float:
    """The value of a single clustering, of clips that are turned a little, which k-means starts otherwise from."""
    turned = np.linalg.qr(np.random.default_rng(start).standard_normal((D, D)))[0] if start else np.eye(D)
    return SINGLE(*(one(np.concatenate(side.values) @ turned) for side in (generated, reference))).value


def coverage() -> Iterator[Row]:
    """Intervals of a score, about the value that is expected of so many clips."""
    for name in KINDS:
        for n, trials in TRIALS.items():
            rng, values = seeded("coverage", name, n), []
            bounds: dict[str, list[tuple[float, float]]] = {"covers": [], "kept": []}
            for trial in range(trials):
                measured, weights = METRIC(*KINDS[name](rng, n, 1)), draws(n, RESAMPLES, trial)
                values.append(measured.value)
                assert measured.kept is not None
                for way, function in (("covers", measured.resampled or measured.kept), ("kept", measured.kept)):
                    found = interval(measured.value, function(weights, weights), LEVEL, n, METRIC.bounds)
                    bounds[way].append(found)
            for _ in range(trials):
                values.append(METRIC(*KINDS[name](rng, n, 1)).value)
            expected, around = float(np.mean(values)), np.array(bounds["covers"])
            yield {
                "sets": name,
                "clips": n,
                "trials": trials,
                "expected": expected,
                "standard_deviation": float(np.std(values, ddof=1)),
                "width": float((around[:, 1] - around[:, 0]).mean()),
                **{way: share(np.array(found), expected) for way, found in bounds.items()},
            }


def pairs() -> Iterator[Row]:
    """Comparisons of two models that are equal, and of one with a worse one."""
    for name in ("near", "far", "clustered", "worse"):
        draw = KINDS["near" if name == "worse" else name]
        if name == "worse":
            (mean, cov), reference = gaussians(D, SETS["near"])
            draw = of_gaussians(((mean, cov), reference), (WORSE * mean, cov))
        for n, trials in PAIRS.items():
            yield _compared(name, draw, n, trials)


def _compared(name: str, draw: Draw, n: int, trials: int) -> Row:
    rng = seeded("pairs", name, n)
    counts = dict.fromkeys(("worse", "better", "none", "swaps", "apart_worse", "apart_better"), 0)
    found: dict[str, list[float]] = {"together": [], "apart": []}
    errors: list[float] = []
    for trial in range(trials):
        *sides, reference = draw(rng, n, 2)
        swaps = np.concatenate([np.zeros((1, n)), permutation.swaps(n, SWAPS, trial)])
        for way, metric in (("together", METRIC), ("apart", Apart(NO_ENCODER))):
            before, after = ([(side, reference)] for side in sides)
            drawn = swaps if way == "together" else swaps[:1]
            of = Sets(reference.ids, 0, metric, before, after, ([1], [1]), (GATE.groups, GATE.seed), identical=False)
            difference = of.of(np.arange(n), drawn)
            low, high = difference.estimate.interval(LEVEL)
            prefix = "" if way == "together" else "apart_"
            counts[f"{prefix}worse"] += low > 0
            counts[f"{prefix}better"] += high < 0
            found[way].append(difference.estimate.value)
            if way == "together":
                counts["swaps"] += difference.p <= 2 * TAIL
                errors.append(difference.estimate.error)
                counts["none"] += math.isnan(difference.estimate.error)
    return {
        "sets": name,
        "clips": n,
        "trials": trials,
        **{key: int(number) for key, number in counts.items()},
        "mean": float(np.mean(found["together"])),
        "standard_deviation": float(np.std(found["together"], ddof=1)),
        "error": float(np.sqrt(np.nanmean(np.square(errors)))),
        "apart_standard_deviation": float(np.std(found["apart"], ddof=1)),
    }


def main(parts: Sequence[Callable[[], Iterator[Row]]] = (halves, orders, coverage, pairs)) -> None:
    """Measure, record, write the document."""
    facts = {"level": LEVEL, "dimensions": D, "clusterings": METRIC.clusterings, "resamples": RESAMPLES}
    facts |= {"swaps": SWAPS, "worse": WORSE, "groups": GATE.groups}
    measure(__doc__, {part.__name__: part for part in parts}, JSON, facts, write_text)


if __name__ == "__main__":
    main()
