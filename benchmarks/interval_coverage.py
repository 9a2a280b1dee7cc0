"""How often the intervals hold what they should, and what is left of FAD's bias with few clips.

    pip install -c constraints.txt -e .
    python -m benchmarks.interval_coverage [--part means|shares|fad|fad_inf|kad|all]

Clips are drawn from known distributions again and again; each time evalkit computes a value and its 95 % interval. The
share of intervals that hold the true value is their coverage. Writes results/benchmarks/coverage.json, and from it
docs/uncertainty.md and docs/coverage.png; with `--part` what is not measured again is taken from the JSON file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import betaincinv, ndtri, stdtrit

from benchmarks.interval_coverage_report import JSON, write
from evalkit.metrics.fad_inf import PARTS, FADInfinity
from evalkit.metrics.kad import KAD
from evalkit.stats.bootstrap import draws, interval
from evalkit.stats.frechet import frechet_distance, gaussian, resampled_frechet_distances
from evalkit.stats.means import mean_interval, share_interval
from evalkit.types import Features

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
WINDOWS = 19  # of a 10-s clip
ALIKE = 0.5  # correlation of the windows of a clip, and of a clip and its reference
RESAMPLES = {"fad": 200, "means": 1000}
TRIALS = {8: 160, 32: 100, 128: 40}  # of FAD, by dimensions; a quarter of them at 1,000 clips
CLIPS = (12, 30, 100, 1000)
SETS = {"same": 0.0, "near": 0.15, "far": 1.0}  # how unlike the two Gaussians are made
EXTRAPOLATED = {8: (12, 30, 100), 32: (40, 100, 300), 128: (150, 300)}  # clips, by dimensions
BOUND_TO = {"paired": 0.5, "almost the same clips": 0.98}  # correlation of a clip and its reference

Gaussian = tuple[np.ndarray, np.ndarray]
Row = dict[str, Any]
Bounds = list[tuple[float, float]]
CPUINFO = Path("/proc/cpuinfo")
NO_ENCODER: Any = None  # metrics only pass it on


def gaussians(d: int, unlike: float) -> tuple[Gaussian, Gaussian]:
    """Two Gaussians of total variance about 1, spread over d dimensions as unevenly as embeddings are."""
    rng = np.random.default_rng(d)
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
    variances = np.logspace(0, -2, d)
    variances /= variances.sum()
    turned = np.linalg.qr(basis + 0.3 * math.sqrt(unlike) * rng.standard_normal((d, d)))[0] if unlike else basis
    direction = rng.standard_normal(d)
    mean = direction * math.sqrt(unlike / 2) / np.linalg.norm(direction)
    return (mean, (turned * variances * (1 + 0.3 * unlike)) @ turned.T), (np.zeros(d), (basis * variances) @ basis.T)


def sample(
    rng: np.random.Generator, n: int, pair: tuple[Gaussian, Gaussian], alike: float = ALIKE
) -> Iterator[list[np.ndarray]]:
    """n generated clips (windows, d) and their references, which correlate by `alike`."""
    d = len(pair[0][0])
    prompt = rng.standard_normal((n, 1, d))
    for mean, cov in pair:
        clip = math.sqrt(alike) * prompt + math.sqrt(1 - alike) * rng.standard_normal((n, 1, d))
        frames = math.sqrt(ALIKE) * clip + math.sqrt(1 - ALIKE) * rng.standard_normal((n, WINDOWS, d))
        yield list((frames @ np.linalg.cholesky(cov).T + mean).astype(np.float32))


def share(bounds: np.ndarray, truth: float) -> float:
    return float(((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean())


def population(pair: tuple[Gaussian, Gaussian]) -> float:
    return max(0.0, frechet_distance(*pair[0], *pair[1]))  # rounding of nothing may be negative


def fad(d: int, name: str, n: int, trials: int) -> Row:
    """Coverage of FAD's interval in one setting."""
    pair = gaussians(d, SETS[name])
    truth = population(pair)
    rng = np.random.default_rng([d, n, len(name)])
    alone = np.ones((1, n))
    more = []
    for _ in range(4 * trials):
        generated, reference = sample(rng, n, pair)
        more.append(frechet_distance(*gaussian(generated), *gaussian(reference)))
    values, bounds, biases = [], [], []
    for trial in range(trials):
        weights = np.concatenate([alone, draws(n, RESAMPLES["fad"], trial)])
        generated, reference = sample(rng, n, pair)
        value, *resampled = resampled_frechet_distances(generated, reference, weights, weights)
        values.append(value)
        bounds.append(interval(value, np.array(resampled), LEVEL, n))
        biases.append(np.mean(resampled) - value)
    expected = float(np.mean([*more, *values]))
    around, bias = np.array(bounds), np.array(biases)[:, None]
    return {
        "dimensions": d,
        "sets": name,
        "clips": n,
        "trials": trials,
        "population": truth,
        "expected": expected,
        "standard_deviation": float(np.std([*more, *values], ddof=1)),
        "width": float((around[:, 1] - around[:, 0]).mean()),
        "covers_expected": share(around, expected),
        "covers_population": share(around, truth),
        "covers_population_less_bias": share(around - bias, truth),
    }


