"""The kernels of generation against float64: interpreted where there is no GPU, compiled for GPUs everywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from evalkit.decoding import kernels
from tests.conftest import ROOT

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # where conftest.py has Triton interpret its kernels
# relative; Triton's interpreter cuts bfloat16 off where a GPU rounds it
EPSILON = {torch.float32: 2**-24, torch.float16: 2**-11, torch.bfloat16: 2**-8 if DEVICE == "cuda" else 2**-7}
DTYPES = [torch.float16, torch.bfloat16, torch.float32]
HEADS = {1024: 16, 1536: 24, 2048: 32}  # by the hidden sizes of the ten checkpoints; heads have 64 dimensions

# what NumPy says of an interpreted kernel's empty range
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return numbers.to(DEVICE, dtype)


def places(numbers: Sequence[int]) -> torch.Tensor:
    return torch.tensor(numbers, device=DEVICE)


def softmax_of(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Attention of one query (size,) to (places, size), in float64; zeros where there is no place."""
    scores = keys.double() @ query.double() / query.shape[-1] ** 0.5
    return scores.softmax(0) @ values.double()


def exact(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, first: Any, last: Any) -> torch.Tensor:
    """What `attend` returns, in float64; of captions where keys have three dimensions."""
    rows, music = len(first), keys.dim() == 4
    new, heads = len(query) // rows, query.shape[1]
    last = last.expand(rows)
    result = torch.zeros(query.shape, dtype=torch.float64, device=query.device)
    for row in range(rows):
        for j in range(new):
            begin, end = int(first[row]), int(last[row]) + 1
            for head in range(heads):
                own_keys, own_values = (memory[row, head] if music else memory[head] for memory in (keys, values))
                result[row * new + j, head] = softmax_of(
                    query[row * new + j, head], own_keys[begin:end], own_values[begin:end]
                )
    return result.flatten(1)


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Close but for the rounding of the result, and of sums in float32, relative to values of about 1."""
    assert found.shape == expected.shape
    error = (found.double() - expected).abs()
    assert float((error - EPSILON[found.dtype] * expected.abs()).max()) < 2e-6


@pytest.fixture
def memory() -> Any:
    """Makes keys and values (rows, heads, capacity, size) with no number where `first` to `last` does not reach."""

    def make(first: Sequence[int], last: Sequence[int], heads: int, capacity: int, size: int, dtype: Any) -> Any:
        both = normal(2, len(first), heads, capacity, size, dtype=dtype, seed=1)
        for row, (begin, end) in enumerate(zip(first, last, strict=True)):
            both[:, row, :, : min(begin, capacity)] = torch.nan
            both[:, row, :, max(begin, end + 1) :] = torch.inf
            if end < begin:
                both[:, row] = torch.nan
        return both.unbind(0)

    return make


@dtypes
@pytest.mark.parametrize("size", kernels.SIZES)
def test_each_row_attends_to_its_own_range(memory: Any, size: int, dtype: torch.dtype) -> None:
    first, last = [0, 3, 64, 150, 7], [0, 200, 129, 149, 2]  # the last two are empty
    keys, values = memory(first, last, 2, 201, size, dtype)
    query = 2 * normal(5, 2, size, dtype=dtype)
    found = kernels.attend(query, keys, values, places(first), places(last))
    assert found.dtype == dtype
    assert not found[3:].any()
    assert_close(found, exact(query, keys, values, places(first), places(last)))


@pytest.mark.parametrize("filled", [1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129])
def test_no_key_is_lost_and_none_is_read_twice(filled: int) -> None:
    """With equal scores the result is the mean of the values, each of which has a digit of its own."""
    keys = torch.zeros(1, 1, 140, 16, device=DEVICE)
    values = torch.full_like(keys, torch.nan)
    values[0, 0, 5 : 5 + filled] = torch.eye(filled, 16, device=DEVICE) + torch.arange(filled, device=DEVICE)[:, None]
    found = kernels.attend(normal(1, 1, 16), keys, values, places([5]), places([4 + filled]))
    expected = values[0, 0, 5 : 5 + filled].double().mean(0, keepdim=True)
    assert_close(found / filled, expected / filled)


def test_scores_of_any_size_are_compared() -> None:
    """Rising and falling by hundreds, which overflows unless each is taken relative to the highest."""
    for sign in (1, -1):
        keys = sign * torch.arange(200, device=DEVICE).float()[:, None].expand(200, 16).contiguous()[None, None]
        query, values = torch.full((1, 1, 16), 3.0, device=DEVICE), normal(1, 1, 200, 16, seed=2)
        found = kernels.attend(query, keys, values, places([0]), places([199]))
        assert_close(found, exact(query, keys, values, places([0]), places([199])))


@dtypes
def test_what_is_appended_is_stored_and_counts(memory: Any, dtype: torch.dtype) -> None:
    first, last = [0, 9, 70, 71, 75], 70
    keys, values = memory(first, [last - 1] * 5, 3, 72, 64, dtype)
    qkv = normal(5, 3, 3, 64, dtype=dtype)  # a fused product: every third part of a row is a query
    query, key, value = qkv.unbind(1)
    before = [keys.clone(), values.clone()]
    found = kernels.attend(query, keys, values, places(first), places([last]), append=(key, value))
    for kept, new, one in zip((keys, values), (key, value), before, strict=True):
        one[:, :, last] = new
        torch.testing.assert_close(kept, one, rtol=0, atol=0, equal_nan=True)
    assert_close(found, exact(query, keys, values, places(first), places([last])))
    assert torch.equal(found[2], value[2].flatten())  # alone
    assert not found[3:].any()  # what is stored before the first place that is seen is not seen


def test_each_row_may_append_at_a_place_of_its_own(memory: Any) -> None:
    first, last = [0, 2], [5, 66]
    keys, values = memory(first, [4, 65], 1, 70, 16, torch.float32)
    query, key, value = normal(3, 2, 1, 16).unbind(0)
    found = kernels.attend(query, keys, values, places(first), places(last), append=(key, value))
    assert torch.equal(keys[[0, 1], 0, last], key[:, 0]) and torch.equal(values[[0, 1], 0, last], value[:, 0])
    assert_close(found, exact(query, keys, values, places(first), places(last)))


@pytest.mark.parametrize("new", [1, 3])
def test_captions_lie_one_after_the_other(new: int) -> None:
    lengths = [1, 9, 33, 20]
    first = [0, 1, 10, 1]  # two clips may share a caption
    last = [begin + length - 1 for begin, length in zip(first, lengths, strict=True)]
    last[3] = last[1]
    keys, values = normal(2, 2, 50, 64, dtype=torch.float16, seed=1).unbind(0)
    keys[:, 43:], values[:, 43:] = torch.nan, torch.nan
    query = normal(4 * new, 2, 64, dtype=torch.float16)
    found = kernels.attend(query, keys, values, places(first), places(last))
    assert_close(found, exact(query, keys, values, places(first), places(last)))


def test_what_is_no_number_within_the_range_is_no_number_in_the_result() -> None:
    for which in range(2):
        both = normal(2, 2, 1, 70, 16, seed=1)
        both[which, 0, 0, 66, 3] = torch.nan
        keys, values = both.unbind(0)
        found = kernels.attend(normal(2, 1, 16), keys, values, places([0, 0]), places([69]))
        assert found[0].isnan().any() and not found[1].isnan().any()
    query, keys = torch.full((1, 1, 16), torch.inf, device=DEVICE), -torch.ones(1, 1, 70, 16, device=DEVICE)
    for begin in (0, 69):
        assert kernels.attend(query, keys, keys, places([begin]), places([69])).isnan().all()
        own = (keys[:, :, 0], keys[:, :, 0])
        assert kernels.attend(query, keys, keys, places([begin]), places([69]), append=own).isnan().all()


def test_a_row_does_not_depend_on_those_beside_it() -> None:
    """Nor on where in memory it lies, nor on how much padding stands before it: its bits are equal."""
    generator = torch.Generator().manual_seed(0)
    keys, values = normal(2, 4, 2, 150, 64, dtype=torch.float16, seed=1).unbind(0)
    query = normal(4, 2, 64, dtype=torch.float16)
    first, last = places([0, 30, 7, 99]), places([149, 120, 8, 140])
    together = kernels.attend(query, keys, values, first, last)
    for _ in range(2):
        order = torch.randperm(4, generator=generator).to(DEVICE)[: int(torch.randint(1, 4, (), generator=generator))]
        found = kernels.attend(query[order], keys[order], values[order], first[order], last[order])
        assert torch.equal(found, together[order])
    keys, values = (torch.cat([one[1:2, :, :13], one[1:2]], dim=2) for one in (keys, values))
    assert torch.equal(kernels.attend(query[1:2], keys, values, first[1:2] + 13, last[1:2] + 13), together[1:2])


def test_rows_beyond_two_to_the_31_numbers_are_found() -> None:
    """A layer of the largest checkpoint has as many with 700 rows."""
    rows, heads, capacity = 3, 2, 1 << 24
    try:
        keys = torch.empty(rows, heads, capacity, 32, dtype=torch.float16, device=DEVICE)  # touched at its ends only
    except RuntimeError:
        pytest.skip("needs 6 GiB of memory, which it does not touch")
    assert keys.numel() > 2**31
    keys[-1, -1, -8:] = normal(8, 32, dtype=torch.float16)
    query = normal(rows, heads, 32, dtype=torch.float16)
    first, last = places([1, 1, capacity - 8]), places([0, 0, capacity - 1])
    found = kernels.attend(query, keys, keys, first, last)[-1, 32:]
    assert_close(found, softmax_of(query[-1, -1], keys[-1, -1, -8:], keys[-1, -1, -8:]))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("filled", [1, 63, 64, 65, 127, 503, 1503])
@pytest.mark.parametrize("hidden", HEADS)
def test_shapes_of_the_ten_checkpoints(memory: Any, hidden: int, filled: int, dtype: torch.dtype) -> None:
    first, last = [0, filled // 2, filled - 1], filled - 1
    heads = HEADS[hidden]
    keys, values = memory(first, [last - 1] * 3, heads, 1504, 64, dtype)
    query, key, value = normal(3, 3, heads, 64, dtype=dtype).unbind(1)
    found = kernels.attend(query, keys, values, places(first), places([last]), append=(key, value))
    assert_close(found, exact(query, keys, values, places(first), places([last])))


# -- sums and norms ----------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize(("hidden", "added", "rows"), [(32, 5, None), (1536, 3, 5), (1024, 5, 2), (2048, 5, 1)])
def test_sums_are_torchs_and_norms_are_exact(hidden: int, added: int, rows: int | None, dtype: torch.dtype) -> None:
    x, more = 3 + 2 * normal(6, hidden, dtype=dtype), normal(added, hidden, dtype=dtype, seed=1)
    weight, bias = 1 + normal(hidden, dtype=dtype, seed=2) / 8, normal(hidden, dtype=dtype, seed=3)
    summed = x.clone()
    summed[:added] += more
    found = kernels.add_norm(x, more, weight, bias, 1e-5, rows)
    if dtype == torch.bfloat16 and DEVICE == "cpu":  # cut off
        assert_close(x, summed.double())
    else:
        assert torch.equal(x, summed)
    rows = 6 if rows is None else rows
    exact = torch.nn.functional.layer_norm(x[:rows].double(), (hidden,), weight.double(), bias.double(), 1e-5)
    assert_close(found, exact)
    assert found.dtype == dtype and torch.equal(x[added:], summed[added:])


def test_a_constant_row_has_the_bias_for_its_norm() -> None:
    x, zeros = torch.full((1, 48), 7.0, device=DEVICE), torch.zeros(1, 48, device=DEVICE)
    bias = normal(48)
    assert torch.equal(kernels.add_norm(x, zeros, torch.ones(48, device=DEVICE), bias, 1e-5)[0], bias)


# -- what can be run -----------------------------------------------------------------------------------


def test_what_has_no_kernel_is_said_in_words() -> None:
    assert kernels.unsupported(64, torch.float16) == ""
    assert kernels.unsupported(48, torch.float16) == (
        "heads of 48 dimensions have no kernel, only those of 16, 32, 64, 128"
    )
    assert kernels.unsupported(64, torch.float64) == "float64 has no kernel, only float16, bfloat16, float32"


# In a process of its own: where Triton interprets, it does not compile.
COMPILE = """
import json, sys, torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from evalkit.decoding import kernels

