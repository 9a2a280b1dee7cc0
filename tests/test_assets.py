"""Finding, fetching and checking files, against a server on this machine."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.assets import Asset, assets_of
from evalkit.errors import EvalkitError
from evalkit.intact import damage
from evalkit.store.cache import Cache

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "net.pth").write_bytes(CONTENT)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/net.pth"
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return Cache(tmp_path / "cache")


def test_fetch_brings_a_file_once(cache: Cache, url: str) -> None:
    asset = Asset("net", url=url, sha256=SHA256[:8])
    assert asset.find(cache) is None
    with pytest.raises(EvalkitError, match=r"net is not on this machine .*run 'evalkit fetch'"):
        asset.locate(cache)
    path = asset.fetch(cache)
    assert path is not None and path.read_bytes() == CONTENT
    modified = path.stat().st_mtime_ns
    assert asset.fetch(cache) == path == asset.locate(cache)
    assert path.stat().st_mtime_ns == modified
    asset.verify(cache)


def test_files_of_one_common_name_do_not_take_each_others_place(cache: Cache) -> None:
    ours, theirs = (Asset("thing", url=f"https://example.org/{who}/model.safetensors") for who in "ab")
    place = ours._places(cache)[0]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"weights")
    assert ours.find(cache) == place and theirs.find(cache) is None


def test_a_wrong_file_is_not_kept(cache: Cache, url: str) -> None:
    with pytest.raises(EvalkitError, match="cannot fetch net"):
        Asset("net", url=url, sha256="0" * 64).fetch(cache)
    assert not [p for p in cache.root.rglob("*") if p.is_file()]


def test_an_unreachable_server_is_one_line(cache: Cache) -> None:
    with pytest.raises(EvalkitError) as error:
        Asset("net", url="http://127.0.0.1:9/net.pth").fetch(cache)
    assert "\n" not in str(error.value)


def test_damage_after_fetching_is_noticed(cache: Cache, url: str) -> None:
    asset = Asset("net", url=url, sha256=SHA256)
    path = asset.fetch(cache)
    assert path is not None
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(EvalkitError, match="damaged"):
        asset.verify(cache)


def test_an_archive_becomes_a_folder_once_and_as_a_whole(cache: Cache, url: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "served" / "audio.zip", "w") as archive:
        archive.writestr("34/1.2min.mp3", b"one")
        archive.writestr("licences.txt", b"not asked for")
    sha256 = hashlib.sha256((tmp_path / "served" / "audio.zip").read_bytes()).hexdigest()
    address = url.replace("net.pth", "audio.zip?download=1")
    asset = Asset("audio", url=address, sha256=sha256, size=3, files=["*.mp3"], unpack=True)
    other = dataclasses.replace(asset, url=url.replace("net.pth", "other/audio.zip"))
    assert asset.find(cache) is None
    folder = asset.fetch(cache, bar=False)
    assert folder is not None and folder == asset.find(cache) and other.find(cache) is None
    assert [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()] == ["34/1.2min.mp3"]
    asset.verify(cache)
    assert asset.published(cache) and damage(asset, folder, read_data=True) == ""
    (tmp_path / "served" / "audio.zip").unlink()
    assert asset.fetch(cache, bar=False) == folder  # and asks nobody


@pytest.mark.parametrize(
    ("served", "message"),
    [({"../out.mp3": b"x"}, "leads out of the folder"), ({"a.txt": b"x"}, "holds no file"), (None, "HTTP Error 404")],
)
def test_an_archive_that_is_refused_leaves_nothing(
    cache: Cache, url: str, tmp_path: Path, served: dict[str, bytes] | None, message: str
) -> None:
    if served is not None:
        with zipfile.ZipFile(tmp_path / "served" / "audio.zip", "w") as archive:
            for name, data in served.items():
                archive.writestr(name, data)
    asset = Asset("audio", url=url.replace("net.pth", "audio.zip"), files=["*.mp3"], unpack=True)
    with pytest.raises(EvalkitError, match=f"cannot fetch audio from .*{message}"):
        asset.fetch(cache, bar=False)
    assert asset.find(cache) is None and not list(cache.weights.iterdir())


def test_what_torch_hub_has_fetched_is_found(cache: Cache, url: str, tmp_path: Path) -> None:
    place = tmp_path / "torch" / "hub" / "checkpoints" / "net.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert Asset("net", url=url).locate(cache) == place


def test_a_local_path_wins_and_is_known_by_content(cache: Cache, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(CONTENT)
    a, b = (Asset("net", url="http://127.0.0.1:9/x", path=str(tmp_path / n)) for n in ("a", "b"))
    assert a.locate(cache) == tmp_path / "a"
    assert a.identity(cache) == b.identity(cache) == {"sha256": SHA256}
    with pytest.raises(EvalkitError, match="does not exist"):
        Asset("net", path=str(tmp_path / "absent")).locate(cache)


def make_snapshot(home: Path, repo: str, commit: str, files: dict[str, str]) -> Path:
    """The layout of the hub's cache."""
    root = home / "hub" / f"models--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    for name, text in files.items():
        (snapshot / name).write_text(text)
    return snapshot


