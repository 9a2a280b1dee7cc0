"""Verdicts at the edge of the tolerance are wrong no more often than they say, also where another error is added."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.stats.equivalence import decide, over_seeds
from evalkit.stats.estimate import student

TRIALS = 4000
TOLERANCE = 50.0  # in standard deviations of a seed: what lies within is told from what lies at the other end


def rate(seeds: int, other: float, place: float) -> dict[str, float]:
    """Share of decisions where our expectation exceeds the published one by so many tolerances."""
    rng = np.random.default_rng([seeds, int(100 * other)])
    ours, figures = rng.standard_normal((TRIALS, seeds)), rng.standard_normal(TRIALS) * np.hypot(1, other)
    said = []
    for values, figure in zip(ours, figures, strict=True):
        difference = float(values.mean() - figure) + place * TOLERANCE
        estimate = over_seeds(difference, float(values.std(ddof=1)), seeds, other_error=other)
        said.append(decide(estimate, TOLERANCE, 0.0, 0.95))
    return {name: said.count(name) / TRIALS for name in set(said)}


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("other", [0.0, 0.3, 0.5, 2.0])
def test_each_wrong_claim_is_made_in_no_more_than_a_fortieth_of_cases(seeds, other):
    found = rate(seeds, other, 1.0)
    # three standard deviations of a count; Satterthwaite's degrees of freedom give 0.038 of three seeds
    most = 0.025 + 3 * np.sqrt(0.025 * 0.975 / TRIALS)
    assert 0 < found["within"] < most
    assert 0 < found["above"] < most
    assert "below" not in found


def test_without_another_error_the_bounds_are_students():
    for tail in (0.025, 0.3, 0.7):
        expected = student(2.0, 0.5 * np.sqrt(1 / 4 + 1 / 2), 3).bounds(tail)
        assert over_seeds(2.0, 0.5, 4, 2).bounds(tail) == pytest.approx(expected, rel=1e-12)


def test_without_seed_noise_the_bounds_are_normal_and_those_of_one_value_without_any_error():
    low, high = over_seeds(1.0, 0.0, 3, other_error=0.1).interval(0.95)
    assert (low, high) == pytest.approx((1 - 0.1959964, 1 + 0.1959964), rel=1e-6)
    assert over_seeds(1.0, 0.0, 3).interval(0.95) == (1.0, 1.0)