POINTERS = {"float16": "*fp16", "bfloat16": "*bf16", "float32": "*fp32"}
made = []

class Recorder:
    # in a kernel's place: compiles for another GPU what it is called with
    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        return self

    def __call__(self, *arguments, num_warps, **constants):
        signature, constexprs, attributes = {}, dict(constants), {}
        for i, name in enumerate(self.kernel.arg_names):
            value = arguments[i] if i < len(arguments) else None
            if name in constants or value is None:
                signature[name] = "constexpr"
                constexprs.setdefault(name, None)
            elif isinstance(value, torch.Tensor):
                signature[name] = "*i64" if value.dtype == torch.long else POINTERS[str(value.dtype)[6:]]
                attributes[i,] = [["tt.divisibility", 16]]
            else:
                signature[name] = "fp32" if isinstance(value, float) else "i32"
                if self.kernel.params[i].do_not_specialize is False and isinstance(value, int) and value % 16 == 0:
                    attributes[i,] = [["tt.divisibility", 16]]
        source = ASTSource(fn=self.kernel, signature=signature, constexprs=constexprs, attrs=attributes)
        target = GPUTarget("cuda", capability, 32)
        made.append(triton.compile(source, target=target, options={"num_warps": num_warps}))

dtype, capabilities = getattr(torch, sys.argv[1]), json.loads(sys.argv[2])
kernels._attend, kernels._add_norm = Recorder(kernels._attend), Recorder(kernels._add_norm)
with torch.device("meta"):
    first, one = torch.zeros(2, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    for capability in capabilities:
        for hidden in (1024, 1536, 2048):
            heads = hidden // 64
            qkv = torch.empty(2, 3, heads, 64, dtype=dtype)
            query, key, value = qkv.unbind(1)
            memory, text = torch.empty(2, heads, 1504, 64, dtype=dtype), torch.empty(heads, 77, 64, dtype=dtype)
            kernels.attend(query, memory, memory, first, one, append=(key, value))
            kernels.attend(torch.empty(2, heads, 64, dtype=dtype), text, text, first, first)
            rows = qkv[:, 0].flatten(1).contiguous()
            kernels.add_norm(rows, rows, rows[0], rows[0], 1e-5)
kinds = ["append", "text", "norm"]
print(json.dumps([
    dict(kind=kinds[i % 3], capability=capabilities[i // 9], ptx=one.asm["ptx"], shared=one.metadata.shared)
    for i, one in enumerate(made)
]))
"""


@pytest.mark.parametrize(
    ("dtype", "capabilities"),
    [
        ("float16", [90]),
        pytest.param("float16", [80, 100], marks=pytest.mark.slow),
        pytest.param("bfloat16", [80, 90, 100], marks=pytest.mark.slow),
        pytest.param("float32", [80, 90, 100], marks=pytest.mark.slow),
    ],
)
def test_kernels_compile_for_gpus_with_wide_loads_and_without_spills(dtype: str, capabilities: list[int]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE, dtype, json.dumps(capabilities)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert len(made) == 9 * len(capabilities)
    for kernel in made:
        loads = re.findall(r"ld\.global\S*", kernel["ptx"])
        copies = re.findall(r"cp\.async\.c.\.shared\.global[^;]*?(0x\w+)", kernel["ptx"])  # their bytes
        if kernel["kind"] == "norm":
            assert loads and all("v4.b32" in load or "v2.b64" in load for load in loads)
        else:  # four of keys and four of values in each pass of the loop, and in the one or two passes before it
            assert (
                set(copies) == {"0x10"} and len(copies) >= 16
            )  # each version of triton reads ahead as far as it likes
        assert not re.search(r"(ld|st)\.local", kernel["ptx"]), kernel["kind"]
        assert ".extern .func" not in kernel["ptx"]
        assert kernel["shared"] <= 32768  # more would leave room for fewer programs
