"""MAD: what its points are, that order does not matter, and what moves it."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from evalkit.errors import EvalkitError
from evalkit.metrics.mad import MAD
from evalkit.stats.bootstrap import draws
from evalkit.types import Features
from tests.measuring import ENCODER, assert_order_does_not_matter, features, gaussian_clips, width_of_interval

GENERATED, REFERENCE = gaussian_clips(0, 60, 3, 6, shift=0.6), gaussian_clips(1, 60, 3, 6)
METRIC = MAD(ENCODER)


def test_a_clip_is_the_maximum_over_its_frames() -> None:
    maxima = [features([clip.max(axis=0)[None] for clip in side.values]) for side in (GENERATED, REFERENCE)]
    assert METRIC(*maxima).value == METRIC(GENERATED, REFERENCE).value
    means = [features([clip.mean(axis=0)[None] for clip in side.values]) for side in (GENERATED, REFERENCE)]
    assert METRIC(*means).value != METRIC(GENERATED, REFERENCE).value


def test_a_set_from_itself_is_nothing_and_far_sets_are_at_the_bound() -> None:
    assert METRIC(REFERENCE, REFERENCE).value == pytest.approx(0, abs=1e-12)
    far = features([clip - 100 for clip in REFERENCE.values])
    assert METRIC(far, REFERENCE).value == pytest.approx(METRIC.bounds[1], rel=1e-12)
    alike = features([np.ones((1, 6))] * 25)
    assert METRIC(alike, alike).value == 0


def test_of_sets_that_are_wholly_alike_or_apart_there_is_no_interval() -> None:
    measured = METRIC(REFERENCE, REFERENCE)
    assert measured.resampled is None and measured.note.startswith("no interval: MAD is 0")
    far = METRIC(features([clip - 100 for clip in REFERENCE.values]), REFERENCE)
    assert far.resampled is None and far.note.startswith("no interval: MAD is as large as it can be")
    assert measured.of_subsets is not None and METRIC(GENERATED, REFERENCE).note == ""


def test_an_interval_is_of_clusters_that_other_clips_would_have() -> None:
    measured, weights = METRIC(GENERATED, REFERENCE), draws(60, 100, 0)
    anew, kept = measured.resampled(weights, weights), measured.kept(weights, weights)  # type: ignore[misc]
    assert anew.std() > 1.05 * kept.std()
    for rows in (slice(3), [7, 5]):  # whatever the others are
        assert measured.resampled(weights[rows], weights[rows]).tolist() == anew[rows].tolist()  # type: ignore[misc]


def test_mad_interval_and_order() -> None:
    assert_order_does_not_matter(METRIC, GENERATED, REFERENCE)
    few, many = (
        width_of_interval(METRIC, *(gaussian_clips(s, n, 3, 6, shift) for s, shift in ((0, 0.6), (1, 0))))
        for n in (30, 240)
    )
    assert many < 0.8 * few


def test_the_value_is_the_mean_over_starts() -> None:
    assert METRIC(GENERATED, REFERENCE).value != MAD(ENCODER, clusterings=1)(GENERATED, REFERENCE).value
    with pytest.raises(EvalkitError, match="MAD: clusterings=0: must be at least 1"):
        MAD(ENCODER, clusterings=0)


def test_influences_are_derivatives_in_how_often_a_clip_counts() -> None:
    own = features([*GENERATED.values[:29], np.empty((0, 6))])
    measured, step = METRIC(own, REFERENCE), 1e-5
    weights = 1 + step * np.concatenate([np.eye(30), -np.eye(30)])
    up, down = np.split(measured.kept(weights, np.ones((60, 60))), 2)  # type: ignore[misc]
    found = measured.influence()  # type: ignore[misc]
    np.testing.assert_allclose(found, (up - down) / (2 * step), rtol=1e-4, atol=1e-8)
    assert measured.n == 29 and found[29] == 0 and np.abs(found).max() > 1e-3
    assert found.sum() == pytest.approx(0, abs=1e-12)


def test_too_few_clips_and_a_missing_package_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    few: Any = features([*REFERENCE.values[:19], np.empty((0, 6))])
    with pytest.raises(EvalkitError, match=r"^MAD: 19 references with features are too few: use 20 or more$"):
        METRIC(REFERENCE, few)
    with pytest.raises(EvalkitError, match=r"^MAD: 0 generated clips with features"):
        METRIC(Features((), ()), REFERENCE)
    broken = features([*REFERENCE.values[:59], np.full((1, 6), np.nan)])
    with pytest.raises(EvalkitError, match=r"^MAD: the features of the references are not finite$"):
        METRIC(REFERENCE, broken)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        EvalkitError, match=r"^MAD: the package faiss-cpu is not installed: pip install 'evalkit\[mad\]'$"
    ):
        MAD(ENCODER)
