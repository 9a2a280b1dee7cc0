"""Statistics against closed forms, scipy's own matrix root, and torch."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from evalkit.stats import cosine_similarity, frechet_distance, gaussian, kl_divergence


def random_covariance(rng: np.random.Generator, d: int, rank: int) -> np.ndarray:
    factor = rng.standard_normal((d, rank))
    return factor @ factor.T / rank


def test_gaussian_is_numpys_mean_and_covariance() -> None:
    frames = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    mean, cov = gaussian([frames[:20], frames[20:20], frames[20:]])
    np.testing.assert_allclose(mean, frames.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(cov, np.cov(frames.astype(np.float64), rowvar=False), rtol=1e-12, atol=1e-15)
    with pytest.raises(ValueError, match="too few"):
        gaussian([frames[:1], frames[:0]])


@pytest.mark.parametrize("d", [2, 16, 128])
def test_frechet_distance_equals_scipys_matrix_root(d: int) -> None:
    rng = np.random.default_rng(d)
    mean1, mean2 = rng.standard_normal((2, d))
    cov1, cov2 = random_covariance(rng, d, 2 * d), random_covariance(rng, d, 3 * d)
    root = scipy.linalg.sqrtm(cov1 @ cov2)
    expected = ((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2 - 2 * root.real)
    assert frechet_distance(mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_closed_form_for_diagonal_covariances() -> None:
    mean1, mean2 = np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 5.0])
    v1, v2 = np.array([4.0, 1.0, 0.0]), np.array([9.0, 1e-12, 2.0])
    expected = 5.0 + ((np.sqrt(v1) - np.sqrt(v2)) ** 2).sum()
    assert frechet_distance(mean1, np.diag(v1), mean2, np.diag(v2)) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_of_rank_deficient_covariances() -> None:
    """With orthonormal factors the closed form is known even where a general matrix root fails."""
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.standard_normal((128, 128)))[0]
    v1, v2 = np.zeros(128), np.zeros(128)
    v1[:20], v2[10:40] = rng.uniform(0.1, 5, 20), rng.uniform(0.1, 5, 30)
    cov1, cov2 = (basis * v1) @ basis.T, (basis * v2) @ basis.T
    expected = ((np.sqrt(v1) - np.sqrt(v2)) ** 2).sum()
    zero = np.zeros(128)
    assert frechet_distance(zero, cov1, zero, cov2) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(zero, cov1, zero, cov1) == pytest.approx(0.0, abs=1e-9)


def test_kl_divergence_equals_torch_as_audiocraft_calls_it() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(527) * 0.02, size=(2, 5))
    p[0, 3] = 0.0
    expected = torch.nn.functional.kl_div((torch.tensor(q) + 1e-6).log(), torch.tensor(p), reduction="none").sum(-1)
    np.testing.assert_allclose(kl_divergence(q, p), expected.numpy(), rtol=1e-12)
    assert not np.allclose(kl_divergence(q, p), kl_divergence(p, q))


def test_cosine_similarity_equals_torch() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5, 12))
    a[1] = 0
    expected = torch.nn.functional.cosine_similarity(torch.tensor(a), torch.tensor(b), dim=1, eps=1e-8)
    np.testing.assert_allclose(cosine_similarity(a, b), expected.numpy(), rtol=1e-12)
