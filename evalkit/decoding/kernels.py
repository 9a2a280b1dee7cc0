"""Triton kernels for the steps of generation: attention of single queries, and residual sums with their LayerNorm.

Both are bound by memory bandwidth: each key and value is read once, for one query, so what counts is that every
program keeps enough bytes under way, not how it multiplies them. Only whole programs share nothing: a row's bits
depend on its own numbers alone, not on which rows are beside it, how many, or how far they are filled.

This module needs `triton`, which PyTorch for CUDA brings, and is imported only where its kernels are used.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

SIZES = (16, 32, 64, 128)
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
LOWEST = tl.constexpr(-3.0e38)  # stands for -inf where a difference of two must not be NaN
LOG2_E = 1.4426950408889634

# In one pass of its loop each thread takes four loads of 16 bytes of the keys, and as many of the values: 64
# positions of 64 float16, which are 16 KiB, for a program of 4 warps. With three stages the loads of the next pass or
# two are always under way, copied to shared memory past the registers (in plain loads the compiler saves registers by
# having one or two under way). A program's 32 KiB of shared memory and 80 to 96 registers a thread leave room for 4 of
# them on a multiprocessor of an A100 and 6 on one of an H100, hence at least 64 and 96 KiB under way, where 3 TB/s for
# 132 multiprocessors times a latency of up to 1 us are 23; so two programs on each, which small batches have, suffice.
# Arithmetic takes about a third of the time of the loads. A caption is shorter than the music, so its programs are
# half as large: larger ones would spend their time on places that are not there.
BYTES_PER_WARP = 2048  # of keys, and as many of values, in one pass of the loop
STAGES = 3
MUSIC_WARPS, TEXT_WARPS = 4, 2
NORM_WARPS = 4  # 2,048 float16 are two loads of 16 bytes for each thread


def unsupported(size: int, dtype: torch.dtype) -> str:
    """Say why heads of this size and type cannot be attended to here; empty where they can."""
    if size not in SIZES:
        return f"heads of {size} dimensions have no kernel, only those of {', '.join(map(str, SIZES))}"
    if dtype not in DTYPES:
        names = [str(known).removeprefix("torch.") for known in DTYPES]
        return f"{str(dtype).removeprefix('torch.')} has no kernel, only {', '.join(names)}"
    return ""


def attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    first: torch.Tensor,
    last: torch.Tensor,
    *,
    append: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Attend from each query to a range of its row's keys, with a running softmax in float32.

    Where the range begins and ends is read from the device's memory, so that a recorded step serves all lengths.
    What lies outside the range is not read. An empty range gives zeros.

    Args:
        query: (rows * new, heads, size), `new` queries of each row; a view of any stride between queries, such as a
            part of a fused product.
        keys, values: (rows, heads, capacity, size) of the music, or (heads, tokens, size) of all rows' captions one
            after the other.
        first: (rows,) int64, the first place that a row's queries read.
        last: the last place, (rows,) int64, or one for all rows, which has one element.
        append: the keys and values of the queries themselves, laid out as `query`, of which each row has one: they
            are stored at `last` and attended to, and nothing has to be there before.

    Returns:
        (rows * new, heads * size), in the type of `query`.
    """
    queries, heads, size = query.shape
    rows, music = len(first), keys.dim() == 4
    assert queries % rows == 0 and len(last.view(-1)) in (1, rows) and first.dtype == last.dtype == torch.long
    assert first.is_contiguous() and last.is_contiguous()
    assert append is None or (music and queries == rows), "one new position of the music can be appended"
    for one in (query, *(append or ())):
        assert one.shape == query.shape and one.stride(0) % size == 0
        assert one.stride(2) == 1 and (heads == 1 or one.stride(1) == size)
    assert append is None or append[0].stride(0) == append[1].stride(0)
    assert keys.is_contiguous() and values.is_contiguous() and keys.shape == values.shape
    assert keys.shape[:-2] == ((rows, heads) if music else (heads,)) and keys.shape[-1] == size
    out = torch.empty(queries, heads * size, dtype=query.dtype, device=query.device)
    if not out.numel():
        return out
    key, value = append or (None, None)
    warps = MUSIC_WARPS if music else TEXT_WARPS
    _attend[queries // rows, heads, rows](
        query,
        keys,
        values,
        first,
        last,
        key,
        value,
        out,
        query.stride(0),
        0 if key is None else key.stride(0),
        keys.stride(0) if music else 0,
        keys.stride(-3),
        0 if last.numel() == 1 else 1,
        SIZE=size,
        BLOCK=BYTES_PER_WARP * warps // (size * query.element_size()),
        SCALE=LOG2_E * size**-0.5,
        STAGES=STAGES,
        num_warps=warps,
    )
    return out


