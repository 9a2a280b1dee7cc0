"""Inception score against torch-fidelity's formula and the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evalkit import compat
from evalkit.errors import EvalkitError
from evalkit.metrics.inception_score import InceptionScore
from evalkit.types import Features
from tests.measuring import ENCODER, assert_order_does_not_matter, features, repeated, width_of_interval


def logits_and_probabilities(n: int, seed: int = 0) -> tuple[torch.Tensor, Features]:
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 2, (n, 20)))
    return logits, features([[row] for row in logits.softmax(-1).numpy()])


def test_inception_score_is_torch_fidelity_s() -> None:
    compat.prepare()
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits, clips = logits_and_probabilities(50)
    expected = isc_features_to_metric(logits, splits=1, shuffle=False)["inception_score_mean"]
    assert InceptionScore(ENCODER)(clips).value == pytest.approx(expected, rel=1e-6)  # of float32 probabilities


def test_inception_score_by_definition_and_per_clip() -> None:
    sure, unsure = [1.0, 0.0], [0.5, 0.5]
    measured = InceptionScore(ENCODER)(features([[sure, sure], [unsure], [sure[::-1]]]))  # the first has two segments
    marginal = np.array([2.5, 1.5]) / 4
    divergences = [-np.log(marginal[0]), np.log(0.5) - np.log(marginal).mean(), -np.log(marginal[1])]
    assert measured.value == pytest.approx(np.exp((2 * divergences[0] + divergences[1] + divergences[2]) / 4))
    assert list(measured.per_clip.values()) == pytest.approx(divergences)
    assert measured.n == 3
    classes = features([[row] for row in np.repeat(np.eye(7), 3, axis=0)])
    assert InceptionScore(ENCODER)(classes).value == pytest.approx(7)  # its largest value: each class as often
    assert InceptionScore(ENCODER)(features([[unsure]] * 5)).value == pytest.approx(1)


def test_splits_are_seeded_parts_whose_scores_are_averaged() -> None:
    _, clips = logits_and_probabilities(41)
    whole = InceptionScore(ENCODER)(clips)
    split = InceptionScore(ENCODER, splits=4)(clips)
    assert split.value < whole.value  # fewer clips, a marginal nearer to them
    assert split.n == 41
    # per clip the divergence is from the split's marginal, so each part's score can be had from it
    order = np.random.default_rng(0).permutation(np.argsort(clips.ids))
    parts = [[split.per_clip[clips.ids[i]] for i in part] for part in np.array_split(order, 4)]
    assert split.value == pytest.approx(np.mean([np.exp(np.mean(part)) for part in parts]), rel=1e-12)
    for part in np.array_split(order, 4):
        alone = InceptionScore(ENCODER)(clips.select(clips.ids[i] for i in part))
        assert {i: split.per_clip[i] for i in alone.per_clip} == pytest.approx(alone.per_clip)
    assert InceptionScore(ENCODER, splits=4, seed=1)(clips).value != split.value


def test_blocks_of_clips_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    _, clips = logits_and_probabilities(41)
    metric, weights = InceptionScore(ENCODER, splits=3), np.random.default_rng(2).integers(0, 3, (4, 41)).astype(float)
    whole = metric(clips)
    monkeypatch.setattr("evalkit.stats.divergence.CLIPS", 4)
    parts = metric(clips)
    assert parts.value == pytest.approx(whole.value, rel=1e-12) and parts.per_clip == pytest.approx(whole.per_clip)
    assert whole.resampled is not None
    found = whole.resampled(weights, weights)
    monkeypatch.undo()
    np.testing.assert_allclose(found, whole.resampled(weights, weights), rtol=1e-12)


def test_a_resample_is_the_set_in_which_clips_stand_as_often_as_drawn() -> None:
    rng = np.random.default_rng(1)
    clips = features([rng.dirichlet(np.ones(5), n) for n in (2, 1, 0, 3, 1)])
    weights = np.array([[1.0] * 5, [2, 0, 1, 1, 1], [0, 3, 0, 1, 1]])
    measured = InceptionScore(ENCODER)(clips)
    assert measured.n == 4
    for row, value in zip(weights, measured.resampled(weights, weights), strict=True):  # type: ignore[misc]
        assert value == pytest.approx(InceptionScore(ENCODER)(repeated(clips, row)).value, rel=1e-12)


def test_inception_score_interval_and_order() -> None:
    widths = [width_of_interval(InceptionScore(ENCODER), logits_and_probabilities(n)[1], None) for n in (30, 300)]
    assert widths[1] < 0.5 * widths[0]
    for splits in (1, 3):
        assert_order_does_not_matter(InceptionScore(ENCODER, splits=splits), logits_and_probabilities(20)[1], None)


def test_inception_score_needs_clips() -> None:
    assert InceptionScore(ENCODER).reference_encoder is None
    with pytest.raises(EvalkitError, match="1 clips with features are too few: use at least 2 prompts"):
        InceptionScore(ENCODER)(features([[[1.0, 0.0]], np.zeros((0, 2))]))
    with pytest.raises(EvalkitError, match="use at least 20 prompts for 10 splits"):
        InceptionScore(ENCODER, splits=10)(logits_and_probabilities(19)[1])
    with pytest.raises(EvalkitError, match="splits=0"):
        InceptionScore(ENCODER, splits=0)
