"""Statistics of features: pure functions, float64."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.linalg

CHUNK = 64  # clips whose frames are in memory at once as float64
BLOCK = 2**24  # numbers of the sums of products, of clips and of resamples, that are in memory at once


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
    means = np.array([clip.mean(axis=0, dtype=np.float64) for clip in clips])
    between = float(means.var(axis=0, ddof=1).sum())
    if not between or frames < 2:
        return float(frames)
    centre, squares = sum(part.sum(axis=0) for part in _chunks(clips)) / frames, 0.0
    for part in _chunks(clips):
        squares += float(((part - centre) ** 2).sum())
    return min(float(frames), len(clips) * squares / (frames - 1) / between)


def resampled_gaussians(
    clips: Sequence[np.ndarray], weights: np.ndarray, ddof: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Fit a Gaussian to each resample of clips: yields means (b, d) and covariances (b, d, d), block by block.

    Every clip's sums of products are computed once, and one matrix product gives those of many
    resamples. Frames are centred on their common mean first, so that nothing cancels. Where all resamples are
    the same, as where one side alone is resampled, it is fitted once. NaN for resamples of fewer than ddof + 1 frames.

    Args:
        clips: arrays (frames, d).
        weights: how often each clip counts, (resamples, clips).
    """
    d = clips[0].shape[1]
    upper = np.triu_indices(d)
    counts = np.array([float(len(clip)) for clip in clips])
    centre = sum(part.sum(axis=0) for part in _chunks(clips)) / counts.sum()
    # many clips in one product: few passes over the sums of the resamples
    many = max(1, min(512, BLOCK // len(upper[0])))
    size = max(1, BLOCK // len(upper[0]))
    blocks = [weights[start : start + size] for start in range(0, len(weights), size)]
    if len(weights) > 1 and (weights == weights[0]).all():
        ((mean, cov),) = resampled_gaussians(clips, weights[:1], ddof)
        for block in blocks:
            yield np.broadcast_to(mean, (len(block), d)), np.broadcast_to(cov, (len(block), d, d))
        return
    for block in blocks:
        sums, products = np.zeros((len(block), d)), np.zeros((len(block), len(upper[0])))
        for start in range(0, len(clips), many):
            own_sums, own_products = _sums(clips[start : start + many], centre)
            share = block[:, start : start + many]
            sums += share @ own_sums
            products += share @ own_products
        n = (block @ counts)[:, None]
        n[n <= ddof] = np.nan
        means = sums / n
        products -= n * means[:, upper[0]] * means[:, upper[1]]
        products /= n - ddof
        covs = np.empty((len(block), d, d))
        covs[:, upper[0], upper[1]] = covs[:, upper[1], upper[0]] = products
        yield means + centre, covs


def _sums(clips: Sequence[np.ndarray], centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each clip's sum (clips, d), and its sums of products on and above the diagonal, (clips, d (d + 1) / 2)."""
    d = len(centre)
    above = np.ravel_multi_index(np.triu_indices(d), (d, d))
    sums, products = np.empty((len(clips), d)), np.empty((len(clips), len(above)))
    square = np.empty((d, d))  # one for all: half of the time would go into fresh memory
    for i, clip in enumerate(clips):
        frames = clip - centre
        frames.sum(axis=0, out=sums[i])
        np.matmul(frames.T, frames, out=square)
        np.take(square, above, out=products[i])
    return sums, products


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
    from threadpoolctl import threadpool_limits

    def distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
        known = np.isfinite(np.trace(cov1) + np.trace(cov2))
        return frechet_distance(mean1, cov1, mean2, cov2) if known else np.nan

    distances: list[float] = []
    sets = in_common_span(generated, reference)
    both = zip(sets, (generated_weights, reference_weights), strict=True)
    fits = [resampled_gaussians(clips, weights, ddof) for clips, weights in both]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (m1, c1), (m2, c2) in zip(*fits, strict=True):
            # one resample per core: BLAS's own threads would only wait for each other
            with threadpool_limits(1, user_api="blas"):
                distances += pool.map(distance, m1, c1, m2, c2)
    return np.array(distances)


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """Compute the squared Fréchet distance of two Gaussians, |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½).

    Dowson and Landau (1982), as used for FAD by Kilgour et al. (2019). The trace of the root is the
    sum of the singular values of F1ᵀ F2, for any factors C = F Fᵀ. Unlike the roots of eigenvalues
    of C1 C2, or a general matrix root, singular values are exact to rounding also where a
    covariance is ill-conditioned or singular, and need no small constant on its diagonal.
    """
    singular = np.linalg.svd(_factor(cov1).T @ _factor(cov2), compute_uv=False)
    difference = mean1 - mean2
    return float(difference @ difference + np.trace(cov1) + np.trace(cov2) - 2 * singular.sum())


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
