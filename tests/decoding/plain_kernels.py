"""What evalkit's kernels compute, in plain operations of torch, for tests of all that is around them."""

from __future__ import annotations

import math

import torch


def unsupported(size: int, dtype: torch.dtype) -> str:
    """Nothing is."""
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
    rows, music = len(first), keys.ndim == 4
    made = torch.zeros(len(query), *query.shape[1:], dtype=query.dtype)
    for i, one in enumerate(query):
        row = i // (len(query) // rows)
        end = int(last.expand(rows)[row]) + 1
        if append is not None:
            keys[row, :, end - 1], values[row, :, end - 1] = append[0][row], append[1][row]
        if end > first[row]:
            key, value = ((t[row] if music else t)[:, first[row] : end].double() for t in (keys, values))
            weights = (key @ one.double()[..., None] / math.sqrt(one.shape[-1])).softmax(dim=1)
            made[i] = (weights * value).sum(dim=1)
    return made.flatten(1)


def add_norm(
    x: torch.Tensor, more: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float, rows: int | None = None
) -> torch.Tensor:
    x[: len(more)] += more
    return torch.nn.functional.layer_norm(x[:rows], x.shape[1:], weight, bias, eps)
