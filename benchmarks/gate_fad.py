"""FAD of a baseline and a candidate over the same prompts, drawn from known Gaussians: what `benchmarks.gate` judges.

FAD needs of a group of clips no more than the sum of its windows and the sum of their products. A clip's mean is drawn;
the products of its windows around that mean have a Wishart distribution that does not depend on it, so that those of a
whole group of clips are drawn at once (Bartlett 1933). That is exact; `literal` draws every window, to compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from benchmarks.interval_coverage import ALIKE, NO_ENCODER, WINDOWS, Gaussian, features, gaussians, population
from evalkit.metrics.fad import FAD
from evalkit.metrics.kad import KAD
from evalkit.types import Features

UNLIKE = {8: 0.3, 128: 0.05}  # baseline and reference, by dimensions: FAD about a quarter of a set's total variance
NOISE = {"other": 0.0, "shared": 0.4}  # what two models' clips of a prompt have in common beside the prompt
CHUNK = 50  # trials after which they are kept
Fits = tuple[np.ndarray, np.ndarray]  # means (subsets, d) and covariances (subsets, d, d)
LESS = 0.9  # what is left of the variance of a set that is less varied


@dataclass(frozen=True)
class Sides:
    """The distributions that clips are drawn from, each a Gaussian.

    Attributes:
        shape: how the candidate differs from the baseline.
        margin: by what share of the baseline's FAD the candidate's is larger, of infinitely many clips.
        noise: whether the two models play from "other" noise or from "shared".
    """

    shape: str
    margin: float
    noise: str
    baseline: Gaussian
    candidate: Gaussian
    reference: Gaussian

    @property
    def each(self) -> tuple[Gaussian, Gaussian, Gaussian]:
        return self.baseline, self.candidate, self.reference

    @property
    def fad(self) -> float:
        """The baseline's, of infinitely many clips."""
        return population((self.baseline, self.reference))

    @property
    def difference(self) -> float:
        """Of the candidate's FAD from the baseline's."""
        return population((self.candidate, self.reference)) - self.fad


def sides(shape: str, margin: float = 0.0, noise: str = "other", d: int = 128) -> Sides:
    """Construct a candidate whose FAD is larger than the baseline's by exactly this share of it.

    Shapes: "same"; "shifted": the mean lies farther off; "wider": all variances are larger; "less varied": they are
    smaller by a tenth, and the mean lies farther off; "collapsed": they are so much smaller, by about half, that FAD is
    larger again, after it fell.
    """
    baseline, reference = gaussians(d, UNLIKE[d])
    mean, cov = baseline
    wanted = population((baseline, reference)) * (1 + margin)

    def solved(made: Callable[[float], Gaussian], low: float, high: float) -> Gaussian:
        return made(brentq(lambda x: population((made(x), reference)) - wanted, low, high, xtol=1e-14))

    if shape == "same":
        candidate = baseline
    elif shape == "shifted":
        candidate = solved(lambda x: (mean * x, cov), 1, 10)
    elif shape == "wider":
        candidate = solved(lambda x: (mean, cov * x), 1, 10)
    elif shape == "less varied":
        candidate = solved(lambda x: (mean * x, cov * LESS), 0, 10)
    elif shape == "collapsed":
        factor = np.linalg.cholesky(reference[1])
        root = np.sqrt(np.linalg.eigvalsh(factor.T @ cov @ factor)).sum()
        candidate = solved(lambda x: (mean, cov * x), 1e-6, (root / np.trace(cov)) ** 2)
    else:
        raise ValueError(f"no shape is called '{shape}'")
    return Sides(shape, margin, noise, baseline, candidate, reference)


def clip_effects(rng: np.random.Generator, n: int, d: int, noise: str) -> Iterator[np.ndarray]:
    """What is common to a clip's windows, standard normal, (n, d): of baseline, candidate and reference."""
    yield from effects(rng, n, d, (NOISE[noise], NOISE[noise], 0.0))


