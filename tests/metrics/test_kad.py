"""KAD against loops over pairs of windows, kadtk's formula, and torch-fidelity's discrepancy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from evalkit import compat
from evalkit.errors import EvalkitError
from evalkit.metrics.fad import FAD
from evalkit.metrics.kad import KAD
from evalkit.stats.kernel import median_distance, unbiased_mmd
from evalkit.types import Features
from tests.measuring import (
    ENCODER,
    assert_order_does_not_matter,
    features,
    gaussian_clips,
    repeated,
    width_of_interval,
)

GENERATED, REFERENCE = gaussian_clips(0, 7, 4, 5, shift=0.5, scale=1.2), gaussian_clips(1, 7, 4, 5)


# Recorded with kadtk's calc_kernel_audio_distance(reference, generated, (None, None), "cpu", bandwidth,
# precision=torch.float64) at commit 8bda71d, on all windows of the clips that the test makes; the
# bandwidth is its median_pairwise_distance(reference).
KADTK_BANDWIDTH = 15.897088050842285
KADTK = [(0.0, 0.8236873045466497), (0.5, 8.287557256202028), (2.0, 77.76053573535897)]


def pooled(one: Features) -> np.ndarray:
    return np.concatenate(one.values).astype(np.float64)


def by_loops(x: np.ndarray, y: np.ndarray, bandwidth: float) -> float:
    def mean(pairs) -> float:
        return float(np.mean([np.exp(-((a - b) @ (a - b)) / (2 * bandwidth**2)) for a, b in pairs]))

    return mean(combinations(x, 2)) + mean(combinations(y, 2)) - 2 * mean((a, b) for a in x for b in y)


def test_kad_is_the_discrepancy_by_loops_at_the_median_distance_of_the_references() -> None:
    x, y = pooled(GENERATED), pooled(REFERENCE)
    bandwidth = float(np.median([np.linalg.norm(a - b) for a, b in combinations(y, 2)]))
    measured = KAD(ENCODER)(GENERATED, REFERENCE)
    assert measured.value == pytest.approx(100 * by_loops(x, y, bandwidth), rel=1e-11)
    assert measured.n == 7
    other = float(np.median([np.linalg.norm(a - b) for a, b in combinations(x, 2)]))
    assert abs(100 * by_loops(x, y, other) - measured.value) > 1e-2  # whose median it is makes a difference
    assert KAD(ENCODER, bandwidth=other, scale=1.0)(GENERATED, REFERENCE).value == pytest.approx(by_loops(x, y, other))


def test_kad_is_kadtk_s_formula() -> None:
    """The steps of kadtk's calc_kernel_audio_distance in double precision, at its default scale and kernel."""
    x, y = (torch.from_numpy(pooled(one)) for one in (GENERATED, REFERENCE))
    gamma = 1 / (2 * torch.pdist(y).quantile(0.5) ** 2 + 1e-8)
    xx, yy, xy = (torch.exp(-gamma * torch.cdist(a, b) ** 2) for a, b in ((x, x), (y, y), (x, y)))
    (m, _), (n, _) = x.shape, y.shape
    within = (xx.sum() - xx.trace()) / (m * (m - 1)) + (yy.sum() - yy.trace()) / (n * (n - 1))
    expected = 100 * (within - 2 * xy.mean())
    assert KAD(ENCODER)(GENERATED, REFERENCE).value == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(("shift", "expected"), KADTK)
def test_kad_is_what_kadtk_computes(shift: float, expected: float) -> None:
    generated, reference = gaussian_clips(0, 60, 19, 128, shift=shift), gaussian_clips(1, 60, 19, 128)
    measured = KAD(ENCODER, bandwidth=KADTK_BANDWIDTH)(generated, reference)
    assert measured.value == pytest.approx(expected, rel=1e-9)
    # its median is of float32 distances, and of an even number of them the lower one of the middle two
    assert KAD(ENCODER)(generated, reference).value == pytest.approx(expected, rel=1e-6)


def test_kad_is_torch_fidelity_s_discrepancy() -> None:
    compat.prepare()
    from torch_fidelity.metric_kid import kernel_mmd

    expected = kernel_mmd(pooled(GENERATED), pooled(REFERENCE), kid_kernel="rbf", kid_kernel_rbf_sigma=1.7)
    measured = KAD(ENCODER, bandwidth=1.7, scale=1.0)(GENERATED, REFERENCE)
    assert measured.value == pytest.approx(expected, rel=1e-11)


def test_a_resample_is_the_set_in_which_clips_stand_as_often_as_drawn() -> None:
    rng = np.random.default_rng(0)
    generated = features([rng.standard_normal((n, 5)) + 1 for n in (3, 0, 5, 1, 4, 4, 2)])  # of all lengths
    weights = np.array([[1.0] * 7, [2, 1, 0, 0, 3, 1, 0], [0, 0, 7, 0, 0, 0, 0]])
    metric = KAD(ENCODER, bandwidth=2.0)
    values = metric(generated, REFERENCE).resampled(weights, weights)  # type: ignore[misc]
    for row, value in zip(weights, values, strict=True):
        expected = metric(repeated(generated, row), repeated(REFERENCE, row)).value
        assert value == pytest.approx(expected, rel=1e-10)


