"""Fréchet distances against scipy, torch-fidelity's formula, a closed form, and 50 digits.

The 50 digits judge where the matrices are singular or nearly so: there scipy's root of a matrix and the roots of
eigenvalues, which the published implementations use, are themselves wrong by 1e-9 to 1e-6.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.linalg

from evalkit.stats.frechet import frechet_distance, gaussian
from tests import parity

STAGE = "Fréchet distance"
ILL = f"{STAGE}, ill-conditioned or singular"
TOLERANCE = 1e-9


def by_sqrtm(mean1, cov1, mean2, cov2) -> float:
    root = scipy.linalg.sqrtm(cov1 @ cov2)
    return ((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2) - 2 * np.trace(root).real


def by_eigenvalues(mean1, cov1, mean2, cov2) -> float:
    """As torch-fidelity has it in metric_fid.py since its version 0.4."""
    roots = np.sqrt(np.linalg.eigvals(cov1 @ cov2).astype(complex)).real
    return ((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * roots.sum()


def in_50_digits(x: np.ndarray, y: np.ndarray) -> float:
    """From the frames themselves, so that no rounded covariance is in between."""
    with mpmath.workdps(50):
        (mean1, a), (mean2, b) = _fit(x), _fit(y)
        trace = sum(v**2 for v in a) + sum(v**2 for v in b)
        # the singular values of A Bᵀ are the roots of the eigenvalues of AᵀA BᵀB
        product = a * b.T if len(x) <= x.shape[1] else mpmath.qr(a, mode="skinny")[1] * b.T
        if product.rows > product.cols:
            product = product.T
        squares = mpmath.eigsy(product * product.T, eigvals_only=True)
        root = sum(mpmath.sqrt(max(v, 0)) for v in squares)
        return float(sum((p - q) ** 2 for p, q in zip(mean1, mean2, strict=True)) + trace - 2 * root)


def _fit(frames: np.ndarray):
    """The mean, and the centred frames over the root of n - 1."""
    n, d = frames.shape
    exact = mpmath.matrix(frames.astype(float).tolist())
    mean = [sum(exact[i, j] for i in range(n)) / n for j in range(d)]
    centred = mpmath.matrix(n, d)
    for i in range(n):
        for j in range(d):
            centred[i, j] = (exact[i, j] - mean[j]) / mpmath.sqrt(n - 1)
    return mean, centred


def fits(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    return *gaussian([x]), *gaussian([y])


def error(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / abs(theirs)


@pytest.mark.parametrize(("d", "frames"), [(2, 50), (16, 100), (128, 1000), (128, 260), (512, 2000)])
def test_is_scipy_s_and_torch_fidelity_s(d, frames):
    rng = np.random.default_rng(d)
    mixing = rng.standard_normal((2, d, d)) / d**0.5
    x, y = (rng.standard_normal((frames, d)) @ m + shift for m, shift in zip(mixing, (0.0, 0.2), strict=True))
    statistics = fits(x.astype(np.float32), y.astype(np.float32))
    ours, case = frechet_distance(*statistics), f"{frames} frames of {d}"
    parity.within(STAGE, f"scipy {scipy.__version__}'s sqrtm", case, error(ours, by_sqrtm(*statistics)), TOLERANCE)
    theirs = by_eigenvalues(*statistics)
    parity.within(STAGE, "torch-fidelity's formula", case, error(ours, theirs), TOLERANCE)


@pytest.mark.parametrize("d", [3, 128])
def test_has_the_closed_form_of_covariances_that_commute(d):
    rng = np.random.default_rng(d)
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
    for case, (v1, v2) in {
        "full rank": rng.uniform(0.1, 5, (2, d)),
        "half the rank": rng.uniform(0.1, 5, (2, d)) * np.array([np.arange(d) % 2, np.arange(d) % 3 > 0]),
        "condition 1e12": np.array([np.logspace(-12, 0, d), np.logspace(0, -12, d)]),
    }.items():
        mean1, mean2 = rng.standard_normal((2, d))
        ours = frechet_distance(mean1, (basis * v1) @ basis.T, mean2, (basis * v2) @ basis.T)
        theirs = ((mean1 - mean2) ** 2).sum() + ((v1**0.5 - v2**0.5) ** 2).sum()
        parity.within(STAGE, "closed form", f"{case}, {d}", error(ours, theirs), TOLERANCE)


def spread(rng: np.random.Generator, frames: int, scales: np.ndarray) -> np.ndarray:
    basis = np.linalg.qr(rng.standard_normal((len(scales), len(scales))))[0]
    return (((rng.standard_normal((frames, len(scales))) * scales) @ basis) + 0.1).astype(np.float32)


CASES = {
    "condition 10": (60, 80, np.logspace(0, -0.5, 12)),
    "fewer frames than dimensions": (8, 10, np.ones(24)),
    "one set has fewer frames": (8, 60, np.ones(24)),
    "two frames": (2, 2, np.ones(24)),
    "as many frames as dimensions": (16, 16, np.ones(16)),
    "one frame more": (17, 18, np.ones(16)),
    "condition 1e6": (40, 40, np.logspace(0, -3, 16)),
    "condition 1e10": (40, 40, np.logspace(0, -5, 16)),
    "condition 1e14": (40, 40, np.logspace(0, -7, 16)),
    "condition 1e20": (40, 40, np.logspace(0, -10, 16)),
    "few frames, ill-conditioned": (8, 9, np.logspace(0, -4, 16)),
    "dead dimensions": (40, 40, np.repeat([1.0, 0.0], 8)),
    "large values": (40, 40, np.logspace(4, 2, 16)),
}


@pytest.mark.parametrize("name", CASES)
def test_is_exact_from_frames(name):
    n1, n2, scales = CASES[name]
    rng = np.random.default_rng(5)
    x, y = spread(rng, n1, scales), spread(rng, n2, scales * 1.3)
    statistics, exact = fits(x, y), in_50_digits(x, y)
    parity.within(ILL, "50 digits (mpmath)", name, error(frechet_distance(*statistics), exact), TOLERANCE)


def test_where_the_published_formulas_are_wrong():
    """The reason why 50 digits judge the singular cases."""
    n1, n2, scales = CASES["fewer frames than dimensions"]
    rng = np.random.default_rng(5)
    x, y = spread(rng, n1, scales), spread(rng, n2, scales * 1.3)
    statistics, exact = fits(x, y), in_50_digits(x, y)
    assert error(by_sqrtm(*statistics), exact) > TOLERANCE
    assert error(by_eigenvalues(*statistics), exact) > TOLERANCE
    assert error(frechet_distance(*statistics), exact) < 1e-12


def test_of_a_set_from_itself_is_nothing():
    rng = np.random.default_rng(0)
    for case, scales, frames in (("full rank", np.ones(32), 100), ("singular", np.ones(32), 10)):
        x = spread(rng, frames, scales)
        statistics = fits(x, x)
        parity.within(
            STAGE, "0 (of the trace)", case, abs(frechet_distance(*statistics)) / statistics[1].trace(), 1e-12
        )
