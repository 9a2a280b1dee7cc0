"""Precision, recall, density and coverage against prdc, torch-fidelity and loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from evalkit import compat
from evalkit.errors import EvalkitError
from evalkit.metrics.density_coverage import DensityCoverage
from evalkit.metrics.precision_recall import PrecisionRecall
from evalkit.stats.neighbours import clip_means, nearest_distances
from evalkit.types import Features
from tests.measuring import ENCODER, assert_order_does_not_matter, features, gaussian_clips, width_of_interval

PARTS: dict[str, Any] = {
    "precision": PrecisionRecall,
    "recall": PrecisionRecall,
    "density": DensityCoverage,
    "coverage": DensityCoverage,
}


def metric(part: str, **switches: Any) -> Any:
    return PARTS[part](ENCODER, part=part, **switches)


@pytest.fixture(scope="module")
def pair() -> tuple[Features, Features]:
    """Sets of unlike spread; clips of several frames, so that their means count."""
    return gaussian_clips(0, 300, 3, 6, shift=0.4, scale=0.8), gaussian_clips(1, 300, 3, 6)


def points(one: Features) -> np.ndarray:
    return np.array([clip.astype(np.float64).mean(0) for clip in one.values])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_all_four_are_prdc_s(pair: tuple[Features, Features], k: int) -> None:
    import prdc

    generated, reference = pair
    with compat.quiet():
        expected = prdc.compute_prdc(points(reference), points(generated), nearest_k=k)
    values = {part: metric(part, k=k)(generated, reference).value for part in PARTS}
    assert values == pytest.approx({part: float(expected[part]) for part in PARTS}, rel=1e-12)
    assert 0.2 < values["precision"] < 1.0
    assert 0.2 < values["recall"] < 1.0


def test_precision_and_recall_are_torch_fidelity_s(pair: tuple[Features, Features]) -> None:
    compat.prepare()
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    expected = calculate_precision_recall_full(*(torch.from_numpy(points(one)) for one in pair), neighborhood=3)
    values = [metric(part)(*pair).value for part in ("precision", "recall")]
    assert values == pytest.approx(expected, rel=1e-6)  # of torch-fidelity's float32 mean


def test_all_four_by_loops_and_per_clip() -> None:
    generated, reference = gaussian_clips(0, 12, 2, 3, shift=0.3), gaussian_clips(1, 12, 2, 3)
    g, r, k = points(generated), points(reference), 2

    def radius(of: np.ndarray, i: int) -> float:
        return sorted(float(np.linalg.norm(of[i] - other)) for j, other in enumerate(of) if j != i)[k - 1]

    def near(one: np.ndarray, of: np.ndarray) -> list[bool]:
        return [bool(np.linalg.norm(one - of[i]) < radius(of, i)) for i in range(len(of))]

    balls = [near(one, r) for one in g]
    expected = {
        "precision": [float(any(b)) for b in balls],
        "recall": [float(any(near(one, g))) for one in r],
        "density": [sum(b) / k for b in balls],
        "coverage": [float(any(b[j] for b in balls)) for j in range(len(r))],
    }
    for part, values in expected.items():
        measured = metric(part, k=k)(generated, reference)
        ids = generated.ids if part in ("precision", "density") else reference.ids
        assert measured.per_clip == pytest.approx(dict(zip(ids, values, strict=True)))
        assert measured.value == pytest.approx(np.mean(values))
        assert measured.n == 12


@pytest.mark.parametrize("part", PARTS)
def test_order_chunks_and_empty_clips_do_not_matter(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generated, reference = gaussian_clips(0, 25, 2, 3, shift=0.3), gaussian_clips(1, 25, 2, 3)
    assert_order_does_not_matter(metric(part), generated, reference)
    whole = metric(part)(generated, reference)
    with_empty = [
        Features((*one.ids, "empty"), (*one.values, np.zeros((0, 3), np.float32))) for one in (generated, reference)
    ]
    assert metric(part)(*with_empty).value == whole.value
    assert metric(part)(*with_empty).n == 25
    for name, number in (("ROWS", 4), ("DISTANCES", 40)):
        monkeypatch.setattr(f"evalkit.stats.neighbours.{name}", number)
        assert metric(part)(generated, reference).per_clip == whole.per_clip


@pytest.mark.parametrize("part", PARTS)
def test_intervals_shrink_with_clips(part: str) -> None:
    widths = [
        width_of_interval(metric(part), gaussian_clips(0, n, 2, 6, shift=0.8), gaussian_clips(1, n, 2, 6))
        for n in (40, 300)
    ]
    assert widths[1] < 0.7 * widths[0]


@pytest.mark.parametrize("part", PARTS)
def test_of_the_same_set_and_of_sets_apart(part: str) -> None:
    one = gaussian_clips(0, 40, 2, 4)
    far = Features(one.ids, tuple(clip + 100 for clip in one.values))
    assert metric(part)(one, one).value == pytest.approx(1.0, abs=0.2 if part == "density" else 0)
    assert metric(part)(far, one).value == 0


@pytest.mark.parametrize("part", PARTS)
def test_too_few_clips_and_wrong_switches(part: str) -> None:
    few = gaussian_clips(0, 3, 2, 4)
    with pytest.raises(EvalkitError, match=r"3 (clips|references) with features are too few for k=3: use more prompts"):
        metric(part, k=3)(few, few)
    metric(part, k=2)(few, few)
    for wrong in ({"k": 0}, {"part": "f_score"}):
        with pytest.raises(EvalkitError, match="k from 1"):
            PARTS[part](ENCODER, **{"part": part, **wrong})


def test_nearest_distances() -> None:
    line = np.array([[0.0], [1.0], [3.0], [7.0]])
    np.testing.assert_array_equal(nearest_distances(line, 1), [1, 1, 2, 4])
    np.testing.assert_array_equal(nearest_distances(line, 3), [7, 6, 4, 7])
    np.testing.assert_array_equal(nearest_distances(np.array([[2.5], [9.0]]), 1, among=line), [0.5, 2])
    with pytest.raises(ValueError, match="too few for 4"):
        nearest_distances(line, 4)
    present, means = clip_means(features([np.ones((2, 2)), np.zeros((0, 2)), [[1, 2], [3, 6]]]).values)
    assert present.tolist() == [True, False, True]
    np.testing.assert_array_equal(means, [[1, 1], [2, 4]])
