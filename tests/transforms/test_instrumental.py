"""References without their vocals: what becomes of a clip, and of the references of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from evalkit import audio
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.errors import EvalkitError
from evalkit.generation.of_clips import made_of
from evalkit.separation import Demucs, Passage
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.store.identity import identity
from evalkit.transforms import transformed
from evalkit.transforms.instrumental import Instrumental
from evalkit.types import Clip
from tests import separators
from tests.engines import CPU, cpu

RATE = 32000


@pytest.fixture(scope="module")
def instrumental(tmp_path_factory: pytest.TempPathFactory) -> Instrumental:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    separators.write(path)
    return Instrumental(Demucs(Asset("HT-Demucs", path=str(path))))


def clip(path: Path, id: str = "a", channels: int = 2, lasts: float = 0.9, seed: int = 0, **part: Any) -> Clip:
    samples = np.random.default_rng(seed).normal(0, 0.1, (round(lasts * RATE), channels))
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return Clip(id, path, sha256=sha256_file(path), frames=len(samples), sample_rate=RATE, channels=channels, **part)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_drums_bass_and_other_are_added_up(tmp_path: Path, instrumental: Instrumental, channels: int) -> None:
    given = clip(tmp_path / "a.wav", channels=channels, gain=0.5, start=0.2)
    (made,) = instrumental.load(Cache(tmp_path), CPU)([given])
    assert given.path is not None
    raw = audio.read(given.path)
    whole = Audio(raw.samples * 2, RATE)  # the gain undone
    separate, rate = instrumental.separator.passages(Cache(tmp_path), "cpu", 0.25, 1)
    (stems,) = separate([Passage(audio.downmix(whole) if channels > 2 else whole)])
    expected = (stems[0] + stems[1] + stems[2])[:, round(0.2 * 44100) :]
    assert made.rate == rate == 44100 and len(made.samples) == min(channels, 2)
    assert not np.array_equal(expected[0], expected[1])  # though both channels were the same
    np.testing.assert_array_equal(made.samples, expected.mean(axis=0, keepdims=True) if channels == 1 else expected)


def test_each_content_is_separated_once(tmp_path: Path, instrumental: Instrumental) -> None:
    cache = Cache(tmp_path / "cache")
    first = clip(tmp_path / "a.wav", "a", note="cut from 20.0 s to its last 0.5 s", start=0.1, seconds=0.5)
    same, part = dataclasses.replace(first, id="b"), dataclasses.replace(first, id="c", seconds=0.3)
    absent = Clip("d", status="missing", reason="not there")
    made = transformed(instrumental, [first, absent, same, part], cache, CPU, "references")
    assert [one.id for one in made] == ["a", "d", "b", "c"] and made[1] is absent
    assert made[0].path == made[2].path != made[3].path and made[0].sha256 == made[2].sha256
    assert {one.origin for one in made if one.ok} == {first.sha256}
    assert made[0].note == first.note and made[0].start == 0 and made[0].seconds == 0.5
    assert (made[0].frames, made[3].frames, made[0].channels) == (22050, 13230, 2)
    assert made[0].path is not None and soundfile.info(made[0].path).subtype == "PCM_24"
    # found again without the network, whatever precision clips of models have
    gone = dataclasses.replace(instrumental, separator=instrumental.separator)
    again = transformed(gone, [same], cache, cpu("bfloat16", batch_size=7), "references")
    assert again == [made[2]]
    entries = list((tmp_path / "cache" / "clips").glob("*/audio/*"))
    assert len(entries) == 2


def test_what_counts_is_part_of_the_identity(tmp_path: Path, instrumental: Instrumental) -> None:
    other = separators.write(tmp_path / "other.safetensors", dconv_depth=1) and Asset("x", path=str(tmp_path))
    ways = [
        instrumental,
        dataclasses.replace(instrumental, overlap=0.4),
        Instrumental(Demucs(other)),
        Instrumental(Demucs(Asset("HT-Demucs", random_seed=0))),
    ]
    found = [identity(way, Cache(tmp_path)) for way in ways]
    assert all(one != other for i, one in enumerate(found) for other in found[:i])
    assert found[0]["overlap"] == 0.25 and found[0]["kind"] == "instrumental_references"
    assert [way.random for way in ways] == [False, False, False, True]
    with pytest.raises(EvalkitError, match=r"references\.overlap=1: must be at least 0 and less than 1"):
        dataclasses.replace(instrumental, overlap=1.0)


@dataclasses.dataclass(frozen=True)
class Counted:
    """Makes a clip of silence, and fails at the one that it is told to."""

    fails_at: int
    calls: list[str] = dataclasses.field(metadata={"identity": False})
    kind = "counted"
    version = 1

    def identity(self, cache: Cache) -> Any:
        return {"kind": self.kind}

    def load(self, cache: Cache, engine: Any) -> Any:
        def make(clips: list[Clip]) -> list[Audio]:
            self.calls.extend(clip.id for clip in clips)
            if len(self.calls) == self.fails_at:
                raise KeyboardInterrupt
            return [Audio(np.zeros((1, 100), np.float32), RATE) for _ in clips]

        return make


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    """On a CPU each clip is kept as soon as it is made."""
    clips = [clip(tmp_path / f"{i}.wav", str(i), lasts=0.01, seed=i) for i in range(5)]
    stopped, resumed = Counted(4, []), Counted(0, [])
    with pytest.raises(KeyboardInterrupt):
        made_of(stopped, clips, Cache(tmp_path), CPU, "references")
    assert stopped.calls == ["0", "1", "2", "3"]
    made = made_of(resumed, clips, Cache(tmp_path), CPU, "references")
    assert set(resumed.calls) <= {"2", "3", "4"} and {"3", "4"} <= set(resumed.calls)
    assert [one.id for one in made] == list("01234") and all(one.ok for one in made)
