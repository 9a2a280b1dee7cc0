"""`evalkit store`: what is printed, in 80 columns and as JSON, and what it ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalkit.store import leases
from evalkit.store.cache import Cache
from evalkit.store.leases import lease

from ..conftest import Run
from ..store.stored import age, clips, earlier, features, finished, key, keys, made


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache with everything, of which one finished result uses a part, and one that is gone another."""
    cache = Cache(tmp_path / "cache")
    shelf, heard = features(cache, range(10)), clips(cache, range(10), "facebook/musicgen-stereo-medium@d7c1d9fb1cd5")
    features(cache, range(300), "PaSST probabilities (passt_s_swa_p16_128_ap476)")
    made(cache)
    earlier(cache)
    finished(cache, tmp_path / "results" / "20261127-144500-musicgen_small", {shelf: range(4), heard: range(4)})
    gone = finished(cache, tmp_path / "results" / "20261127-154500-musicgen_medium", {shelf: range(4, 6)})
    (gone / "result.json").rename(tmp_path / "result.json")
    cache.weights.mkdir()
    (cache.weights / "vggish.pt").write_bytes(b"1" * 1_500_000)
    age(cache.root)
    return cache


def said(out: str) -> list[list[str]]:
    """The cells of the lines that are printed, as far as spaces tell them apart."""
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def told(evalkit: Run, *arguments: str) -> Any:
    code, out, err = evalkit("store", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.mark.usefixtures("cache")
def test_sizes_by_kind_collection_and_run(evalkit: Run) -> None:
    code, out, err = evalkit("store", "ls")
    assert (code, err) == (0, "")
    lines = said(out)
    assert ["features", "310", "0.0"] in lines and ["weights", "1", "1.5"] in lines
    assert ["of an earlier evalkit", "13", "0.0"] in lines
    assert ["clips", "10", "0.0"] in lines
    assert ["20261127-144500-musicgen_small", "there", "8", "0.0"] in lines
    assert ["20261127-154500-musicgen_medium", "moved or deleted", "2", "0.0"] in lines
    assert "facebook/musicgen-stereo-medium@d7c1d9fb1cd5" in out.replace("\n", "") and "VGGish" in out
    found = told(evalkit, "ls")
    by_label = {one["label"]: one for one in found["collections"]}
    assert by_label["VGGish"]["items"] == 10 and by_label["VGGish"]["bytes"] > 10 * 64
    run = next(one for one in found["runs"] if one["state"] == "there")
    # four items of 64 bytes, and four audio files
    assert run["items"] == 8 and run["bytes"] == 4 * 64 + 4 * len(b"fLaC of clip 0") * 20


def test_what_nobody_needs_is_shown_and_then_removed(evalkit: Run, cache: Cache) -> None:
    before = sorted(cache.root.rglob("*"))
    code, out, err = evalkit("store", "gc")
    assert (code, err) == (0, "")
    lines = said(out)
    assert ["features", "would go", "306", "0.0", "used by no result"] in lines
    assert ["features", "stays", "4", "0.0", "finished results"] in lines
    assert ["runs", "would go", "1", "0.0", "the result is not where it was"] in lines
    assert "nothing was removed: 'evalkit store gc --yes' does that" in out
    assert "20261127-154500-musicgen_medium" in "".join(line.strip() for line in out.splitlines()) and "--keep" in out
    assert [path for path in sorted(cache.root.rglob("*")) if "leases" not in path.parts] == before
    shown = told(evalkit, "gc")
    removed = told(evalkit, "gc", "--yes")
    assert removed["bytes"] == shown["bytes"] > 0 and removed["removed"] and not shown["removed"]
    assert told(evalkit, "gc")["bytes"] == 0
    assert (cache.weights / "vggish.pt").exists()
    assert keys(cache.collection("features", "VGGish")) == {key(number)[:32] for number in range(4)}


def test_a_result_that_was_moved_is_given(evalkit: Run, cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    (tmp_path / "result.json").rename(tmp_path / "moved" / "result.json")
    assert told(evalkit, "gc", "--yes", "--keep", str(tmp_path / "moved"))["lost"] == []
    assert len(keys(cache.collection("features", "VGGish"))) == 6
    code, out, err = evalkit("store", "gc", "--keep", str(tmp_path / "nowhere"))
    assert (code, out) == (2, "") and err.endswith(
        "holds no finished result: give the folder that a result was moved to\n"
    )


def test_running_processes_are_named(evalkit: Run, cache: Cache) -> None:
    with lease(cache.root):
        leases.using(cache.root, cache.collection("features", "VGGish").name)
        code, out, err = evalkit("store", "gc")
        assert (code, err) == (0, "")
        assert ["features", "stays", "10", "0.0", "running processes"] in said(out)
        assert f"process {os.getpid()} on " in out
        code, out, err = evalkit("store", "rm", "VGGish", "--yes")
        assert (code, out) == (2, "") and err.count("\n") == 1 and f"is used by process {os.getpid()} on " in err
    assert cache.collection("features", "VGGish").folder.exists()


def test_loss_is_status_1_until_it_is_repaired(evalkit: Run, cache: Cache) -> None:
    code, out, err = evalkit("store", "verify")
    assert (code, err) == (0, "") and "--read-data does that" in out
    assert ["features", "310", "3"] in [[c for c in line if c != "–"] for line in said(out)]
    (path,) = cache.collection("features", "VGGish").folder.glob("*.entry")
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(2):
        code, out, err = evalkit("store", "verify", "--read-data")
        assert (code, err) == (1, "") and out.startswith("lost: 1 item")
        assert f"- cut short: features/{path.parent.name[:8]}…/{path.name[:8]}….entry" in out
        said(out)
    code, out, err = evalkit("store", "verify", "--repair", "--json")
    assert (code, err) == (1, "")
    assert (json.loads(out)["lost"], json.loads(out)["removed"]) == (1, 1) and not path.exists()
    assert evalkit("store", "verify", "--read-data")[0] == 0


def test_collections_are_removed_by_name(evalkit: Run, cache: Cache, tmp_path: Path) -> None:
    shelf = cache.collection("features", "VGGish")
    code, out, err = evalkit("store", "rm", "VGGish")
    assert (code, err) == (0, "") and ["features", shelf.digest[:8], "VGGish", "10", "0.0"] in said(out)
    assert "nothing was removed" in out and "finished results use them: '20261127-144500-musicgen_small'" in out
    assert shelf.folder.exists()
    for name in ("VGGish", "clips", cache.collection("checkpoints", ["tiny", 1]).digest[:8]):
        assert told(evalkit, "rm", name, "--yes")["removed"]
    assert [one["kind"] for one in told(evalkit, "ls")["collections"]] == ["features"]
    assert not shelf.folder.exists()
    run = tmp_path / "results" / "20261127-144500-musicgen_small"
    for name in (str(run), "20261127-154500-musicgen_medium"):
        assert told(evalkit, "rm", name, "--yes")["removed"]
    assert told(evalkit, "ls")["runs"] == []
    code, out, err = evalkit("store", "rm", "VGGosh")
    assert (code, out, err.count("\n")) == (2, "", 1) and "no collection 'VGGosh'" in err


def test_a_register_that_is_damaged_is_named_and_removed(evalkit: Run, cache: Cache) -> None:
    path = next((cache.root / "runs").rglob("*.entry"))
    path.write_bytes(b"")
    code, out, err = evalkit("store", "gc", "--yes")
    assert (code, out, err.count("\n")) == (2, "", 1)
    command = err.split("'")[-2].removeprefix("evalkit ").split()
    assert "register damaged" in evalkit("store", "ls")[1] and evalkit("store", "verify")[0] == 1
    code, out, _ = evalkit("store", "verify", "--repair")
    assert (
        code == 1
        and path.exists()
        and f"runs/{path.parent.name[:8]} --yes'" in " ".join(out.split())
        and len(said(out)) > 5
    )
    assert evalkit(*command)[0] == 0
    assert evalkit("store", "gc", "--yes")[0] == 0


def test_the_cache_is_found_as_runs_find_it(
    evalkit: Run, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Cache(tmp_path / "other")
    features(other, range(3))
    for given in (("--cache", str(other.root)), (f"cache_dir={other.root}",)):
        assert told(evalkit, "ls", *given)["cache"] == str(other.root)
        assert told(evalkit, "rm", "features", *given)["cache"] == str(other.root)
    assert told(evalkit, "ls")["cache"] == str(cache.root)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "none"))
    for action in ("ls", "verify", "gc", "rm"):
        code, out, err = evalkit("store", action, *(["a"] if action == "rm" else []))
        assert (code, out) == (2, "") and err == (
            f"evalkit: there is no cache at '{tmp_path / 'none'}': give its folder with --cache\n"
        )
    assert not (tmp_path / "none").exists()


def test_mistakes_are_one_line(evalkit: Run) -> None:
    for arguments in (("lss",), ("ls", "more"), ("gc", "--no"), ("rm",), ("--json", "ls")):
        code, out, err = evalkit("store", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
    assert "did you mean 'ls'?" in evalkit("store", "lss")[2]
    for action in ("ls", "verify", "gc", "rm"):
        code, out, err = evalkit("store", action, "--help")
        assert (code, err) == (0, "") and out.startswith(f"usage: evalkit store {action} ")


@pytest.mark.usefixtures("cache")
def test_listing_loads_no_network(tmp_path: Path) -> None:
    script = "import sys; from evalkit.cli import main; main(); assert not {'torch', 'hydra'} & sys.modules.keys()"
    command = [sys.executable, "-c", script, "store", "ls", "--cache", str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "VGGish" in done.stdout
