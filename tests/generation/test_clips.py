"""Storing, finding again and resuming generated clips."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import shutil
import signal
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
import torch

from evalkit import audio
from evalkit.audio import Audio
from evalkit.errors import EvalkitError
from evalkit.generation import clips as generate
from evalkit.generation.clips import clips_of, computing, generation_key, made_before, prompt_key
from evalkit.generation.stored import ClipStore
from evalkit.settings import Attention, Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.collection import Collection
from evalkit.store.digests import digest, sha256_file
from evalkit.store.entry import Item, read_entry
from evalkit.store.leases import lease
from evalkit.types import BatchSize, Clip, Prompt
from tests.engines import CPU, cpu

PROMPTS = [Prompt(f"id{i}", f"caption {i}") for i in range(7)]
CALLS: list[list[str]] = []


@dataclass(frozen=True)
class Noise:
    """Stereo noise that depends on the prompt and the seed; NaN at a negative level."""

    level: float = 0.1
    kind: ClassVar[str] = "made 1"
    version: ClassVar[int] = 1

    def check(self, sampling: Sampling) -> None: ...

    def load(self, cache: Cache, engine: Engine) -> Callable[[Sequence[Prompt], Sampling], list[Audio]]:
        def run(prompts: Sequence[Prompt], sampling: Sampling) -> list[Audio]:
            CALLS.append([p.id for p in prompts])
            out = []
            for prompt in prompts:
                rng = np.random.default_rng([sampling.seed, *prompt.text.encode()])
                samples = self.level * rng.standard_normal((2, 3200))
                out.append(Audio((samples if self.level > 0 else samples * np.nan).astype(np.float32), 32000))
            return out

        return run


def entries(root: Path, kind: str) -> list[Path]:
    """The files of a kind, in the order in which they were stored."""
    return sorted(root.glob(f"{kind}/*/*.entry"), key=lambda path: path.stat().st_mtime_ns)


def lose(root: Path, kind: str) -> None:
    for path in root.glob(f"{kind}/**/*"):
        if path.is_file():
            path.unlink()


def make(
    model: Any, cache: Cache, prompts: Sequence[Prompt] = PROMPTS, batch_size: int | None = 3, **sampling: Any
) -> list[Clip]:
    CALLS.clear()
    return clips_of(model, prompts, Sampling(**sampling), cache, cpu(batch_size=batch_size), "x")


def test_clips_are_stereo_flac_of_the_models_samples(tmp_path: Path) -> None:
    clips = make(Noise(), Cache(tmp_path))
    assert [c.id for c in clips] == [p.id for p in PROMPTS]
    clip = clips[0]
    assert clip.path is not None
    info = soundfile.info(str(clip.path))
    assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_24", 32000, 2)
    expected = Noise().load(Cache(tmp_path), CPU)(PROMPTS[:1], Sampling())[0]
    np.testing.assert_allclose(audio.read(clip.path).samples, expected.samples, atol=2**-23)
    assert (clip.frames, clip.channels, clip.sha256) == (3200, 2, sha256_file(clip.path))


def test_a_second_call_generates_nothing(tmp_path: Path) -> None:
    first = make(Noise(), Cache(tmp_path))
    assert [len(c) for c in CALLS] == [3, 3, 1]
    assert make(Noise(), Cache(tmp_path), batch_size=2) == first
    assert CALLS == []
    assert make(Noise(), Cache(tmp_path), PROMPTS[::-1]) == first[::-1]
    assert CALLS == []


@pytest.mark.parametrize("change", [{"seed": 1}, {"top_k": 5}, {"duration": 3.0}, {"temperature": 2.0}])
def test_other_sampling_gives_other_clips(tmp_path: Path, change: dict[str, Any]) -> None:
    first = make(Noise(), Cache(tmp_path))
    second = make(Noise(), Cache(tmp_path), **change)
    assert not {c.path for c in first} & {c.path for c in second}


def test_another_model_or_caption_gives_other_clips(tmp_path: Path) -> None:
    first = make(Noise(), Cache(tmp_path))
    assert not {c.path for c in first} & {c.path for c in make(Noise(0.2), Cache(tmp_path))}
    edited = [dataclasses.replace(PROMPTS[0], text="another"), *PROMPTS[1:]]
    assert make(Noise(), Cache(tmp_path), edited)[1:] == first[1:]
    assert CALLS == [["id0"]]


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    class Killed(Exception): ...

    whole = make(Noise(), Cache(tmp_path / "whole"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        original = Noise.load
        patch.setattr(Noise, "load", lambda self, *a: _dying(original(self, *a), Killed, 3))
        make(Noise(), Cache(tmp_path / "killed"))
    resumed = make(Noise(), Cache(tmp_path / "killed"))
    assert CALLS == [["id6"]]
    assert [c.sha256 for c in resumed] == [c.sha256 for c in whole]


def _dying(run: Callable[..., list[Audio]], error: type[Exception], at: int) -> Callable[..., list[Audio]]:
    calls = 0

    def dying(*arguments: Any) -> list[Audio]:
        nonlocal calls
        calls += 1
        if calls == at:
            raise error
        return run(*arguments)

    return dying


def test_a_kill_in_mid_batch_leaves_no_trace_in_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL comes after the second batch's audio is written, before its entry is."""
    whole = make(Noise(), Cache(tmp_path / "whole"))
    child = os.fork()
    if not child:
        batches = []
        original = Collection.write

        def deadly(self: Collection, items: Any) -> None:
            if self.kind == "clips":
                batches.append(items)
                if len(batches) == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
            original(self, items)

        monkeypatch.setattr(Collection, "write", deadly)
        make(Noise(), Cache(tmp_path / "killed"))
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    resumed = make(Noise(), Cache(tmp_path / "killed"))
    assert CALLS == [["id3", "id4", "id5"], ["id6"]]
    assert [c.sha256 for c in resumed] == [c.sha256 for c in whole]


