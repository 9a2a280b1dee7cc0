"""How fast, and how exact, attention is on a device, and what one step of generation consists of.

    python -m benchmarks.attention --device cuda [--rows 16 128 256] [--lengths 64 192 256 448 512]

Attention of one query per row, as a step of stereo-medium has it, by evalkit's kernels and by each attention of torch:
its error against float64, microseconds, and the speed at which it reads the keys and values that count. Those of
torch read up to a multiple of 64 positions, of which the last 31 are masked here. Then left-padded rows, several new
positions, and captions; sums with their norm; and of whole steps the milliseconds at several lengths and the kernels.
Results go to results/benchmarks/, part by part, so that an attention which takes the process down leaves the others.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks import roofline
from benchmarks.attention_report import write
from benchmarks.generation_sides import RESULTS, SIZES, forget, network_of, prompts_of, sampling_of, tiny_model
from evalkit.decoding import graphs
from evalkit.decoding.backend import ERROR
from evalkit.decoding.model import Model
from evalkit.models.musicgen import runner
from evalkit.precision import fixed_precision
from evalkit.settings import Dtype, Engine

TORCHS = {
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,  # refuses masks
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
MASKED = 31  # positions at the end of what is read
EXACT = 4  # rows that are computed in float64 too
TEXT = (65, 100, 128)  # tokens of captions, and to how many they are padded
CACHED = 256 << 20  # bytes, more than a GPU's caches hold: what is read must come from memory
CALLS, REPEATS = 48, 5
Row = dict[str, Any]


class Device:
    """Where it is measured: a device, a type of numbers, and the heads of a decoder."""

    def __init__(self, name: str, dtype: torch.dtype, heads: int, size: int):
        self.device, self.dtype, self.heads, self.size = torch.device(name), dtype, heads, size
        self.cuda = self.device.type == "cuda"

    def random(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, device=self.device, dtype=self.dtype)

    def integers(self, values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(list(values), device=self.device)

    def microseconds(self, call: Callable[[int], Any]) -> float:
        """The least time of a call; on a GPU many are recorded as one graph. Each gets a number of its own."""
        call(0)
        roofline.synchronize(str(self.device))
        if not self.cuda:
            started = time.perf_counter()
            call(0)
            return 1e6 * (time.perf_counter() - started)

        def calls() -> None:
            for i in range(CALLS):
                call(i)

        graph = graphs.record(calls, graphs.new_pool(), self.device)
        graph.replay()
        return min(self.milliseconds(graph.replay) for _ in range(REPEATS)) / CALLS * 1000

    def milliseconds(self, work: Callable[[], Any]) -> float:
        """The time of work on the current stream."""
        if not self.cuda:
            started = time.perf_counter()
            work()
            return 1000 * (time.perf_counter() - started)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)


def exact(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Attention in float64 of (rows, heads, new, size), where `seen` says what counts."""
    query, key, value = query.double(), key.double(), value.double()
    scores = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).masked_fill(~seen, -math.inf)
    return scores.softmax(-1) @ value


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


def measured(on: Device, name: str, row: Row, seen: int, attend: Callable[[int], torch.Tensor], want: Any) -> Row:
    """A row with error, time and speed of an attention, which gives (rows, heads, 1, size), or why it has none."""
    row = {"attention": name, **row}
    try:
        started = time.perf_counter()
        found = attend(0)
        roofline.synchronize(str(on.device))
        row["first_seconds"] = time.perf_counter() - started
        row["error"] = error(found[: len(want)], want)
        if seen:
            row["us"] = on.microseconds(attend)
            row["gb_per_s"] = 2 * seen * on.heads * on.size * found.element_size() / row["us"] / 1e3
    except Exception as failure:  # of a library, a compiler or a driver
        row["failed"] = (str(failure) or type(failure).__name__).splitlines()[0][:200]
    print(row, flush=True)
    return row


def attention(on: Device, name: str, attend: Callable[..., torch.Tensor], rows: int, filled: int) -> Row:
    """One query per row over the first positions of memory; `attend` takes what `by_torch` takes."""
    seen = filled - MASKED
    shape = (rows, on.heads, filled, on.size)
    copies = max(1, math.ceil(CACHED / (2 * math.prod(shape) * on.dtype.itemsize))) if on.cuda else 1
    memory = [(on.random(*shape), on.random(*shape)) for _ in range(copies)]
    query = on.random(rows, 1, 3, on.heads, on.size).transpose(1, 3).unbind(2)[0]
    places = torch.arange(filled, device=on.device)
    want = exact(query[:EXACT], memory[0][0][:EXACT], memory[0][1][:EXACT], (places < seen)[None, None, None])
    call = attend(on, query, memory, [0] * rows, seen)
    return measured(on, name, {"rows": rows, "read": filled, "seen": seen}, rows * seen, call, want)