def features(clips: list[np.ndarray]) -> Features:
    return Features(tuple(f"{i:06d}" for i in range(len(clips))), tuple(clips))


def fad_inf(d: int, name: str, bound: str, n: int, trials: int) -> Row:
    """Bias of FAD∞ from the FAD of the Gaussians, and coverage of its interval, in one setting."""
    pair, metric = gaussians(d, SETS[name]), FADInfinity(NO_ENCODER)
    truth = population(pair)
    rng = np.random.default_rng([d, n, len(name), len(bound)])
    values, fads, bounds = [], [], []
    for trial in range(trials):
        generated, reference = sample(rng, n, pair, BOUND_TO[bound])
        value = metric(features(generated), features(reference)).value
        weights = np.concatenate([np.ones((1, n)), draws(n, RESAMPLES["fad"], trial)])
        one, *resampled = resampled_frechet_distances(generated, reference, weights, weights)
        values.append(value)
        fads.append(one)
        bounds.append(interval(value, np.array(resampled), LEVEL, n))
    around = np.array(bounds)
    return {
        "dimensions": d,
        "sets": name,
        "bound": bound,
        "clips": n,
        "trials": trials,
        "population": truth,
        "fad_bias": float(np.mean(fads)) - truth,
        "bias": float(np.mean(values)) - truth,
        "standard_deviation": float(np.std(values, ddof=1)),
        "width": float((around[:, 1] - around[:, 0]).mean()),
        "covers": share(around, truth),
    }


LARGE = 10  # times as many clips are in a separate reference set


def ways(d: int, name: str, bound: str, n: int, trials: int) -> Row:
    """Bias of several ways to extrapolate FAD, each from all clips, halves, thirds and quarters."""
    pair = gaussians(d, SETS[name])
    truth = population(pair)
    rng = np.random.default_rng([d, n, len(name), len(bound)])
    found: dict[str, list[float]] = {}
    for _ in range(trials):
        generated, reference = sample(rng, n, pair, BOUND_TO[bound])
        _, separate = sample(rng, LARGE * n, pair)
        whole, large = gaussian(reference), gaussian(separate)
        means: dict[str, list[float]] = {}
        for k in PARTS:
            distances: dict[str, list[float]] = {}
            for _ in range(5 if k > 1 else 1):
                split = np.array_split(rng.permutation(n), k)
                ours = [gaussian([generated[i] for i in part]) for part in split]
                theirs = [gaussian([reference[i] for i in part]) for part in split]
                for part in range(k):
                    sides = {
                        "generated": whole,
                        "separate": large,
                        "both": theirs[part],
                        "disjoint": theirs[(part + 1) % k],
                    }
                    for way, other in sides.items():
                        distances.setdefault(way, []).append(frechet_distance(*ours[part], *other))
            for way, several in distances.items():
                means.setdefault(way, []).append(float(np.mean(several)))
        for way, points in means.items():
            first = way == "disjoint"  # of which there is no part with all clips
            for degree, shape in ((1, "line"), (2, "parabola")):
                value = np.polyfit(PARTS[first:], points[first:], degree)[-1]
                found.setdefault(f"{way}, {shape}", []).append(float(value) - truth)
    return {
        "dimensions": d,
        "sets": name,
        "bound": bound,
        "clips": n,
        "trials": trials,
        "bias": {way: float(np.mean(errors)) for way, errors in found.items()},
        "standard_deviation": {way: float(np.std(errors, ddof=1)) for way, errors in found.items()},
    }