def add_norm(
    x: torch.Tensor,
    added: torch.Tensor,
    norm_weight: torch.Tensor,
    norm_bias: torch.Tensor,
    eps: float,
    rows: int | None = None,
) -> torch.Tensor:
    """Add to the first rows of a tensor, in place, and return the LayerNorm of its first rows.

    Sums are rounded as torch rounds them, and the norm is computed of the rounded sums, in float32.

    Args:
        x: (all rows, hidden).
        added: (some rows, hidden); as many rows of `x` change.
        rows: of how many rows the norm is computed; None for all.

    Returns:
        (rows, hidden), in the type of `x`.
    """
    hidden = x.shape[1]
    rows = len(x) if rows is None else rows
    assert rows <= len(x) and len(added) <= len(x) and added.shape[1] == hidden and added.dtype == x.dtype
    assert x.is_contiguous() and added.is_contiguous()
    out = torch.empty(rows, hidden, dtype=x.dtype, device=x.device)
    if programs := max(rows, len(added)):
        _add_norm[(programs,)](
            x,
            added,
            norm_weight,
            norm_bias,
            out,
            len(added),
            rows,
            eps,
            HIDDEN=hidden,
            BLOCK=triton.next_power_of_2(hidden),
            num_warps=NORM_WARPS,
        )
    return out


# Triton compiles another kernel where a number is a multiple of 16. For strides it must, as only then it knows that
# loads of 16 bytes are aligned; for the other numbers it would be one kernel more that does the same.
@triton.jit(do_not_specialize=["last_stride"])
def _attend(
    query,
    keys,
    values,
    first,
    last,
    key,
    value,
    out,
    query_stride,
    new_stride,
    row_stride,
    head_stride,
    last_stride,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
    SCALE: tl.constexpr,
    STAGES: tl.constexpr,
):
    head, row = tl.program_id(1), tl.program_id(2)
    at = row.to(tl.int64) * tl.num_programs(0) + tl.program_id(0)
    dims, slots = tl.arange(0, SIZE), tl.arange(0, BLOCK)
    scaled = tl.load(query + at * query_stride + head * SIZE + dims).to(tl.float32) * SCALE
    begin = tl.load(first + row).to(tl.int32)
    end = tl.load(last + row * last_stride).to(tl.int32) + 1
    # beyond 2**31 numbers where there are many rows
    memory = row.to(tl.int64) * row_stride + head.to(tl.int64) * head_stride
    keys += memory
    values += memory

    # Each slot has a softmax of its own, of every BLOCK-th place, so that within the loop threads exchange nothing but
    # the sums of products of keys.
    highest = tl.full((BLOCK,), LOWEST, tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    seen = tl.zeros((BLOCK, SIZE), tl.float32)
    stored = end
    if key is not None:
        stored = end - 1
    for start in tl.range(begin, stored, BLOCK, num_stages=STAGES):
        inside = start + slots < stored
        # beyond the end the last place once more, which takes a quarter less of instructions and registers than a mask
        places = tl.minimum(start + slots, stored - 1)[:, None] * SIZE + dims[None, :]
        some_keys, some_values = tl.load(keys + places), tl.load(values + places)
        score = tl.where(inside, tl.sum(some_keys.to(tl.float32) * scaled[None, :], axis=1), LOWEST)
        higher = tl.maximum(highest, score)
        weight = tl.where(inside, tl.exp2(score - higher), 0.0)
        kept = tl.exp2(highest - higher)
        total = total * kept + weight
        seen = seen * kept[:, None] + some_values.to(tl.float32) * weight[:, None]
        highest = higher

    top = tl.max(highest, axis=0)
    if key is not None:
        own = at * new_stride + head * SIZE + dims
        own_key, own_value = tl.load(key + own), tl.load(value + own)
        tl.store(keys + stored * SIZE + dims, own_key)
        tl.store(values + stored * SIZE + dims, own_value)
        own_score = tl.sum(own_key.to(tl.float32) * scaled, axis=0)
        top = tl.maximum(top, own_score)
    share = tl.exp2(highest - top)
    sum_of_all = tl.sum(total * share, axis=0)
    result = tl.sum(seen * share[:, None], axis=0)
    if key is not None:
        own_weight = tl.exp2(own_score - top)
        sum_of_all += own_weight
        result += own_value.to(tl.float32) * own_weight
    result = tl.where(begin < end, result / sum_of_all, 0.0)
    heads = tl.num_programs(1)
    tl.store(out + (at * heads + head) * SIZE + dims, result.to(out.dtype.element_ty))


@triton.jit(do_not_specialize=["added_rows", "rows"])
def _add_norm(x, added, norm_weight, norm_bias, out, added_rows, rows, eps, HIDDEN: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    dims = tl.arange(0, BLOCK)
    inside = dims < HIDDEN
    at = row.to(tl.int64) * HIDDEN + dims
    kept = tl.load(x + at, mask=inside, other=0.0)
    if row < added_rows:
        kept = (kept.to(tl.float32) + tl.load(added + at, mask=inside, other=0.0).to(tl.float32)).to(kept.dtype)
        tl.store(x + at, kept, mask=inside)
    if row < rows:
        exact = kept.to(tl.float32)
        centred = tl.where(inside, exact - tl.sum(exact, axis=0) / HIDDEN, 0.0)
        variance = tl.sum(centred * centred, axis=0) / HIDDEN
        weight = tl.load(norm_weight + dims, mask=inside, other=0.0).to(tl.float32)
        bias = tl.load(norm_bias + dims, mask=inside, other=0.0).to(tl.float32)
        normed = centred * tl.rsqrt(variance + eps) * weight + bias
        tl.store(out + at, normed.to(out.dtype.element_ty), mask=inside)
