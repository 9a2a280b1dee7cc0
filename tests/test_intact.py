"""Whether files from elsewhere are whole: at a look, and byte by byte."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from evalkit.assets import Asset
from evalkit.intact import damage, files, known_digest


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A checkpoint as a hub's cache has it: links to files that are named by their digests."""
    folder, blobs = tmp_path / "snapshots" / ("0" * 40), tmp_path / "blobs"
    folder.mkdir(parents=True)
    blobs.mkdir()
    save_file({"weight": np.ones((100, 100), np.float32)}, tmp_path / "model.safetensors")
    large, small = (tmp_path / "model.safetensors").read_bytes(), b'{"a": 1}'
    of_git = hashlib.sha1(b"blob %d\0" % len(small) + small).hexdigest()
    names = {"model.safetensors": hashlib.sha256(large).hexdigest(), "config.json": of_git}
    for (name, digest), content in zip(names.items(), (large, small), strict=True):
        (blobs / digest).write_bytes(content)
        (folder / name).symlink_to(blobs / digest)
    (folder / "README.md").symlink_to(blobs / "absent")
    return folder


CHECKPOINT = Asset("a checkpoint", repo="a/b", files=["*.json", "*.safetensors"])


def test_a_hub_s_files_have_the_digests_that_they_are_named_by(snapshot: Path) -> None:
    assert [path.name for path in files(CHECKPOINT, snapshot)] == ["config.json", "model.safetensors"]
    assert [len(known_digest(CHECKPOINT, path)) for path in files(CHECKPOINT, snapshot)] == [40, 64]
    read: list[int] = []
    assert damage(CHECKPOINT, snapshot, True, read.append) == ""
    assert sum(read) == sum(path.stat().st_size for path in files(CHECKPOINT, snapshot))
    for name in ("config.json", "model.safetensors"):
        blob = (snapshot / name).resolve()
        whole = blob.read_bytes()
        blob.write_bytes(whole[:-2] + b"2}" if name == "config.json" else whole[:-1] + b"x")
        assert damage(CHECKPOINT, snapshot, False) == ""
        assert damage(CHECKPOINT, snapshot, True) == f"'{snapshot / name}' has other content than was published"
        blob.write_bytes(whole)
    assert damage(CHECKPOINT, snapshot, True) == ""


@pytest.mark.parametrize("left", [0, 4, 100, 20_000])
def test_a_file_that_was_cut_short_is_seen_at_a_look(snapshot: Path, left: int) -> None:
    blob = (snapshot / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:left])
    said = damage(CHECKPOINT, snapshot, False)
    assert said.startswith(f"'{snapshot / 'model.safetensors'}' ") and damage(CHECKPOINT, snapshot, True) == said


@pytest.mark.parametrize("header", [b"[1]", b'{"a": 1}', b'{"a": {"data_offsets": []}}', b"\xff\xff\xff"])
def test_a_header_of_rubbish_is_seen_at_a_look(snapshot: Path, header: bytes) -> None:
    blob = (snapshot / "model.safetensors").resolve()
    blob.write_bytes(len(header).to_bytes(8, "little") + header)
    assert "no header that can be read" in damage(CHECKPOINT, snapshot, False)


def test_links_that_lead_nowhere_are_damage(snapshot: Path) -> None:
    whole = Asset("all of it", repo="a/b")
    assert damage(whole, snapshot, False).startswith(f"'{snapshot / 'README.md'}' cannot be read")


def test_a_local_copy_has_no_digest_to_be_compared_with(tmp_path: Path) -> None:
    place = tmp_path / "own.pth"
    place.write_bytes(os.urandom(100))
    own = Asset("own", path=str(place), url="https://example.org/x.pth", size=1, sha256="00")
    assert damage(own, place, True) == "" == known_digest(own, place)
    published = Asset(
        "theirs", url="https://example.org/x.pth", sha256=hashlib.sha256(place.read_bytes()).hexdigest()[:8]
    )
    assert damage(published, place, True) == ""
