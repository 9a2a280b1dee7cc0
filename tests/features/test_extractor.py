"""The feature stage: conditioning, caching, and audio that turns out to be unusable."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import soundfile

from evalkit import audio
from evalkit.audio import Audio
from evalkit.encoders import Input, Reads
from evalkit.features.conditioning import condition, usable_samples
from evalkit.features.extractor import Extractor
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.store.entry import read_entry
from evalkit.types import Clip, Prompt

RATE = 32000


@dataclass(frozen=True)
class Levels:
    """Length, RMS and first sample: enough to see what an encoder was given."""

    sample_rate: int = RATE
    kind: ClassVar[str] = "statistics"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    calls: ClassVar[list[int]] = []

    @property
    def hears(self) -> Input:
        return Input(self.sample_rate)

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        def encode(items: list[np.ndarray]) -> list[np.ndarray]:
            self.calls.append(len(items))
            return [np.array([[len(x), np.sqrt(np.mean(x**2)), x[0]]], dtype=np.float32) for x in items]

        return encode


@dataclass(frozen=True)
class Lengths:
    kind: ClassVar[str] = "lengths"
    reads: ClassVar[str] = "text"
    version: ClassVar[int] = 1
    calls: ClassVar[list[int]] = []

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        def encode(items: list[str]) -> list[np.ndarray]:
            self.calls.append(len(items))
            return [np.array([[len(x)]], dtype=np.float32) for x in items]

        return encode


def write(path: Path, samples: np.ndarray, rate: int = RATE, **options: Any) -> Clip:
    soundfile.write(path, samples.T, rate, **options)
    return Clip(
        path.stem, path, sha256=sha256_file(path), frames=samples.shape[1], sample_rate=rate, channels=len(samples)
    )


def tone(seconds: float = 2.0, rate: int = RATE, level: float = 0.5) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return (level * np.stack([np.sin(2 * np.pi * 440 * t), 0.3 * np.cos(2 * np.pi * 3000 * t)])).astype(np.float32)


def extract(
    tmp_path: Path,
    clips: list[Clip],
    *encoders: Any,
    batch_size: int = 2,
    loudness: float | None = None,
    refuse: bool = True,
) -> tuple[list[Any], list[Clip]]:
    Levels.calls.clear()
    extractor = Extractor(Cache(tmp_path / "cache"), "cpu", batch_size, RATE)
    keyed = {extractor.key(e): e for e in encoders}
    features, checked = extractor.clips(clips, keyed, loudness=loudness, refuse_silence=refuse, title="x")
    return [features[key] for key in keyed], checked


def test_conditioning_is_resample_level_cut_downmix_in_this_order(tmp_path: Path) -> None:
    samples = tone(3.0, 44100)
    clip = write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT")
    sound = condition(dataclasses.replace(clip, start=1.0, seconds=1.5), RATE, -14.0)
    whole = audio.resample(Audio(samples, 44100), RATE)
    levelled = audio.normalize_loudness(whole, -14.0)
    np.testing.assert_allclose(sound.levelled.samples, levelled.samples[:, 32000:80000], atol=1e-7)
    np.testing.assert_allclose(sound.stored.samples, whole.samples[:, 32000:80000], atol=1e-7)
    assert sound.peak == pytest.approx(np.abs(whole.samples[:, 32000:80000]).max(), rel=1e-6)
    assert audio.loudness(levelled) == pytest.approx(-14.0, abs=0.01)


def test_the_stored_gain_is_undone(tmp_path: Path) -> None:
    samples = tone(1.0)
    clip = dataclasses.replace(write(tmp_path / "a.wav", samples / 4, subtype="FLOAT"), gain=0.25)
    sound = condition(clip, RATE, None)
    np.testing.assert_allclose(sound.stored.samples, samples, atol=1e-7)
    assert sound.levelled is sound.stored


def test_usable_samples() -> None:
    clip = Clip("a", frames=441000, sample_rate=44100)
    assert usable_samples(clip, RATE) == 320000
    assert usable_samples(dataclasses.replace(clip, seconds=4.0), RATE) == 128000
    assert usable_samples(dataclasses.replace(clip, start=7.0, seconds=4.0), RATE) == 96000


def test_features_are_cached_and_do_not_depend_on_batch_or_order(tmp_path: Path) -> None:
    clips = [write(tmp_path / f"{i}.wav", tone(1 + i / 10, level=0.1 * (i + 1))) for i in range(5)]
    (first,), _ = extract(tmp_path, clips, Levels(), batch_size=2)
    assert Levels.calls == [2, 2, 1]
    (again,), _ = extract(tmp_path, clips[::-1], Levels(), batch_size=3)
    assert Levels.calls == []
    (other,), _ = extract(tmp_path / "other", clips[::-1], Levels(), batch_size=3)
    for one in (again, other):
        for a, b in zip(first.values, one.select(first.ids).values, strict=True):
            np.testing.assert_array_equal(a, b)


def test_each_clip_is_decoded_once_for_all_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    original = audio.read

    def spy(path: Path) -> Audio:
        decoded.append(path)
        return original(path)

    monkeypatch.setattr("evalkit.features.conditioning.audio.read", spy)
    clips = [write(tmp_path / f"{i}.wav", tone(1 + i / 10)) for i in range(3)]
    (at_32k, at_16k), _ = extract(tmp_path, clips, Levels(), Levels(16000))
    assert len(decoded) == 3
    assert at_16k.values[0][0, 0] == at_32k.values[0][0, 0] / 2


def test_the_key_holds_what_matters(tmp_path: Path) -> None:
    """Content, part, loudness and encoder make another entry; a file name does not."""
    clip = write(tmp_path / "a.wav", tone())
    extract(tmp_path, [clip], Levels())
    same = write(tmp_path / "b.wav", tone())
    extract(tmp_path, [same], Levels())
    assert Levels.calls == []
    for changed, options in (
        (dataclasses.replace(clip, seconds=1.0), {}),
        (dataclasses.replace(clip, start=0.5), {}),
        (dataclasses.replace(clip, gain=0.5), {}),
        (write(tmp_path / "c.wav", tone(level=0.4)), {}),
        (clip, {"loudness": -14.0}),
    ):
        extract(tmp_path, [changed], Levels(), **options)
        assert Levels.calls == [1], changed


def test_a_damaged_cache_entry_is_computed_again(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.wav", tone())
    (first,), _ = extract(tmp_path, [clip], Levels())
    for entry in (p for p in (tmp_path / "cache").rglob("*") if p.is_file()):
        entry.write_bytes(entry.read_bytes()[:-3])
    (again,), _ = extract(tmp_path, [clip], Levels())
    assert Levels.calls == [1]
    np.testing.assert_array_equal(first.values[0], again.values[0])


def test_unusable_audio_becomes_a_row_with_a_reason(tmp_path: Path) -> None:
    nan = tone()
    nan[0, 100] = np.nan
    good = write(tmp_path / "good.wav", tone())
    bad = write(tmp_path / "nan.wav", nan, subtype="FLOAT")
    short = write(tmp_path / "cut.flac", tone(2.0))
    data = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    silent = write(tmp_path / "silent.wav", 0 * tone())
    absent = Clip("absent", status="missing", reason="no file")
    clips = [bad, good, short, silent, absent]
    (features,), checked = extract(tmp_path, clips, Levels())
    assert features.ids == ("good",)
    assert [c.status for c in checked] == ["unreadable", "ok", "unreadable", "silent", "missing"]
    assert "NaN" in checked[0].reason
    assert checked[2].reason


def test_a_silent_generated_clip_counts_and_is_noted(tmp_path: Path) -> None:
    (features,), checked = extract(
        tmp_path, [write(tmp_path / "s.wav", 0 * tone())], Levels(), loudness=-14.0, refuse=False
    )
    assert features.ids == ("s",)
    assert (checked[0].status, checked[0].note) == ("ok", "digital silence")


@pytest.mark.parametrize(
    ("samples", "rate", "options"),
    [
        (tone(), RATE, {"subtype": "PCM_U8"}),
        (tone(2.0, 96000), 96000, {"subtype": "PCM_24"}),
        (np.tile(tone(), (3, 1)), RATE, {"subtype": "PCM_16"}),
    ],
    ids=["8-bit", "96 kHz", "5.1"],
)
def test_unusual_formats_are_read(tmp_path: Path, samples: np.ndarray, rate: int, options: dict[str, str]) -> None:
    for loudness in (None, -14.0):
        (features,), checked = extract(
            tmp_path, [write(tmp_path / "a.wav", samples, rate, **options)], Levels(), loudness=loudness
        )
        assert checked[0].ok
        assert features.values[0][0, 0] == 64000


def test_one_sample_is_encoded_as_one_sample(tmp_path: Path) -> None:
    (features,), _ = extract(tmp_path, [write(tmp_path / "a.wav", tone()[:, 1:2])], Levels(), loudness=-14.0)
    assert features.values[0][0, 0] == 1


def test_captions_are_cached_by_their_text(tmp_path: Path) -> None:
    Lengths.calls.clear()
    extractor = Extractor(Cache(tmp_path), "cpu", 2, RATE)
    encoder = Lengths()
    prompts = [Prompt("a", "x"), Prompt("b", "xyz"), Prompt("c", "🎵<b>\n\"'")]
    for _ in range(2):
        features = extractor.captions(prompts, encoder, extractor.key(encoder))
        assert [v.item() for v in features.values] == [1, 3, 7]
    assert Lengths.calls == [2, 1]


def test_what_an_encoder_hears_is_in_the_key(tmp_path: Path) -> None:
    """Encoders that hear a clip in other ways never share features, also not through the cache."""

    @dataclass(frozen=True)
    class Hears(Levels):
        channels: Literal["mean", "first", "side"] = "mean"
        level: Literal["protocol", "stored"] = "protocol"
        remove_dc: bool = False
        kind: ClassVar[str] = "hears"

        @property
        def hears(self) -> Input:
            return Input(self.sample_rate, self.channels, level=self.level, remove_dc=self.remove_dc)

    clip = write(tmp_path / "a.wav", tone(2.0) * 0.5 + 0.05, subtype="FLOAT")
    encoders = [Hears(), Hears(channels="first"), Hears(channels="side"), Hears(level="stored"), Hears(remove_dc=True)]
    for _ in range(2):  # the second time from the cache
        features, _ = extract(tmp_path, [clip], *encoders, loudness=-14.0)
        values = [tuple(f.values[0][0]) for f in features]
        assert len(set(values)) == len(encoders)
        (alone,), _ = extract(tmp_path, [clip], encoders[3], loudness=-14.0)
        assert tuple(alone.values[0][0]) == values[3]
    left, right = tone(2.0) * 0.5 + 0.05
    assert values[3][1] == pytest.approx(np.sqrt(np.mean(((left + right) / 2) ** 2)), rel=1e-5)


def test_the_protocols_resampler_is_in_the_key(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.wav", tone(2.0, 44100), 44100, subtype="FLOAT")
    sums = []
    for resampler in ("julius", "soxr_hq"):
        extractor = Extractor(Cache(tmp_path / "cache"), "cpu", 1, RATE, resampler)
        features, _ = extractor.clips([clip], {"k": Levels()}, loudness=None, refuse_silence=True, title="x")
        sums.append(float(features["k"].values[0][0, 1]))
        expected = audio.downmix(audio.resample(audio.read(clip.path), RATE, resampler)).samples
        assert sums[-1] == pytest.approx(np.sqrt(np.mean(expected**2)), rel=1e-6)
    assert sums[0] != sums[1]


def test_a_batch_is_one_file_for_each_encoder_and_all_are_merged_at_the_end(tmp_path: Path) -> None:
    clips = [write(tmp_path / f"{i}.wav", tone(1 + i / 50)) for i in range(20)]
    (first,), _ = extract(tmp_path, clips, Levels(), batch_size=2)
    extractor = Extractor(Cache(tmp_path / "cache"), "cpu", 2, RATE)
    folder = extractor.collection(Levels()).folder
    assert [len(read_entry(path).keys) for path in folder.glob("*.entry")] == [2] * 10
    keyed = {extractor.key(Levels()): Levels()}
    extractor.clips(clips, keyed, loudness=None, refuse_silence=True, title="x")
    extractor.compact()
    for kind in ("features", "peaks"):
        (entry,) = (tmp_path / "cache" / kind).glob("*/*.entry")
        assert len(read_entry(entry).keys) == 20
    (again,), _ = extract(tmp_path, clips, Levels())
    assert Levels.calls == []
    for a, b in zip(first.values, again.values, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_kill_loses_at_most_the_batch_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [write(tmp_path / f"{i}.wav", tone(1 + i / 50)) for i in range(6)]
    original = Levels.load

    def deadly(self: Levels, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        encode = original(self, cache, device)

        def run(items: list[Any]) -> list[np.ndarray]:
            if len(Levels.calls) == 2:
                raise KeyboardInterrupt
            return encode(items)

        return run

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Levels, "load", deadly)
        extract(tmp_path, clips, Levels())
    extract(tmp_path, clips, Levels())
    assert Levels.calls == [2]
