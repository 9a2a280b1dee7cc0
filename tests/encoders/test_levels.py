"""Levels against plain numpy and a run-length count, on whole clips and frame by frame."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from evalkit.audio import Audio
from evalkit.config import build, compose
from evalkit.encoders.levels import FULL_SCALE, Frames, Levels, in_runs
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import condition
from evalkit.features.extractor import Extractor
from evalkit.generation.clips import clips_of
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.types import Prompt
from tests import music
from tests.engines import CPU

RATE = 32000


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, (2, round(seconds * RATE))).astype(np.float32)


def frames(clip: np.ndarray, rate: int = RATE) -> Frames:
    (values,) = Levels().load(Cache("unused"), "cpu")([Audio(clip, rate)])
    assert values.dtype == np.float32
    return Frames.of(values)


def test_frames_are_a_tenth_of_a_second() -> None:
    clip = noise(1.0) * np.linspace(0, 1, RATE)
    ours = frames(clip)
    for name, samples in zip(
        ("left", "right", "mid", "side"), [*clip, (clip[0] + clip[1]) / 2, (clip[0] - clip[1]) / 2], strict=True
    ):
        np.testing.assert_allclose(getattr(ours, name), (samples.reshape(10, 3200) ** 2).mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(ours.seconds, 0.1, rtol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 3199, 3200, 3201, 40001])
def test_means_over_the_clip_are_those_of_all_samples_whatever_its_length(samples: int) -> None:
    clip = noise(2.0)[:, :samples] + np.float32([[0.02], [-0.3]])
    ours, exact = frames(clip), clip.astype(np.float64)
    np.testing.assert_allclose(ours.seconds.sum(), samples / RATE, rtol=1e-6)
    mid, side = exact.sum(axis=0) / 2, (exact[0] - exact[1]) / 2
    expected = [*exact.mean(axis=1), *(exact**2).mean(axis=1), (mid**2).mean(), (side**2).mean()]
    names = ("left_mean", "right_mean", "left", "right", "mid", "side")
    np.testing.assert_allclose([ours.mean(name) for name in names], expected, rtol=1e-6, atol=1e-9)


def test_frames_of_less_than_a_sample_are_samples() -> None:
    seconds = frames(np.zeros((2, 50), np.float32), 1).seconds
    assert seconds.tolist() == [1.0] * 50


@pytest.mark.parametrize("rate", [8000, 11025, 16001, 22050, 32000, 44100, 48000, 96000])
def test_frames_end_with_the_clip_and_ten_are_a_second_at_any_rate(rate: int) -> None:
    for total in (rate, 2 * rate - 1, 2 * rate + 1, 5 * rate // 2, 7):
        seconds = frames(np.zeros((2, total), np.float32), rate).seconds
        assert seconds.sum() == pytest.approx(total / rate, rel=1e-6) and (seconds > 0).all()
        np.testing.assert_allclose(seconds[1:], 0.1, atol=1 / rate)
        assert seconds[0] <= 0.1 + 1 / rate
        np.testing.assert_allclose(seconds[-10:].sum(), min(1, total / rate), rtol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_runs_are_those_of_a_run_length_count(length: int) -> None:
    flags = np.random.default_rng(length).random((2, 500)) < 0.6

    def expected(row: np.ndarray) -> list[bool]:
        groups = [(value, len(list(group))) for value, group in itertools.groupby(row.tolist())]
        return [value and count >= length for value, count in groups for _ in range(count)]

    np.testing.assert_array_equal(in_runs(flags, length), [expected(row) for row in flags])
    assert not in_runs(np.ones((2, 2), bool), 3).any()


def test_full_scale_is_that_of_16_bits_and_runs_cross_frames() -> None:
    clip = np.zeros((2, 6400), np.float32)
    clip[0, 3199:3202] = [1.0, 32767 / 32768, -1.0]  # a flat top over the border of two frames
    clip[1, [10, 20, 30]] = 1.7  # lone peaks beyond full scale
    clip[1, 40] = 32766 / 32768
    ours = frames(clip)
    np.testing.assert_allclose(ours.clipped * 6400, [4, 2], rtol=1e-6)
    np.testing.assert_allclose(ours.flat * 6400, [1, 2], rtol=1e-6)
    assert FULL_SCALE == 32767 / 32768


@dataclass(frozen=True)
class Loud:
    """A model that goes beyond full scale."""

    kind: ClassVar[str] = "loud"

    def check(self, sampling: Sampling) -> None: ...

    def load(self, cache: Cache, engine: Engine):
        return lambda prompts, sampling: [Audio(noise(1.0, 0.9), RATE) for _ in prompts]


def test_a_stored_clip_is_heard_as_the_model_made_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    clips = clips_of(Loud(), [Prompt("a", "x")], Sampling(), cache, CPU, "loud")
    assert clips[0].gain < 1
    extractor, encoder = Extractor(cache, "cpu", 1, RATE), Levels()
    key = extractor.key(encoder)
    features, _ = extractor.clips(clips, {key: encoder}, loudness=-14.0, refuse_silence=False, title="loud")
    np.testing.assert_allclose(
        features[key].values[0], Levels().levels(Audio(noise(1.0, 0.9), RATE)), rtol=1e-4, atol=1e-6
    )
    assert np.abs(condition(clips[0], RATE, -14.0).levelled.samples).max() <= 1  # what it does not hear


def test_mono_is_on_both_sides(tmp_path: Path) -> None:
    from evalkit.encoders import Input
    from evalkit.features.conditioning import Sound, heard

    mono = Audio(noise(0.2)[:1], RATE)
    clip = heard(Sound(mono, mono, mono), Levels().hears)
    assert Levels().hears == Input(None, "stereo", level="stored")
    assert frames(clip.samples).side.max() == 0
    assert np.array_equal(frames(clip.samples).left, frames(clip.samples).mid)


def test_the_yaml_is_the_default() -> None:
    config = compose(["model=synth", "prompts=demo", "metric=[stereo,silence,clipping]"])
    assert {build(node).encoder for node in config.metric.values()} == {Levels()}
    with pytest.raises(EvalkitError, match=r"frame=0 s: must be at least 0\.001 s"):
        Levels(frame=0.0)


@pytest.mark.parametrize("kind", ["plain", "clipped", "anti-phase", "left only", "wide", "very quiet"])
def test_music(kind: str) -> None:
    clip = music.rendered(kind, RATE, 6.0)
    ours = frames(clip)
    exact = clip.astype(np.float64)
    np.testing.assert_allclose(ours.mean("side"), (((exact[0] - exact[1]) / 2) ** 2).mean(), rtol=1e-6)
    assert ours.mean("clipped") == pytest.approx((np.abs(clip) >= 32767 / 32768).mean(), rel=1e-6)
