"""Steps recorded as CUDA graphs, with a stand-in for recording where there is no GPU."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from evalkit.decoding import graphs
from evalkit.decoding.backend import Backend
from evalkit.decoding.conditions import Conditioner
from evalkit.decoding.loop import Loop
from evalkit.decoding.pattern import UNKNOWN, delays_of, sequence
from evalkit.decoding.sampler import Sampler
from evalkit.settings import Sampling
from tests.decoding import plain_kernels
from tests.networks import SPECIAL, captions, network


@dataclass
class Recorder:
    """Stands for `graphs.record`: a graph that takes the step whenever it is replayed."""

    failures: list[Exception] = field(default_factory=list)
    recorded: int = 0
    replayed: int = 0

    def __call__(self, step: Callable[[], None], pool: Any, device: torch.device) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            step()

        return type("Graph", (), {"replay": staticmethod(replay)})


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(graphs, "record", made)
    monkeypatch.setattr(graphs, "new_pool", object)
    monkeypatch.setattr("evalkit.decoding.kernels", plain_kernels, raising=False)
    return made


class Case:
    """One batch of two clips of 40 frames, which takes 43 steps, made by loops of different backends."""

    def __init__(self) -> None:
        self.net = network("stereo")
        self.sampler = Sampler(["a", "b"], 8, Sampling(top_k=50), "cpu")

    def loop(self, attention: str, graphs: bool) -> Loop:
        return Loop(self.net.decoder, Backend(attention, graphs, 1 if attention == "triton" else 16))

    def made(self, loop: Loop, lengths: tuple[int, int] = (5, 9), frames: int = 40) -> torch.Tensor:
        self.sampler.reset(["a", "b"])
        codes = torch.full((2, 8, frames), UNKNOWN)
        with torch.inference_mode():
            conditioner = Conditioner(self.net)
            conditions = conditioner(conditioner.encode(captions([*lengths])), [None, None], True)
            return loop(sequence(codes, delays_of(self.net.config.decoder), SPECIAL), conditions, self.sampler)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


@pytest.mark.parametrize(
    ("attention", "kinds"), [("triton", 1), ("torch", 3)]
)  # 43 positions are in three buckets of 16
def test_a_step_is_recorded_once_for_all_lengths_or_for_each_bucket(
    attention: str, kinds: int, case: Case, recorder: Recorder
) -> None:
    expected = case.made(case.loop(attention, False))
    assert recorder.recorded == 0
    loop = case.loop(attention, True)
    assert torch.equal(case.made(loop), expected)
    assert (recorder.recorded, recorder.replayed) == (kinds, 43 - kinds)  # the first of each kind warms it up
    assert torch.equal(case.made(loop), expected)
    assert (recorder.recorded, recorder.replayed) == (kinds, 86 - kinds)


def test_captions_of_other_lengths_and_shorter_clips_use_the_same_graph(case: Case, recorder: Recorder) -> None:
    loop = case.loop("triton", True)
    case.made(loop, (30, 40))
    for lengths, frames in (((5, 90), 40), ((12, 1), 20)):
        assert torch.equal(case.made(loop, lengths, frames), case.made(case.loop("triton", False), lengths, frames))
    assert recorder.recorded == 1
    case.made(loop, (300, 400))  # more than there was room for
    assert recorder.recorded == 2


@pytest.mark.parametrize("attention", ["triton", "torch"])
def test_where_nothing_can_be_recorded_steps_are_taken_one_by_one(
    attention: str, case: Case, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    expected = case.made(case.loop(attention, False))
    recorder.failures = [RuntimeError("operation not permitted when stream is capturing\nmore")]
    loop = case.loop(attention, True)
    assert torch.equal(case.made(loop), expected)
    assert torch.equal(case.made(loop), expected)
    assert recorder.recorded == 0 and not loop.backend.graphs
    assert [r.getMessage() for r in caplog.records] == [
        "steps are not recorded as CUDA graphs, which is slower: operation not permitted when stream is capturing"
    ]


def test_lack_of_memory_while_recording_leaves_a_loop_that_works(case: Case, recorder: Recorder) -> None:
    expected = case.made(case.loop("triton", False))
    recorder.failures = [torch.OutOfMemoryError("CUDA out of memory")]
    loop = case.loop("triton", True)
    with pytest.raises(torch.OutOfMemoryError):
        case.made(loop)
    assert loop._kept is None and loop.backend.graphs
    assert torch.equal(case.made(loop), expected)
    assert recorder.recorded == 1


def test_a_loop_that_is_dropped_frees_its_memory_at_once(case: Case, recorder: Recorder) -> None:
    """Not only when Python looks for circles: on a GPU nearly all of the memory may be a loop's."""
    loop = case.loop("triton", False)  # a stand-in for a graph holds on to the step, which a graph does not
    case.made(loop)
    assert loop._kept is not None
    kept = weakref.ref(loop._kept.memory)
    gc.disable()
    try:
        del loop
        assert kept() is None
    finally:
        gc.enable()


# -- recording itself -------------------------------------------------------------------------------


class FakeCuda:
    """torch.cuda as far as `graphs.record` uses it: what is current, and a recording that may fail at its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.current, self.fails_at_end = "default", False
        self.made: list[Any] = []
        self.options: dict[str, Any] = {}
        for name in ("graph", "set_stream"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self.current)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: "graph")
        monkeypatch.setattr(torch.cuda, "Stream", self.stream)

    def stream(self, device: Any, priority: int) -> str:
        self.made.append((device, priority))
        return f"stream {len(self.made)}"

    def set_stream(self, stream: str) -> None:
        self.current = stream

    @contextlib.contextmanager
    def graph(self, graph: Any, *, stream: str, **options: Any) -> Iterator[None]:
        """Like torch's: where the end of the recording raises, its stream stays the current one."""
        before, self.current, self.options = self.current, stream, options
        try:
            yield
        finally:
            if self.fails_at_end:
                raise RuntimeError("operation failed due to a previous error during capture")
            self.current = before


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    graphs._stream.cache_clear()
    yield FakeCuda(monkeypatch)
    graphs._stream.cache_clear()


DEVICE = torch.device("cuda", 0)


def test_a_step_is_recorded_on_one_stream_per_device_of_the_highest_priority(cuda: FakeCuda) -> None:
    seen = []
    for device in (DEVICE, DEVICE, torch.device("cuda", 1)):
        recorded: Any = graphs.record(lambda: seen.append(cuda.current), "pool", device)
        assert recorded == "graph"
        assert cuda.current == "default"
    assert seen == ["stream 1", "stream 1", "stream 2"]
    assert cuda.made == [(DEVICE, -1), (torch.device("cuda", 1), -1)]
    assert cuda.options == {"pool": "pool", "capture_error_mode": "thread_local"}


@pytest.mark.parametrize("fails_at_end", [False, True])
def test_a_recording_that_fails_says_what_failed_first_and_restores_the_stream(
    fails_at_end: bool, cuda: FakeCuda
) -> None:
    cuda.fails_at_end = fails_at_end

    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        graphs.record(full, "pool", DEVICE)
    assert cuda.current == "default"


def test_a_recording_that_fails_only_at_its_end_restores_the_stream(cuda: FakeCuda) -> None:
    cuda.fails_at_end = True
    with pytest.raises(RuntimeError, match="previous error during capture"):
        graphs.record(lambda: None, "pool", DEVICE)
    assert cuda.current == "default"
