"""References: matched by name, classified, cut."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from evalkit.errors import EvalkitError
from evalkit.prompts.musiccaps import MusicCaps
from evalkit.prompts.references import find_references
from evalkit.prompts.table import Table
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.types import Clip, Prompt, PromptSet
from tests import music

RATE = 8000
A, B = "-0Gj8-vB1q4", "Y_abcdefg-1"


def write(path: Path, seconds: float = 10.0, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, (round(seconds * RATE), channels))
    soundfile.write(path, samples, RATE)
    return path


def musiccaps(*ids: str, start: float = 30.0) -> PromptSet:
    prompts = tuple(Prompt(i, "text", start=start, seconds=10.0) for i in ids or (A,))
    return PromptSet("musiccaps", "all", len(prompts), prompts, "")


def find(prompts: PromptSet, references: Any, duration: float = 10.0, **options: Any) -> list[Clip]:
    return find_references(prompts, MusicCaps(path="x.csv", references=references, **options), duration)


def find_one(folder: Path, duration: float = 10.0, **options: Any) -> Clip:
    (clip,) = find(musiccaps(), str(folder), duration, **options)
    return clip


class TestNames:
    @pytest.mark.parametrize("video", [A, B, "YYYYYYYYYYY", "___________", "-----------", "12345678901", "_30_40_30_4"])
    @pytest.mark.parametrize(
        "name",
        [
            "{}.wav", "{}.WAV", "{}_30_40.wav", "{}-30-40.flac", "{}_30-40.ogg", "{}_30.wav", "{}_30000.wav",
            "{}_30000_40000.wav", "{}_30.0_40.0.wav", "{}_30.000_40.000.wav", "[{}]-[30-40].wav",
            "[{}]-[30.0-40.0].wav", "[{}].wav", "Y{}.wav", "Y{}_30.000_40.000.wav", "Y{}_30_40.wav",
            "some/folder/{}.wav",
        ],
    )  # fmt: skip
    def test_a_name_that_a_download_script_gives(self, tmp_path: Path, name: str, video: str) -> None:
        path = write(tmp_path / name.format(video), 1.0)
        write(tmp_path / "other.wav")
        (clip,) = find(musiccaps(video), str(tmp_path))
        assert (clip.id, clip.path, clip.status) == (video, path, "ok")

    @pytest.mark.parametrize(
        "name",
        [
            "{}_50_60.wav", "{}-0-10.wav", "{}_40.wav", "{}_30_60.wav", "{}_30_40000.wav", "[{}]-[0-10].wav",
            "{}x.wav", "x{}.wav", "{}_30_40_50.wav", "{}_a_b.wav", "{}__30_40.wav", "({}).wav", "YY{}.wav",
            "{}.txt", "{}.json", "._{}.wav", "{}.wav.part",
        ],
    )  # fmt: skip
    def test_another_name(self, tmp_path: Path, name: str) -> None:
        write(tmp_path / f"{B}.wav", 1.0)
        (tmp_path / name.format(A)).touch()
        clip, other = find(musiccaps(A, B), str(tmp_path))
        assert (clip.status, other.status) == ("missing", "ok")

    def test_ids_differ_by_case(self, tmp_path: Path) -> None:
        write(tmp_path / "abcdefghijK.wav")
        clip, other = find(musiccaps("abcdefghijk", "abcdefghijK"), str(tmp_path))
        assert (clip.status, other.status) == ("missing", "ok")

    def test_a_missing_one_says_why(self, tmp_path: Path) -> None:
        write(tmp_path / f"{A}_50_60.wav")
        write(tmp_path / f"{B}.wav")
        first, _, third = find(musiccaps(A, B, "12345678901"), str(tmp_path))
        assert first.reason == f"'{A}_50_60.wav' names another part of the video than 30 to 40 s"
        assert third.reason == f"not in '{tmp_path}'"
        assert first.path is None and first.sha256 == ""

    @pytest.mark.parametrize("others", [[f"{A}.wav"], [f"{A}_50_60.wav"], [f"Y{A}.flac", f"{A}_0_10.wav"]])
    def test_matching_times_go_before_a_bare_id(self, tmp_path: Path, others: list[str]) -> None:
        path = write(tmp_path / f"{A}_30_40.wav")
        for name in others:
            write(tmp_path / name)
        assert find_one(tmp_path).path == path

    @pytest.mark.parametrize(
        ("one", "two"),
        [
            (f"{A}.wav", f"{A}.mp3"),
            (f"a/{A}.wav", f"b/{A}.wav"),
            (f"{A}_30_40.wav", f"[{A}]-[30-40].wav"),
            (f"{A}.wav", f"Y{A}.wav"),
        ],
    )
    def test_two_that_fit_equally_well_are_refused(self, tmp_path: Path, one: str, two: str) -> None:
        for name in (one, two):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        with pytest.raises(EvalkitError) as caught:
            find_one(tmp_path)
        message = str(caught.value)
        assert message.startswith(f"two references for '{A}': '") and one in message and two in message

    def test_order_is_that_of_the_prompts(self, tmp_path: Path) -> None:
        for i, video in enumerate((A, B)):
            write(tmp_path / f"{video}.wav", 2.0 + i)
        there, back = find(musiccaps(A, B), str(tmp_path)), find(musiccaps(B, A), str(tmp_path))
        assert [c.id for c in there] == [A, B] and there == back[::-1]
        assert [c.frames for c in there] == [2 * RATE, 3 * RATE]

    def test_other_ids_are_whole_names(self, tmp_path: Path) -> None:
        # an 11-character id of one's own is not a video, and must not take the file of a longer one
        ids = ["my_clip_001", "my_clip_001_2", "a.b", "ünï 🎹"]
        prompts = PromptSet("mine", "all", 4, tuple(Prompt(i, "t") for i in ids), "")
        for name in ("my_clip_001_2.wav", "sub/a.b.FLAC", "u\u0308ni\u0308 🎹.wav"):
            write(tmp_path / name)
        clips = find_references(prompts, Table(path="x.csv", references=str(tmp_path)), 10.0)
        assert [c.status for c in clips] == ["missing", "ok", "ok", "ok"]

    def test_an_id_is_never_joined_to_a_path(self, tmp_path: Path) -> None:
        write(tmp_path / "secret.wav")
        write(tmp_path / "in" / "x.wav")
        prompts = PromptSet("mine", "all", 2, (Prompt("../secret", "t"), Prompt("x", "t")), "")
        clips = find_references(prompts, Table(path="x.csv", references=str(tmp_path / "in")), 10.0)
        assert [c.status for c in clips] == ["missing", "ok"]


class TestPlaces:
    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(EvalkitError, match="absent' does not exist: give a folder"):
            find_one(tmp_path / "absent")

    def test_a_folder_without_audio(self, tmp_path: Path) -> None:
        (tmp_path / f"{A}.txt").touch()
        with pytest.raises(EvalkitError, match=r"holds no audio \(\.wav, \.flac"):
            find_one(tmp_path)

    def test_a_folder_that_fits_no_prompt(self, tmp_path: Path) -> None:
        write(tmp_path / "track01.wav")
        write(tmp_path / "track02.wav")
        with pytest.raises(EvalkitError) as caught:
            find_one(tmp_path)
        expected = f"names such as '{A}.wav' or '{A}_30_40.wav', found 'track01.wav' and 1 more"
        assert str(caught.value) == f"'{tmp_path}' has a reference for none of the 1 prompts: expected {expected}"

    def test_a_folder_of_other_parts_says_so(self, tmp_path: Path) -> None:
        write(tmp_path / f"{A}_0_10.wav")
        with pytest.raises(EvalkitError, match="names another part of the video than 30 to 40 s"):
            find_one(tmp_path)

    def test_a_file_that_is_no_table(self, tmp_path: Path) -> None:
        with pytest.raises(EvalkitError, match="is neither a folder nor a"):
            find_one(write(tmp_path / "x.wav"))

    @pytest.mark.parametrize("header", ["id,path", "ytid,reference"])
    def test_a_pairing_file(self, tmp_path: Path, header: str) -> None:
        near, far = write(tmp_path / "sub/near.wav"), write(tmp_path / "far.wav")
        table = tmp_path / "pairs.csv"
        table.write_text(f"{header}\nunused,x.wav\n{B},{far}\n{A},sub/near.wav\n12345678901,gone.wav\n")
        clips = find(musiccaps(A, B, "12345678901", "abcdefghijk"), str(table))
        assert [c.path for c in clips] == [near, far, tmp_path / "gone.wav", None]
        assert [c.status for c in clips] == ["ok", "ok", "missing", "missing"]
        assert clips[2].reason == f"'{tmp_path / 'gone.wav'}' does not exist"
        assert clips[3].reason == "not in 'pairs.csv'"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("id\na\n", "has no column 'path' or 'reference': it has id"),
            ("id,path\na,\n", "line 2: path is empty"),
            ("id,path\n,a\n", "line 2: id is empty"),
            ("id,path\na,b\na,c\n", "line 3: a second path for 'a'"),
            ("id,path\nb,c\n", f"has none of the 1 prompts: its first id is 'b', the first prompt's is '{A}'"),
        ],
    )
    def test_a_bad_pairing_file(self, tmp_path: Path, text: str, message: str) -> None:
        table = tmp_path / "pairs.csv"
        table.write_text(text)
        with pytest.raises(EvalkitError) as caught:
            find_one(table)
        assert message in str(caught.value)

    def test_the_reference_column(self, tmp_path: Path) -> None:
        path = write(tmp_path / "audio/a.wav", 2.0, channels=2)
        (tmp_path / "x.csv").write_text(
            f"id,text,reference\na,t,audio/a.wav\nb,t,gone.wav\nc,t,\nd,t,{'x' * 5000}\ne,t,audio\n"
        )
        table = Table(path=str(tmp_path / "x.csv"))
        clips = find_references(table.load(Cache(tmp_path / "cache")), table, 10.0)
        assert [c.status for c in clips] == ["ok", "missing", "missing", "missing", "missing"]
        assert clips[0] == Clip(
            "a", path, sha256=sha256_file(path), frames=2 * RATE, sample_rate=RATE, channels=2, seconds=2.0
        )  # fmt: skip
        assert clips[1].reason.endswith("gone.wav' does not exist")
        assert clips[2].reason == "no reference is given: set prompts.references"

    def test_a_folder_goes_before_the_column(self, tmp_path: Path) -> None:
        path = write(tmp_path / "refs/a.wav")
        (tmp_path / "x.csv").write_text(f"id,text,reference\na,t,{write(tmp_path / 'other.wav')}\n")
        table = Table(path=str(tmp_path / "x.csv"), references=str(tmp_path / "refs"))
        (clip,) = find_references(table.load(Cache(tmp_path / "cache")), table, 10.0)
        assert clip.path == path

    def test_nothing_is_given(self) -> None:
        clips = find(musiccaps(A, B), None)
        assert [c.status for c in clips] == ["missing", "missing"]


class TestClassification:
    @pytest.mark.parametrize(
        ("content", "status", "reason"),
        [
            (b"", "unreadable", "the file is empty"),
            (b"<!DOCTYPE html><html>video unavailable</html>", "unreadable", "cannot be decoded"),
            (b"RIFF\x00\x00", "unreadable", "cannot be decoded"),
        ],
    )
    @pytest.mark.parametrize("suffix", [".wav", ".mp3", ".m4a"])
    def test_what_is_no_audio(self, tmp_path: Path, suffix: str, content: bytes, status: str, reason: str) -> None:
        path = tmp_path / f"{A}{suffix}"
        path.write_bytes(content)
        clip = find_one(tmp_path)
        assert (clip.status, clip.path, clip.sha256) == (status, path, "")
        assert reason in clip.reason and "\n" not in clip.reason

    @pytest.mark.parametrize(
        ("seconds", "status", "reason"),
        [
            (0.0, "unreadable", "no samples"),
            (1 / RATE, "too short", "0.00 s"),
            (0.99, "too short", "0.99 s"),
            (1 - 1 / RATE, "too short", f"{math.floor(1e5 - 1e5 / RATE) / 1e5:.5f} s: at least 1 s are needed"),
            (1.0, "ok", ""),
            (21.0, "ok", ""),
            (21.1, "too long", "21.1 s: more than prompts.max_seconds=21"),
            (180.0, "too long", "180.0 s: more than"),
        ],
    )
    def test_lengths(self, tmp_path: Path, seconds: float, status: str, reason: str) -> None:
        write(tmp_path / f"{A}.wav", seconds)
        clip = find_one(tmp_path)
        assert clip.status == status and clip.reason.startswith(reason)
        assert bool(clip.reason) == bool(reason) and bool(clip.sha256) == clip.ok
        assert clip.frames == round(seconds * RATE)

    @pytest.mark.parametrize(
        ("whole", "duration", "cut", "start", "seconds", "note"),
        [
            (10.0, 10.0, "end", 0.0, 10.0, ""),
            (10.0, 4.0, "end", 0.0, 4.0, ""),
            (10.0, 30.0, "end", 0.0, 10.0, ""),
            (9.5, 10.0, "end", 0.0, 9.5, ""),
            (10.5, 10.0, "end", 0.0, 10.0, ""),
            (10.75, 10.0, "end", 0.75, 10.0, "cut from 10.8 s to its last 10 s"),
            (20.0, 10.0, "end", 10.0, 10.0, "cut from 20.0 s to its last 10 s"),
            (20.0, 4.0, "end", 10.0, 4.0, "cut from 20.0 s to its last 10 s"),
            (20.0, 30.0, "end", 10.0, 10.0, "cut from 20.0 s to its last 10 s"),
            (20.0, 4.0, "start", 0.0, 4.0, "cut from 20.0 s to its first 10 s"),
        ],
    )
    def test_the_part_that_counts(
        self, tmp_path: Path, whole: float, duration: float, cut: str, start: float, seconds: float, note: str
    ) -> None:
        write(tmp_path / f"{A}.wav", whole)
        clip = find_one(tmp_path, duration, cut=cut)
        assert (clip.start, clip.seconds, clip.note) == (start, seconds, note)

    def test_a_table_has_no_limit_and_keeps_the_start(self, tmp_path: Path) -> None:
        write(tmp_path / "a.wav", 60.0)
        prompts = PromptSet("mine", "all", 1, (Prompt("a", "t"),), "")
        (clip,) = find_references(prompts, Table(path="x.csv", references=str(tmp_path)), 8.0)
        assert (clip.status, clip.start, clip.seconds) == ("ok", 0.0, 8.0)
        assert clip.note == "cut from 60.0 s to its first 8 s"
        options = Table(path="x.csv", references=str(tmp_path), max_seconds=30.0)
        assert find_references(prompts, options, 8.0)[0].status == "too long"

    def test_a_limit_can_be_lifted(self, tmp_path: Path) -> None:
        write(tmp_path / f"{A}.wav", 40.0)
        assert find_one(tmp_path, max_seconds=None).start == 30.0

    def test_many_kinds_at_once_stay_in_order(self, tmp_path: Path) -> None:
        ids = [f"video-{i:05d}" for i in range(40)]
        for i, video in enumerate(ids):
            if i % 4 == 0:
                write(tmp_path / f"{video}.wav", 2.0)
            elif i % 4 == 1:
                (tmp_path / f"{video}.wav").write_text("no audio")
            elif i % 4 == 2:
                write(tmp_path / f"{video}.wav", 0.1)
        clips = find(musiccaps(*ids), str(tmp_path))
        assert [c.id for c in clips] == ids
        assert [c.status for c in clips] == ["ok", "unreadable", "too short", "missing"] * 10

    def test_music(self, tmp_path: Path) -> None:
        for kind, suffix in (("plain", "mp3"), ("over full scale", "flac"), ("pauses", "wav")):
            soundfile.write(tmp_path / f"{kind}.{suffix}", music.rendered(kind, 44100, 4.0).T, 44100)
        ids = ("plain", "over full scale", "pauses")
        prompts = PromptSet("mine", "all", 3, tuple(Prompt(i, "t") for i in ids), "")
        clips = find_references(prompts, Table(path="x.csv", references=str(tmp_path)), 10.0)
        assert [c.status for c in clips] == ["ok"] * 3
        assert all(
            c.path and c.frames == soundfile.info(c.path).frames and c.sha256 == sha256_file(c.path) for c in clips
        )


@pytest.mark.parametrize(("seconds", "used"), [(10.3, None), (9.2, None), (20.0, 10.0)])
def test_a_protocol_that_keeps_files_whole_cuts_only_what_is_much_longer(
    tmp_path: Path, seconds: float, used: float | None
) -> None:
    write(tmp_path / f"{A}.wav", seconds)
    clip = find_one(tmp_path, duration=math.inf)
    assert (clip.status, clip.seconds) == ("ok", used)
    assert bool(clip.note) == (used is not None)


def test_a_reference_of_no_known_length_is_whole_where_files_are_kept_whole(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 12.0)
    prompts = PromptSet("mine", "all", 1, (Prompt("a", "text"),), "")
    (clip,) = find(prompts, str(tmp_path), math.inf)
    assert (clip.start, clip.seconds, clip.note) == (0.0, None, "")
    (clip,) = find(prompts, str(tmp_path), 10.0, cut="start")
    assert clip.seconds == 10.0