def by_torch(backend: SDPBackend) -> Callable[..., Callable[[int], torch.Tensor]]:
    """torch's attention over slices, with masks."""

    def prepared(on: Device, query: torch.Tensor, memory: Sequence[Any], first: Sequence[int], end: int) -> Any:
        new, places = query.shape[2], torch.arange(memory[0][0].shape[2], device=on.device)
        last = end - new + torch.arange(new, device=on.device)
        hidden = (places > last[:, None])[None, None] | (places < on.integers(first)[:, None, None, None])
        hidden &= (places != last[:, None])[None, None]  # a row of nothing but -inf would give NaN
        mask = torch.zeros(hidden.shape, dtype=on.dtype, device=on.device).masked_fill(hidden, -math.inf)

        def attend(i: int) -> torch.Tensor:
            key, value = memory[i % len(memory)]
            with sdpa_kernel(backend):
                return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)

        return attend

    return prepared


def by_kernel(on: Device, query: torch.Tensor, memory: Sequence[Any], first: Sequence[int], end: int) -> Any:
    """evalkit's kernel, which reads from where to where; it stores the newest position too."""
    from evalkit.decoding import kernels

    rows, heads, new, size = query.shape
    starts, last = on.integers(first), on.integers([end - new])
    flat = query.transpose(1, 2).reshape(rows * new, heads, size)
    newest = [tuple(t[:, :, end - 1].contiguous() for t in pair) if new == 1 else None for pair in memory]

    def attend(i: int) -> torch.Tensor:
        key, value = memory[i % len(memory)]
        seen = kernels.attend(flat, key, value, starts, last, append=newest[i % len(memory)])
        return seen.view(rows, new, heads, size).transpose(1, 2)

    return attend


def padded(on: Device, name: str, attend: Callable[..., Any], rows: int, end: int, left: int, new: int) -> Row:
    """The error where rows have padding on the left, and several positions are new: a melody, a continuation."""
    key, value = (on.random(rows, on.heads, end, on.size) for _ in range(2))
    query = on.random(rows, new, 3, on.heads, on.size).transpose(1, 3).unbind(2)[0]
    first = [0, *[left] * (rows - 1)]
    places = torch.arange(end, device=on.device)
    last = end - new + places[:new]
    real = last[:, None] >= on.integers(first)[:, None, None, None]  # what padding itself gets is not looked at
    seen = (places <= last[:, None])[None, None] & (places >= on.integers(first)[:, None, None, None])
    want = torch.where(real, exact(query, key, value, seen | ~real), 0.0)

    def call(i: int) -> torch.Tensor:
        return torch.where(real, attend(on, query, [(key, value)], first, end)(i), 0.0)

    return measured(on, name, {"rows": rows, "read": end, "left": left, "new": new}, 0, call, want)


def captions(on: Device, name: str, clips: int) -> Row:
    """One query per clip over its caption: packed one after the other for the kernel, padded and masked for torch."""
    shortest, longest, most = TEXT
    lengths = [shortest + i * 7 % (longest - shortest + 1) for i in range(clips)]
    key, value = (on.random(clips, on.heads, most, on.size) for _ in range(2))
    query = on.random(clips, on.heads, 1, on.size)
    places = torch.arange(most, device=on.device)
    seen = (places < on.integers(lengths)[:, None])[:, None, None]
    want = exact(query, key, value, seen)
    if name == "triton":
        call = _packed(on, query, key, value, seen, lengths)
    else:
        mask = torch.zeros(seen.shape, dtype=on.dtype, device=on.device).masked_fill(~seen, -math.inf)

        def call(_: int) -> torch.Tensor:
            with sdpa_kernel(TORCHS[name]):
                return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)

    return measured(on, name, {"clips": clips, "tokens": sum(lengths)}, sum(lengths), call, want)


def _packed(on: Device, query: Any, key: Any, value: Any, seen: Any, lengths: Sequence[int]) -> Callable[[int], Any]:
    from evalkit.decoding import kernels

    keys, values = (t.transpose(0, 1).flatten(1, 2)[:, seen.flatten()].contiguous() for t in (key, value))
    last = on.integers(lengths).cumsum(0) - 1
    first = last - on.integers(lengths) + 1
    return lambda _: kernels.attend(query[:, :, 0], keys, values, first, last).view(query.shape)


def sums(on: Device, rows: int) -> Iterator[Row]:
    """A sum and its LayerNorm, by evalkit's kernel and by torch."""
    from evalkit.decoding.network import added, added_in_one

    hidden = on.heads * on.size
    norm = torch.nn.LayerNorm(hidden, device=on.device, dtype=on.dtype)
    x, more = on.random(rows, hidden), on.random(rows, hidden)
    want = functional.layer_norm((x + more).double(), (hidden,))
    for name, add in (("triton", added_in_one), ("torch", added)):
        row: Row = {"by": name, "rows": rows}
        try:
            kept = x.clone()
            row["error"] = error(add(kept, more, norm, kept), want)
            row["us"] = on.microseconds(lambda _: add(kept, more, norm, kept))  # noqa: B023
        except Exception as failure:
            row["failed"] = (str(failure) or type(failure).__name__).splitlines()[0][:200]
        print(row, flush=True)
        yield row


