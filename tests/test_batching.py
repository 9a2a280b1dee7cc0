"""How many items go together: by what the device is, what its memory holds, and which cores there are."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit import batching
from evalkit.batching import Room, by_length, in_batches, items_at_once, threads_beside
from evalkit.stats import threads
from evalkit.stats.threads import cores


class Device:
    """A network on a device whose memory holds so many rows."""

    def __init__(self, holds: int):
        self.holds = holds
        self.calls: list[int] = []

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(batch))
        if len(batch) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return batch.sum(1, keepdim=True)


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_is_cpu", lambda device: False)


def test_lengths_are_never_mixed_and_no_clip_is_lost() -> None:
    clips = [np.zeros(n) for n in (5, 3, 5, 5, 0, 3, 5)]
    assert by_length(clips) == {0: [4], 3: [1, 5], 5: [0, 2, 3, 6]}


def test_a_gpu_gets_clips_of_one_length_together_as_many_as_there_is_room_for(on_gpu: None) -> None:
    network = Device(holds=100)
    clips = [np.full(n, n, np.float32) for n in (3, 2, 3, 3, 2, 3, 7)]
    rows = in_batches(network, clips, "cpu", Room(6))
    assert [row.item() for row in rows] == [9, 4, 9, 9, 4, 9, 49]
    assert network.calls == [2, 2, 2, 1]  # of 2, of 3, and one that is longer than there is room for


def test_what_runs_out_of_memory_goes_in_halves_and_one_warning_says_so(
    on_gpu: None, caplog: pytest.LogCaptureFixture
) -> None:
    network, room = Device(holds=2), Room(80)
    clips = [np.full(10, i, np.float32) for i in range(9)]
    with caplog.at_level(logging.WARNING):
        rows = in_batches(network, clips, "cpu", room)
    assert [row.item() for row in rows] == [10.0 * i for i in range(9)]
    assert network.calls == [8, 4, 2, 2, 2, 2, 1]
    assert len(caplog.records) == 1 and "out of memory" in caplog.text
    network.calls.clear()
    in_batches(network, clips[:4], "cpu", room)
    assert network.calls == [2, 2]  # what did not fit is not tried again


def test_an_item_that_does_not_fit_by_itself_and_what_is_no_lack_of_memory_is_raised(on_gpu: None) -> None:
    clips = [np.zeros(10, np.float32)] * 4
    with pytest.raises(torch.OutOfMemoryError):
        in_batches(Device(holds=0), clips, "cpu", Room(40))
    calls = []

    def fails(batch: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        in_batches(fails, clips, "cpu", Room(40))
    assert calls == [4]


def test_memory_is_given_back_when_no_frame_holds_tensors_any_more(
    on_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[bool] = []

    class Held:
        living = 0

        def __init__(self) -> None:
            Held.living += 1

        def __del__(self) -> None:
            Held.living -= 1

    def network(batch: torch.Tensor) -> torch.Tensor:
        activations = Held()
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        del activations
        return batch

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(Held.living > 0))
    in_batches(network, [np.zeros(3, np.float32)] * 2, "cpu", Room(6))
    assert alive == [False]


def test_how_many_go_at_once_is_what_is_asked_for_or_by_the_device() -> None:
    assert [items_at_once("cpu", 5), items_at_once("cuda:1", 5)] == [5, 5]
    assert items_at_once("cpu", None) == 16 < items_at_once("cuda", None)


def test_beside_a_gpu_all_cores_work_and_on_a_cpu_as_many_threads_as_torch_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert [threads_beside("cpu"), threads_beside("cuda"), cores()] == [1, 12, 12]
    for quota, expected in (("max 100000\n", 12), ("350000 100000\n", 3), ("50000 100000", 1), ("9900000 100000", 12)):
        (tmp_path / "cpu.max").write_text(quota)
        assert cores() == expected
