"""Stereo metrics against numpy on the samples themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evalkit.audio import Audio
from evalkit.config import build, compose
from evalkit.encoders.levels import Levels
from evalkit.errors import EvalkitError
from evalkit.metrics.stereo import ChannelCorrelation, MonoShare, SideToMid
from evalkit.models.synth.synth import left_only
from evalkit.types import Features
from tests import parity

RATE = 32000
LEVELS = Levels()


def features(*clips: np.ndarray) -> Features:
    return Features(tuple("abcdefgh"[: len(clips)]), tuple(LEVELS.levels(Audio(clip, RATE)) for clip in clips))


def pair(correlation: float, right: float = 1.0, offset: float = 0.0) -> np.ndarray:
    """Noise (2, samples) whose channels have roughly this correlation; the right one `right` times as loud."""
    a, b = np.random.default_rng(5).normal(0, 0.1, (2, RATE + 77))
    both = np.stack([a, right * (correlation * a + (1 - correlation**2) ** 0.5 * b)])
    return (both + np.array([[offset], [-2 * offset]])).astype(np.float32)


CLIPS = [pair(0.3), pair(-0.8, right=0.2), pair(0.999, offset=0.03), left_only(pair(0.5))]


def ratio(clip: np.ndarray) -> float:
    left, right = clip.astype(np.float64) - clip.astype(np.float64).mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(((left - right) ** 2).sum() / ((left + right) ** 2).sum()))


def test_correlation_is_numpy_s() -> None:
    measured = ChannelCorrelation(LEVELS)(features(*CLIPS), None)
    expected = [np.corrcoef(clip.astype(np.float64))[0, 1] for clip in CLIPS]
    np.testing.assert_allclose(list(measured.per_clip.values()), expected, atol=2e-6)
    assert measured.value == pytest.approx(np.mean(expected), abs=2e-6)
    assert measured.n == 4 and measured.per_clip["d"] == 1.0


def test_side_to_mid_is_that_of_the_samples_and_has_a_floor() -> None:
    measured = SideToMid(LEVELS)(features(*CLIPS), None)
    expected = [ratio(clip) for clip in CLIPS[:3]]
    np.testing.assert_allclose(list(measured.per_clip.values())[:3], expected, atol=1e-4)
    assert measured.per_clip["d"] == -80
    opposite = CLIPS[3] * np.float32([[1], [-1]])
    assert SideToMid(LEVELS)(features(opposite), None).value == 80


def test_one_channel_only() -> None:
    clip = CLIPS[0] * np.float32([[1], [0]])
    assert SideToMid(LEVELS)(features(clip), None).value == pytest.approx(0, abs=1e-6)
    with pytest.raises(EvalkitError, match="channel correlation: all clips are silent"):
        ChannelCorrelation(LEVELS)(features(clip), None)


def test_silent_clips_are_left_out_and_not_counted() -> None:
    silence = np.zeros((2, RATE), np.float32)
    for metric in (ChannelCorrelation(LEVELS), SideToMid(LEVELS), MonoShare(LEVELS)):
        measured, alone = metric(features(silence, CLIPS[0]), None), metric(features(CLIPS[0]), None)
        assert measured.n == 1 and set(measured.per_clip) == {"b"}
        assert measured.value == pytest.approx(alone.value)
        with pytest.raises(EvalkitError, match="all clips are silent"):
            metric(features(silence), None)


def test_mono_is_a_matter_of_the_threshold() -> None:
    def narrow(decibels: float) -> np.ndarray:
        mid, side = np.random.default_rng(1).normal(0, 0.1, (2, RATE))
        side *= 10 ** (decibels / 20) * np.linalg.norm(mid) / np.linalg.norm(side)
        return np.stack([mid + side, mid - side])

    measured = MonoShare(LEVELS)(features(narrow(-39), narrow(-41), CLIPS[3], CLIPS[0]), None)
    assert measured.per_clip == {"a": 0, "b": 1, "c": 1, "d": 0} and measured.value == 0.5
    assert measured.resampled is not None
    weights = np.array([[0, 2, 2, 0], [4, 0, 0, 0]])
    assert measured.resampled(weights, weights).tolist() == [1, 0]
    with pytest.raises(EvalkitError, match="must be between -80 and 0 dB"):
        MonoShare(LEVELS, below=-90)


def test_fad_on_mid_and_side_is_fad_on_other_channels() -> None:
    options = ["model=synth", "prompts=demo", f"random_weights={parity.SEED}", "metric=[fad,fad_stereo]"]
    fad, mid, side = (build(node) for node in compose(options).metric.values())
    assert (mid.encoder.hears.channels, side.encoder.hears.channels) == ("mean", "side")
    assert mid == replace(fad, title=mid.title)
    assert side == replace(fad, encoder=replace(fad.encoder, channels="side"), title=side.title)
    assert len({fad.title, mid.title, side.title}) == 3
