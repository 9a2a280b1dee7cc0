"""What single clips contribute to a Fréchet distance: pure functions, float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evalkit.stats.frechet import CHUNK, gaussian


def frechet_distances_without(
    generated: Sequence[np.ndarray], reference: Sequence[np.ndarray], ddof: int = 1
) -> tuple[float, np.ndarray]:
    """Compute the Fréchet distance of all clips, a number, and that without each generated clip in turn, (clips,).

    Exact: each clip's sums of products are taken from those of all. The trace of the root of the
    covariances' product is the sum of the roots of the eigenvalues of R C R, with R² the reference's
    covariance. NaN where the other clips have too few frames. Raises ValueError for fewer than
    ddof + 1 frames in a set.

    Args:
        generated, reference: arrays (frames, d).
    """
    centre, covariance = gaussian(generated, ddof)
    target, target_covariance = gaussian(reference, ddof)
    values, vectors = np.linalg.eigh(target_covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    count = sum(map(len, generated))
    products = covariance * (count - ddof)

    def distances(means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
        between = np.linalg.eigvalsh(root @ covariances @ root)
        # eigenvalues within rounding of zero count as zero: the root would blow 1e-16 up to 1e-8
        rounding = between.shape[-1] * np.finfo(np.float64).eps * between.max(axis=-1, keepdims=True)
        between = np.where(between > rounding, between, 0)
        traces = np.trace(covariances, axis1=-2, axis2=-1) + np.trace(target_covariance)
        result: np.ndarray = ((means - target) ** 2).sum(axis=-1) + traces - 2 * np.sqrt(between).sum(axis=-1)
        return result

    without = []
    for start in range(0, len(generated), CHUNK):
        frames = [np.asarray(clip, np.float64) - centre for clip in generated[start : start + CHUNK]]
        left = np.array([float(count - len(clip)) for clip in frames])
        left[left <= ddof] = np.nan
        means = -np.array([clip.sum(axis=0) for clip in frames]) / left[:, None]
        covariances = products - np.array([clip.T @ clip for clip in frames])
        covariances -= left[:, None, None] * means[:, :, None] * means[:, None, :]
        covariances /= (left - ddof)[:, None, None]
        possible = np.isfinite(left)
        part = np.full(len(frames), np.nan)
        part[possible] = distances(centre + means[possible], covariances[possible])
        without.append(part)
    (whole,) = distances(centre[None], covariance[None])
    return float(whole), np.concatenate(without)


def frechet_influences(
    generated: Sequence[np.ndarray], mean: np.ndarray, cov: np.ndarray, target: np.ndarray, target_cov: np.ndarray
) -> np.ndarray:
    """Compute how each generated clip moves a Fréchet distance: the derivative in how often it counts, (clips,).

    With R² the reference's covariance, the derivative of the distance in the covariance C is I - R (R C R)^-½ R, and
    in the mean twice the difference of the means. Directions in which no frame varies have none.

    Args:
        generated: arrays (frames, d).
        mean, cov: of the Gaussian that is fitted to their frames.
        target, target_cov: of that of the reference.
    """
    values, vectors = np.linalg.eigh(target_cov)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    values, vectors = np.linalg.eigh(root @ cov @ root)
    rounding = len(values) * np.finfo(np.float64).eps * values.max(initial=0.0)
    inverse = np.where(values > rounding, 1 / np.sqrt(np.maximum(values, np.finfo(np.float64).tiny)), 0)
    slope = np.eye(len(mean)) - root @ (vectors * inverse) @ vectors.T @ root
    constant, shift = float((slope * cov).sum()), 2 * (mean - target)
    count = sum(map(len, generated))
    moved = []
    for clip in generated:
        frames = np.asarray(clip, np.float64) - mean
        moved.append(float((frames @ shift + ((frames @ slope) * frames).sum(axis=1) - constant).sum()) / count)
    return np.array(moved)