def test_a_repository_in_the_hubs_cache_is_found_without_a_network(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    commit = "a" * 40
    snapshot = make_snapshot(tmp_path / "hf", "some/model", commit, {"config.json": "{}"})
    complete = Asset("model", repo="some/model", files=["config.json"])
    assert complete.locate(cache) == snapshot
    assert complete.identity(cache)["commit"] == commit
    partly = Asset("model", repo="some/model", files=["config.json", "*.safetensors"])
    with pytest.raises(EvalkitError, match="evalkit fetch"):
        partly.locate(cache)
    with pytest.raises(EvalkitError, match="other/model"):
        Asset("model", repo="other/model", files=["*"]).locate(cache)


def test_a_checkpoint_without_all_its_shards_is_not_complete(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = json.dumps({"weight_map": {"a": shards[0], "b": shards[1]}})
    snapshot = make_snapshot(tmp_path / "hf", "some/model", "a" * 40, {"model.index.json": index, shards[0]: ""})
    asset = Asset("model", repo="some/model", files=["*.index.json", "model-*.safetensors"])
    assert asset.find(cache) is None
    (snapshot / shards[1]).touch()
    assert asset.find(cache) == snapshot
    (snapshot / "model.index.json").write_text(index[:20])
    assert asset.find(cache) is None


def test_a_local_file_is_published_if_its_content_is(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    assert Asset("net", path=str(tmp_path / "a"), sha256=SHA256).published(cache)
    assert not Asset("net", path=str(tmp_path / "a"), sha256="0" * 64).published(cache)


def test_a_file_where_downloads_lie_is_not_published_if_it_has_another_size(cache: Cache) -> None:
    asset = Asset("net", url="https://example.org/net.pt", size=len(CONTENT))
    assert asset.published(cache)  # as far as is known, while it is not there
    cache.weights.mkdir(parents=True)
    (cache.weights / "net.pt").write_bytes(CONTENT + b"x")
    assert not asset.published(cache)
    (cache.weights / "net.pt").write_bytes(CONTENT)
    assert asset.published(cache)


def test_a_path_that_is_set_is_used_whatever_the_seed_of_random_weights(cache: Cache, tmp_path: Path) -> None:
    """`random_weights=0 metric.kld.encoder.weights.path=FILE` replaces all weights but those of the file."""
    (tmp_path / "a").write_bytes(CONTENT)
    asset = Asset("net", path=str(tmp_path / "a"), url="https://example.org/net.pt", random_seed=0)
    assert not asset.random and asset.find(cache) == tmp_path / "a" and asset.source == str(tmp_path / "a")
    assert asset.identity(cache) == Asset("net", path=str(tmp_path / "a")).identity(cache)
    assert dataclasses.replace(asset, path=None).random


def test_assets_are_found_in_nested_components() -> None:
    from evalkit.metrics.clap_score import CLAPScore

    a, b = Asset("a"), Asset("b")
    found = [asset.name for asset in assets_of({"m": CLAPScore(a, b)}, [a])]
    assert sorted(found) == ["a", "b"]
