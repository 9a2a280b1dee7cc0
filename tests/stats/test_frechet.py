"""Statistics against closed forms, scipy's own matrix root, and torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch

from evalkit.stats import frechet as stats
from evalkit.stats.bootstrap import draws
from evalkit.stats.divergence import cosine_similarity, kl_divergence
from evalkit.stats.frechet import (
    effective_sample_size,
    frechet_distance,
    gaussian,
    resampled_frechet_distances,
    resampled_gaussians,
)


def random_covariance(rng: np.random.Generator, d: int, rank: int) -> np.ndarray:
    factor = rng.standard_normal((d, rank))
    return factor @ factor.T / rank


def test_gaussian_is_numpys_mean_and_covariance() -> None:
    frames = np.random.default_rng(0).standard_normal((150, 7)).astype(np.float32) + 1000
    clips = np.split(frames, [3, 3, 50, 149])
    exact = frames.astype(np.float64)
    for ddof in (0, 1):
        mean, cov = gaussian(clips, ddof)
        np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-12)
        np.testing.assert_allclose(cov, np.cov(exact, rowvar=False, ddof=ddof), rtol=1e-10)
    with pytest.raises(ValueError, match="too few"):
        gaussian([frames[:1]])
    with pytest.raises(ValueError, match="too few"):
        gaussian([frames[:0]], ddof=0)


def clips_of(rng: np.random.Generator, n: int, d: int, shift: float) -> list[np.ndarray]:
    """Clips of different lengths around means of their own, far from zero."""
    lengths = rng.integers(1, 20, n)
    lengths[n // 2] = 0
    return [(rng.standard_normal((m, d)) + rng.standard_normal(d) + shift).astype(np.float32) for m in lengths]


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize(
    ("n", "d", "block"), [(40, 6, 2**24), (600, 6, 2**24), (40, 12, 200), (9, 48, 2**24), (9, 70, 6000)]
)
def test_resamples_are_those_of_the_naive_loop(
    n: int, d: int, block: int, ddof: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn clips put together, numpy's covariance, and the root's trace from the frames themselves.

    600 clips, and small blocks, take several rounds; 9 clips have fewer frames than dimensions.
    """
    monkeypatch.setattr(stats, "BLOCK", block)
    rng = np.random.default_rng(n)
    sets = clips_of(rng, n, d, 50.0), clips_of(rng, n, d, 50.3)
    weights = draws(n, 7, seed=1)
    values = resampled_frechet_distances(*sets, weights, weights, ddof)
    fits = [[fit for block in resampled_gaussians(clips, weights, ddof) for fit in block] for clips in sets]
    for row, value, *ours in zip(weights, values, *fits, strict=True):
        drawn = np.repeat(np.arange(n), row.astype(int))
        frames = [np.concatenate([clips[i] for i in drawn]).astype(np.float64) for clips in sets]
        expected = [(x.mean(axis=0), np.cov(x, rowvar=False, ddof=ddof)) for x in frames]
        for (mean, cov), (mean_, cov_) in zip(ours, expected, strict=True):
            np.testing.assert_allclose(mean, mean_, rtol=1e-12)
            np.testing.assert_allclose(cov, cov_, rtol=1e-9, atol=1e-12)
        (mean1, cov1), (mean2, cov2) = expected
        r1, r2 = (np.asarray(np.linalg.qr((x - x.mean(axis=0)) / (len(x) - ddof) ** 0.5, mode="r")) for x in frames)
        root = np.linalg.svd(r1 @ r2.T, compute_uv=False).sum()
        naive = ((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2) - 2 * root
        assert value == pytest.approx(naive, rel=1e-9)


def test_covariances_of_resamples_are_symmetric_and_not_a_number_where_frames_are_too_few() -> None:
    rng = np.random.default_rng(5)
    clips = clips_of(rng, 5, 8, 2.0)  # the third is empty
    clips[0] = clips[0][:1]
    weights = np.array([[1.0, 0, 0, 0, 0], [0, 0, 2, 0, 0], [0, 2, 0, 0, 1], [3, 1, 1, 2, 0]])
    fits = [fit for block in resampled_gaussians(clips, weights) for fit in block]
    for row, (mean, cov) in zip(weights, fits, strict=True):
        frames = np.concatenate([clips[i] for i in np.repeat(np.arange(5), row.astype(int))]).astype(np.float64)
        if len(frames) < 2:
            assert np.isnan(mean).all() and np.isnan(cov).all() and cov.shape == (8, 8)
            continue
        np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(cov, np.cov(frames, rowvar=False), rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(cov, cov.T)


def test_resamples_of_one_weight_each_are_the_sample_itself() -> None:
    rng = np.random.default_rng(2)
    sets = clips_of(rng, 30, 5, 0.0), clips_of(rng, 30, 5, 1.0)
    (value,) = resampled_frechet_distances(*sets, *[np.ones((1, 30))] * 2)
    assert value == pytest.approx(frechet_distance(*gaussian(sets[0]), *gaussian(sets[1])), rel=1e-12)


@pytest.mark.parametrize("block", [2**24, 200])
def test_a_side_that_is_not_resampled_is_fitted_once(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are those of the resamples one by one; only the other side's clips are summed again, per block."""
    monkeypatch.setattr(stats, "BLOCK", block)
    rng = np.random.default_rng(2)
    sets = clips_of(rng, 60, 12, 50.0), clips_of(rng, 40, 12, 51.0)
    weights = draws(60, 7, seed=0), np.tile(draws(40, 1, seed=1), (7, 1))
    expected = [resampled_frechet_distances(*sets, *(w[[k]] for w in weights)).item() for k in range(7)]
    summed: list[int] = []
    own = stats._sums

    def counted(clips: Sequence[np.ndarray], centre: Any, above: Any, out: Any, rows: slice) -> None:
        summed.extend(map(id, clips[rows]))
        own(clips, centre, above, out, rows)

    monkeypatch.setattr(stats, "_sums", counted)
    values = resampled_frechet_distances(*sets, *weights)
    np.testing.assert_allclose(values, expected, rtol=1e-9)
    assert all(summed.count(id(clip)) == 1 for clip in sets[1])
    assert len(set(summed)) == 100
    swapped = resampled_frechet_distances(*sets[::-1], *weights[::-1])  # either side may be the one
    np.testing.assert_allclose(swapped, expected, rtol=1e-9)
    both = resampled_frechet_distances(*sets, np.ones((5, 60)), np.ones((5, 40)))
    assert both.shape == (5,) and len(set(both)) == 1
    around = weights[0][[0, 1, 0]]  # alike at its ends alone
    np.testing.assert_allclose(
        resampled_frechet_distances(*sets, around, weights[1][:3]), np.take(expected, [0, 1, 0]), rtol=1e-9
    )


@pytest.mark.parametrize("frames", [(20, 300), (300, 20), (20, 20)])
def test_a_set_of_few_frames_is_resampled_as_one_of_many(
    frames: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its frames themselves, beside a set of many or of few; covariances of rank 12 at most give the same."""
    rng = np.random.default_rng(6)
    sets = [[rng.standard_normal((1, 16)) + 50.0 + i for _ in range(n)] for i, n in enumerate(frames)]
    weights = [draws(n, 9, seed=1) for n in frames]
    weights[frames.index(20)][3] = np.eye(20)[4]  # a single frame
    chosen: list[int] = []
    own = stats.Drawn.factored

    def counted(self: stats.Drawn, index: int) -> Any:
        chosen.append(index)
        return own(self, index)

    monkeypatch.setattr(stats.Drawn, "factored", counted)
    values = resampled_frechet_distances(*sets, *weights)
    assert len(chosen) == 9 * frames.count(20)
    monkeypatch.setattr(stats, "FEW", 0)
    np.testing.assert_allclose(values, resampled_frechet_distances(*sets, *weights), rtol=1e-9)
    assert len(chosen) == 9 * frames.count(20)
    assert np.isnan(values[3]) and np.isfinite(np.delete(values, 3)).all()


@pytest.mark.parametrize("frames", [2, 5])
def test_a_resample_without_frames_has_no_value(frames: int) -> None:
    clips = [np.zeros((0, 3)), np.random.default_rng(0).standard_normal((frames, 3))]
    weights = np.array([[2.0, 0.0], [1.0, 1.0]])
    values = resampled_frechet_distances(clips, clips, weights, weights)
    assert np.isnan(values[0])
    assert values[1] == pytest.approx(0, abs=1e-12)


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


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
def test_frames_that_are_alike_count_for_fewer(alike: float) -> None:
    """Of n clips of m frames that correlate by r, n m / (1 + (m - 1) r): Kish's design effect."""
    rng = np.random.default_rng(0)
    common, own = rng.standard_normal((400, 1, 6)), rng.standard_normal((400, 9, 6))
    clips = list((alike**0.5 * common + (1 - alike) ** 0.5 * own).astype(np.float32))
    assert effective_sample_size(clips) == pytest.approx(3600 / (1 + 8 * alike), rel=0.06)
    assert effective_sample_size([clip[:1] for clip in clips]) == pytest.approx(400)
    frames, means = np.concatenate(clips), np.array([clip.mean(axis=0, dtype=np.float64) for clip in clips])
    by_numpy = 400 * frames.astype(np.float64).var(axis=0, ddof=1).sum() / means.var(axis=0, ddof=1).sum()
    assert effective_sample_size(clips) == pytest.approx(min(3600, by_numpy), rel=1e-10)
    assert effective_sample_size([np.zeros((3, 2))] * 5) == 15
