"""Clips become what a page can play: the part that was measured, in stereo, as long as there is room for them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from evalkit import audio
from evalkit.audio import MP3_RATES, Audio, as_mp3
from evalkit.page import pictures
from evalkit.page.sound import cut, key, sounds
from evalkit.types import Clip
from tests.page.tones import RATE, tone, written

ROOM = 10_000_000


def clip(
    folder: Path, name: str = "a.wav", samples: np.ndarray | None = None, rate: int = RATE, **changes: object
) -> Clip:
    path, sha256 = written(folder / name, tone(440.0, 2.0, rate) if samples is None else samples, rate)
    return Clip(**{"id": name, "path": Path(path), "sha256": sha256, "seconds": 2.0, **changes})


def one(made: Clip, output: Path, budget: int = ROOM) -> dict[str, object]:
    return dict(sounds([made], [], output, budget).entries[key(made)])


def decoded(entry: dict[str, object]) -> tuple[np.ndarray, int]:
    """(samples, channels) and the rate of a clip inside of a page."""
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(str(entry["base64"]))), always_2d=True)
    return samples, rate


def hertz(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(spectrum.argmax() * rate / samples.size)


def test_the_measured_part_is_inside_of_the_page_in_stereo_at_the_same_level_and_place(tmp_path: Path) -> None:
    whole = np.concatenate([tone(300.0, 1.0), tone(440.0, 2.0), tone(300.0, 1.0)])
    entry = one(clip(tmp_path, samples=whole, start=1.0, seconds=2.0), tmp_path / "report.html")
    samples, rate = decoded(entry)
    assert (entry["type"], entry["seconds"], rate, samples.shape) == ("audio/mpeg", 2.0, RATE, (2 * RATE, 2))
    error = samples - whole[RATE : 3 * RATE]
    assert np.sqrt(np.mean(error[2000:-2000] ** 2)) < 0.01
    assert np.abs(samples[:, 0]).max() > 1.9 * np.abs(samples[:, 1]).max()


@pytest.mark.parametrize(("rate", "becomes"), [(96000, 48000), (11000, 11025), (44100, 44100), (6000, 8000)])
def test_a_rate_that_mp3_cannot_have_is_resampled(rate: int, becomes: int) -> None:
    samples, found = decoded({"base64": base64.b64encode(as_mp3(Audio(tone(440.0, 2.0, rate).T, rate))).decode()})
    assert found == becomes in MP3_RATES
    assert hertz(samples[:, 0], found) == pytest.approx(440, abs=1)


def test_surround_becomes_its_downmix(tmp_path: Path) -> None:
    entry = one(clip(tmp_path, samples=tone(440.0, 2.0, channels=6)), tmp_path / "report.html")
    assert decoded(entry)[0].shape[1] == 1


def test_loudness_and_peak_are_those_of_the_part(tmp_path: Path) -> None:
    loud, quiet = (clip(tmp_path, f"{level}.wav", tone(1000.0, 2.0, level=level)) for level in (0.5, 0.05))
    entries = [one(made, tmp_path / "report.html") for made in (loud, quiet)]
    expected = audio.loudness(Audio(tone(1000.0, 2.0, level=0.5).T, RATE))
    assert entries[0]["lufs"] == pytest.approx(expected, abs=0.01)
    assert float(str(entries[0]["lufs"])) - float(str(entries[1]["lufs"])) == pytest.approx(20, abs=0.1)
    assert entries[0]["peak_db"] == pytest.approx(20 * np.log10(0.5), abs=0.01)


def test_a_silent_clip_has_no_loudness_to_match_and_can_be_played(tmp_path: Path) -> None:
    entry = one(clip(tmp_path, samples=np.zeros((2 * RATE, 2), np.float32)), tmp_path / "report.html")
    assert (entry["lufs"], entry["peak_db"]) == (None, None)
    assert "silent" in str(entry["said"])
    assert not decoded(entry)[0].any()


def test_what_cannot_be_played_says_why(tmp_path: Path) -> None:
    gone, other, damaged = (clip(tmp_path, f"{i}.wav", tone(440.0 + i, 2.0)) for i in range(3))
    assert gone.path and other.path and damaged.path
    gone.path.unlink()
    written(other.path, tone(500.0))
    damaged.path.write_bytes(b"RIFF" + bytes(100))
    damaged = Clip("damaged", path=damaged.path)
    short = clip(tmp_path, "short.wav", start=5.0)
    missing = Clip("missing", status="missing", reason="no file 'missing.*'")
    made = sounds([gone, other, damaged, short, missing], [], tmp_path / "report.html", ROOM)
    said = [made.entries[key(one)]["reason"] for one in (gone, other, damaged, short, missing)]
    assert said[0] == "its file is gone"
    assert said[1] == "its file is not the one that was measured"
    assert said[2].startswith("cannot be decoded")
    assert said[3] == "it is shorter than the part that was measured"
    assert said[4] == "missing: no file 'missing.*'"
    assert made.counted([key(one) for one in (gone, other, damaged, short, missing)]) == (
        "0 of 5 clips are inside the page, 1 is gone, 4 cannot be played"
    )


def test_the_first_clips_are_inside_and_the_others_are_linked(tmp_path: Path) -> None:
    clips = [clip(tmp_path / "some #1 folder", f"{i}.wav", tone(440.0 + i, 2.0)) for i in range(6)]
    output = tmp_path / "out" / "report.html"
    size = sounds(clips[:1], [], output, ROOM).bytes
    made = sounds(clips[:3], clips[3:], output, round(4.5 * size))
    assert ["base64" in made.entries[key(one)] for one in clips] == [True] * 4 + [False] * 2
    assert made.counted([key(one) for one in clips]) == "4 of 6 clips are inside the page, 2 are linked"
    assert made.bytes <= 4.5 * size
    linked = made.entries[key(clips[5])]
    assert linked["href"] == "../some%20%231%20folder/5.wav"
    assert (output.parent / unquote(str(linked["href"]))).resolve() == clips[5].path
    assert (linked["type"], linked["start"], linked["seconds"]) == ("audio/wav", 0.0, 2.0)


def test_pictures_count_and_nothing_is_inside_without_room(tmp_path: Path) -> None:
    clips = [clip(tmp_path, f"{i}.wav", tone(440.0 + i, 2.0)) for i in range(3)]
    made = sounds(clips[:2], clips[2:], tmp_path / "report.html", 0)
    assert made.bytes == 0
    assert not any("base64" in entry or "picture" in entry for entry in made.entries.values())
    assert made.entries[key(clips[0])]["lufs"] is not None  # what there are cards of is matched even where it is linked
    inside = sounds(clips[:1], [], tmp_path / "report.html", ROOM)
    entry = inside.entries[key(clips[0])]
    assert inside.bytes == len(str(entry["base64"])) + len(str(entry["picture"]))


def test_pictures_of_all_cards_come_before_sound(tmp_path: Path) -> None:
    clips = [clip(tmp_path, f"{i}.wav", tone(440.0 + i, 2.0)) for i in range(3)]
    size = sounds(clips[:1], [], tmp_path / "report.html", ROOM).bytes
    made = sounds(clips, [], tmp_path / "report.html", round(1.7 * size))
    assert ["base64" in made.entries[key(one)] for one in clips] == [True, False, False]
    assert all("picture" in entry for entry in made.entries.values())


def test_a_format_that_browsers_do_not_play_is_said_where_there_is_no_room(tmp_path: Path) -> None:
    made = clip(tmp_path, "a.aiff")
    assert "base64" in one(made, tmp_path / "report.html")
    assert one(made, tmp_path / "report.html", budget=0)["reason"] == (
        "no room in the page, and browsers do not play .aiff files"
    )


def test_a_key_is_of_the_bytes_and_the_part() -> None:
    first = Clip("p", path=Path("a.wav"), sha256="1" * 64)
    assert key(first) == key(Clip("other", path=Path("b.wav"), sha256="1" * 64))
    others = [
        Clip("p", sha256="1" * 64, start=1.0),
        Clip("p", sha256="1" * 64, seconds=1.0),
        Clip("p", sha256="2" * 64),
    ]
    others += [Clip("p", status="missing", reason="no file"), Clip("p", status="silent")]
    assert len({key(first), *map(key, others)}) == 6


def test_a_part_that_is_cut_is_whole_samples() -> None:
    whole = Audio(np.arange(20, dtype=np.float32)[None], 10)
    assert cut(whole, Clip("p", start=0.5, seconds=1.0)).samples[0].tolist() == list(range(5, 15))
    assert cut(whole, Clip("p", start=1.5)).samples[0].tolist() == list(range(15, 20))


def test_pictures_have_one_scale_of_levels_and_frequencies() -> None:
    def levels(hertz: float, level: float = 0.25, rate: int = RATE) -> np.ndarray:
        return pictures._levels(Audio(tone(hertz, 2.0, rate, level, 1).T, rate))

    low, high = levels(200.0).mean(axis=1), levels(4000.0).mean(axis=1)
    assert low.argmax() > high.argmax()  # the highest band is above
    assert levels(1000.0, 0.25).max() > levels(1000.0, 0.01).max() > 0
    assert abs(levels(1000.0).mean(axis=1).argmax() - levels(1000.0, rate=44100).mean(axis=1).argmax()) <= 1
    assert not pictures._levels(Audio(np.zeros((1, RATE), np.float32), RATE)).any()
    png = pictures.spectrogram(Audio(tone(440.0, 10.0).T, RATE))
    assert png.startswith(b"\x89PNG")
    assert len(png) < 12_000


def test_an_outline_has_each_channel_and_its_peaks() -> None:
    samples = np.zeros((2, 1600), np.float32)
    samples[0, 800] = -0.5
    left, right = pictures.outline(samples)
    assert (max(left), left.index(50), max(right), len(left)) == (50, 80, 0, 160)
    assert pictures.outline(samples[:, :3]) == [[0, 0, 0], [0, 0, 0]]


def test_what_a_picture_shows_is_said() -> None:
    left = tone(440.0, 2.0)
    left[:, 1] = 0
    assert pictures.described(Audio(left.T, RATE)) == "2.0 s, left channel alone, 85 % of its energy below 450 Hz"
    half = tone(5000.0, 2.0, channels=1)
    half[RATE:] = 0
    assert pictures.described(Audio(half.T, RATE)).endswith(
        "mono, 85 % of its energy below 5.0 kHz, silent for 50% of it"
    )