def steps(on: Device, model: Model, clips: int, count: int) -> Row:
    """Of steps of a batch: milliseconds at several lengths, and the kernels of one, without a graph."""
    from torch.profiler import ProfilerActivity, profile

    model.codes(prompts_of(model.tokenizer, clips), sampling_of(model, count), clips)
    batch = model.loop._kept
    assert batch is not None
    found: Row = {"clips": clips, "facts": model.facts(), "ms": {}}
    repeats = max(1, min(20, count // 8))
    activity = ProfilerActivity.CUDA if on.cuda else ProfilerActivity.CPU
    with torch.inference_mode(), model.loop.backend.used_on(on.device):
        for place in (count // 10, count // 2, count - repeats - 4):
            batch.position.fill_(place)
            batch.step_number.fill_(place)
            recorded = batch.recorded.get(batch.memory.kind(place + 1))
            once = recorded.replay if recorded else lambda: batch.step(place + repeats)  # noqa: B023
            found["ms"][str(place)] = on.milliseconds(lambda: [once() for _ in range(repeats)]) / repeats  # noqa: B023
        batch.position.fill_(count // 2)
        with profile(activities=[activity]) as seen:
            batch.step(count // 2 + 1)
            roofline.synchronize(str(on.device))
    spent = "self_device_time_total" if on.cuda else "self_cpu_time_total"
    kernels = sorted((k for k in seen.key_averages() if getattr(k, spent)), key=lambda k: -getattr(k, spent))
    found["kernels"] = sum(kernel.count for kernel in kernels)
    found["kernels_us"] = sum(getattr(kernel, spent) for kernel in kernels)
    found["longest"] = [[getattr(k, spent), k.count, k.key[:100]] for k in kernels[:14]]
    print({key: value for key, value in found.items() if key != "longest"}, flush=True)
    forget(model)
    return found


def require_right(rows: Sequence[Row], most: float) -> None:
    """Raise SystemExit where evalkit's kernel failed, or its error is larger than `most`."""
    ours = [row for row in rows if row["attention"] == "triton"]
    wrong = [row for row in ours if not row.get("error", math.inf) <= most]
    if wrong:
        raise SystemExit(
            f"evalkit's kernel failed or is wrong in {len(wrong)} of {len(ours)} cases, such as {wrong[0]}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", help="float32 on a CPU, float16 on a GPU")
    parser.add_argument("--rows", nargs="*", type=int, default=[16, 128, 256])
    parser.add_argument("--lengths", nargs="*", type=int, default=[64, 192, 256, 448, 512], help="multiples of 64")
    parser.add_argument("--size", default="stereo-medium", help="of whose steps")
    parser.add_argument(
        "--clips", nargs="*", type=int, default=[8, 64, 128], help="of batches whose steps are measured"
    )
    parser.add_argument("--new", type=int, default=267, help="positions at once: a melody and its caption")
    parser.add_argument("--steps", type=int, default=503)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    kind = torch.device(options.device).type
    dtype = options.dtype or ("float32" if kind == "cpu" else "float16")
    _, hidden, heads = SIZES.get(options.size.removeprefix("stereo-"), (2, 32, 2))
    on = Device(options.device, getattr(torch, dtype), heads, hidden // heads)
    path = options.output / f"attention_{kind}.json"
    with fixed_precision(), torch.inference_mode():
        machine = roofline.measure(options.device, on.dtype)
        write(path, {"device": kind, "dtype": dtype, "heads": heads, "head": on.size, "bandwidth": machine.bandwidth})
        rows: list[Row] = []
        more: list[Row] = []
        text: list[Row] = []

        def measure(names: Sequence[str]) -> None:
            for name in names:
                attend = by_kernel if name == "triton" else by_torch(TORCHS[name])
                for count, filled in itertools.product(options.rows, options.lengths):
                    rows.append(attention(on, name, attend, count, filled))
                more.append(padded(on, name, attend, 8, 128, 70, 1))
                if name != "triton":  # which attends from one position of a row
                    more.append(padded(on, name, attend, 8, options.new, options.new // 4, options.new))
                text.extend(captions(on, name, count // 2) for count in options.rows)
                write(path, {"attention": rows, "padded": more, "captions": text})

        measure(["triton", "efficient", "math"])
        write(path, {"sums": [row for count in options.rows for row in sums(on, count)]})
    with fixed_precision():
        tiny = tiny_model()
        network = tiny.network if options.size == "tiny" else network_of(options.size, options.device)
        model = runner(options.size, network, tiny.tokenizer, Engine(device=options.device, dtype=Dtype(dtype)))
        made: list[Row] = []
        for clips in options.clips:
            made.append(steps(on, model, clips, options.steps))
            write(path, {"size": options.size, "steps": made})
        del model, network
        with torch.inference_mode():
            measure(["flash", "cudnn"])  # which evalkit does not use: last, as they are the likeliest to fail
    require_right([*rows, *more, *text], ERROR[on.dtype])


if __name__ == "__main__":
    main()