@pytest.mark.parametrize("damage", ["truncate", "delete", "half", "flip", "empty", "text"])
def test_damaged_clips_are_generated_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    first = make(Noise(), Cache(tmp_path))
    path = first[4].path
    assert path is not None
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "delete":
        path.unlink()
    else:
        (entry,) = (e for e in entries(tmp_path, "clips") if b'"id4"' in e.read_bytes().replace(b"\\", b""))
        data = entry.read_bytes()
        flipped = data.replace(b"1.0", b"2.0", 1)
        assert flipped != data
        entry.write_bytes({"half": data[: len(data) // 2], "flip": flipped, "empty": b"", "text": b"1"}[damage])
    assert make(Noise(), Cache(tmp_path)) == first
    assert [i for call in CALLS for i in call] == (
        ["id4"] if damage in ("truncate", "delete") else ["id3", "id4", "id5"]
    )
    assert "damaged" in caplog.text


def store_of(model: Any, cache: Cache) -> ClipStore:
    return ClipStore.of(cache, generation_key(model, Sampling(), cache, cpu()), model)


def test_a_clip_made_twice_is_found_with_its_own_audio(tmp_path: Path) -> None:
    """What two processes made at once may differ in its last bits; where one's audio is lost, there is the other's."""
    cache = Cache(tmp_path)
    first, *others = make(Noise(), cache)
    assert first.path is not None
    second = Audio(audio.read(first.path).samples * np.float32(1.5), 32000)
    for size in (1, 3, 7):  # in entries that are found before and after the one of the first
        extra = {digest(["other", size, number]): (PROMPTS[0], second) for number in range(size)}
        store_of(Noise(), cache).write({**extra, prompt_key(PROMPTS[0]): (PROMPTS[0], second)}, {})
    seen = set()
    for _ in range(2):
        clip, *same = make(Noise(), cache)
        assert CALLS == [] and same == others and clip.path is not None
        assert sha256_file(clip.path) == clip.sha256
        seen.add(clip.sha256)
        clip.path.write_bytes(clip.path.read_bytes()[:-1])
    assert len(seen) == 2
    assert make(Noise(), cache) == [first, *others] and CALLS == [["id0"]]
    assert make(Noise(), cache) == [first, *others] and CALLS == []


def test_loud_clips_keep_their_samples(tmp_path: Path) -> None:
    (clip,) = make(Noise(level=2.0), Cache(tmp_path), PROMPTS[:1])
    expected = Noise(2.0).load(Cache(tmp_path), CPU)(PROMPTS[:1], Sampling())[0]
    assert clip.path is not None and clip.gain < 1
    np.testing.assert_allclose(audio.read(clip.path).samples / clip.gain, expected.samples, atol=2**-20)


def test_nan_is_a_failed_clip_with_a_reason(tmp_path: Path) -> None:
    (clip,) = make(Noise(level=-1.0), Cache(tmp_path), PROMPTS[:1])
    assert (clip.status, clip.path) == ("failed", None)
    assert "NaN" in clip.reason


def test_out_of_memory_says_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate")
    monkeypatch.setattr(Noise, "load", lambda *_: _raising(error))
    with pytest.raises(EvalkitError, match=r"3 clips at once: lower engine\.batch_size"):
        make(Noise(), Cache(tmp_path))


def _raising(error: Exception) -> Callable[..., list[Audio]]:
    def run(*_: Any) -> list[Audio]:
        raise error

    return run


def test_ids_never_become_paths(tmp_path: Path) -> None:
    (clip,) = make(Noise(), Cache(tmp_path), [Prompt("../../../escape", "x")])
    assert clip.path is not None and tmp_path in clip.path.resolve().parents
    about = json.loads((clip.path.parents[1] / "about.json").read_text())
    assert about["key"]["sampling"]["top_k"] == 250 and about["label"] == "made 1"


# -- models that have codes first -------------------------------------------------------------------


@dataclass(frozen=True)
class Tokens:
    """Codes of one codebook that depend on the prompt and the seed, and clips that say them; `memory` clips at most."""

    memory: int = 100
    kind: ClassVar[str] = "made 2"
    version: ClassVar[int] = 1

    def check(self, sampling: Sampling) -> None: ...

    def load(self, cache: Cache, engine: Engine) -> Any:
        return LoadedTokens(self.memory, engine)


@dataclass
class LoadedTokens:
    memory: int
    engine: Engine

    def facts(self) -> dict[str, Any]:
        return {"attention": "triton", "graphs": True}

    def batch_size(self, sampling: Sampling, prompts: Sequence[Prompt], before: BatchSize | None = None) -> BatchSize:
        rows = self.engine.batch_size
        return BatchSize(rows, rows) if rows else before or BatchSize(4, 5)

    def group(self, prompt: Prompt, sampling: Sampling) -> int:
        return int(prompt.id[-1]) % 2

    def codes(self, prompts: Sequence[Prompt], sampling: Sampling, rows: int) -> list[np.ndarray | None]:
        assert len({self.group(p, sampling) for p in prompts}) == 1
        if rows > self.memory:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        CALLS.append([p.id for p in prompts])
        made = [np.random.default_rng([sampling.seed, *p.id.encode()]).integers(2048, size=(1, 5)) for p in prompts]
        return [None if p.text == "bad" else m.astype(np.int16) for p, m in zip(prompts, made, strict=True)]

    def audio(self, codes: Sequence[np.ndarray | None], sampling: Sampling) -> list[Audio]:
        return [
            Audio(np.full((1, 640), np.nan, np.float32), 32000)
            if one is None
            else Audio((one.repeat(640, axis=1) / 4096).astype(np.float32), 32000)
            for one in codes
        ]


def test_groups_go_together_in_batches(tmp_path: Path) -> None:
    clips = make(Tokens(), Cache(tmp_path), batch_size=3)
    assert CALLS == [["id0", "id2", "id4"], ["id6"], ["id1", "id3", "id5"]]
    assert [clip.id for clip in clips] == [p.id for p in PROMPTS]
    assert make(Tokens(), Cache(tmp_path), batch_size=1) == clips
    assert CALLS == []


def test_codes_are_stored_first_and_clips_made_from_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path)
    clips = make(Tokens(), cache)
    shards = entries(tmp_path, "codes")
    assert len(shards) == 3
    for _, item in read_entry(shards[0]).items():
        assert isinstance(item, Item) and item.value is not None and item.value.dtype == np.int16
        assert item.shared["made"]["batch_size"] == 3 and item.shared["versions"]["torch"]
    lose(tmp_path, "clips")
    assert make(Tokens(), cache) == clips
    assert CALLS == []  # nothing was generated again
    third = clips[2].path
    assert third is not None
    third.unlink()
    shards[0].write_bytes(shards[0].read_bytes()[:-5])
    assert prompt_key(PROMPTS[2]) in read_entry(entries(tmp_path, "clips")[0]).keys
    assert make(Tokens(), cache) == clips
    assert CALLS == [["id2"]]


def test_a_run_holds_codes_that_were_made_elsewhere_as_it_holds_its_own(tmp_path: Path) -> None:
    class Node:
        def clips(self, *given: Any) -> dict[str, str]:
            make(Tokens(), Cache(tmp_path / "node"))
            shutil.copytree(tmp_path / "node", tmp_path / "shared", dirs_exist_ok=True)
            return {}

    def used(root: Path, elsewhere: Any) -> dict[str, list[bytes]]:
        with lease(root) as held:
            clips_of(Tokens(), PROMPTS, Sampling(), Cache(root), cpu(), "tokens", elsewhere)
            return {name: list(keys) for name, keys in held.used().items()}

    own = used(tmp_path / "own", None)
    assert used(tmp_path / "shared", Node()) == own
    assert {name.partition("/")[0] for name, keys in own.items() if len(keys) == len(PROMPTS)} == {"clips", "codes"}


def test_clips_know_how_they_were_made_also_by_an_earlier_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    here = {"device_name": "elsewhere", "torch": "2.10", "dtype": "float32", "attention": "triton", "graphs": True}
    monkeypatch.setattr(generate, "machine", lambda device: {"device_name": "elsewhere"})
    monkeypatch.setattr(generate, "versions", lambda: {"torch": "2.10"})
    first = make(Tokens(), cache, PROMPTS[:3], batch_size=2)
    assert [clip.made for clip in first] == [{**here, "batch_size": 2}] * 3
    monkeypatch.undo()
    both = make(Tokens(), cache, batch_size=3)
    now = {**computing(cpu()), "attention": "triton", "graphs": True, "batch_size": 3}
    assert [clip.made for clip in both] == [{**here, "batch_size": 2}] * 3 + [now] * 4
    assert now["device_name"] != "elsewhere" and now["torch"] == torch.__version__
    assert made_before(Tokens(), PROMPTS, Sampling(), cache, cpu(batch_size=3))[0].made == first[0].made
    lose(tmp_path, "clips")  # clips that are made again of stored codes are as the codes were made
    assert [clip.made for clip in make(Tokens(), cache, batch_size=4)] == [clip.made for clip in both]
    assert CALLS == []


@pytest.mark.parametrize("kept", ["clips", "codes"])
def test_clips_in_the_cache_that_were_made_otherwise_than_asked_for_are_said(
    kept: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path)

    def said(**engine: Any) -> list[str]:
        caplog.clear()
        if kept == "codes":
            lose(tmp_path, "clips")
        clips_of(Tokens(), PROMPTS, Sampling(), cache, cpu(**engine), "x")
        return [record.getMessage() for record in caplog.records if "in the cache" in record.getMessage()]

    make(Tokens(), cache, PROMPTS[:3], batch_size=2)
    (one,) = said(batch_size=5)
    assert "3 clips in the cache were made with batch_size 2 and" in one
    (both,) = said(batch_size=3)
    assert "7 clips in the cache were made with batch_size 2 and 5 and" in both
    assert said() == said(attention=Attention.triton) == []
    (other,) = said(attention=Attention.sdpa)
    assert other.endswith("7 clips in the cache were made with attention triton and are used as they are: set "
                          "cache_dir to make others")  # fmt: skip


def test_a_model_without_codes_says_device_and_dtype(tmp_path: Path) -> None:
    assert {digest(clip.made) for clip in make(Noise(), Cache(tmp_path))} == {digest(computing(cpu()))}


def test_a_damaged_shard_is_generated_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path)
    clips = make(Tokens(), cache)
    lose(tmp_path, "clips")
    for shard in entries(tmp_path, "codes"):
        shard.write_bytes(shard.read_bytes()[:-5])
    assert make(Tokens(), cache) == clips
    assert len(CALLS) == 3
    assert caplog.text.count("damaged cache entry") == 1 and "and 2 more: " in caplog.text


def test_many_damaged_clips_are_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = make(Noise(), Cache(tmp_path))
    for clip in first:
        assert clip.path is not None
        clip.path.write_bytes(b"")
    assert make(Noise(), Cache(tmp_path)) == first
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "damaged or missing clip" in warning and f" and {len(first) - 1} more: will be made again" in warning


def test_clips_do_not_depend_on_what_was_there_already(tmp_path: Path) -> None:
    whole = make(Tokens(), Cache(tmp_path / "whole"))
    make(Tokens(), Cache(tmp_path / "parts"), PROMPTS[2:5], batch_size=1)
    parts = make(Tokens(), Cache(tmp_path / "parts"), PROMPTS[::-1], batch_size=2)[::-1]
    assert [clip.sha256 for clip in parts] == [clip.sha256 for clip in whole]


def test_out_of_memory_lowers_the_batch_size_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = make(Tokens(memory=1), Cache(tmp_path), batch_size=4)
    assert [len(call) for call in CALLS] == [1] * 7
    assert all(clip.ok for clip in clips)
    assert "going on with 2 clips" in caplog.text and "going on with 1 clips" in caplog.text
    with pytest.raises(EvalkitError, match=r"out of memory with one clip at once: use a larger device"):
        make(Tokens(memory=0), Cache(tmp_path), batch_size=4)


@pytest.fixture
def not_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every batch stay in a file of its own."""
    monkeypatch.setattr("evalkit.store.collection.FEW", 1000)


MANY = [Prompt(f"{i:02}", "x" * i) for i in range(1, 30)]


def sizes(cache: Cache) -> list[tuple[int, int]]:
    """The clips, and the rows, of each batch in the order in which they were stored."""
    shards = [list(read_entry(path).items()) for path in entries(cache.root, "codes")]
    return [(len(items), items[0][1].shared["made"]["batch_size"]) for items in shards]  # type: ignore[union-attr]


def test_no_batch_but_the_last_of_a_group_is_part_empty(tmp_path: Path) -> None:
    make(Tokens(), Cache(tmp_path), MANY, batch_size=None)
    expected = [[p.id for p in MANY if int(p.id) % 2 == group] for group in (1, 0)]
    assert [ids[i : i + 4] for ids in expected for i in range(0, len(ids), 4)] == CALLS  # in the order given
    assert sizes(Cache(tmp_path)) == [(4, 4), (4, 4), (4, 4), (3, 4), (4, 4), (4, 4), (4, 4), (2, 4)]


@pytest.mark.parametrize("finished", range(1, 8))
def test_nor_is_it_in_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: int) -> None:
    class Killed(Exception): ...

    original, calls = LoadedTokens.codes, []

    def dying(self: LoadedTokens, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == finished + 1:
            raise Killed
        return original(self, *arguments)

    whole = make(Tokens(), Cache(tmp_path / "whole"), MANY, batch_size=None)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(LoadedTokens, "codes", dying)
        make(Tokens(), Cache(tmp_path / "killed"), MANY, batch_size=None)
    resumed = make(Tokens(), Cache(tmp_path / "killed"), MANY, batch_size=None)
    assert sorted(sizes(Cache(tmp_path / "killed"))) == sorted(sizes(Cache(tmp_path / "whole")))
    assert [(clip.sha256, clip.made) for clip in resumed] == [(clip.sha256, clip.made) for clip in whole]


@pytest.mark.usefixtures("not_merged")
def test_a_run_that_goes_on_keeps_its_batch_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    original = LoadedTokens.batch_size

    def spy(self: LoadedTokens, sampling: Sampling, prompts: Sequence[Prompt], before: Any = None) -> Any:
        asked.append((len(prompts), before))
        return original(self, sampling, prompts, before)

    monkeypatch.setattr(LoadedTokens, "batch_size", spy)
    cache = Cache(tmp_path)
    make(Tokens(), cache, MANY[:10], batch_size=3)
    make(Tokens(), cache, MANY[:20], batch_size=None)
    make(Tokens(), cache, MANY, batch_size=2)
    assert asked == [
        *[(5, None)] * 2,
        *[(5, BatchSize(3, 3))] * 2,
        *[(5, BatchSize(3, 3)), (4, BatchSize(3, 3))],
    ]
    assert [rows for _, rows in sizes(cache)] == [3] * 8 + [2] * 5
    # what memory held is known apart from what there were prompts for
    make(Tokens(), Cache(tmp_path / "few"), MANY[:4], batch_size=None)
    make(Tokens(), Cache(tmp_path / "few"), MANY[:6], batch_size=None)
    assert asked[-1] == (1, BatchSize(4, 5))


@pytest.mark.usefixtures("not_merged")
def test_one_batch_that_does_not_fit_is_halved_and_the_next_is_whole_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = LoadedTokens.codes

    def codes(self: LoadedTokens, prompts: Sequence[Prompt], sampling: Sampling, rows: int) -> Any:
        if rows > 1 and any(prompt.id in long for prompt in prompts):
            raise RuntimeError("CUDA out of memory")
        return original(self, prompts, sampling, rows)

    monkeypatch.setattr(LoadedTokens, "codes", codes)
    monkeypatch.setattr(LoadedTokens, "group", lambda *_: 0)
    long = ["06"]
    make(Tokens(), Cache(tmp_path / "one"), MANY[:16], batch_size=4)
    assert sizes(Cache(tmp_path / "one")) == [(4, 4), *[(1, 1)] * 4, (4, 4), (4, 4)]
    long = ["06", "09"]
    make(Tokens(), Cache(tmp_path / "row"), MANY[:16], batch_size=4)
    assert sizes(Cache(tmp_path / "row")) == [(4, 4), *[(1, 1)] * 8, *[(1, 1)] * 4]
    long = ["06", "14"]
    make(Tokens(), Cache(tmp_path / "apart"), MANY[:16], batch_size=4)
    assert sizes(Cache(tmp_path / "apart")) == [(4, 4), *[(1, 1)] * 4, (4, 4), *[(1, 1)] * 4]


def test_what_did_not_fit_is_freed_before_less_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[Any]] = []
    original = LoadedTokens.codes

    def codes(self: LoadedTokens, prompts: Sequence[Prompt], sampling: Sampling, rows: int) -> Any:
        assert all(one() is None for one in held)
        if rows > self.memory:
            tensor: Any = np.zeros(3).view(type("Tensor", (np.ndarray,), {}))
            circle: list[Any] = [tensor]
            circle.append(circle)  # which is not freed when nothing else holds it
            held.append(weakref.ref(tensor))
        return original(self, prompts, sampling, rows)

    monkeypatch.setattr(LoadedTokens, "codes", codes)
    gc.disable()
    try:
        make(Tokens(memory=1), Cache(tmp_path), batch_size=4)
    finally:
        gc.enable()
    assert len(held) > 1


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA",
        "CUDA error: an illegal memory access was encountered",
        "Triton Error [CUDA]: an illegal memory access was encountered",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    ],
)
def test_a_lost_gpu_keeps_the_finished_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    original, calls = LoadedTokens.codes, iter(range(100))

    def lost(self: LoadedTokens, *arguments: Any) -> Any:
        if next(calls) == 2:
            raise RuntimeError(words)
        return original(self, *arguments)

    monkeypatch.setattr(LoadedTokens, "codes", lost)
    said = rf"the GPU failed \({re.escape(words.splitlines()[0])}\): .*run the same command again"
    with pytest.raises(EvalkitError, match=said):
        make(Tokens(), Cache(tmp_path))
    assert next(calls) == 3  # it was not tried again
    assert all(clip.ok for clip in make(Tokens(), Cache(tmp_path)))
    assert CALLS == [["id1", "id3", "id5"]]


def test_what_nothing_can_be_made_for_is_one_line_or_a_failed_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def group(self: LoadedTokens, prompt: Prompt, sampling: Sampling) -> int:
        if prompt.id == "id2":
            raise EvalkitError("the melody is silent")
        return 0

    monkeypatch.setattr(LoadedTokens, "group", group)
    with pytest.raises(EvalkitError, match="the melody is silent"):
        make(Tokens(), Cache(tmp_path))
    assert CALLS == []  # before anything is generated
    clips = clips_of(Tokens(), PROMPTS, Sampling(), Cache(tmp_path), cpu(batch_size=3, keep_going=True), "x")
    assert [clip.id for clip in clips if not clip.ok] == ["id2"]
    assert (clips[2].status, clips[2].reason) == ("failed", "the melody is silent")
    monkeypatch.undo()
    assert make(Tokens(), Cache(tmp_path))[2].ok  # it was not stored


def test_a_clip_that_failed_stays_failed(tmp_path: Path) -> None:
    prompts = [PROMPTS[0], dataclasses.replace(PROMPTS[2], text="bad")]
    for _ in range(2):
        good, bad = make(Tokens(), Cache(tmp_path), prompts)
        assert good.ok and (bad.status, bad.path) == ("failed", None)
    assert CALLS == []


def test_several_samples_are_more_keys(tmp_path: Path) -> None:
    one = make(Tokens(), Cache(tmp_path), PROMPTS[:2])
    assert make(Tokens(), Cache(tmp_path), PROMPTS[:2], samples_per_prompt=4) == one
    assert CALLS == []


def test_a_caption_that_is_too_long_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = generate.LONGEST_CAPTION
    long = [*PROMPTS[:2], Prompt("long", "x" * 50000), Prompt("fits", "x" * most), Prompt("more", "x" * (most + 1))]
    with monkeypatch.context() as patch, pytest.raises(EvalkitError) as error:
        patch.setattr(Noise, "load", lambda *_: pytest.fail("nothing is to be loaded"))
        make(Noise(), Cache(tmp_path), long)
    assert str(error.value) == (
        "x: the caption of prompt 'long' has 50,000 characters, and 4,000 are the most, because the memory that "
        "text encoders take grows with the square of the length: shorten it, or set engine.keep_going=true"
    )
    CALLS.clear()
    for _ in range(2):
        clips = clips_of(Noise(), long, Sampling(), Cache(tmp_path), cpu(batch_size=3, keep_going=True), "x")
        assert [clip.status for clip in clips] == ["ok", "ok", "failed", "ok", "failed"]
        assert clips[2].reason.startswith("the caption of prompt 'long' has 50,000 characters")
    assert [i for call in CALLS for i in call] == ["id0", "id1", "fits"]