def effects(rng: np.random.Generator, n: int, d: int, shared: Sequence[float]) -> Iterator[np.ndarray]:
    """What is common to a clip's windows, standard normal, (n, d), of as many sets of clips of the same prompts.

    Args:
        shared: how much of each set's variance is of noise that all play from.
    """
    prompt, played = rng.standard_normal((n, d)), rng.standard_normal((n, d))
    for common in shared:
        own = rng.standard_normal((n, d))
        yield math.sqrt(ALIKE) * prompt + math.sqrt(common) * played + math.sqrt(1 - ALIKE - common) * own


def drawn(rng: np.random.Generator, case: Sides, n: int) -> list[Features]:
    """Draw every window of every clip: of baseline, candidate and reference."""
    result = []
    for (mean, cov), clip in zip(case.each, clip_effects(rng, n, len(case.reference[0]), case.noise), strict=True):
        own = rng.standard_normal((n, WINDOWS, clip.shape[1]))
        windows = math.sqrt(ALIKE) * clip[:, None] + math.sqrt(1 - ALIKE) * own
        result.append(features(list(windows @ np.linalg.cholesky(cov).T + mean)))
    return result


def literal(rng: np.random.Generator, case: Sides, groups: np.ndarray, subsets: np.ndarray) -> np.ndarray:
    """Measure FAD of baseline and candidate by evalkit on subsets of clips, whose windows are drawn: (subsets, 2).

    Args:
        groups: which group each prompt is in, (n,).
        subsets: which groups count, (subsets, groups), 0 or 1.
    """
    baseline, candidate, reference = drawn(rng, case, len(groups))
    weights, found = subsets[:, groups], []
    for side in (baseline, candidate):
        measured = FAD(NO_ENCODER)(side, reference)
        assert measured.resampled is not None
        found.append(measured.resampled(weights, weights))
    return np.stack(found, axis=1)


def shortcut(rng: np.random.Generator, case: Sides, groups: np.ndarray, subsets: np.ndarray) -> np.ndarray:
    """Draw the distances of `literal`, with the same distribution, from sums over groups."""
    clips = clip_effects(rng, len(groups), len(case.reference[0]), case.noise)
    fits = [fit_of_clips(rng, clip, groups, subsets) for clip in clips]
    return distances(case.each[:2], fits[:2], case.reference, fits[2])


def fit_of_clips(rng: np.random.Generator, clip: np.ndarray, groups: np.ndarray, subsets: np.ndarray) -> Fits:
    """Draw means and covariances of all windows of some clips, before these have the mean and covariance of their set.

    Args:
        clip: what is common to the windows of each clip, standard normal, (n, d).
    """
    sizes, d = np.bincount(groups), clip.shape[1]
    order, ends = np.argsort(groups, kind="stable"), np.cumsum(sizes)
    means = math.sqrt(ALIKE) * clip + math.sqrt((1 - ALIKE) / WINDOWS) * rng.standard_normal(clip.shape)
    parts = np.split(means[order], ends[:-1])
    sums = WINDOWS * np.stack([part.sum(axis=0) for part in parts])
    products = WINDOWS * np.stack([part.T @ part for part in parts])
    products += (1 - ALIKE) * wisharts(rng, (WINDOWS - 1) * sizes, d)
    return fitted(sums, products, WINDOWS * sizes, subsets)


def distances(each: Sequence[Gaussian], fits: Sequence[Fits], reference: Gaussian, reference_fit: Fits) -> np.ndarray:
    """FAD of sets whose Gaussians are given, and what their clips came out as, on every subset: (subsets, sets)."""
    reference_mean, reference_cov = reference_fit
    target, target_cov = reference
    # with F Fᵀ the reference's covariance, the eigenvalues of Fᵀ C F are those whose roots the distance needs
    root = np.linalg.cholesky(target_cov)
    factors = np.swapaxes(np.linalg.cholesky(reference_cov), 1, 2) @ root.T
    points = reference_mean @ root.T + target
    spread = np.einsum("sij,ij->s", reference_cov, root.T @ root)
    found = []
    for (mean, cov), (side_mean, side_cov) in zip(each, fits, strict=True):
        own = np.linalg.cholesky(cov)
        turned = factors @ own
        between = np.linalg.eigvalsh(turned @ side_cov @ np.swapaxes(turned, 1, 2))
        apart = ((side_mean @ own.T + mean - points) ** 2).sum(axis=1)
        traces = np.einsum("sij,ij->s", side_cov, own.T @ own) + spread
        found.append(apart + traces - 2 * np.sqrt(np.maximum(between, 0)).sum(axis=1))
    return np.stack(found, axis=1)


