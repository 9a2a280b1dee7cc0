"""Manifests: whole, or removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalkit.store.entries import read_manifests, write_manifest


def read(folder: Path) -> list[Any]:
    return list(read_manifests(folder, "m-*.json", lambda path, value: (path.name, value["name"])))


def test_manifests_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_manifest(tmp_path / f"m-{name}.json", {"name": name.upper(), "gain": 0.1})
    (tmp_path / "key.json").write_text("{}")
    assert read(tmp_path) == [("m-a.json", "A"), ("m-b.json", "B")]


@pytest.mark.parametrize(
    "damaged", ['{"digest": "', "", "[1]", "1", "{}", '{"name": "B"}', '{"digest": 1, "name": "B"}']
)
def test_a_damaged_manifest_is_removed_with_a_warning(
    tmp_path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_manifest(tmp_path / "m-a.json", {"name": "A"})
    (tmp_path / "m-b.json").write_text(damaged)
    assert read(tmp_path) == [("m-a.json", "A")]
    assert f"damaged cache entry {tmp_path / 'm-b.json'}" in caplog.text
    assert not (tmp_path / "m-b.json").exists()


def test_a_changed_value_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "m-a.json"
    write_manifest(path, {"name": "A"})
    path.write_text(path.read_text().replace('"A"', '"B"'))
    assert read(tmp_path) == []


def test_a_manifest_whose_file_is_lost_is_removed(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m-a.json", {"name": "A"})
    assert list(read_manifests(tmp_path, "m-*.json", lambda path, _: path.with_suffix(".npz").read_bytes())) == []
    assert not (tmp_path / "m-a.json").exists()
