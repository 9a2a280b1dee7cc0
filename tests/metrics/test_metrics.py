"""The four metrics on small features whose values are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evalkit.errors import EvalkitError
from evalkit.metrics.chroma import ChromaSimilarity
from evalkit.metrics.clap_score import CLAPScore
from evalkit.metrics.fad import FAD
from evalkit.metrics.kld import KLD
from evalkit.types import Features

NO_ENCODER: Any = None


def features(*values: list[Any]) -> Features:
    return Features(tuple("abcdef"[: len(values)]), tuple(np.array(v, dtype=np.float32) for v in values))


def test_fad_pools_windows_of_all_clips() -> None:
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((30, 4))
    whole, parts = features(windows), features(windows[:7], windows[7:25], windows[25:])
    other = features(rng.standard_normal((40, 4)) + 1)
    metric = FAD(NO_ENCODER)
    assert metric(whole, other).value == pytest.approx(metric(parts, other).value, rel=1e-12)
    assert metric(parts, parts).value == pytest.approx(0, abs=1e-9)
    assert metric(parts, other).n == 3


def test_fad_refuses_what_has_no_covariance() -> None:
    with pytest.raises(EvalkitError, match="generated clips are too few or shorter than one window"):
        FAD(NO_ENCODER)(features(np.zeros((0, 4))), features(np.zeros((5, 4))))


def test_kld_is_of_the_generated_clip_from_the_reference_and_segments_count() -> None:
    sure, unsure = [0.98, 0.01, 0.01], [1 / 3, 1 / 3, 1 / 3]
    metric = KLD(NO_ENCODER, epsilon=0.0)
    measured = metric(features([unsure, unsure], [sure]), features([sure, unsure], [sure]))
    kl = 0.98 * np.log(0.98 * 3) + 2 * 0.01 * np.log(0.01 * 3)
    assert measured.value == pytest.approx(kl / 3, rel=1e-5)
    assert measured.per_clip == pytest.approx({"a": kl / 2, "b": 0.0}, abs=1e-6)
    assert measured.n == 2


def test_clap_score_is_the_mean_cosine() -> None:
    measured = CLAPScore(NO_ENCODER, NO_ENCODER)(features([[1, 0]], [[1, 1]]), features([[1, 0]], [[1, 0]]))
    assert measured.per_clip == pytest.approx({"a": 1.0, "b": 2**-0.5})
    assert measured.value == pytest.approx((1 + 2**-0.5) / 2)


def test_chroma_weighs_clips_by_their_frames() -> None:
    c, d = [1, 0], [0, 1]
    measured = ChromaSimilarity(NO_ENCODER)(features([c, c, c], [c]), features([c, c, c], [d]))
    assert measured.value == pytest.approx(3 / 4)
    assert measured.per_clip == {"a": 1.0, "b": 0.0}
