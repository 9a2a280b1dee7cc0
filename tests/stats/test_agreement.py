"""Krippendorff's alpha against published examples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from evalkit.stats.agreement import alpha_interval, counted, ordinal_alpha

NONE = math.nan
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", sections C and D: four observers, twelve units
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
)


def plainly(values: np.ndarray) -> float:
    """Alpha from its definition, pair by pair (Krippendorff 2011, section 4)."""
    units = [column[np.isfinite(column)] for column in values.T]
    units = [unit for unit in units if len(unit) > 1]
    everything = np.concatenate(units)
    many = {value: int((everything == value).sum()) for value in np.unique(everything)}

    def difference(a: float, b: float) -> float:
        low, high = min(a, b), max(a, b)
        between = sum(n for value, n in many.items() if low <= value <= high)
        return float(between - (many[low] + many[high]) / 2) ** 2

    within = sum(
        difference(a, b) / (len(unit) - 1) for unit in units for a, b in itertools.permutations(unit, 2)
    ) / len(everything)
    chance = sum(difference(a, b) for a, b in itertools.permutations(everything, 2))
    return float(1 - within / (chance / len(everything) / (len(everything) - 1)))


def test_the_published_example() -> None:
    assert ordinal_alpha(counted(KRIPPENDORFF)) == pytest.approx(0.815, abs=0.0005)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(50, 10, (1, 15)) + rng.normal(0, 8, (5, 15)))
    values[rng.random(values.shape) < 0.3] = NONE
    assert ordinal_alpha(counted(values)) == pytest.approx(plainly(values), abs=1e-9)


def test_only_the_order_of_values_counts() -> None:
    assert ordinal_alpha(counted(KRIPPENDORFF**3 + 7)) == pytest.approx(ordinal_alpha(counted(KRIPPENDORFF)))


def test_who_always_agree_have_1_and_who_guess_about_0() -> None:
    same = np.repeat(np.arange(10.0)[None], 3, axis=0)
    assert ordinal_alpha(counted(same)) == pytest.approx(1)
    guessed = np.random.default_rng(0).integers(1, 100, (4, 400)).astype(float)
    assert abs(ordinal_alpha(counted(guessed))) < 0.06


def test_nothing_is_said_of_units_that_one_alone_rated_or_of_one_value() -> None:
    assert math.isnan(ordinal_alpha(counted(np.arange(6.0)[None])))
    assert math.isnan(ordinal_alpha(counted(np.full((3, 4), 2.0))))
    assert math.isnan(ordinal_alpha(counted(np.full((3, 4), NONE))))
    more = np.hstack([KRIPPENDORFF, [[9.0], [NONE], [NONE], [NONE]]])
    assert ordinal_alpha(counted(more)) == pytest.approx(0.815, abs=0.0005)


def test_the_interval_is_over_groups_of_units() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(50, 10, (1, 60)) + rng.normal(0, 6, (6, 60))
    groups = np.arange(60) // 3
    draws = rng.multinomial(20, np.full(20, 1 / 20), 200).astype(float)
    low, high = alpha_interval(counted(np.round(values)), groups, draws, 0.95)
    assert low < ordinal_alpha(counted(np.round(values))) < high < low + 0.4
    same = np.ones((200, 20))
    assert alpha_interval(counted(KRIPPENDORFF), np.zeros(12, int), same[:, :1], 0.95) == pytest.approx(
        (0.815, 0.815), abs=5e-4
    )
