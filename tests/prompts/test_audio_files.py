"""Audio files that users bring: what is read of them, and how often."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evalkit import audio
from evalkit.prompts.audio_files import AT_ONCE, mapped, probed
from evalkit.store import memory
from evalkit.store.known import known_digests


def test_headers_of_files_that_have_not_changed_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SETTLED", -(10**9))
    read: list[str] = []
    original = audio.probe

    def spy(path: Path) -> tuple[int, int, int]:
        read.append(path.name)
        return original(path)

    monkeypatch.setattr(audio, "probe", spy)
    good, bad = tmp_path / "good.wav", tmp_path / "bad.wav"
    soundfile.write(good, np.zeros((32000, 2)), 16000)
    bad.write_bytes(b"no audio")
    for _ in range(3):
        with known_digests(tmp_path / "cache"):
            clip = probed("a", good)
            assert (clip.status, clip.frames, clip.sample_rate, clip.channels) == ("ok", 32000, 16000, 2)
            assert probed("b", bad).status == "unreadable"
    assert read == ["good.wav", "bad.wav", "bad.wav", "bad.wav"]  # another version of a library may read it
    soundfile.write(good, np.zeros((16000, 1)), 8000)
    with known_digests(tmp_path / "cache"):
        assert (probed("a", good).frames, probed("a", good).sample_rate) == (16000, 8000)
    assert read[4:] == ["good.wav"]


def test_files_below_a_folder_are_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("a/b.wav", "a-b.wav", "a/a/z.wav", "a.b/c.flac", "B.mp3", "é.ogg", "a/b/c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "notes.txt").touch()
    found = audio.files_below(tmp_path)
    assert found == sorted(
        Path(root, name) for root, _, names in os.walk(tmp_path) for name in names if name[-1] != "t"
    )


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
def test_what_is_mapped_is_in_order(count: int) -> None:
    numbers = list(range(count))
    assert list(mapped(lambda a, b: a - b, numbers, [2 * n for n in numbers])) == [-n for n in numbers]


def test_what_a_mapped_function_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(mapped(lambda n: 1 // n, [2, 1, 0]))