def kad(name: str, n: int, trials: int, d: int = 32) -> Row:
    """Coverage of KAD's interval of the value expected of so many clips."""
    pair, metric = gaussians(d, SETS[name]), KAD(NO_ENCODER)
    rng = np.random.default_rng([d, n, len(name)])
    values, bounds = [], []
    for trial in range(trials):
        generated, reference = sample(rng, n, pair)
        measured = metric(features(generated), features(reference))
        assert measured.resampled is not None
        weights = draws(n, RESAMPLES["fad"], trial)
        resampled = measured.resampled(weights, weights)
        values.append(measured.value)
        bounds.append(interval(measured.value, resampled, LEVEL, n))
    for _ in range(trials):
        values.append(metric(*map(features, sample(rng, n, pair))).value)
    around, expected = np.array(bounds), float(np.mean(values))
    return {
        "dimensions": d,
        "sets": name,
        "clips": n,
        "trials": trials,
        "expected": expected,
        "standard_deviation": float(np.std(values, ddof=1)),
        "width": float((around[:, 1] - around[:, 0]).mean()),
        "covers": share(around, expected),
    }


Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def of_clips(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    return lambda rng, n: (draw(rng, n), np.ones(n))


def segments(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips of one to six segments; those of longer clips have larger values."""
    counts = rng.integers(1, 7, n).astype(float)
    return counts * rng.lognormal(0, 0.8, n) * (0.3 + 0.2 * counts), counts


MEANS: dict[str, tuple[Draw, float]] = {
    "normal (CLAP score)": (of_clips(lambda rng, n: rng.normal(0.3, 0.1, n)), 0.3),
    "Student's t, 3 degrees of freedom": (of_clips(lambda rng, n: rng.standard_t(3, n)), 0.0),
    "log-normal, σ = 0.5 (KLD)": (of_clips(lambda rng, n: rng.lognormal(0, 0.5, n)), math.exp(0.125)),
    "log-normal, σ = 1": (of_clips(lambda rng, n: rng.lognormal(0, 1, n)), math.exp(0.5)),
    "bimodal, 30 % around 0.9, 70 % around 0.2": (
        of_clips(lambda rng, n: np.where(rng.random(n) < 0.3, 0.9, 0.2) + rng.normal(0, 0.03, n)),
        0.41,
    ),
    "cosines, beta(8, 2)": (of_clips(lambda rng, n: rng.beta(8, 2, n)), 0.8),
    "cosines near 1, beta(9, 0.5)": (of_clips(lambda rng, n: rng.beta(9, 0.5, n)), 9 / 9.5),
    "shares of 79 frames (chroma)": (of_clips(lambda rng, n: rng.binomial(79, rng.beta(1, 9, n)) / 79), 0.1),
    "log-normal, σ = 0.8, 1 to 6 segments a clip": (
        segments,
        math.exp(0.32) * sum(k * (0.3 + 0.2 * k) for k in range(1, 7)) / 21,
    ),
}


def means(n: int, trials: int) -> list[Row]:
    """Coverage of intervals of a mean, for each kind of values: evalkit's, and what else could be taken."""
    rng = np.random.default_rng(n)
    bounds: dict[str, dict[str, Bounds]] = {kind: {} for kind in MEANS}
    t = float(stdtrit(n - 1, 1 - TAIL))
    for trial in range(trials):
        weights = draws(n, RESAMPLES["means"], trial)
        for kind, (draw, _) in MEANS.items():
            sums, counts = draw(rng, n)
            value = float(sums.sum() / counts.sum())
            error = standard_errors(np.ones((1, n)), sums, counts)[0]
            resampled = (weights @ sums) / (weights @ counts)
            with np.errstate(divide="ignore", invalid="ignore"):
                studentized = np.sort((resampled - value) / standard_errors(weights, sums, counts))
            ends = studentized[[round(TAIL * len(weights)), round((1 - TAIL) * len(weights)) - 1]]
            one = {
                "covers": mean_interval(sums[None], counts[None], LEVEL),
                "student": (value - t * error, value + t * error),
                "percentiles": interval(value, resampled, LEVEL, n),
                "bca": bca(value, resampled, sums, counts),
                "bootstrap_t": (value - ends[1] * error, value - ends[0] * error),
            }
            for way, found in one.items():
                bounds[kind].setdefault(way, []).append(found)
    rows = []
    for kind, (_, truth) in MEANS.items():
        width = {way: float(np.mean([high - low for low, high in found])) for way, found in bounds[kind].items()}
        covers = {way: share(np.array(found), truth) for way, found in bounds[kind].items()}
        rows.append(
            {"values": kind, "clips": n, "trials": trials, **covers, "wider": width["covers"] / width["student"]}
        )
    return rows


def standard_errors(weights: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The linearised standard error of the mean over items of each resample, (resamples,)."""
    n, total = len(sums), weights @ counts
    ratio = (weights @ sums) / total
    squares = weights @ sums**2 - 2 * ratio * (weights @ (sums * counts)) + ratio**2 * (weights @ counts**2)
    result: np.ndarray = np.sqrt(np.maximum(squares, 0) / n / (n - 1)) / (total / n)
    return result


def bca(value: float, resampled: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Efron's bias-corrected and accelerated interval, its percentiles moved out as Hesterberg 2015 says."""
    from scipy.special import ndtr

    n = len(sums)
    influence = sums - value * counts
    acceleration = (influence**3).sum() / (influence**2).sum() ** 1.5 / 6
    middle = ndtri(np.clip((resampled < value).mean() / 2 + (resampled <= value).mean() / 2, 1e-3, 1 - 1e-3))
    moved = middle + np.array([-1, 1]) * math.sqrt(n / (n - 1)) * stdtrit(n - 1, 1 - TAIL)
    low, high = np.quantile(resampled, ndtr(middle + moved / (1 - acceleration * moved)))
    return float(low), float(high)


def wilson(hits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    z, p = ndtri(1 - TAIL), hits / n
    centre, half = p + z**2 / 2 / n, z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
    low, high = (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)
    return np.where(hits == 0, 0, low), np.where(hits == n, 1, high)


def jeffreys(hits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    low, high = betaincinv(hits + 0.5, n - hits + 0.5, TAIL), betaincinv(hits + 0.5, n - hits + 0.5, 1 - TAIL)
    return np.where(hits == 0, 0, low), np.where(hits == n, 1, high)


def clopper_pearson(hits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    found = np.array([share_interval(h / n, n, n, h * (1 - h / n), TAIL) for h in hits.tolist()])
    return found[:, 0], found[:, 1]


def shares(n: int) -> list[Row]:
    """Coverage of intervals of a share of n clips, exact, for shares from 0.001 to 0.5."""
    from scipy.stats import binom

    hits, truths = np.arange(n + 1), np.linspace(0.001, 0.5, 500)
    probabilities = binom.pmf(hits[:, None], n, truths)
    rows = []
    for way, function in (("Clopper-Pearson", clopper_pearson), ("Wilson", wilson), ("Jeffreys", jeffreys)):
        low, high = function(hits, n)
        held = (probabilities * ((low[:, None] <= truths) & (truths <= high[:, None]))).sum(axis=0)
        width = (probabilities * (high - low)[:, None]).sum(axis=0)
        rows.append(
            {"way": way, "clips": n, "least": held.min(), "mean": held.mean(), "width": width.mean()}
            | {"worst_share": truths[held.argmin()]}
        )
    return rows


def clustered(n: int, samples: int, alike: float, truth: float, trials: int = 2000) -> Row:
    """Coverage of intervals of a share, of several clips of each prompt that are alike (beta-binomial)."""
    rng = np.random.default_rng([n, samples, round(100 * alike), round(100 * truth)])
    own = rng.beta(truth * (1 - alike) / alike, (1 - truth) * (1 - alike) / alike, (trials, 1, n))
    hits = (rng.random((trials, samples, n)) < own).astype(float)
    ones = np.ones((samples, n))
    bounds = np.array([mean_interval(one, ones, LEVEL, (0, 1)) for one in hits])
    total = hits.sum(axis=(1, 2)).astype(int)
    low, high = clopper_pearson(np.arange(n * samples + 1), n * samples)
    return {
        "clips": n,
        "samples": samples,
        "alike": alike,
        "share": truth,
        "trials": trials,
        "covers": share(bounds, truth),
        "as_independent": share(np.stack([low[total], high[total]], axis=1), truth),
        "width": float((bounds[:, 1] - bounds[:, 0]).mean()),
    }


def measure_means() -> Row:
    return {"means": [row for n in CLIPS for row in means(n, 1000 if n <= 100 else 200)]}


def measure_shares() -> Row:
    cases = [(n, 4, alike, truth) for n in (12, 30, 100) for alike in (0.3, 0.8) for truth in (0.02, 0.1, 0.3)]
    return {"shares": [row for n in CLIPS for row in shares(n)], "clustered": [clustered(*case) for case in cases]}


def measure_fad() -> Row:
    return {
        "fad": [
            fad(d, name, n, trials if n <= 100 else trials // 4)
            for d, trials in TRIALS.items()
            for name in SETS
            for n in CLIPS
        ]
    }


def measure_fad_inf() -> Row:
    return {
        "fad_inf": [
            fad_inf(d, name, bound, n, {8: 200, 32: 100, 128: 20}[d])
            for d, numbers in EXTRAPOLATED.items()
            for bound in BOUND_TO
            for name in (SETS if d < 128 else ("same", "far"))
            for n in numbers
        ],
        "ways": [ways(32, name, bound, 100, 60) for bound in BOUND_TO for name in SETS],
    }


def measure_kad() -> Row:
    return {"kad": [kad(name, n, trials) for name in SETS for n, trials in ((12, 200), (30, 200), (100, 50))]}


MEASURED = {
    "means": measure_means,
    "shares": measure_shares,
    "fad": measure_fad,
    "fad_inf": measure_fad_inf,
    "kad": measure_kad,
}


def machine() -> dict[str, Any]:
    models = [line.split(":")[1].strip() for line in CPUINFO.read_text().splitlines() if "model name" in line]
    versions = {package: metadata.version(package) for package in ("numpy", "scipy")}
    about = {"cpu": f"{models[0]}, {os.cpu_count()} cores", "threads": os.environ.get("OMP_NUM_THREADS")}
    return {**about, "python": platform.python_version(), "versions": versions}


def main() -> None:
    """Measure, record, write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=(*MEASURED, "all", "none"), default="all")
    part = parser.parse_args().part
    for name in MEASURED if part == "all" else [part] if part != "none" else []:
        started = time.process_time()
        found = MEASURED[name]()
        # what others have measured meanwhile stays
        record = json.loads(JSON.read_text("utf-8")) if JSON.exists() else {}
        record |= {"level": LEVEL, "resamples": RESAMPLES, "windows_per_clip": WINDOWS, "correlation": ALIKE}
        used = record.get("cpu", {}) | {name: time.process_time() - started}
        record |= found | {"cpu": used, "machine": machine()}
        JSON.parent.mkdir(parents=True, exist_ok=True)
        JSON.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    write()


if __name__ == "__main__":
    main()
