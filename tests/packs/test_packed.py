"""What names a reference pack: a file, or one in a repository of a hub, pinned by a commit or a digest."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from evalkit.assets import Asset, options_of
from evalkit.config import compose
from evalkit.errors import EvalkitError
from evalkit.packs.files import write_pack
from evalkit.packs.packed import Packed, packed
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file

from ..conftest import Run
from .test_pack import made

COMMIT = "0123456789abcdef" * 2 + "01234567"
HUB = f"some/songs@{COMMIT}"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_pack(tmp_path / "songs.safetensors", made())
    return tmp_path / "songs.safetensors"


def in_hub(home: Path, monkeypatch: pytest.MonkeyPatch, **files: Path) -> Path:
    """Put files into a hub's cache, in its layout: a snapshot of links to blobs that are named by their content."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    root = home / "hub" / "datasets--some--songs"
    snapshot = root / "snapshots" / COMMIT
    (root / "blobs").mkdir(parents=True)
    for name, content in files.items():
        blob = root / "blobs" / sha256_file(content)
        blob.write_bytes(content.read_bytes())
        link = snapshot / f"{name.replace('__', '/')}.safetensors"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return snapshot


def test_a_name_that_ends_like_a_pack_stands_for_one() -> None:
    found = packed("~/songs.safetensors")
    assert isinstance(found, Packed) and found.asset.path == "~/songs.safetensors"
    assert packed("clips") == "clips" and packed(None) is None and packed(found) is found
    assert packed("old/v1@2.safetensors").asset.path == "old/v1@2.safetensors"


def test_a_folder_that_is_called_like_a_repository_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / HUB).mkdir(parents=True)
    assert packed(HUB) == HUB


def test_the_file_of_a_pack_is_set_by_the_option_of_references() -> None:
    @dataclasses.dataclass(frozen=True)
    class Songs:
        references: Any

    asset = Asset("a pack", path="x.safetensors")
    assert list(options_of({"prompts": Songs(Packed(asset))})) == [("prompts.references", asset)]


def test_a_pack_of_a_hub_is_found_in_its_cache(
    cache: Cache, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_hub(tmp_path, monkeypatch, songs=path)
    found = packed(HUB).read(cache)
    assert (found.name, found.sha256) == ("songs.safetensors", sha256_file(path))
    other = f"some/songs@{COMMIT[::-1]}"
    with pytest.raises(EvalkitError, match=f"{other}.*'evalkit fetch' with the same options"):
        packed(other).read(cache)


def test_one_of_several_packs_of_a_repository_is_named(
    cache: Cache, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.safetensors"
    write_pack(other, dataclasses.replace(made(), about=dataclasses.replace(made().about, licence="CC-BY-4.0")))
    in_hub(tmp_path, monkeypatch, songs=path, more__songs=other)
    assert packed(f"{HUB}:more/songs.safetensors").read(cache).about.licence == "CC-BY-4.0"
    assert packed(f"{HUB}:songs.safetensors").read(cache).about.licence == "CC0-1.0"
    with pytest.raises(EvalkitError) as error:
        packed(HUB).read(cache)
    assert "2 reference packs (more/songs.safetensors, songs.safetensors)" in str(error.value)
    assert f"prompts.references={HUB}:more/songs.safetensors" in str(error.value)
    for absent in ("*.safetensors", "../songs.safetensors", "nothing.safetensors"):
        with pytest.raises(EvalkitError, match="evalkit fetch"):
            packed(f"{HUB}:{absent}").read(cache)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("some/songs@main", "some/songs@main: name a commit by its 40 hexadecimal digits"),
        (f"some/songs@{COMMIT[:12]}", "name a commit by its 40 hexadecimal digits"),
        ("some/songs@v1:x.safetensors", "name a commit by its 40 hexadecimal digits"),
        (f"{HUB}:x.zip", "the name of a pack ends in .safetensors"),
        ("x.safetensors#sha256=12", "write the 64 hexadecimal digits behind #sha256="),
        ("clips#sha256=" + "0" * 64, "#sha256= pins a reference pack"),
    ],
)
def test_what_pins_nothing_is_refused(name: str, expected: str) -> None:
    with pytest.raises(EvalkitError) as error:
        packed(name)
    assert expected in str(error.value)


def test_another_file_than_the_digest_says_is_refused(cache: Cache, path: Path) -> None:
    sha256 = sha256_file(path)
    assert packed(f"{path}#sha256={sha256}").read(cache).sha256 == sha256
    with pytest.raises(EvalkitError, match="another reference pack than the one that was named"):
        packed(f"{path}#sha256={'0' * 64}").read(cache)
    with pytest.raises(EvalkitError, match=r"is a folder: name the \.safetensors file"):
        Packed(Asset("a pack", path=str(path.parent))).read(cache)


@pytest.mark.parametrize("name", [HUB, f"{HUB}:a/b (1).safetensors", f"x.safetensors#sha256={'0' * 64}"])
def test_names_can_be_typed_as_they_are(name: str) -> None:
    assert compose(["model=[]", "prompts=demo", f"prompts.references={name}"]).prompts.references == name


def test_a_pack_of_a_hub_is_a_file_that_a_run_needs(
    evalkit: Run, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = ["model=[]", "metric=[]", "prompts=demo", f"prompts.references={HUB}"]
    code, out, err = evalkit("fetch", "--list", *needed)
    assert code == 0 and out.splitlines()[1:] == [f"reference pack of some/songs\t?\tunknown\t{HUB}\tmissing"], err
    code, _, err = evalkit("references", "status", *needed[2:])
    assert code == 2 and "'evalkit fetch' with the same options" in err
    snapshot = in_hub(tmp_path, monkeypatch, songs=path)
    code, out, err = evalkit("fetch", *needed)  # without a network
    assert code == 0 and out.splitlines()[1].endswith(f"\t{snapshot}"), err
    code, _, err = evalkit("references", "status", *needed[2:])
    assert code == 2 and "the pack 'songs.safetensors' has none of the 12 prompts of demo" in err
    (tmp_path / "hub" / "datasets--some--songs" / "blobs" / sha256_file(path)).write_bytes(path.read_bytes()[:-9])
    code, _, err = evalkit("references", "status", *needed[2:])
    assert code == 2 and "is damaged" in err
