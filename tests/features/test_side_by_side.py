"""Encoders side by side, as on a GPU: the same features, failures and order as one after the other."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evalkit.features import extractor as extractor_module
from evalkit.features import side_by_side as module
from evalkit.features.extractor import PEAK, Extractor
from evalkit.features.side_by_side import HELD, made_ahead, one_by_one, side_by_side
from evalkit.store.cache import Cache
from tests.features.test_encoding import ANSWERS, Faulty, extract, row
from tests.features.test_extractor import RATE, Levels, tone, write


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders run as on a GPU."""
    monkeypatch.setattr(extractor_module, "on_gpu", lambda device: True)


def test_jobs_of_a_batch_run_at_the_same_time_and_those_of_one_place_in_order() -> None:
    done: list[list[int]] = [[], []]
    meeting = threading.Barrier(2, timeout=10)

    def jobs_of(batch: list[int]) -> list[Any]:
        def job(place: int) -> None:
            meeting.wait()  # which one after the other would never pass
            done[place].append(batch[0])

        return [lambda: job(0), lambda: job(1)]

    assert list(side_by_side([[i] * (i + 1) for i in range(5)], jobs_of, "cpu")) == [1, 2, 3, 4, 5]
    assert done == [[0, 1, 2, 3, 4]] * 2


def test_no_more_batches_are_held_than_said_though_encoders_are_slow() -> None:
    made, finished = 0, 0
    slow = threading.Semaphore(0)

    def batches() -> Iterator[list[int]]:
        nonlocal made
        for i in range(6):
            made += 1
            assert made - finished <= HELD
            slow.release()  # one batch may be finished for each that is made
            yield [i]

    for _ in side_by_side(batches(), lambda batch: [slow.acquire], "cpu"):
        finished += 1
    assert made == finished == 6


def test_what_is_made_ahead_is_one_chunk_ahead() -> None:
    begun: list[int] = []
    for i, _ in enumerate(made_ahead(begun.append, [[0], [1], [2], [3]], 2)):
        assert sorted(begun) == list(range(len(begun))) and len(begun) <= i + 2
    assert len(begun) == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
def test_what_a_job_raises_stops_all(error: type[BaseException]) -> None:
    begun: list[int] = []

    def jobs_of(batch: list[int]) -> list[Any]:
        def job() -> None:
            begun.append(batch[0])
            if batch[0] == 1:
                raise error("stop")

        return [job, lambda: None]

    before = threading.active_count()
    with pytest.raises(error):
        list(side_by_side(([i] for i in range(20)), jobs_of, "cpu"))
    assert threading.active_count() == before and len(begun) <= 2 + HELD


def test_no_job_begins_once_another_has_been_interrupted() -> None:
    begun: list[int] = []

    def jobs_of(batch: list[int]) -> list[Any]:
        def interrupted() -> None:
            time.sleep(0.1)  # until the next batch waits as well
            raise KeyboardInterrupt

        def slow() -> None:
            begun.append(batch[0])
            time.sleep(0.7)

        return [interrupted, slow]

    with pytest.raises(KeyboardInterrupt):
        list(side_by_side([[0], [1], [2]], jobs_of, "cpu"))
    assert begun == [0]


def test_threads_of_torch_are_as_they_were() -> None:
    before = torch.get_num_threads()
    inside: list[int] = []
    torch.set_num_threads(3)
    try:
        list(side_by_side([[0]], lambda batch: [lambda: inside.append(torch.get_num_threads())], "cpu"))
        assert inside == [1] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert list(one_by_one([[0, 0]], lambda batch: [])) == [2]


def test_on_a_gpu_each_place_has_one_stream_that_waits_for_what_loaded_its_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[Any] = []
    local = threading.local()

    class Stream:
        made = 0

        def __init__(self, device: torch.device):
            self.device, self.number = device, Stream.made
            Stream.made += 1

        def wait_stream(self, other: str) -> None:
            assert local.stream is self
            log.append((self.number, "waits for", other))

    @contextlib.contextmanager
    def stream(one: Stream) -> Iterator[None]:
        local.stream = one
        yield
        local.stream = None

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: f"the default of {device}")
    module._stream.cache_clear()

    def job(place: int) -> None:
        log.append((place, local.stream.number, str(local.stream.device)))

    try:
        for _ in range(2):
            jobs = [lambda: job(0), lambda: job(1)]
            for _ in side_by_side([[0], [1]], lambda batch: jobs, "cuda:1"):  # noqa: B023
                pass
    finally:
        module._stream.cache_clear()
    assert Stream.made == 2
    used = {entry for entry in log if entry[1] != "waits for"}
    assert {place for place, *_ in used} == {0, 1} and len({number for _, number, _ in used}) == 2
    assert {device for *_, device in used} == {"cuda:1"}
    assert log.count((0, "waits for", "the default of cuda:1")) == 4


