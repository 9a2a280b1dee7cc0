"""The divergence curve of two histograms, what moves it, and the clusters before it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import threadpoolctl

from evalkit.stats import mauve

P = np.array([0.5, 0.3, 0.2, 0.0, 0.0])
Q = np.array([0.4, 0.0, 0.3, 0.3, 0.0])


def by_loops(p: np.ndarray, q: np.ndarray) -> float:
    """The formulas of the papers, one number at a time."""

    def divergence(one: np.ndarray, other: np.ndarray) -> float:
        return sum(a * np.log(a / b) for a, b in zip(one, other, strict=True) if a)

    points = [(1.0, 0.0)]
    for part in np.linspace(1e-6, 1 - 1e-6, 25):
        mixture = part * p + (1 - part) * q
        points.append((np.exp(-5 * divergence(q, mixture)), np.exp(-5 * divergence(p, mixture))))
    points.append((0.0, 1.0))
    return sum((a - c) * (b + d) / 2 for (a, b), (c, d) in itertools.pairwise(points))


def mauve_of(p: np.ndarray, q: np.ndarray) -> float:
    return mauve.area(mauve.divergence_curve(p[None], q[None])).item()


def test_the_area_is_that_of_the_formulas_and_the_same_from_either_side() -> None:
    assert mauve_of(P, Q) == pytest.approx(by_loops(P, Q), rel=1e-12)
    assert mauve_of(Q, P) == pytest.approx(mauve_of(P, Q), rel=1e-12)
    assert mauve_of(P, P) == 1


def test_sets_without_a_common_cluster_are_as_far_apart_as_any() -> None:
    farthest = mauve_of(np.eye(2)[0], np.eye(2)[1])
    assert mauve_of(np.array([0.2, 0.8, 0, 0]), np.array([0, 0, 0.5, 0.5])) == pytest.approx(farthest, rel=1e-12)
    assert 0 < farthest < mauve_of(P, Q)


def test_a_curve_falls_and_each_resample_has_its_own() -> None:
    both = mauve.divergence_curve(np.stack([P, Q]), np.stack([Q, Q]))
    assert np.array_equal(both[0], mauve.divergence_curve(P[None], Q[None])[0])
    assert (np.diff(both[0, :, 0]) < 0).all() and (np.diff(both[0, :, 1]) > 0).all()
    assert both[0, 0].tolist() == [1, 0] and both[0, -1].tolist() == [0, 1]


def test_slopes_are_derivatives() -> None:
    step, k = 1e-6, 3  # clusters that p has some of
    slopes = mauve.log_slopes(P, Q)
    for cluster in range(k):
        up, down = (P + sign * step * (np.eye(5)[cluster] - P) for sign in (1, -1))
        moved = (np.log(mauve_of(up, Q)) - np.log(mauve_of(down, Q))) / (2 * step)
        assert slopes[cluster] - P @ slopes == pytest.approx(moved, rel=1e-6)


def test_shares_count_points_as_often_as_a_resample_draws_them() -> None:
    labels, weights = np.array([0, 2, 2, 1]), np.array([[1.0, 1, 1, 1], [0, 3, 1, 0], [0, 0, 0, 0]])
    found = mauve.shares(labels, 4, weights)
    np.testing.assert_array_equal(found[:2], [[0.25, 0.25, 0.5, 0], [0, 0, 1, 0]])
    assert np.isnan(found[2]).all()
    assert np.isnan(mauve.area(mauve.divergence_curve(found, np.tile(Q[:4], (3, 1))))).tolist() == [False, False, True]


def test_components_have_the_variance_of_points_of_length_one() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((40, 6)) * [5, 3, 1, 0.3, 0.1, 0.1]
    unit = mauve.directions(points)
    np.testing.assert_allclose(unit, points / np.linalg.norm(points, axis=1, keepdims=True), rtol=1e-15)
    variance = unit.var(axis=0).sum()
    for share in (0.5, 0.9, 0.999):
        found = mauve.components(unit, share)
        assert found.var(axis=0).sum() >= share * variance > found[:, :-1].var(axis=0).sum()
    whole = mauve.components(unit, 1.0)
    np.testing.assert_allclose(whole @ whole.T, (unit - unit.mean(0)) @ (unit - unit.mean(0)).T, atol=1e-12)
    assert mauve.components(mauve.directions(np.zeros((5, 3)))).tolist() == [[0.0]] * 5


def test_components_are_those_of_points_as_often_as_they_count() -> None:
    rng = np.random.default_rng(0)
    points, counts = rng.standard_normal((30, 4)) * [3, 2, 1, 1], rng.integers(0, 3, 30)
    found = mauve.components(points, weights=counts.astype(float))
    repeated = mauve.components(np.repeat(points, counts, axis=0))
    np.testing.assert_allclose(np.abs(np.repeat(found, counts, axis=0)), np.abs(repeated), atol=1e-12)
    assert len(found) == 30


def test_clusters_do_not_depend_on_threads_and_nothing_is_warned_of(capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((900, 30)).astype(np.float32)
    found = []
    for threads in (1, 2, 4):
        with threadpoolctl.threadpool_limits(threads):
            found.append(mauve.clustered(mauve.components(points), 40))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    assert len(np.unique(found[0])) == 40
    assert not np.array_equal(found[0], mauve.clustered(mauve.components(points), 40, seed=28))
    assert capfd.readouterr() == ("", "")


def test_points_that_lie_apart_are_clusters() -> None:
    rng = np.random.default_rng(0)
    which = rng.integers(3, size=60)
    labels = mauve.clustered(10 * np.eye(3)[which] + 0.1 * rng.standard_normal((60, 3)), 3)
    assert len({*zip(which, labels, strict=True)}) == 3
