"""The generation loop: positions one after the other, all clips at once, nothing read back before the end."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch

from evalkit.decoding.conditions import Conditions
from evalkit.decoding.network import Decoder
from evalkit.decoding.pattern import first_unknown
from evalkit.decoding.sampler import Sampler

CUDA_BUCKET = 64  # positions by which the part of memory that is read grows; each length is a CUDA graph


class Loop:
    """Fills in the unknown tokens of a batch.

    Buffers, and on CUDA the recorded graphs, are kept for the next batch of the same shape, or a shorter one.

    Attributes:
        bucket: memory is read up to the next multiple of it, where 1 is exactly as far as it is filled.
        graphs: whether steps are recorded and replayed as CUDA graphs.
    """

    def __init__(self, lm: Any, bucket: int = 1, graphs: bool = False):
        self.decoder = Decoder(lm)
        self.bucket, self.graphs = bucket, graphs
        self._kept: tuple[Any, _Batch] | None = None

    def __call__(self, laid: torch.Tensor, conditions: Conditions, sampler: Sampler, offset: int = 0) -> torch.Tensor:
        """Choose the tokens that are `UNKNOWN` in `laid`, (clips, codebooks, positions), and return them all.

        `offset` is what the noise's step numbers start from.
        """
        text = 0 if conditions.text is None else conditions.text.shape[1]
        prefix = 0 if conditions.prefix is None else conditions.prefix.shape[1]
        shape = (laid.shape[:2], len(conditions.lengths), text, prefix, id(sampler))
        device = self.decoder.device
        try:
            # what is recorded goes to the current device, whatever device its tensors are on
            with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
                if self._kept is None or self._kept[0] != shape or self._kept[1].laid.shape[2] < laid.shape[2]:
                    self._kept = None  # before the new one needs the memory
                    self._kept = shape, _Batch(self, laid.shape, len(conditions.lengths), text, prefix, sampler)
                return self._kept[1].run(laid, conditions, offset)
        except BaseException:
            self._kept = None
            raise


class _Batch:
    """The state of one batch in tensors of fixed place, which is what a CUDA graph needs."""

    def __init__(self, loop: Loop, shape: torch.Size, rows: int, text: int, prefix: int, sampler: Sampler):
        self.decoder, self.bucket, self.graphs = loop.decoder, loop.bucket, loop.graphs
        clips, _, positions = shape
        device = self.decoder.device
        self.sampler, self.prefix, self.halves, self.clips = sampler, prefix, rows // clips, clips
        capacity = math.ceil((prefix + positions) / self.bucket) * self.bucket
        self.memory = self.decoder.memory(rows, clips, capacity, text)
        self.table = self.decoder.positions(prefix + positions)
        self.laid = torch.zeros(shape, dtype=torch.long, device=device)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        # where a row's padded prefix is not to be seen
        self.padding = torch.zeros(rows, 1, 1, capacity, dtype=self.decoder.dtype, device=device)
        self.places = torch.arange(capacity, device=device)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.step_number = torch.zeros((), dtype=torch.long, device=device)
        self.recorded: dict[int, Any] = {}
        self.seen: set[int] = set()
        self.pool = torch.cuda.graph_pool_handle() if self.graphs else None
        self.stream = torch.cuda.Stream(device) if self.graphs else None

    def run(self, laid: torch.Tensor, conditions: Conditions, offset: int) -> torch.Tensor:
        known, positions = first_unknown(laid), laid.shape[2]
        if known == positions:
            return laid
        self.laid[:, :, :positions].copy_(laid)
        self.lengths.copy_(conditions.lengths)
        if conditions.text is not None:
            self.memory.read_text(self.decoder.text(conditions.text), conditions.mask)
        if self.bucket > 1:  # what is masked is read, and NaN that another batch left would come through
            for remembered in (*self.memory.keys, *self.memory.values):
                remembered.zero_()
        self.padding.zero_()
        self.padding.masked_fill_(self.places < (self.prefix - self.lengths)[:, None, None, None], -math.inf)
        self.prefill(conditions.prefix, known - 1)
        self.position.fill_(known - 1)
        self.step_number.fill_(offset + known - 1)
        for position in range(known - 1, positions - 1):
            filled = self.prefix + position + 1
            self.advance(math.ceil(filled / self.bucket) * self.bucket)
        return self.laid[:, :, :positions].clone()

    def prefill(self, prefix: torch.Tensor | None, known: int) -> None:
        """Read the prefix and the first `known` tokens into memory, all positions at once."""
        parts = [] if prefix is None else [prefix]
        if known:
            parts.append(self.decoder.embed(self.laid[:, :, :known]).repeat(self.halves, 1, 1))
        if not parts:
            return
        x = torch.cat(parts, dim=1)
        places = self.places[: x.shape[1]]
        # a padded position has no place in the table, and whatever it gets is not seen by others
        own = (places - (self.prefix - self.lengths)[:, None]).clamp(min=0)
        hidden = places[:, None] < places  # of a later position
        mask = self.padding[..., : len(places)].masked_fill(hidden, -math.inf)
        mask = mask.masked_fill(places[:, None] == places, 0)  # a row of nothing but -inf would give NaN
        self.decoder.forward(x + self.table[own], self.memory, places, len(places), mask)

    def advance(self, filled: int) -> None:
        """Take one step, replaying its graph where there is one; the first step of a length warms it up."""
        if not self.graphs:
            self.step(filled)
        elif filled in self.recorded:
            self.recorded[filled].replay()
        elif filled not in self.seen:
            self.seen.add(filled)
            self.step(filled)
        else:
            graph = torch.cuda.CUDAGraph()
            # other threads go on using the GPU
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                self.step(filled)
            self.recorded[filled] = graph
            graph.replay()

    def step(self, filled: int) -> None:
        """Choose the tokens of the next position. Reads nothing back from the device, and moves nothing in memory."""
        tokens = self.laid.index_select(2, self.position)
        own = self.table.index_select(0, self.lengths + self.position)
        x = self.decoder.embed(tokens).repeat(self.halves, 1, 1) + own[:, None]
        at = self.position + self.prefix
        states = self.decoder.forward(x, self.memory, at, filled, self._mask(at, filled))
        logits = self.decoder.logits(states).view(self.halves, self.clips, *self.laid.shape[1:2], -1)
        chosen = self.sampler(logits, self.step_number)
        self.position += 1
        self.step_number += 1
        given = self.laid.index_select(2, self.position)[..., 0]
        self.laid.index_copy_(2, self.position, torch.where(given < 0, chosen, given)[..., None])

    def _mask(self, at: torch.Tensor, filled: int) -> torch.Tensor | None:
        if self.bucket == 1:
            return self.padding[..., :filled] if self.prefix else None
        return self.padding[..., :filled].masked_fill(self.places[:filled] > at, -math.inf)
