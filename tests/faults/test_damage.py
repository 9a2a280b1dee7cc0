"""Files that were changed behind evalkit's back are made again, or named; no number comes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.errors import EvalkitError
from evalkit.results.result import Result

from ..conftest import Run
from .conftest import Site

NOT_READ = ("run.log", "config.yaml", "table.md", "table.csv", "table.json")  # files of a record for people


def kinds(root: Path) -> dict[str, list[Path]]:
    """The files of a store, by what they are."""
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        inside = path.relative_to(root).parts
        found.setdefault(f"{inside[0]} {path.suffix or 'file'}" if len(inside) > 1 else inside[0], []).append(path)
    return found


def flip(path: Path, rng: np.random.Generator) -> None:
    """Turn one random bit of a file over."""
    data = bytearray(path.read_bytes())
    data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def cut(path: Path, rng: np.random.Generator) -> None:
    """Cut a file short at a random place."""
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))])


def clear(path: Path, rng: np.random.Generator) -> None:
    """Leave nothing in a file."""
    path.write_bytes(b"")


DAMAGES = [flip, pytest.param(cut, marks=pytest.mark.slow), clear]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_every_kind_is_made_again(full: Site, damage: Callable[..., None]) -> None:
    rng = np.random.default_rng(1)
    for paths in kinds(full.cache).values():
        damage(paths[rng.integers(len(paths))], rng)
    assert full.wrong(full.run()) == []


def test_damaged_files_are_found_and_removed(full: Site, evalkit: Run) -> None:
    cache = ("--cache", str(full.cache))
    assert evalkit("store", "verify", "--read-data", *cache)[0] == 0
    rng = np.random.default_rng(5)
    for paths in kinds(full.cache).values():
        flip(paths[rng.integers(len(paths))], rng)
    assert evalkit("store", "verify", "--read-data", *cache)[0] == 1
    assert evalkit("store", "verify", "--read-data", "--repair", *cache)[0] == 1
    # what says what a result uses is not removed before a user has said so
    left = json.loads(evalkit("store", "verify", "--read-data", "--json", *cache)[1])
    assert {Path(one["path"]).relative_to(full.cache).parts[0] for one in left["damaged"]} == {"runs"}
    assert evalkit("store", "rm", *left["registers"], "--yes", *cache)[0] == 0  # as verify says
    status, out, err = evalkit("store", "verify", "--read-data", *cache)
    assert status == 0, out + err
    ended = full.run()
    assert full.wrong(ended) == []
    assert "damaged" not in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damaged_file_is_made_again(site: Site, damage: Callable[..., None]) -> None:
    """Each by itself: another damage would have the same things made again."""
    rng = np.random.default_rng(6)
    for kind in kinds(site.kept / "cache"):
        site.fill()
        paths = kinds(site.cache)[kind]
        path = paths[rng.integers(len(paths))]
        damage(path, rng)
        assert site.wrong(site.run()) == [], f"{kind}: {path}"


def test_swapped_files_are_noticed(full: Site) -> None:
    rng = np.random.default_rng(2)
    swapped = 0
    for paths in kinds(full.cache).values():
        if len(paths) > 1:
            one, other = (paths[i] for i in rng.choice(len(paths), 2, replace=False))
            first, second = one.read_bytes(), other.read_bytes()
            one.write_bytes(second)
            other.write_bytes(first)
            swapped += first != second
    assert swapped > 2
    assert full.wrong(full.run()) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_a_record_is_named(full: Site, evalkit: Run, damage: Callable[..., None]) -> None:
    rng = np.random.default_rng(3)
    _, whole, _ = evalkit("table", str(full.record))
    score = Result.load(full.record).score("tiny_stereo", "fad")
    names = [str(p.relative_to(full.record)) for p in sorted(full.record.rglob("*")) if p.is_file()]
    for name in names:
        path = full.record / name
        data = path.read_bytes()
        damage(path, rng)
        status, out, err = evalkit("table", str(full.record))
        if path.parent == full.record and name not in NOT_READ:
            assert status == 2 and not out, name
            assert err.startswith("evalkit: ") and err.count("\n") == 1 and name in err, err
        else:
            assert (status, out, err) == (0, whole, ""), name
        if name.startswith("features"):
            try:
                assert Result.load(full.record).score("tiny_stereo", "fad") == score, name
            except EvalkitError as error:
                assert name in str(error), name
        path.write_bytes(data)
    assert any(name.startswith("features") for name in names)
