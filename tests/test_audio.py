"""Files that were cut short, files that are damaged, and what is looked for."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evalkit import audio, containers
from evalkit.audio import AudioError

RATE = 44100
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * RATE, 2))

# Of each format that is looked for: how libsndfile writes it.
FORMATS = {
    "a.wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "MS_ADPCM"),
    "extensible.wav": ("WAVEX", "PCM_24"),
    "a.rf64": ("RF64", "PCM_16"),
    "a.w64": ("W64", "PCM_16"),
    "a.aiff": ("AIFF", "PCM_16"),
    "b.aif": ("AIFF", "FLOAT"),
    "c.aifc": ("AIFF", "ULAW"),
    "a.caf": ("CAF", "PCM_16"),
    "alac.caf": ("CAF", "ALAC_16"),
    "a.au": ("AU", "PCM_16"),
    "b.snd": ("AU", "FLOAT"),
    "a.flac": ("FLAC", "PCM_16"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.ogg": ("OGG", "VORBIS"),
    "b.oga": ("OGG", "VORBIS"),
    "a.opus": ("OGG", "OPUS"),
}


def write(path: Path, endian: str = "FILE") -> bytes:
    form, subtype = FORMATS.get(path.name, ("WAV", "PCM_16"))
    rate = 48000 if subtype == "OPUS" else RATE
    soundfile.write(path, NOISE, rate, format=form, subtype=subtype, endian=endian)
    return path.read_bytes()


def verdict(path: Path) -> str:
    """What is wrong with a file, by its header or by decoding it; empty for nothing."""
    try:
        frames, rate, _ = audio.probe(path)
        decoded = audio.read(path).samples.shape[1]
    except AudioError as error:
        return str(error)
    return "" if decoded > frames - 0.1 * rate else "truncated"  # as the feature stage does


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_half_a_file_is_no_clip_whatever_its_format(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    whole = write(path)
    assert verdict(path) == ""
    path.write_bytes(whole[: round(share * len(whole))])
    assert verdict(path)


@pytest.mark.parametrize("name", ["a.wav", "a.w64", "a.rf64", "a.aiff", "a.au"])
def test_a_file_cut_short_says_how_long_it_is_and_should_be(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(write(path)[: RATE * 4 * 3 // 2])
    for call in (audio.probe, audio.read):
        with pytest.raises(AudioError, match=r"^truncated: 1\.5 s where its header says 3\.0 s$"):
            call(path)


def test_files_of_the_other_byte_order_are_cut_short_alike(tmp_path: Path) -> None:
    for name, endian in (("a.wav", "BIG"), ("a.au", "LITTLE"), ("a.aiff", "LITTLE")):
        path = tmp_path / name
        whole = write(path, endian)
        assert verdict(path) == ""
        path.write_bytes(whole[: len(whole) // 2])
        assert verdict(path).startswith("truncated")


def test_what_follows_the_samples_may_be_cut_and_lie_before_them(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    whole = write(path)
    chunk = b"LIST" + struct.pack("<I", 1001) + b"x" * 1001 + b"\0"  # of odd length, padded
    path.write_bytes(whole + chunk[:500])
    assert verdict(path) == ""
    before = whole[:12] + chunk + whole[12:]
    path.write_bytes(before)
    assert containers.extent(path) == (len(NOISE) * 4, len(NOISE) * 4) and verdict(path) == ""
    path.write_bytes(before[: len(before) // 2])
    assert verdict(path).startswith("truncated")


def test_a_few_samples_that_are_missing_are_no_truncation(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    whole = write(path)
    path.write_bytes(whole[: -4 * RATE // 20])
    assert verdict(path) == ""


@pytest.mark.parametrize("length", [0, 2**32 - 1, 2**31 - 4096, 2**31 - 1, 2**31 - 37])
def test_a_header_that_leaves_the_length_open_declares_nothing(tmp_path: Path, length: int) -> None:
    """What encoders leave that write to a pipe; libsndfile then reads to the end, but for a length of 0 in some."""
    path = tmp_path / "a.wav"
    whole = write(path)
    riff = 8 if length == 0 else min(length + 36, 2**32 - 1)
    path.write_bytes(whole[:4] + struct.pack("<I", riff) + whole[8:40] + struct.pack("<I", length) + whole[44:])
    assert containers.extent(path) is None
    assert audio.probe(path)[0] == len(NOISE) and audio.read(path).samples.shape == (2, len(NOISE))
    au = tmp_path / "a.au"
    whole = write(au)
    au.write_bytes(whole[:8] + struct.pack(">I", 2**32 - 1) + whole[12:])
    assert verdict(au) == "" and audio.probe(au)[0] == len(NOISE)


def test_a_flac_file_whose_length_is_left_open_is_read_to_its_end(tmp_path: Path) -> None:
    """As ffmpeg writes it to a pipe: the count of samples, the last 36 bits before the checksum, is 0."""
    path = tmp_path / "a.flac"
    whole = bytearray(write(path))
    expected = audio.read(path).samples
    whole[21:26] = bytes([whole[21] & 0xF0, 0, 0, 0, 0])
    path.write_bytes(whole)
    assert audio.probe(path) == (len(NOISE), RATE, 2)
    np.testing.assert_array_equal(audio.read(path).samples, expected)


def test_headers_without_sense_end_the_search(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAVE",
        b"riff" + b"\0" * 60,
        b"OggS",
        b"RIFF\0\0\0\0WAVE" + b"\0" * 999,
    ):
        path.write_bytes(content)
        assert containers.extent(path) is None
        assert containers.ends_in_a_page(path) == (content == b"OggS")
    rng = np.random.default_rng(0)
    for start in (
        b"RIFF\0\0\0\0WAVE",
        b"riff" + b"\0" * 20 + b"wave" + b"\0" * 12,
        b"FORM\0\0\0\0AIFF",
        b"OggS",
        b".snd",
    ):
        for _ in range(50):
            path.write_bytes(start + rng.bytes(200))
            containers.extent(path)
            containers.ends_in_a_page(path)


FFMPEG = """#!/bin/sh
echo "$@" >> "$0.log"
case "$1" in -version) exit 0 ;; esac
echo "  Stream #0:0: Audio: pcm_s16le, 16000 Hz, mono, s16, 256 kb/s" >&2
head -c 64000 /dev/zero
"""


@pytest.fixture(params=[True, False], ids=["with ffmpeg", "without ffmpeg"])
def ffmpeg(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A machine with an ffmpeg that decodes everything, or one with none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    if request.param:
        (folder / "ffmpeg").write_text(FFMPEG)
        (folder / "ffmpeg").chmod(0o755)
    for name in ("sh", "head", "echo"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    return bool(request.param)


@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.caf", "a.mp3", "a.ogg", "a.aiff", "unknown.bin", "a flac.m4a"])
def test_a_damaged_file_is_unreadable_on_every_machine(tmp_path: Path, ffmpeg: bool, name: str) -> None:
    path = tmp_path / name
    damaged = bytearray(write(tmp_path / "a.flac"))
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged if name in ("a.flac", "a flac.m4a") else b"<html>not found</html>" * 100)
    with pytest.raises(AudioError, match=r"^cannot be decoded \(") as error:
        audio.read(path)
    assert str(tmp_path) not in str(error.value)
    assert not (tmp_path / "bin" / "ffmpeg.log").exists()


def test_only_formats_that_libsndfile_has_not_go_to_ffmpeg(tmp_path: Path, ffmpeg: bool) -> None:
    for suffix in (".m4a", ".aac", ".webm"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"\0\0\0\x20ftypM4A " + b"\0" * 100)
        if ffmpeg:
            assert audio.read(path).samples.shape == (1, 32000) and audio.probe(path) == (32000, 16000, 1)
        else:
            with pytest.raises(AudioError, match=rf"\{suffix} files need ffmpeg, which is not installed"):
                audio.read(path)
    write(tmp_path / "a.wav")
    os.replace(tmp_path / "a.wav", path)  # the content decides, not the name
    assert audio.read(path).samples.shape == NOISE.T.shape


def test_whatever_libsndfile_reads_is_looked_for(tmp_path: Path) -> None:
    for name in FORMATS:
        write(tmp_path / name)
    assert [path.name for path in audio.files_below(tmp_path)] == sorted(FORMATS)
