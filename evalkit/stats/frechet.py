"""Statistics of features: pure functions, float64."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.linalg

from evalkit.stats.threads import Each, serial, side_by_side

CHUNK = 64  # clips whose frames are in memory at once as float64
BLOCK = 2**24  # numbers of the sums of resamples that are in memory at once; of those of clips a fourth
MANY = 512  # clips in one product at most: few passes over the sums of the resamples
PARTS = 32  # into which a product is divided, for as many cores
COLUMNS, TILE = 256, 2**18  # of a part: columns at least, numbers at most
FEW = 1.5  # frames of a set for each dimension: a resample has 63 % of them, so that its covariance is singular


Fits = Sequence[tuple[np.ndarray, np.ndarray]]  # means (d,) and covariances (d, d)


def gaussian(clips: Sequence[np.ndarray], ddof: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Fit a Gaussian to the frames of all clips, each (frames, d): mean (d,) and covariance (d, d).

    Sums of products are divided by n - ddof. Raises ValueError for fewer than ddof + 1 frames.
    """
    n = sum(map(len, clips))
    if n <= ddof:
        raise ValueError(f"{n} frames are too few for a covariance")
    mean = sum(part.sum(axis=0) for part in _chunks(clips)) / n
    products = 0.0
    for part in _chunks(clips):
        part -= mean
        products = products + part.T @ part
    return np.asarray(mean), np.asarray(products) / (n - ddof)


