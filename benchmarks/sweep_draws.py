"""Points of a sweep over the same prompts, drawn from known distributions: what `benchmarks.sweeps` judges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.gate_fad import NOISE, distances, effects, fit_of_clips, fitted, sides
from benchmarks.interval_coverage import ALIKE, WINDOWS, Gaussian
from evalkit.stats import jackknife

GROUPS = 100  # of prompts, at most
RARELY = 0.05  # share of prompts in which a point with a rare fault has it
FAULT = 0.2  # what such a point is otherwise better by, in standard deviations of a clip
SHAPES = ("shifted", "less varied", "collapsed")


def grouped(n: int) -> np.ndarray:
    """Which group each of n prompts is in, (n,)."""
    return jackknife.groups([str(i) for i in range(n)], min(n, GROUPS), 0)


def of_means(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimates (K,) of the means of values (K, n), and the influences of groups of prompts, (K, groups)."""
    sizes = np.bincount(groups).astype(float)
    order, starts = np.argsort(groups, kind="stable"), np.cumsum(sizes).astype(int) - sizes.astype(int)
    sums = np.add.reduceat(values[:, order], starts, axis=1)
    without = (sums.sum(axis=1, keepdims=True) - sums) / (len(groups) - sizes)
    return of_sets(values.mean(axis=1), without, sizes)


def of_sets(values: np.ndarray, without: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimates (K,) without bias and influences (K, groups) from values (K,) and those without each group."""
    each = [jackknife.influences(float(value), rest, sizes) for value, rest in zip(values, without, strict=True)]
    return np.array([one for one, _ in each]), np.stack([influence for _, influence in each])


@dataclass(frozen=True)
class Kind:
    """How a metric's values are distributed over prompts, with a standard deviation of about 1.

    Attributes:
        sigma: of log-normal values; 0 for normal ones.
        alike: correlation of two points' clips of a prompt, before the exponential; of neighbours, if `chain`.
        chain: points are the less alike the farther they are apart.
        fault: all points but the first have a rare fault, and are better where they do not have it.
    """

    sigma: float
    alike: float
    chain: bool = False
    fault: bool = False


KINDS = {
    "normal": Kind(0.0, 0.5),
    "normal, shared noise": Kind(0.0, 0.9),
    "normal, neighbours alike": Kind(0.0, 0.9, chain=True),
    "log-normal": Kind(1.0, 0.5),
    "log-normal, shared noise": Kind(1.0, 0.9),
    "rare fault": Kind(0.0, 0.9, fault=True),
}


def apart(kind: Kind) -> float:
    """Standard deviation over prompts of the difference of two points, which are neighbours where that matters."""
    if not kind.sigma:
        return math.sqrt(2 * (1 - kind.alike) + (FAULT**2 * (1 / RARELY - 1) if kind.fault else 0.0))
    variance = math.exp(kind.sigma**2) * (math.exp(kind.sigma**2) - 1)
    covariance = math.exp(kind.sigma**2) * (math.exp(kind.sigma**2 * kind.alike) - 1)
    return math.sqrt(2 * (1 - covariance / variance))


def values(rng: np.random.Generator, kind: Kind, means: np.ndarray, n: int) -> np.ndarray:
    """Draw values (K, n) of points whose expectations are `means` (K,) and a constant."""
    number = len(means)
    if kind.chain:
        drawn = np.empty((number, n))
        drawn[0] = rng.standard_normal(n)
        for i in range(1, number):
            drawn[i] = kind.alike * drawn[i - 1] + math.sqrt(1 - kind.alike**2) * rng.standard_normal(n)
    else:
        own = rng.standard_normal((number, n))
        drawn = math.sqrt(kind.alike) * rng.standard_normal(n) + math.sqrt(1 - kind.alike) * own
    if kind.sigma:
        scale = math.sqrt(math.exp(kind.sigma**2) * (math.exp(kind.sigma**2) - 1))
        drawn = np.exp(kind.sigma * drawn) / scale
    if kind.fault:
        drawn[1:] += np.where(rng.random((number - 1, n)) < RARELY, FAULT / RARELY, 0.0) - FAULT
    return drawn + means[:, None]


def front_of(truth: np.ndarray) -> np.ndarray:
    """Which points no other is better than in every metric, of (metrics, K), where lower is better: (K,)."""
    apart_by = truth[:, None, :] - truth[:, :, None]  # of another point from this one, (metrics, K, K)
    beaten = (apart_by <= 0).all(axis=0) & (apart_by < 0).any(axis=0)
    result: np.ndarray = ~beaten.any(axis=1)
    return result


def fad_points(shapes: Sequence[str], margins: Sequence[float], d: int) -> tuple[list[Gaussian], Gaussian]:
    """Gaussians of points whose FADs are larger than that of "same" by these shares, and the reference's."""
    cases = [sides(shape, margin, d=d) for shape, margin in zip(shapes, margins, strict=True)]
    return [case.candidate for case in cases], cases[0].reference


def fads(
    rng: np.random.Generator, points: Sequence[Gaussian], reference: Gaussian, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw FADs of points that share their noise, (K,), without bias, and influences, (K, groups)."""
    number, d = int(groups.max()) + 1, len(reference[0])
    subsets = np.concatenate([np.ones((1, number)), 1 - np.eye(number)])
    clips = effects(rng, len(groups), d, [NOISE["shared"]] * len(points) + [0.0])
    fits = [fit_of_clips(rng, clip, groups, subsets) for clip in clips]
    found = distances(points, fits[:-1], reference, fits[-1])
    return of_sets(found[0], found[1:].T, np.bincount(groups).astype(float))


class NestedFADs:
    """Sums of every clip, so that FADs of points can be taken over ever more prompts.

    Each window is drawn, which is fast enough in few dimensions.
    """

    def __init__(
        self, rng: np.random.Generator, points: Sequence[Gaussian], reference: Gaussian, n: int, seed_noise: float = 0.4
    ) -> None:
        self.points, self.reference = points, reference
        self.sums, self.products = [], []
        for clip in effects(rng, n, len(reference[0]), [seed_noise] * len(points) + [0.0]):
            own = rng.standard_normal((n, WINDOWS, clip.shape[1]))
            windows = math.sqrt(ALIKE) * clip[:, None] + math.sqrt(1 - ALIKE) * own
            self.sums.append(windows.sum(axis=1))
            self.products.append(np.swapaxes(windows, 1, 2) @ windows)

    def on(self, which: Sequence[int], n: int) -> tuple[np.ndarray, np.ndarray]:
        """FADs (K,) of some points over the first n prompts, without bias, and influences (K, groups)."""
        groups = grouped(n)
        sizes = np.bincount(groups)
        member = np.zeros((len(sizes), n))
        member[groups, np.arange(n)] = 1
        subsets = np.concatenate([np.ones((1, len(sizes))), 1 - np.eye(len(sizes))])
        fits = []
        for i in (*which, len(self.points)):
            sums, products = self.sums[i][:n], self.products[i][:n]
            flat = member @ products.reshape(n, -1)
            d = sums.shape[1]
            fits.append(fitted(member @ sums, flat.reshape(-1, d, d), WINDOWS * sizes, subsets))
        found = distances([self.points[i] for i in which], fits[:-1], self.reference, fits[-1])
        return of_sets(found[0], found[1:].T, sizes.astype(float))
