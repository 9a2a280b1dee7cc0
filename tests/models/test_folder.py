"""Clips made elsewhere: matching by id, manifests, damage."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

from evalkit import config
from evalkit.errors import EvalkitError
from evalkit.models.folder import Folder
from evalkit.settings import conf_dir
from evalkit.types import Clip, Prompt
from tests import music


def write(path: Path, seconds: float = 0.5, rate: int = 16000, channels: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * rate), channels))
    soundfile.write(path, noise, rate)
    return path


def find(folder: Path, *ids: str, manifest: Path | None = None) -> list[Clip]:
    model = Folder(str(folder), manifest=str(manifest) if manifest else None)
    return model.find([Prompt(i, "a caption") for i in ids])


def test_one_clip_per_prompt_in_order(tmp_path: Path) -> None:
    ids = ["-0Gj8-vB1q4", "b.1", "B", "b", "naïve 音", "b.1.x"]
    for i, suffix in zip(ids, [".wav", ".flac", ".ogg", ".wav", ".WAV", ".mp3"], strict=True):
        write(tmp_path / "some" / "where" / f"{i}{suffix}")
    write(tmp_path / "not asked for.wav")
    (tmp_path / "b.txt").write_text("not audio")
    clips = find(tmp_path, *ids)
    assert [clip.id for clip in clips] == ids
    assert all(clip.ok for clip in clips)
    first = clips[0]
    assert first.path == tmp_path / "some" / "where" / "-0Gj8-vB1q4.wav"
    assert (first.frames, first.sample_rate, first.channels, first.gain) == (8000, 16000, 2, 1.0)
    assert first.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()


def test_music_in_many_formats(tmp_path: Path) -> None:
    kinds = {"plain": "mp3", "hot": "ogg", "wide": "flac", "off centre": "wav", "bursts": "opus"}
    for kind, suffix in kinds.items():
        rate = 48000 if suffix == "opus" else 44100
        form, subtype = ("OGG", "OPUS") if suffix == "opus" else (None, None)
        soundfile.write(tmp_path / f"{kind}.{suffix}", music.rendered(kind, rate, 1.5).T, rate, subtype, format=form)
    clips = find(tmp_path, *kinds)
    assert all(clip.ok and clip.frames > clip.sample_rate > 0 and clip.channels == 2 for clip in clips)


def test_recordings(shared_data: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in (shared_data / "audio").iterdir())
    for number, name in enumerate(names):
        shutil.copy(shared_data / "audio" / name, tmp_path / f"{number}{Path(name).suffix}")
    clips = find(tmp_path, *(str(number) for number in range(len(names))))
    assert all(clip.ok and clip.frames > clip.sample_rate > 0 for clip in clips)


def test_missing_and_unreadable_clips_say_why(tmp_path: Path) -> None:
    write(tmp_path / "good.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.mp3").write_text("an error page" * 100)
    soundfile.write(tmp_path / "no samples.wav", np.zeros((0, 1)), 16000)
    write(tmp_path / "inner.wav" / "deep.wav")
    clips = find(tmp_path, "absent", "empty", "text", "no samples", "inner", "good")
    assert [clip.status for clip in clips] == ["missing", *["unreadable"] * 3, "missing", "ok"]
    assert all(clip.reason for clip in clips[:-1])
    assert not any(clip.sha256 for clip in clips[:-1])
    assert str(tmp_path) in clips[0].reason


@pytest.mark.parametrize(
    "attack", ["../secret", "/etc/passwd", "a/b", "*", "[ab]", "", ".", "..", "good\0", "good.wav"]
)
def test_ids_are_never_paths(tmp_path: Path, attack: str) -> None:
    write(tmp_path / "secret.wav")
    write(tmp_path / "clips" / "good.wav")
    write(tmp_path / "clips" / "a" / "b.wav")
    (clip,) = find(tmp_path / "clips", attack)
    assert clip.status == "missing" and clip.path is None


def test_two_files_for_one_prompt_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "one" / "x.wav")
    write(tmp_path / "two" / "x.flac")
    write(tmp_path / "y.wav")
    assert find(tmp_path, "y")[0].ok
    with pytest.raises(EvalkitError, match=r"two clips for 'x'.*one/x\.wav.*two/x\.flac"):
        find(tmp_path, "y", "x")


def test_a_folder_must_be_given_exist_and_hold_audio(tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match="not set"):
        Folder()
    with pytest.raises(EvalkitError, match="does not exist"):
        find(tmp_path / "absent", "x")
    with pytest.raises(EvalkitError, match="is a file"):
        find(write(tmp_path / "x.wav"), "x")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "x.txt").write_text("")
    with pytest.raises(EvalkitError, match="holds no audio"):
        find(tmp_path / "none", "x")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_manifest(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "clips" / "0001.wav")
    other = write(tmp_path / "elsewhere" / "0002.wav")
    rows = [("../a, b", "0001.wav"), ("y", str(other)), ("gone", "0003.wav")]
    manifest = tmp_path / f"manifest.{kind}"
    if kind == "csv":
        manifest.write_text("\ufeffid,path,seed\n" + "".join(f'"{i}",{p},7\n' for i, p in rows), encoding="utf-8")
    else:
        manifest.write_text("\n".join(json.dumps({"id": i, "path": p}) for i, p in rows) + "\n\n")
    clips = find(tmp_path / "clips", "y", "../a, b", "gone", "0001", manifest=manifest)
    assert [clip.status for clip in clips] == ["ok", "ok", "missing", "missing"]
    assert [clip.path.name for clip in clips[:2] if clip.path] == ["0002.wav", "0001.wav"]
    assert "0003.wav" in clips[2].reason


def test_a_manifest_suffices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its paths are relative to where it lies, not to where evalkit was started."""
    write(tmp_path / "data" / "clips" / "0001.wav")
    (tmp_path / "data" / "m.csv").write_text("id,path\nx,clips/0001.wav\n")
    monkeypatch.chdir(tmp_path)
    (clip,) = Folder(manifest="data/m.csv").find([Prompt("x", "a caption")])
    assert clip.ok and clip.path == tmp_path / "data" / "clips" / "0001.wav"
    with pytest.raises(EvalkitError, match=r"cannot read '.*absent\.csv'"):
        Folder(manifest="absent.csv").find([Prompt("x", "a caption")])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "name,path\nx,x.wav\n", "has no column 'id' or 'ytid': it has name, path"),
        ("m.csv", "id,path\nx,x.wav\ny,\n", "line 3: path is empty"),
        ("m.csv", "id,path\nx,x.wav\nx,x.flac\n", "line 3: a second path for 'x': remove one"),
        ("m.csv", "", "has no rows"),
        ("m.csv", b"\xff\xfe\x00", "not text in UTF-8"),
        ("m.jsonl", "{", "line 1: not JSON"),
        ("m.jsonl", "[1, 2]\n", "line 1: not a JSON object"),
        ("absent.csv", None, "cannot read '.*absent.csv'"),
    ],
)
def test_bad_manifests_are_one_line(tmp_path: Path, name: str, text: str | bytes | None, message: str) -> None:
    write(tmp_path / "x.wav")
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(EvalkitError, match=message) as error:
        find(tmp_path, "x", manifest=tmp_path / name)
    assert "\n" not in str(error.value)


def test_yaml(tmp_path: Path) -> None:
    nodes = OmegaConf.load(conf_dir() / "model" / "folder.yaml")
    with pytest.raises(EvalkitError, match=r"model\.folder\.path=CLIPS"):
        config.build(nodes.folder)
    nodes.folder.path = str(tmp_path)
    model = config.build(nodes.folder)
    assert (model.published, model.random, model.path) == (None, False, str(tmp_path))
