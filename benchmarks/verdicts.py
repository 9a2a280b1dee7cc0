"""How often a reproduction's verdict is wrong, and what it takes to reach one: published figures whose truth is known.

    OMP_NUM_THREADS=1 python -m benchmarks.verdicts [--part edge|power|noise|looks|missing|metrics|shipped|all]

The values of sampling seeds, and the published figure, are drawn again and again, and evalkit's own functions decide
(`evalkit/stats/equivalence.py`). Writes results/benchmarks/verdicts.json, and from it the section "Error rates" of
docs/reproduce.md; with `--part` what is not measured again is taken from the JSON file.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gate_fad import distances, effects, fit_of_clips, sides
from benchmarks.interval_coverage import ALIKE, NO_ENCODER, WINDOWS, features
from benchmarks.parts import Row, measure
from benchmarks.verdicts_report import JSON, write
from evalkit.metrics.fad import FAD
from evalkit.results.gate import absolute
from evalkit.results.published import Published, load_published
from evalkit.results.reproduced import Measured, judge
from evalkit.stats.equivalence import decide, missing_error, over_seeds, seeds_needed
from evalkit.stats.means import ratio

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

LEVEL = 0.95
SEEDS = (3, 5, 10)
TRIALS = 20000
SAID = ("within", "above", "below", "undecided")
SAMPLE = 5469  # prompts of MusicCaps that published figures are of
ALL = 5521
PUBLISHED, MODEL = Path("conf/published"), "facebook/musicgen-small"

# Seed noise of mean 0 and variance 1.
NOISE: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
    "skewed the other way": lambda rng, shape: 1 - rng.exponential(size=shape),
}


def rounded(figures: np.ndarray, rounding: float, rng: np.random.Generator) -> np.ndarray:
    """Round figures to a grid that lies anywhere; `rounding` is by how much a figure can change."""
    if not rounding:
        return figures
    start = rng.uniform(0, 2 * rounding, figures.shape)
    return np.round((figures - start) / (2 * rounding)) * 2 * rounding + start


def counted(
    ours: np.ndarray, figures: np.ndarray, tolerance: float, rounding: float, published_seeds: int, errors: Any = 0.0
) -> Row:
    """Count the verdicts on the values of our seeds, (trials, seeds), and published figures, (trials,).

    Args:
        errors: a known standard error that is added, of each trial or of all.
    """
    means, sds = ours.mean(axis=1), ours.std(axis=1, ddof=1)
    found: Counter[str] = Counter()
    for mean, sd, figure, error in zip(means, sds, figures, np.broadcast_to(errors, figures.shape), strict=True):
        estimate = over_seeds(float(mean - figure), float(sd), ours.shape[1], published_seeds, float(error))
        found[decide(estimate, tolerance, rounding, LEVEL)] += 1
    return {"trials": len(figures), **{said: found[said] for said in SAID}}


def drawn(
    seeds: int,
    tolerance: float,
    truth: float,
    rounding: float = 0.0,
    noise: str = "normal",
    published_noise: float = 1.0,
    published_seeds: int = 1,
    trials: int = TRIALS,
) -> Row:
    """Verdicts where the noise of our seeds has a standard deviation of 1.

    Args:
        truth: by how much our expectation exceeds the publisher's, in tolerances.
        published_noise: standard deviation of one of the publisher's seeds.
    """
    about: Row = {"noise": noise, "seeds": seeds, "tolerance": tolerance, "truth": truth, "rounding": rounding}
    about |= {"published_noise": published_noise, "published_seeds": published_seeds}
    rng = np.random.default_rng(list(json.dumps(about).encode()))
    ours = NOISE[noise](rng, (trials, seeds)) + truth * tolerance
    of_publisher = published_noise * NOISE[noise](rng, (trials, published_seeds)).mean(axis=1)
    figures = rounded(of_publisher, rounding, rng)
    return about | counted(ours, figures, tolerance, rounding, published_seeds)


def measure_edge() -> Iterator[Row]:
    """The truth lies just at the end of the tolerance."""
    for seeds in SEEDS:
        for tolerance in (2, 4, 8, 30):
            for rounding in (0, 1):
                yield drawn(seeds, tolerance, 1.0, rounding)


def measure_power() -> Iterator[Row]:
    """What is said where the truth lies elsewhere."""
    for seeds in (*SEEDS, 20):
        for tolerance in (2, 3, 4, 6, 8, 15, 30):
            for truth in (0.0, 0.5, 1.5, 2.0, 3.0):
                yield drawn(seeds, tolerance, truth, trials=5000)


def measure_noise() -> Iterator[Row]:
    """At the edge, with noise that is not what is assumed."""
    for seeds in SEEDS:
        for noise in NOISE:
            for tolerance in (4, 8, 30):
                yield drawn(seeds, tolerance, 1.0, noise=noise)
        for published_noise in (0.0, 0.5, 1.5, 2.0):
            yield drawn(seeds, 30, 1.0, published_noise=published_noise)
        for published_seeds in (3, 10):
            yield drawn(seeds, 30, 1.0, published_seeds=published_seeds)


def measure_looks() -> Iterator[Row]:
    """At the edge, where seeds are added until something is decided; and whether as many as were named decide."""
    looks = (3, 5, 10, 20, 40)
    for tolerance in (4.0, 8.0, 30.0):
        rng = np.random.default_rng([int(tolerance), 1])
        first: Counter[str] = Counter()
        for _ in range(TRIALS // 2):
            ours, figure = rng.standard_normal(looks[-1]) + tolerance, float(rng.standard_normal())
            said = "undecided"
            for seeds in looks:
                if said == "undecided":
                    mean, sd = float(ours[:seeds].mean()), float(ours[:seeds].std(ddof=1))
                    said = decide(over_seeds(mean - figure, sd, seeds), tolerance, 0.0, LEVEL)
            first[said] += 1
        about = {"looks": list(looks), "tolerance": tolerance, "trials": TRIALS // 2}
        yield about | {said: first[said] for said in SAID}
    for truth in (0.0, 0.5):
        rng = np.random.default_rng([int(10 * truth), 2])
        needed, decided, none = [], 0, 0
        tolerance, at = 4.0, 3
        for _ in range(4000):
            ours, figure = rng.standard_normal(1000) + truth * tolerance, float(rng.standard_normal())
            mean, sd = float(ours[:at].mean()), float(ours[:at].std(ddof=1))
            if decide(over_seeds(mean - figure, sd, at), tolerance, 0.0, LEVEL) != "undecided":
                continue
            number = seeds_needed(mean - figure, sd, tolerance, 0.0, LEVEL)
            if number is None:
                none += 1
                continue
            needed.append(number)
            mean, sd = float(ours[:number].mean()), float(ours[:number].std(ddof=1))
            decided += decide(over_seeds(mean - figure, sd, number), tolerance, 0.0, LEVEL) != "undecided"
        yield {
            "from": at,
            "tolerance": tolerance,
            "truth": truth,
            "undecided": len(needed) + none,
            "no_number": none,
            "median": float(np.median(needed)),
            "decided": decided,
        }


def measure_missing() -> Iterator[Row]:
    """At the edge, where both values are of random parts of the same prompts, of a mean and of FAD."""
    for seeds in (3, 10):
        for alike, published, used in ((0.5, 5469, 5300), (0.9, 5469, 5000), (0.9, 5000, 5000), (0.9, 5521, 5000)):
            for missing in ("at random", "the same", "known to none"):
                yield missing_of_mean(seeds, alike, ALL, published, used, missing)
        for missing in ("at random", "known to none"):
            yield missing_of_mean(seeds, 0.9, 200, 195, 180, missing)
        yield missing_of_fad(seeds, 200, 195, 180)


def missing_of_mean(
    seeds: int, alike: float, total: int, published: int, used: int, missing: str, trials: int | None = None
) -> Row:
    """Log-normal values, such as KLD's, some of which are missing.

    Args:
        alike: correlation of two seeds' values of a prompt, before the exponential.
        missing: whether prompts are missing "at random" on either side; "the same" as far as numbers allow; or at
            random, while no error is added for it ("known to none").
    """
    about: Row = {"of": "mean", "seeds": seeds, "alike": alike, "total": total, "published": published, "used": used}
    about |= {"missing": missing}
    rng = np.random.default_rng(list(json.dumps(about).encode()))
    trials = trials or (2000 if total > 1000 else 10000)
    each, figures, errors, spreads = [], [], [], []
    for _ in range(trials):
        prompt = rng.standard_normal(total)
        values = np.exp(
            0.5 * (math.sqrt(alike) * prompt + math.sqrt(1 - alike) * rng.standard_normal((seeds + 1, total)))
        )
        order = rng.permutation(total)
        ours = order[:used] if missing == "the same" else rng.permutation(total)[:used]
        each.append(values[:-1, ours].mean(axis=1))
        figures.append(values[-1, order[:published]].mean())
        spreads.append(float(ratio(values[:-1, ours], np.ones((seeds, used)))[1].std()))
        errors.append(0.0 if missing == "known to none" else missing_error(spreads[-1], used, published, total))
    return about | at_edge(np.array(each), np.array(figures), np.array(errors))


def missing_of_fad(seeds: int, total: int, published: int, used: int, d: int = 8, trials: int = 500) -> Row:
    """FAD of every window, by evalkit, with the influences that it states."""
    case, metric = sides("same", d=d), FAD(NO_ENCODER)
    (mean, cov), (target, target_cov) = case.baseline, case.reference
    own, its = np.linalg.cholesky(cov).T, np.linalg.cholesky(target_cov).T
    each, figures, errors = [], [], []
    for trial in range(trials):
        rng = np.random.default_rng([trial, seeds, total])
        prompt = rng.standard_normal((total, 1, d))

        def windows(prompt: np.ndarray = prompt, rng: np.random.Generator = rng) -> np.ndarray:
            clip = math.sqrt(ALIKE) * prompt + math.sqrt(1 - ALIKE) * rng.standard_normal(prompt.shape)
            return math.sqrt(ALIKE) * clip + math.sqrt(1 - ALIKE) * rng.standard_normal((total, WINDOWS, d))

        reference = windows() @ its + target
        ours, theirs = rng.permutation(total)[:used], rng.permutation(total)[:published]
        measured = [
            metric(features(list((windows() @ own + mean)[ours])), features(list(reference[ours])))
            for _ in range(seeds)
        ]
        influence = np.mean([one.influence() for one in measured if one.influence is not None], axis=0)
        spread = float((used * influence).std())
        each.append([one.value for one in measured])
        figures.append(
            metric(features(list((windows() @ own + mean)[theirs])), features(list(reference[theirs]))).value
        )
        errors.append(missing_error(spread, used, published, total))
    about: Row = {"of": "fad", "seeds": seeds, "alike": ALIKE, "total": total, "published": published, "used": used}
    return about | {"missing": "at random"} | at_edge(np.array(each), np.array(figures), np.array(errors))


def at_edge(ours: np.ndarray, figures: np.ndarray, errors: Any, times: float = 30) -> Row:
    """Verdicts where our values are shifted to either end of a tolerance of so many standard deviations of a seed."""
    sd = float(np.sqrt(ours.var(axis=1, ddof=1).mean()))
    tolerance = times * sd
    above = counted(ours + tolerance, figures, tolerance, 0.0, 1, errors)
    below = counted(ours - tolerance, figures, tolerance, 0.0, 1, errors)
    apart = ours.mean(axis=1) - figures
    row: Row = {"trials": len(figures), "seed_sd": sd, "tolerance": times, "apart": float(apart.std(ddof=1))}
    row |= {"bias": float(apart.mean()), "error": float(np.sqrt(np.mean(np.square(errors))))}
    # outside of the tolerance is "above" on the one edge, and "below" on the other
    return row | {"within": [above["within"], below["within"]], "differs": [above["above"], below["below"]]}


def measure_metrics() -> Iterator[Row]:
    """At the edge, with values whose noise is that of clips given their prompts, instead of drawn as such."""
    for seeds in SEEDS:
        for n in (50, 200, 1000, SAMPLE):
            for sigma in (0.5, 1.0):
                rng = np.random.default_rng([seeds, n, int(10 * sigma)])
                trials = 10000 if n <= 200 else 2000 if n <= 1000 else 1000
                found = []
                for _ in range(trials):
                    clip = rng.standard_normal((seeds + 1, n))
                    prompt = rng.standard_normal(n)
                    found.append(np.exp(sigma * (math.sqrt(0.5) * prompt + math.sqrt(0.5) * clip)).mean(axis=1))
                each = np.array(found)
                about: Row = {"of": f"mean, log-normal, σ = {sigma:g}", "seeds": seeds, "prompts": n}
                yield about | at_edge(each[:, :-1], each[:, -1], 0.0)
    for d, numbers in ((8, (50, 200, 1000)), (128, (200, 1000))):
        for n in numbers:
            each = fads(max(SEEDS) + 1, n, d, 2000 if d == 8 else 400)
            for seeds in SEEDS:
                about = {"of": f"FAD, {d} dimensions", "seeds": seeds, "prompts": n}
                yield about | at_edge(each[:, :seeds], each[:, -1], 0.0) | {"fad": float(each.mean())}


def fads(seeds: int, n: int, d: int, trials: int) -> np.ndarray:
    """FADs of so many sampling seeds, given the prompts and references, of each trial: (trials, seeds)."""
    case = sides("same", d=d)
    every, alone = np.zeros(n, int), np.ones((1, 1))
    found = []
    for trial in range(trials):
        rng = np.random.default_rng([trial, n, d])
        clips = effects(rng, n, d, [0.0] * (seeds + 1))
        fits = [fit_of_clips(rng, clip, every, alone) for clip in clips]
        found.append(distances([case.baseline] * seeds, fits[:-1], case.reference, fits[-1])[0])
    return np.array(found)


# Standard deviations over clips: of half of each's variance a seed's is made, the other half is of the prompts.
CLIPS = {"kld": (0.3, 0.6, 1.2), "clap_score": (0.06, 0.12)}


def measure_shipped() -> Iterator[Row]:
    """What is said of a checkpoint that is the published one, at the tolerances that ship, on all of MusicCaps."""
    fad_noise = fads(6, SAMPLE, 128, 40)
    share = float(np.sqrt(fad_noise.var(axis=1, ddof=1).mean()) / fad_noise.mean())
    rows = {one.metric: one for one in load_published(PUBLISHED) if one.model == MODEL and one.primary}
    for metric, published in rows.items():
        if published.value is None or published.tolerance is None:
            continue
        noises = CLIPS.get(metric)
        sds = [share * published.value] if noises is None else [sd * math.sqrt(0.5 / SAMPLE) for sd in noises]
        for number, sd in enumerate(sds):
            for seeds in (*SEEDS, 20):
                for truth in (0.0, 0.5):
                    spread = sd * math.sqrt(2 * SAMPLE if noises else SAMPLE)
                    yield shipped(published, sd, spread, seeds, truth, number)


def shipped(published: Published, sd: float, spread: float, seeds: int, truth: float, number: int) -> Row:
    """Verdicts where our expectation exceeds what was published, before it was rounded, by so many tolerances."""
    assert published.tolerance is not None and published.value is not None and published.prompts is not None
    tolerance, rounding = absolute(published.tolerance.margin, published.value), published.tolerance.rounding
    about: Row = {"metric": published.metric, "value": published.value, "tolerance": tolerance, "rounding": rounding}
    about |= {"seed_sd": sd, "seeds": seeds, "truth": truth}
    rng = np.random.default_rng([seeds, int(10 * truth), number])
    total = published.prompts.n
    others = missing_error(spread, SAMPLE, SAMPLE, total)
    found: Counter[str] = Counter()
    farthest = []  # the least tolerance that each trial would be within
    trials = 2000
    ours = published.value + truth * tolerance + sd * rng.standard_normal((trials, seeds))
    figures = published.value + math.hypot(sd, others) * rng.standard_normal(trials)
    for values, figure in zip(ours, rounded(figures, rounding, rng), strict=True):
        measured = Measured(float(values.mean()), seeds, float(values.std(ddof=1)), spread, SAMPLE, checkable=True)
        judged = judge(measured, replace(published, value=float(figure)))
        found[judged.verdict] += 1
        found["no number"] += "no number of seeds" in judged.reason
        farthest.append(max(-judged.low, judged.high))
    return about | {"trials": trials, "verdicts": dict(found), "for_80": float(np.quantile(farthest, 0.8))}


MEASURED: dict[str, Callable[[], Iterator[Row]]] = {
    "edge": measure_edge,
    "power": measure_power,
    "noise": measure_noise,
    "looks": measure_looks,
    "missing": measure_missing,
    "metrics": measure_metrics,
    "shipped": measure_shipped,
}


def main() -> None:
    """Measure, record, write the section."""
    measure(__doc__, MEASURED, JSON, {"level": LEVEL, "sample": SAMPLE}, write)


if __name__ == "__main__":
    main()