def test_each_side_is_resampled_by_itself_where_clips_are_not_paired() -> None:
    rng = np.random.default_rng(0)
    generated = features([rng.standard_normal((n, 5)) + 1 for n in (3, 0, 5, 4)])  # fewer than references
    weights = np.array([[1.0] * 4, [2, 1, 0, 1], [0, 0, 3, 1]])
    reference_weights = np.array([[1.0] * 7, [2, 1, 0, 0, 3, 1, 0], [0, 1, 5, 0, 0, 0, 1]])
    for metric in (KAD(ENCODER, bandwidth=2.0), FAD(ENCODER)):
        values = metric(generated, REFERENCE).resampled(weights, reference_weights)  # type: ignore[misc]
        for row, reference_row, value in zip(weights, reference_weights, values, strict=True):
            expected = metric(repeated(generated, row), repeated(REFERENCE, reference_row)).value
            assert value == pytest.approx(expected, rel=1e-9)


def test_a_set_beside_itself_is_resampled_on_either_side_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.stats.kernel.FRAMES", 5)  # of several tiles
    one, other = np.array([[2.0, 1, 0, 0, 3, 1, 0]]), np.array([[0.0, 1, 5, 0, 0, 0, 1]])
    for weights in ((one, other), (one, one)):
        (value,) = unbiased_mmd(REFERENCE.values, REFERENCE.values, *weights, 2.0)
        first, second = (repeated(REFERENCE, row[0]) for row in weights)
        expected = KAD(ENCODER, bandwidth=2.0, scale=1.0)(first, second).value
        assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_tiles_do_not_matter(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    whole = KAD(ENCODER)(GENERATED, REFERENCE).value
    monkeypatch.setattr("evalkit.stats.kernel.FRAMES", frames)
    monkeypatch.setattr("evalkit.stats.kernel.TILES", 3)
    assert KAD(ENCODER)(GENERATED, REFERENCE).value == pytest.approx(whole, rel=1e-12)


def test_features_far_from_zero_lose_nothing() -> None:
    weights = np.ones((1, 7))
    near = unbiased_mmd(GENERATED.values, REFERENCE.values, weights, weights, 1.5)
    generated, reference = ([clip.astype(np.float64) + 1e4 for clip in one.values] for one in (GENERATED, REFERENCE))
    assert unbiased_mmd(generated, reference, weights, weights, 1.5)[0] == pytest.approx(near[0], rel=1e-8)


def test_the_median_of_many_windows_is_that_of_a_sample() -> None:
    one = gaussian_clips(3, 300, 5, 8)
    exact = median_distance(one.values, limit=1500, seed=0)
    sampled = [median_distance(one.values, limit=400, seed=seed) for seed in (0, 0, 1)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert sampled == pytest.approx([exact] * 3, rel=0.05)
    lengths = features([one.values[0][:2], one.values[1][:0], one.values[2]])  # a clip without windows in between
    expected = [np.linalg.norm(a - b) for a, b in combinations(pooled(lengths), 2)]
    assert median_distance(lengths.values, limit=7, seed=0) == pytest.approx(np.median(expected), rel=1e-12)


def test_kad_is_about_zero_between_sets_of_one_kind_whatever_their_number() -> None:
    values = [
        KAD(ENCODER)(gaussian_clips(2 * s, n, 1, 6), gaussian_clips(2 * s + 1, n, 1, 6)).value
        for n in (10, 40)
        for s in range(30)
    ]
    for mean, error in ((np.mean(v), np.std(v) / 30**0.5) for v in (values[:30], values[30:])):
        assert abs(mean) < 3 * error  # unbiased
    assert min(values) < 0


def test_kad_interval_and_order() -> None:
    widths = [
        width_of_interval(KAD(ENCODER), gaussian_clips(0, n, 3, 4, shift=0.5), gaussian_clips(1, n, 3, 4))
        for n in (30, 240)
    ]
    assert widths[1] < 0.6 * widths[0]
    assert_order_does_not_matter(KAD(ENCODER), GENERATED, REFERENCE)


def test_kad_needs_windows_that_differ() -> None:
    with pytest.raises(EvalkitError, match="1 windows are too few: the generated clips"):
        KAD(ENCODER)(features([np.zeros((1, 5))]), features([np.ones((3, 5))]))
    with pytest.raises(EvalkitError, match="0 windows are too few: the reference clips"):
        KAD(ENCODER)(REFERENCE, features([np.zeros((0, 5))] * 7))
    with pytest.raises(EvalkitError, match="give no bandwidth"):
        KAD(ENCODER)(GENERATED, features([np.ones((4, 5))] * 7))
    for wrong in ({"scale": 0.0}, {"bandwidth": -1.0}, {"bandwidth_frames": 1}):
        with pytest.raises(EvalkitError, match="KAD: scale and bandwidth"):
            KAD(ENCODER, **wrong)