def wisharts(rng: np.random.Generator, freedoms: np.ndarray, d: int) -> np.ndarray:
    """Draw matrices of Wishart distributions, (groups, d, d): the products of so many standard normal vectors."""
    result = np.empty((len(freedoms), d, d))
    for at, freedom in enumerate(freedoms):
        if freedom < d:
            root = rng.standard_normal((d, freedom), dtype=np.float32)
        else:
            root = np.tril(rng.standard_normal((d, d), dtype=np.float32), -1)
            np.fill_diagonal(root, np.sqrt(rng.chisquare(freedom - np.arange(d))))
        result[at] = root @ root.T
    return result


def fitted(sums: np.ndarray, products: np.ndarray, counts: np.ndarray, subsets: np.ndarray) -> Fits:
    """Means (subsets, d) and covariances (subsets, d, d) of the windows of some groups, from each group's sums."""
    n = subsets @ counts
    means = subsets @ sums / n[:, None]
    covs = np.tensordot(subsets, products, 1)
    covs -= n[:, None, None] * means[:, :, None] * means[:, None, :]
    covs /= (n - 1)[:, None, None]
    return means, covs


def trials(
    case: Sides, groups: np.ndarray, subsets: np.ndarray, number: int, keep: Path | None
) -> Iterator[np.ndarray]:
    """The distances of so many trials, each (subsets, 2): those that were kept in a folder, and then new ones.

    The trial's number decides what is drawn.
    """
    key = f"{case.shape} {case.margin:g} {case.noise} {len(groups)} {subsets.shape[1]}"
    path = keep / f"{key.replace(' ', '_')}.npy" if keep else None
    known = np.load(path) if path and path.exists() else np.empty((0, len(subsets), 2))
    yield from known[:number]
    for start in range(len(known), number, CHUNK):
        new = []
        for trial in range(start, min(number, start + CHUNK)):
            new.append(shortcut(np.random.default_rng([trial, *key.encode()]), case, groups, subsets))
            yield new[-1]
        known = np.concatenate([known, np.stack(new)])
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, known)


def moved_for_kad(shape: str, margin: float, metric: KAD, d: int = 8) -> tuple[Sides, float]:
    """Construct a candidate of which KAD, not FAD, is larger by this share, and by how much it is."""
    case = sides("same", d=d)
    own = gaussian_kad(case.baseline, case.reference, metric)
    if shape == "same":
        return case, 0.0
    mean, cov = case.baseline
    by = brentq(lambda x: gaussian_kad((mean * x, cov), case.reference, metric) - own * (1 + margin), 1, 10, xtol=1e-14)
    return replace(case, shape=shape, margin=margin, candidate=(mean * by, cov)), own * margin


def gaussian_kad(one: Gaussian, other: Gaussian, metric: KAD) -> float:
    """KAD of two Gaussians, whose kernel means are known in closed form."""
    assert metric.bandwidth is not None
    square = metric.bandwidth**2

    def alike(a: Gaussian, b: Gaussian) -> float:
        apart, cov = a[0] - b[0], a[1] + b[1] + square * np.eye(len(a[0]))
        scale = np.linalg.det(cov / square) ** -0.5
        return float(scale * np.exp(-apart @ np.linalg.solve(cov, apart) / 2))

    return metric.scale * (alike(one, one) + alike(other, other) - 2 * alike(one, other))
