"""The metrics as functions of plain arrays, for features that are there already.

Arrays are (items, dimensions), of any float type, one row per clip or window; computing is in float64 and the result is
a number. All raise EvalkitError for arrays of another shape, for values that are not finite, and for too few items.
Intervals, protocols and networks are those of `evalkit.evaluate`, whose metrics compute with the
same code.

>>> import numpy as np
>>> from evalkit.functional import frechet_distance
>>> rng = np.random.default_rng(0)
>>> generated, reference = rng.normal(0.5, 1, (500, 8)), rng.normal(0, 1, (400, 8))
>>> round(frechet_distance(generated, reference), 2)
1.83
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from evalkit.errors import EvalkitError, unknown
from evalkit.stats import divergence, frechet, kernel, neighbours

__all__ = [
    "cosine_similarity",
    "coverage",
    "density",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "kl_divergence",
    "precision",
    "recall",
]


def frechet_distance(generated: ArrayLike, reference: ArrayLike, ddof: int = 1) -> float:
    """Compute the Fréchet distance of two sets, as FAD is of VGGish's embeddings.

    |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½) of Gaussians fitted to both sets: Dowson and Landau 1982, and Kilgour
    et al. 2019, "Fréchet Audio Distance".

    Args:
        generated, reference: (items, dimensions); the numbers of items may differ.
        ddof: covariances are divided by items - ddof, 0 or 1.

    >>> round(frechet_distance([[0.0, 0.0], [2.0, 2.0]], [[1.0, 0.0], [3.0, 2.0]]), 6)
    1.0
    """
    if ddof not in (0, 1):
        raise EvalkitError(f"ddof={ddof}: must be 0 or 1")
    sets = _sets(generated, reference, least=ddof + 1)
    return frechet.frechet_distance(*(moment for one in sets for moment in frechet.gaussian([one], ddof)))


def kernel_distance(
    generated: ArrayLike, reference: ArrayLike, bandwidth: float | None = None, scale: float = 100.0
) -> float:
    """Compute the kernel audio distance of two sets: their squared maximum mean discrepancy, without bias, scaled.

    Gretton et al. 2012, "A Kernel Two-Sample Test", equation 3, with a Gaussian kernel; Chung et al. 2025,
    "KAD: No More FAD!". The value may be negative where the sets hardly differ.

    Args:
        generated, reference: (items, dimensions); the numbers of items may differ.
        bandwidth: of the kernel; None for the median distance of the reference's items (of a sample of 4,000).
        scale: what the discrepancy is multiplied by.

    >>> round(kernel_distance([[0.0], [1.0]], [[0.0], [1.0], [2.0]], bandwidth=1.0), 3)
    -26.231
    """
    sets = _sets(generated, reference, least=2)
    if bandwidth is not None and not bandwidth > 0:
        raise EvalkitError(f"bandwidth={bandwidth}: must be positive, or None")
    width = bandwidth or kernel.median_distance([sets[1]], limit=4000, seed=0)
    if not width:
        raise EvalkitError("most items of reference are equal, so they give no bandwidth: set bandwidth")
    one = np.ones((1, 1))  # each set is one clip, which counts once
    (value,) = kernel.unbiased_mmd([sets[0]], [sets[1]], one, one, width)
    return float(scale * value)


def kl_divergence(
    generated: ArrayLike,
    reference: ArrayLike,
    direction: divergence.Direction = "reference_generated",
    epsilon: float = 1e-6,
) -> float:
    """Compute the mean KL divergence of paired rows of label probabilities, in nats, as KLD is of a classifier's.

    As in audiocraft's `kl_divergence`: `epsilon` is added inside the logarithm of the second of the two
    distributions, and nothing is renormalised.

    Args:
        generated, reference: (items, labels), row by row of the same item.
        direction: KL(reference ‖ generated), KL(generated ‖ reference), or their sum.

    >>> round(kl_divergence([[0.5, 0.5]], [[1.0, 0.0]]), 3)
    0.693
    """
    if direction not in divergence.DIRECTIONS:
        raise unknown("direction", direction, divergence.DIRECTIONS)
    if not 0 <= epsilon < 1:
        raise EvalkitError(f"epsilon={epsilon:g}: must be at least 0 and below 1")
    ours, theirs = _pairs(generated, reference)
    for name, values in (("generated", ours), ("reference", theirs)):
        _require_probabilities(name, values)
    return float(divergence.directed_kl(ours, theirs, direction, epsilon).mean())


def cosine_similarity(generated: ArrayLike, reference: ArrayLike) -> float:
    """Compute the mean cosine similarity of paired rows.

    Of CLAP's embeddings of clips and of their captions it is the CLAP score; of chromagrams (frames, pitch classes) of
    clips and of their references, put together, it is the chroma cosine similarity.

    Args:
        generated, reference: (items, dimensions), row by row of the same item.

    >>> cosine_similarity([[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [1.0, 0.0]])
    0.5
    """
    return float(divergence.cosine_similarity(*_pairs(generated, reference)).mean())


def precision(generated: ArrayLike, reference: ArrayLike, k: int = 3) -> float:
    """Compute the share of generated items that lie near references.

    Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models": no farther from a
    reference than its k-th nearest neighbour among references is.

    >>> precision([[0.5], [9.0]], [[0.0], [1.0], [2.0]], k=1)
    0.5
    """
    ours, theirs = _neighbours(generated, reference, k)
    return float(neighbours.near_set(ours, theirs, k).mean())


def recall(generated: ArrayLike, reference: ArrayLike, k: int = 3) -> float:
    """Compute the share of references that lie near generated items; see `precision`, with the sets exchanged.

    >>> recall([[0.0], [0.6]], [[0.1], [0.5], [9.0]], k=1)
    0.6666666666666666
    """
    theirs, ours = _neighbours(reference, generated, k, names=("reference", "generated"))
    return float(neighbours.near_set(theirs, ours, k).mean())


def density(generated: ArrayLike, reference: ArrayLike, k: int = 5) -> float:
    """Compute how many references' neighbourhoods a generated item lies in, on average, over k.

    Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models": a neighbourhood reaches to the
    k-th nearest neighbour among references. About 1 for items like the references; it may be more.

    >>> density([[0.5], [9.0]], [[0.0], [1.0], [2.0]], k=1)
    1.0
    """
    return float(neighbours.densities(*_neighbours(generated, reference, k), k).mean())


def coverage(generated: ArrayLike, reference: ArrayLike, k: int = 5) -> float:
    """Compute the share of references' neighbourhoods that hold a generated item; see `density`.

    >>> coverage([[0.5], [9.0]], [[0.0], [1.0], [2.0]], k=1)
    0.6666666666666666
    """
    return float(neighbours.covered(*_neighbours(generated, reference, k), k).mean())


def inception_score(probabilities: ArrayLike, splits: int = 1, seed: int = 0) -> float:
    """Compute the exponential of the mean KL divergence of items' label probabilities from their mean.

    Salimans et al. 2016, "Improved Techniques for Training GANs".

    Args:
        probabilities: (items, labels).
        splits: the score is the mean over this many random parts of the items.

    >>> inception_score([[1.0, 0.0], [0.0, 1.0]])
    2.0
    """
    if splits < 1:
        raise EvalkitError(f"splits={splits}: must be at least 1")
    values = _array("probabilities", probabilities, least=2 * splits)
    _require_probabilities("probabilities", values)
    if not np.allclose(values.sum(axis=1), 1.0, atol=1e-3):
        raise EvalkitError("rows of probabilities must add up to 1, as those of a softmax do")
    parts = divergence.splits(range(len(values)), splits, seed)
    ones = np.ones(len(values))
    negentropies = xlogy(values, values).sum(axis=1)
    (score,) = divergence.inception_scores(ones, values.__getitem__, negentropies, parts, ones[None])
    return float(score)


def _array(name: str, value: ArrayLike, least: int) -> np.ndarray:
    """Items as float64. Raises EvalkitError for another shape, values that are not finite, and too few items."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise EvalkitError(f"{name} is no array of numbers (items, dimensions): {error}") from error
    if array.ndim != 2 or not array.shape[1]:
        raise EvalkitError(f"{name} has the shape {array.shape}: must be (items, dimensions)")
    if len(array) < least:
        raise EvalkitError(f"{name} has {len(array)} items: at least {least} are needed")
    if not np.isfinite(array).all():
        raise EvalkitError(f"{name} holds NaN or infinity")
    return array


def _sets(
    one: ArrayLike, other: ArrayLike, least: int, names: tuple[str, str] = ("generated", "reference")
) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of items in the same dimensions."""
    first, second = _array(names[0], one, least), _array(names[1], other, least)
    if (d := first.shape[1]) != second.shape[1]:
        raise EvalkitError(f"{names[0]} has {d} dimensions, {names[1]} {second.shape[1]}: must be the same")
    return first, second


def _pairs(generated: ArrayLike, reference: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays whose rows belong together."""
    ours, theirs = _sets(generated, reference, least=1)
    if len(ours) != len(theirs):
        raise EvalkitError(f"generated has {len(ours)} items, reference {len(theirs)}: rows must belong together")
    return ours, theirs


def _neighbours(
    points: ArrayLike, others: ArrayLike, k: int, names: tuple[str, str] = ("generated", "reference")
) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of which the second has more than k items."""
    if k < 1:
        raise EvalkitError(f"k={k}: must be at least 1")
    ours, theirs = _sets(points, others, 1, names)
    if len(theirs) <= k:
        raise EvalkitError(f"{names[1]} has {len(theirs)} items: more than k={k} are needed")
    return ours, theirs


def _require_probabilities(name: str, values: np.ndarray) -> None:
    if (values < 0).any() or (values > 1).any():
        raise EvalkitError(f"{name} must lie between 0 and 1")
