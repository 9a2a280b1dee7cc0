"""The functions of plain arrays: their examples, and that metrics compute the same."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

from evalkit import functional
from evalkit.errors import EvalkitError
from evalkit.metrics.chroma import ChromaSimilarity
from evalkit.metrics.density_coverage import DensityCoverage
from evalkit.metrics.fad import FAD
from evalkit.metrics.inception_score import InceptionScore
from evalkit.metrics.kad import KAD
from evalkit.metrics.kld import KLD
from evalkit.metrics.precision_recall import PrecisionRecall
from evalkit.types import Features

RNG = np.random.default_rng(0)
OURS, THEIRS = RNG.normal(0.3, 1, (20, 4)), RNG.normal(0, 1, (20, 4))
NO: Any = None  # an encoder that nothing asks


def test_the_examples_are_what_comes_out() -> None:
    result = doctest.testmod(functional)
    assert result.attempted >= len(functional.__all__) and not result.failed


def features(rows: np.ndarray) -> Features:
    return Features(tuple(f"p{i:02}" for i in range(len(rows))), tuple(row[None] for row in rows))


def shares(rows: np.ndarray) -> np.ndarray:
    exponentials: np.ndarray = np.exp(rows)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("metric", "function", "prepare"),
    [
        (FAD(NO), functional.frechet_distance, np.asarray),
        (KAD(NO), functional.kernel_distance, np.asarray),
        (KLD(NO), functional.kl_divergence, shares),
        (KLD(NO, "both"), lambda a, b: functional.kl_divergence(a, b, "both"), shares),
        (ChromaSimilarity(NO), functional.cosine_similarity, np.asarray),
        (PrecisionRecall(NO, "precision"), functional.precision, np.asarray),
        (PrecisionRecall(NO, "recall"), functional.recall, np.asarray),
        (DensityCoverage(NO, "density"), functional.density, np.asarray),
        (DensityCoverage(NO, "coverage"), functional.coverage, np.asarray),
        (InceptionScore(NO, splits=2), lambda a, _: functional.inception_score(a, splits=2), shares),
    ],
)
def test_metrics_compute_the_same(metric: Any, function: Any, prepare: Any) -> None:
    ours, theirs = prepare(OURS), prepare(THEIRS)
    assert function(ours, theirs) == pytest.approx(metric(features(ours), features(theirs)).value, rel=1e-10)


def test_every_function_is_compared_with_a_metric_or_has_an_example() -> None:
    assert all(">>> " in getattr(functional, name).__doc__ for name in functional.__all__)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (
            functional.frechet_distance,
            (OURS[0], THEIRS),
            r"generated has the shape \(4,\): must be \(items, dimensions",
        ),
        (functional.frechet_distance, (OURS, THEIRS[:, :3]), "generated has 4 dimensions, reference 3"),
        (functional.frechet_distance, (OURS[:1], THEIRS), "generated has 1 items: at least 2"),
        (functional.frechet_distance, (OURS, THEIRS, -25), "ddof=-25: must be 0 or 1"),
        (functional.kl_divergence, (OURS, THEIRS, "both", -1.0), "epsilon=-1: must be at least 0 and below 1"),
        (functional.inception_score, (shares(OURS) / 2,), "rows of probabilities must add up to 1"),
        (functional.kernel_distance, (OURS, THEIRS * np.nan), "reference holds NaN"),
        (functional.kernel_distance, (OURS, np.ones((3, 4))), "set bandwidth"),
        (functional.cosine_similarity, (OURS, THEIRS[:5]), "generated has 20 items, reference 5: rows must belong"),
        (functional.kl_divergence, (OURS, THEIRS), "generated must lie between 0 and 1"),
        (functional.precision, (OURS, THEIRS[:3]), "reference has 3 items: more than k=3"),
        (functional.recall, (OURS[:3], THEIRS), "generated has 3 items: more than k=3"),
        (functional.frechet_distance, ("clips", THEIRS), "generated is no array of numbers"),
    ],
)
def test_what_cannot_be_computed_is_one_line(function: Any, arguments: Any, message: str) -> None:
    with pytest.raises(EvalkitError, match=message):
        function(*arguments)