def test_features_failures_and_statuses_are_those_of_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [write(tmp_path / f"{i}.wav", tone(1 + i / 10)) for i in range(7)]
    clips[3] = write(tmp_path / "bad.wav", np.full((2, 64000), np.nan, np.float32), subtype="FLOAT")
    results = []
    for gpu in (False, True):
        monkeypatch.setattr(extractor_module, "on_gpu", lambda device, gpu=gpu: gpu)
        extractor = Extractor(Cache(tmp_path / str(gpu)), "cpu", 2, RATE)
        encoders = [Levels(), Faulty("lengths"), Faulty("load"), Faulty("raises")]
        features, checked = extract(extractor, clips, *encoders, loudness=-14.0)
        kept = sorted(path.relative_to(tmp_path / str(gpu)) for path in (tmp_path / str(gpu)).rglob("*"))
        results.append((features, checked, extractor.broken, kept))
    (first, checked, broken, kept), (second, checked_too, broken_too, kept_too) = results
    assert checked == checked_too and broken == broken_too and len(broken) == 3 and kept == kept_too
    assert [part is None for part in first] == [part is None for part in second] == [False, True, True, True]
    assert first[0] is not None and second[0] is not None and first[0].ids == second[0].ids
    for one, other in zip(first[0].values, second[0].values, strict=True):
        np.testing.assert_array_equal(one, other)


def test_networks_are_loaded_one_by_one_and_before_they_run(
    tmp_path: Path, beside: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []

    def load(self: Faulty, cache: Cache, device: str) -> Any:
        loads.append(threading.current_thread().name)
        return ANSWERS["one"] if self.answer != "c" else 1 / 0

    monkeypatch.setitem(ANSWERS, "one", lambda clips: [row() for _ in clips])
    monkeypatch.setattr(Faulty, "load", load)
    clips = [write(tmp_path / f"{i}.wav", tone(1 + i / 10)) for i in range(4)]
    extract(Extractor(Cache(tmp_path / "cache"), "cpu", 1, RATE), clips, Faulty("a"), Faulty("b"), Faulty("c"))
    assert loads == [threading.current_thread().name] * 3


def test_an_interrupt_within_an_encoder_stops_the_run(
    tmp_path: Path, beside: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(clips: list[Any]) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setitem(ANSWERS, "interrupt", interrupt)
    clips = [write(tmp_path / "0.wav", tone(1.0))]
    with pytest.raises(KeyboardInterrupt):
        extract(Extractor(Cache(tmp_path / "cache"), "cpu", 1, RATE), clips, Faulty("interrupt"), Levels())


def test_on_a_gpu_long_clips_go_in_smaller_batches_unless_their_number_is_given(
    tmp_path: Path, beside: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extractor_module, "SECONDS_ON_GPU", 3.0)
    clips = [write(tmp_path / f"{i}.wav", tone(s)) for i, s in enumerate([1.0, 1.25, 0.5, 0.5, 3.5, 1.5])]
    missing: Any = [(clip, clip.id, [PEAK]) for clip in clips]
    by = {}
    for n in (None, 5):
        extractor = Extractor(Cache(tmp_path / "cache"), "cpu", n, RATE)
        extractor._open({})
        by[n] = list(extractor._chunks(extractor._turns(missing, [])))
    assert [[clip.id for clip, *_ in chunk] for chunk in by[None]] == [["0", "1", "2"], ["3"], ["4"], ["5"]]
    assert [len(chunk) for chunk in by[5]] == [5, 1]


def test_whose_turn_it_is_does_not_depend_on_what_is_missing(tmp_path: Path) -> None:
    """Of two processes of one configuration either takes the clips from another end: both look at one collection."""
    clip = write(tmp_path / "a.wav", tone(1.0))
    extractor = Extractor(Cache(tmp_path / "cache"), "cpu", None, RATE)
    extractor._open({})
    extractor._collections["encoder"] = extractor.cache.collection("features", "encoder")
    nothing: Any = [(clip, clip.id, [PEAK, "encoder"])]
    peaks: Any = [(clip, clip.id, ["encoder"])]
    looked_at = [extractor._turns(missing, ["encoder"])._collection for missing in (nothing, peaks)]
    assert looked_at == [extractor._collections["encoder"]] * 2