def _chunks(clips: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    for start in range(0, len(clips), CHUNK):
        yield np.concatenate(clips[start : start + CHUNK], dtype=np.float64)


def effective_sample_size(clips: Sequence[np.ndarray]) -> float:
    """Estimate how many independent frames are worth as much as those of clips, (frames, d), which are alike.

    The number of clips times the frames' variance over that of the clips' means, summed over dimensions: the
    effective sample size of cluster sampling (Kish 1965). Every clip has a frame. At most the number of frames.
    """
    frames = sum(map(len, clips))
    centre = sum(clip.mean(axis=0, dtype=np.float64) for clip in clips) / len(clips)
    moments = sum((clip.mean(axis=0, dtype=np.float64) - centre) ** 2 for clip in clips)
    between = float(np.sum(moments)) / max(1, len(clips) - 1)
    if not between or frames < 2:
        return float(frames)
    centre, squares = sum(part.sum(axis=0) for part in _chunks(clips)) / frames, 0.0
    for part in _chunks(clips):
        squares += float(((part - centre) ** 2).sum())
    return min(float(frames), len(clips) * squares / (frames - 1) / between)


class Gaussians(Fits):
    """Gaussians of resamples, each a mean (d,) and a covariance (d, d), which is put together when it is asked for.

    Attributes:
        sums: of each resample the sums of products of frames on and above the diagonal, then the sums of frames,
            (resamples, d (d + 1) / 2 + d); of frames less `centre`.
        numbers: of the frames in each resample, (resamples,).
        ddof: sums of products are divided by the number of frames less this. NaN for ddof frames and fewer.
    """

    def __init__(self, sums: np.ndarray, numbers: np.ndarray, centre: np.ndarray, ddof: int):
        self.sums, self.numbers, self.centre, self.ddof = sums, numbers, centre, ddof
        d = len(centre)
        upper = np.triu_indices(d)
        self._places = np.empty((d, d), int)  # in a row of sums, of each entry of a matrix
        self._places[upper] = self._places.T[upper] = np.arange(d * (d + 1) // 2)

    def __len__(self) -> int:
        return len(self.sums)

    def __getitem__(self, index: Any) -> Any:
        d, n = len(self.centre), self.numbers[index]
        if n <= self.ddof:
            return np.full(d, np.nan), np.full((d, d), np.nan)
        mean = self.sums[index, -d:] / n
        cov = self.sums[index][self._places]
        cov -= n * np.outer(mean, mean)
        cov /= n - self.ddof
        return mean + self.centre, cov


def resampled_gaussians(
    clips: Sequence[np.ndarray], weights: np.ndarray, ddof: int = 1, each: Each = serial
) -> Iterator[Fits]:
    """Fit a Gaussian to each resample of clips: yields means (d,) and covariances (d, d) of blocks of resamples.

    A block is overwritten by the next one. Of each clip the sums of products are computed, and one matrix product adds
    those of many clips to those of many resamples. Frames are centred on their common mean first, so that nothing
    cancels. Where all resamples are the same, as where one side alone is resampled, it is fitted once. NaN for
    resamples of fewer than ddof + 1 frames.

    Args:
        clips: arrays (frames, d).
        weights: how often each clip counts, (resamples, clips).
        each: applies a function to items, as `side_by_side` does.
    """
    d = clips[0].shape[1]
    width = _width(d)
    counts = np.array([float(len(clip)) for clip in clips])
    centre = sum(part.sum(axis=0) for part in _chunks(clips)) / counts.sum()
    size = max(1, min(len(weights), _block(d)))
    if len(weights) > 1 and all(np.array_equal(row, weights[0]) for row in weights[1:]):
        ((one,),) = resampled_gaussians(clips, weights[:1], ddof, each)
        for start in range(0, len(weights), size):
            yield [one] * min(size, len(weights) - start)
        return
    many = max(1, min(MANY, BLOCK // 4 // width))
    above = np.ravel_multi_index(np.triu_indices(d), (d, d))
    of_resamples = np.empty((size, width))
    for first in range(0, len(weights), size):
        block = weights[first : first + size]
        totals = of_resamples[: len(block)]
        totals[:] = 0
        of_clips = np.empty((many, width))
        for start in range(0, len(clips), many):
            some = clips[start : start + many]
            own = of_clips[: len(some)]
            _side_by_side(each, functools.partial(_sums, some, centre, above, own), len(some), max(1, many // PARTS))
            # of all resamples as many columns as stay in a core's cache
            columns = max(COLUMNS, min(width // PARTS, TILE // len(block)))
            share = np.asarray(block[:, start : start + many], np.float64)
            _side_by_side(each, functools.partial(_add, totals, share, own), width, columns)
        del own, of_clips  # not kept beside those of the other side
        yield Gaussians(totals, block @ counts, centre, ddof)


def _width(d: int) -> int:
    return d * (d + 1) // 2 + d


def _block(d: int) -> int:
    return max(1, BLOCK // _width(d))


def _side_by_side(each: Each, function: Callable[[slice], None], length: int, size: int) -> None:
    each(function, [slice(start, min(start + size, length)) for start in range(0, length, size)])


def _add(totals: np.ndarray, weights: np.ndarray, sums: np.ndarray, columns: slice) -> None:
    totals[:, columns] += weights @ sums[:, columns]


def _sums(clips: Sequence[np.ndarray], centre: np.ndarray, above: np.ndarray, out: np.ndarray, rows: slice) -> None:
    """Write each clip's sums of products on and above the diagonal, then its sum, (clips, d (d + 1) / 2 + d).

    Args:
        above: numbers of the entries on and above the diagonal.
        rows: which clips.
    """
    d = len(centre)
    square = np.empty((d, d))  # one for all: half of the time would go into fresh memory
    for clip, row in zip(clips[rows], out[rows], strict=True):
        frames = clip - centre
        frames.sum(axis=0, out=row[-d:])
        np.matmul(frames.T, frames, out=square)
        np.take(square, above, out=row[:-d])


def resampled_frechet_distances(
    generated: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    generated_weights: np.ndarray,
    reference_weights: np.ndarray,
    ddof: int = 1,
) -> np.ndarray:
    """Compute the Fréchet distance of each resample of two sets of clips, (resamples,); NaN for too few frames.

    Args:
        generated, reference: arrays (frames, d).
        generated_weights, reference_weights: how often each clip of that side counts, (resamples, clips); the
            same array where clips are paired.
    """
    distances: list[float] = []
    sets = in_common_span(generated, reference)
    both = zip(sets, (generated_weights, reference_weights), strict=True)
    with side_by_side() as each:
        for fits in zip(*(_resampled(clips, weights, ddof, each) for clips, weights in both), strict=True):
            distances += each(functools.partial(_distance, *fits), range(len(fits[0])))
    return np.array(distances)


class Drawn:
    """Resamples of a set of few frames.

    A resample's frames, less their mean and weighted, are a factor of its covariance, which is then neither computed
    nor taken apart again: where it is singular, that takes several times as long, and rounds more.

    Attributes:
        frames: of all clips, (frames, d), float64.
        lengths: how many of them each clip has, (clips,).
        weights: how often each clip counts, (resamples, clips).
        ddof: sums of products are divided by the number of frames less this.
    """

    def __init__(self, frames: np.ndarray, lengths: np.ndarray, weights: np.ndarray, ddof: int):
        self.frames, self.lengths, self.weights, self.ddof = frames, lengths, weights, ddof

    def __len__(self) -> int:
        return len(self.weights)

    def factored(self, index: int) -> tuple[np.ndarray, float, np.ndarray] | None:
        """A resample's mean (d,), and the trace and a factor (d, frames) of its covariance; None for too few frames."""
        counts = np.repeat(self.weights[index], self.lengths)
        drawn, n = np.flatnonzero(counts), counts.sum()
        if n <= self.ddof:
            return None
        frames, counts = self.frames[drawn], counts[drawn]
        mean = counts @ frames / n
        frames -= mean
        frames *= np.sqrt(counts / (n - self.ddof))[:, None]
        return mean, float(np.square(frames).sum()), frames.T


def _resampled(clips: Sequence[np.ndarray], weights: np.ndarray, ddof: int, each: Each) -> Iterator[Fits | Drawn]:
    """Blocks of resamples, as long for one side as for the other, in the way that is faster for so many frames."""
    d = clips[0].shape[1]
    lengths = np.array([len(clip) for clip in clips])
    if lengths.sum() > FEW * d:
        yield from resampled_gaussians(clips, weights, ddof, each)
        return
    frames = np.concatenate(clips, dtype=np.float64)
    size = _block(d)
    for start in range(0, len(weights), size):
        yield Drawn(frames, lengths, weights[start : start + size], ddof)


def _distance(generated: Fits | Drawn, reference: Fits | Drawn, resample: int) -> float:
    ours, theirs = (_factored(side, resample) for side in (generated, reference))
    return _of_factors(*ours, *theirs) if ours and theirs else np.nan


def _factored(side: Fits | Drawn, resample: int) -> tuple[np.ndarray, float, np.ndarray] | None:
    """A resample's mean, and the trace and a factor of its covariance; None where they are not numbers."""
    if isinstance(side, Drawn):
        found = side.factored(resample)
        return found if found and np.isfinite(found[1]) else None
    mean, cov = side[resample]
    trace = np.trace(cov)
    return (mean, trace, _factor(cov)) if np.isfinite(trace) else None


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """Compute the squared Fréchet distance of two Gaussians, |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½).

    Dowson and Landau (1982), as used for FAD by Kilgour et al. (2019). The trace of the root is the
    sum of the singular values of F1ᵀ F2, for any factors C = F Fᵀ. Unlike the roots of eigenvalues
    of C1 C2, or a general matrix root, singular values are exact to rounding also where a
    covariance is ill-conditioned or singular, and need no small constant on its diagonal.
    """
    return _of_factors(mean1, np.trace(cov1), _factor(cov1), mean2, np.trace(cov2), _factor(cov2))


def _of_factors(
    mean1: np.ndarray, trace1: float, factor1: np.ndarray, mean2: np.ndarray, trace2: float, factor2: np.ndarray
) -> float:
    singular = np.linalg.svd(factor1.T @ factor2, compute_uv=False)
    difference = mean1 - mean2
    return float(difference @ difference + trace1 + trace2 - 2 * singular.sum())


def _factor(cov: np.ndarray) -> np.ndarray:
    """F with F Fᵀ = cov, for a symmetric positive semi-definite matrix.

    Its Cholesky factor, or its root where it is nearly singular. There, eigenvalues within rounding
    of zero count as zero: the root would blow 1e-16 up to 1e-8.
    """
    try:
        factor: np.ndarray = np.linalg.cholesky(cov)
        pivots = np.diagonal(factor)
        if pivots.min() > 1e-6 * pivots.max():
            return factor
    except np.linalg.LinAlgError:
        pass
    values, vectors = scipy.linalg.eigh(cov)
    rounding = len(values) * np.finfo(np.float64).eps * values.max(initial=0.0)
    factor = (vectors * np.sqrt(np.where(values > rounding, values, 0.0))) @ vectors.T
    return factor


def in_common_span(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray]
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Express two sets of clips (frames, d) in the space that their frames span, if these are fewer than d.

    Distances stay as they are, and so do Fréchet distances between the sets, but for few clips of
    many dimensions they cost far less.
    """
    if sum(map(len, [*first, *second])) >= first[0].shape[1]:
        return first, second
    frames = np.concatenate([*first, *second], dtype=np.float64)
    centre = frames.mean(axis=0)
    basis = np.linalg.qr((frames - centre).T).Q
    one, other = ([(np.asarray(clip, np.float64) - centre) @ basis for clip in clips] for clips in (first, second))
    return one, other
