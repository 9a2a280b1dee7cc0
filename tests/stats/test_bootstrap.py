"""Draws and intervals against theory and scipy's own bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from evalkit.metrics import mean_over_items
from evalkit.stats import bootstrap
from evalkit.stats.bootstrap import draws, interval
from evalkit.stats.frechet import resampled_frechet_distances


def test_draws_are_with_replacement_and_depend_on_the_seed_alone() -> None:
    counts = draws(50, 4000, seed=3)
    assert counts.shape == (4000, 50)
    assert counts.dtype == np.float64
    assert (counts.sum(axis=1) == 50).all()
    np.testing.assert_array_equal(counts, draws(50, 4000, seed=3))
    assert not np.array_equal(counts, draws(50, 4000, seed=4))
    np.testing.assert_array_equal(counts[:100], draws(50, 100, seed=3))  # more resamples continue the same ones
    # each count is binomial(50, 1/50)
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.08)
    assert counts.var() == pytest.approx(1 - 1 / 50, abs=0.02)
    shares = np.bincount(counts.astype(int).ravel(), minlength=6)[:6] / counts.size
    np.testing.assert_allclose(shares, scipy.stats.binom.pmf(np.arange(6), 50, 1 / 50), atol=3e-3)


@pytest.mark.parametrize("references", [None, 7, 30])
@pytest.mark.parametrize("drawn", [1, 70, 10**6])
def test_resamples_in_blocks_are_those_of_all_draws_at_once(
    references: int | None, drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "DRAWN", drawn)
    ours = draws(20, 11, seed=5)
    theirs = ours if references is None else draws(references, 11, seed=5, side=1)
    sizes = []

    def function(generated: np.ndarray, reference: np.ndarray) -> np.ndarray:
        assert (generated is reference) == (references is None)
        sizes.append(max(generated.size, reference.size))
        return generated @ np.arange(20.0) - reference @ np.arange(len(reference[0])) ** 2.0

    values = bootstrap.resample(function, 20, references, 11, 5)
    np.testing.assert_array_equal(values, ours @ np.arange(20.0) - theirs @ np.arange(len(theirs[0])) ** 2.0)
    assert max(sizes) <= max(drawn, 30 if references == 30 else 20) and (len(sizes) > 1) == (drawn < 100)


def test_the_interval_of_a_mean_is_scipys_percentile_interval_widened() -> None:
    values = np.random.default_rng(0).lognormal(0, 0.7, 60)
    measured = mean_over_items([str(i) for i in range(60)], [np.array([v]) for v in values])
    assert measured.value == pytest.approx(values.mean(), rel=1e-12)
    assert measured.resampled is not None
    resampled = measured.resampled(*[draws(60, 20000, seed=1)] * 2)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=5
    ).confidence_interval
    low, high = interval(measured.value, resampled, 0.95, 60)
    wider = np.sqrt(60 / 59) * scipy.stats.t.ppf(0.975, 59) / scipy.stats.norm.ppf(0.975)
    bounds = values.mean() + wider * (np.array(theirs) - values.mean())
    # both have the Monte Carlo error of 20,000 resamples
    assert (low, high) == pytest.approx(tuple(bounds), abs=0.03 * (theirs.high - theirs.low))


def test_items_of_a_clip_are_resampled_together() -> None:
    """The naive loop: put the items of the drawn clips together and take their mean."""
    rng = np.random.default_rng(0)
    items = [rng.standard_normal(length) for length in (3, 1, 0, 7, 2)]
    measured = mean_over_items("abcde", items)
    assert measured.n == 4
    assert set(measured.per_clip) == set("abde")
    assert measured.value == pytest.approx(np.concatenate(items).mean(), rel=1e-12)
    weights = draws(5, 50, seed=0)
    assert measured.resampled is not None
    for row, value in zip(weights, measured.resampled(weights, weights), strict=True):
        drawn = np.concatenate([items[i] for i in np.repeat(np.arange(5), row.astype(int))])
        assert value == pytest.approx(drawn.mean(), rel=1e-12)
    without = np.array([[0.0, 0, 5, 0, 0]])  # only the clip without items
    assert np.isnan(measured.resampled(without, without)).all()


def test_the_interval_is_moved_by_the_bias_of_resampling() -> None:
    resampled = np.linspace(10, 12, 1001)
    many = 10**9  # clips: nothing is widened
    assert interval(5.0, resampled, 0.9, many) == pytest.approx((4.1, 5.9))
    assert interval(5.0, np.append(resampled, np.nan), 0.9, many) == pytest.approx((4.1, 5.9))
    assert np.isnan(interval(5.0, np.append(resampled, np.full(200, np.nan)), 0.9, many)).all()


def test_the_interval_ends_where_values_do() -> None:
    resampled = np.random.default_rng(0).normal(0.95, 0.1, 1000)
    low, high = interval(0.95, resampled, 0.95, 12, (0.0, 1.0))
    assert 0 < low < 0.95 and high == 1.0


def test_the_interval_of_fad_is_about_the_value_at_this_number_of_clips() -> None:
    """A resample's FAD is biased; the percentiles alone would not even hold the value itself."""
    rng = np.random.default_rng(1)
    generated, reference = (
        [(rng.standard_normal((5, 12)) + rng.standard_normal(12)).astype(np.float32) for _ in range(40)]
        for _ in range(2)
    )
    weights = np.concatenate([np.ones((1, 40)), draws(40, 400, seed=0)])
    value, *resampled = resampled_frechet_distances(generated, reference, weights, weights)
    assert np.quantile(resampled, 0.025) > value
    low, high = interval(value, np.array(resampled), 0.95, 40)
    assert low < value < high


def test_coverage_of_means() -> None:
    """The mean of 60 normal values lies in most of 200 intervals at 95 %; benchmarks/interval_coverage.py has more."""
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        values = rng.standard_normal(60)
        low, high = interval(values.mean(), draws(60, 200, trial) @ values / 60, 0.95, 60)
        held += low <= 0 <= high
    assert 0.88 < held / 200 < 0.99
