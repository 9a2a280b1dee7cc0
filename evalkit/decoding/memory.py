"""What the decoder remembers of one batch: keys and values of the music and of the captions, preallocated.

There are two ways to keep and read them. `Sliced` is read by torch's attention as far as it is filled, with
masks for what is not to be seen. `Ranged` is read by evalkit's own kernels, which find in the device's memory
from where to where each row reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn import functional

from evalkit.decoding.conditions import Text

TYPICAL_TEXT = 128  # tokens of a caption for which `Ranged` has room from the start, on average over a batch

Project = Callable[[int, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Shape:
    """The sizes of one batch.

    Attributes:
        rows: sequences; with guidance two of each clip.
        clips: rows that attend to a caption, which come first; 0 for a decoder without cross-attention.
        positions: of the music, and of what stands before it.
        text: tokens of captions that there must be room for, see `Memory.text_of`.
        layers, heads, size: of the decoder; `size` is that of one head.
    """

    rows: int
    clips: int
    positions: int
    text: int
    layers: int
    heads: int
    size: int
    dtype: torch.dtype
    device: Any

    def empty(self, *shape: int) -> list[torch.Tensor]:
        """One tensor of zeros for each layer."""
        return [torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in range(self.layers)]


class Memory(Protocol):
    """Keys and values of one batch, and attention to them."""

    shape: Shape

    @staticmethod
    def text_of(texts: Sequence[Text]) -> int:
        """For how many tokens there must be room to keep these captions."""

    def fits(self, shape: Shape) -> bool:
        """Whether a batch of another shape can take this one's place."""

    def begin(self, first: torch.Tensor, texts: Sequence[Text], project: Project) -> None:
        """Start with another batch.

        Args:
            first: (rows,) int64, the first position of each row that is seen; those before it are padding.
            texts: the captions of all clips; `project` gives a layer's keys and values of their states, as
                (captions, tokens, 2, heads, size).
        """

    def kind(self, end: int) -> Hashable:
        """What a recorded step to `end` positions has in common with others that it may stand for."""

    def place(self, at: torch.Tensor, end: int) -> None:
        """Say where the next new positions stand, (new,) int64, one after the other; the last is `end - 1`."""

    def music(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        """Remember new positions, (rows * new, 3 * heads * size), and attend from each to all up to itself."""

    def text(self, layer: int, query: torch.Tensor) -> torch.Tensor:
        """Attend from new positions of the first clips, (clips * new, heads * size), each to its own caption."""


def mask_of(padding: torch.Tensor, at: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """What is added to the attention of new positions: -inf for what is padding and for what comes later.

    Args:
        padding: (rows, 1, 1, places), 0 or -inf.
        at: where the new positions stand, (new,).
        places: those that are read, (places,).

    Returns:
        (rows, 1, new, places).
    """
    mask = padding.masked_fill(places > at[:, None], -math.inf)
    # of several new positions some may be padding, and a row of nothing but -inf would give NaN
    return mask.masked_fill(places == at[:, None], 0) if len(at) > 1 else mask


def attended(
    qkv: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    at: torch.Tensor,
    filled: int,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """Remember new positions, see `Memory.music`, and attend to the places that are filled, with torch's attention.

    Args:
        keys, values: of one layer, (rows, heads, positions, size).
        mask: (rows, 1, new, filled) from `mask_of`; None to see all.
    """
    rows, heads, _, size = keys.shape
    query, key, value = qkv.view(rows, -1, 3, heads, size).transpose(1, 3).unbind(2)
    keys.index_copy_(2, at, key)
    values.index_copy_(2, at, value)
    seen = functional.scaled_dot_product_attention(query, keys[:, :, :filled], values[:, :, :filled], attn_mask=mask)
    return seen.transpose(1, 2).reshape(len(qkv), -1)


class Sliced:
    """For torch's attention: slices of memory and masks.

    Attributes:
        keys, values: per layer (rows, heads, positions, size).
        cross: per layer keys and values of the captions, (clips, heads, tokens, size), all padded to one length.
        bucket: memory is read up to the next multiple of it, where 1 is exactly as far as it is filled.
    """

    def __init__(self, shape: Shape, bucket: int):
        positions = math.ceil(shape.positions / bucket) * bucket
        self.shape, self.bucket = shape, bucket
        self.keys, self.values = (shape.empty(shape.rows, shape.heads, positions, shape.size) for _ in range(2))
        text = (shape.clips, shape.heads, shape.text, shape.size)
        self.cross = list(zip(shape.empty(*text), shape.empty(*text), strict=True)) if shape.clips else []
        options: dict[str, Any] = {"dtype": shape.dtype, "device": shape.device}
        # what is added to the attention: 0, or -inf where there is padding
        self.text_mask = torch.zeros(shape.clips, 1, 1, shape.text, **options)
        self.padding = torch.zeros(shape.rows, 1, 1, positions, **options)
        self.padded = False
        self.places = torch.arange(positions, device=shape.device)
        self.mask: torch.Tensor | None = None
        self.filled = 0

    @staticmethod
    def text_of(texts: Sequence[Text]) -> int:
        return max((text.states.shape[1] for text in texts), default=0)

    def fits(self, shape: Shape) -> bool:
        mine, other = self.shape, shape
        return (mine.rows, mine.clips, mine.text) == (other.rows, other.clips, other.text) and (
            other.positions <= mine.positions
        )

    def begin(self, first: torch.Tensor, texts: Sequence[Text], project: Project) -> None:
        for text in texts:  # one for all clips, as they are padded to one length
            states = text.states.to(self.shape.dtype)
            for layer, (keys, values) in enumerate(self.cross):
                new_keys, new_values = project(layer, states).transpose(1, 3).unbind(2)
                keys.copy_(new_keys)
                values.copy_(new_values)
            tokens = torch.arange(self.shape.text, device=self.shape.device)
            padding = tokens >= torch.tensor(text.lengths, device=self.shape.device)[:, None]
            self.text_mask.zero_().masked_fill_(padding[:, None, None], -math.inf)
        if self.bucket > 1:  # what is masked is read, and NaN that another batch left would come through
            for remembered in (*self.keys, *self.values):
                remembered.zero_()
        self.padded = bool((first > 0).any())
        self.padding.zero_().masked_fill_(self.places < first[:, None, None, None], -math.inf)

    def kind(self, end: int) -> int:
        return math.ceil(end / self.bucket) * self.bucket

    def place(self, at: torch.Tensor, end: int) -> None:
        new = len(at)
        self.at, self.filled = at, end if new > 1 else self.kind(end)
        self.mask = self.padding[..., : self.filled] if self.padded else None
        if new > 1 or self.bucket > 1:
            self.mask = mask_of(self.padding[..., : self.filled], at, self.places[: self.filled])

    def music(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        return attended(qkv, self.keys[layer], self.values[layer], self.at, self.filled, self.mask)

    def text(self, layer: int, query: torch.Tensor) -> torch.Tensor:
        key, value = self.cross[layer]
        several = query.view(len(key), -1, self.shape.heads, self.shape.size).transpose(1, 2)
        seen = functional.scaled_dot_product_attention(several, key, value, attn_mask=self.text_mask)
        return seen.transpose(1, 2).reshape(len(query), -1)


class Ranged:
    """For evalkit's kernels: steps mask nothing, and a recorded one serves all lengths.

    Kernels attend from one position of a row. From many at once, before the first step, torch's attention is faster.

    Attributes:
        keys, values: per layer (rows, heads, positions, size).
        cross: per layer keys and values of the captions, one after the other without padding, (heads, tokens, size).
    """

    def __init__(self, shape: Shape):
        self.shape = shape
        self.keys, self.values = (shape.empty(shape.rows, shape.heads, shape.positions, shape.size) for _ in range(2))
        text = (shape.heads, shape.text, shape.size)
        self.cross = list(zip(shape.empty(*text), shape.empty(*text), strict=True)) if shape.clips else []
        self.first = torch.zeros(shape.rows, dtype=torch.long, device=shape.device)
        self.text_first, self.text_last = (
            torch.zeros(shape.clips, dtype=torch.long, device=shape.device) for _ in range(2)
        )

    @staticmethod
    def text_of(texts: Sequence[Text]) -> int:
        lengths = [length for text in texts for length in text.lengths]
        return max(sum(lengths), TYPICAL_TEXT * len(lengths))

    def fits(self, shape: Shape) -> bool:
        mine, other = self.shape, shape
        return (mine.rows, mine.clips) == (other.rows, other.clips) and (
            other.text <= mine.text and other.positions <= mine.positions
        )

    def begin(self, first: torch.Tensor, texts: Sequence[Text], project: Project) -> None:
        self.first.copy_(first)
        filled = 0
        for text in texts:
            lengths = torch.tensor(text.lengths)
            ends = filled + lengths.cumsum(0)
            rows = torch.tensor(text.rows)
            self.text_first[rows.to(self.shape.device)] = (ends - lengths).to(self.shape.device)
            self.text_last[rows.to(self.shape.device)] = (ends - 1).to(self.shape.device)
            padded = text.states.shape[1]
            real = (torch.arange(padded) < lengths[:, None]).flatten().nonzero()[:, 0].to(self.shape.device)
            states = text.states.to(self.shape.dtype)
            for layer, (keys, values) in enumerate(self.cross):
                both = project(layer, states).flatten(0, 1)[real]  # (tokens, 2, heads, size)
                for kept, new in zip((keys, values), both.transpose(0, 2).unbind(1), strict=True):
                    kept[:, filled : filled + len(real)] = new
            filled = int(ends[-1])

    def kind(self, end: int) -> Hashable:
        return None

    def place(self, at: torch.Tensor, end: int) -> None:
        self.at, self.filled, self.mask = at, end, None
        if len(at) > 1:
            places = torch.arange(end, device=self.shape.device)
            padding = torch.zeros(self.shape.rows, 1, 1, end, dtype=self.shape.dtype, device=self.shape.device)
            padding.masked_fill_(places < self.first[:, None, None, None], -math.inf)
            self.mask = mask_of(padding, at, places)

    def music(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        from evalkit.decoding import kernels

        keys, values = self.keys[layer], self.values[layer]
        if self.mask is not None:
            return attended(qkv, keys, values, self.at, self.filled, self.mask)
        query, key, value = qkv.view(len(qkv), 3, self.shape.heads, self.shape.size).unbind(1)
        return kernels.attend(query, keys, values, self.first, self.at, append=(key, value))

    def text(self, layer: int, query: torch.Tensor) -> torch.Tensor:
        from evalkit.decoding import kernels

        keys, values = self.cross[layer]
        several = query.view(len(query), self.shape.heads, self.shape.size)
        return kernels.attend(several, keys, values, self.text_first, self.text_last)
