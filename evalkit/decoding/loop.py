"""The generation loop: positions one after the other, all clips at once, nothing read back before the end."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Hashable
from typing import Any

import torch

from evalkit.decoding import graphs
from evalkit.decoding.backend import TORCH, Backend
from evalkit.decoding.conditions import Conditions
from evalkit.decoding.memory import Shape
from evalkit.decoding.network import Decoder
from evalkit.decoding.pattern import first_unknown
from evalkit.decoding.sampler import Sampler
from evalkit.errors import out_of_memory

log = logging.getLogger(__name__)


class Loop:
    """Fills in the unknown tokens of a batch.

    Buffers, and on CUDA the recorded graphs, are kept for the next batch of the same shape, or a shorter one.

    Attributes:
        backend: how steps are computed.
    """

    def __init__(self, lm: Any, backend: Backend = TORCH):
        self.decoder = Decoder(lm, backend.kernels)
        self.backend = backend
        self._kept: _Batch | None = None

    def __call__(self, laid: torch.Tensor, conditions: Conditions, sampler: Sampler, offset: int = 0) -> torch.Tensor:
        """Choose the tokens that are `UNKNOWN` in `laid`, (clips, codebooks, positions), and return them all.

        `offset` is what the noise's step numbers start from.
        """
        prefix = 0 if conditions.prefix is None else conditions.prefix.shape[1]
        shape = self.decoder.shape(len(conditions.lengths), prefix + laid.shape[2], conditions.texts)
        try:
            with self.backend.used_on(self.decoder.device):
                if self._kept is None or not self._kept.fits(shape, laid, prefix, sampler):
                    self._kept = None  # before the new one needs the memory
                    self._kept = _Batch(self, shape, laid.shape, prefix, sampler)
                made = self._kept.run(laid, conditions, offset)
                self.backend = self._kept.backend
                return made
        except BaseException:
            self._kept = None
            raise


class _Batch:
    """The state of one batch in tensors of fixed place, which is what a CUDA graph needs."""

    def __init__(self, loop: Loop, shape: Shape, laid: torch.Size, prefix: int, sampler: Sampler):
        # not the loop, which holds on to this: a circle would keep a GPU's memory until Python looks for circles
        self.backend, self.decoder = loop.backend, loop.decoder
        device = self.decoder.device
        self.sampler, self.prefix, self.halves, self.clips = sampler, prefix, shape.rows // laid[0], laid[0]
        self.memory = self.decoder.memory(shape, self.backend.bucket)
        self.table = self.decoder.positions(shape.positions)
        self.laid = torch.zeros(laid, dtype=torch.long, device=device)
        self.lengths = torch.zeros(shape.rows, dtype=torch.long, device=device)
        self.places = torch.arange(shape.positions, device=device)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.step_number = torch.zeros((), dtype=torch.long, device=device)
        self.recorded: dict[Hashable, graphs.Graph] = {}
        self.seen: set[Hashable] = set()
        self.pool: Any = None

    def fits(self, shape: Shape, laid: torch.Tensor, prefix: int, sampler: Sampler) -> bool:
        """Whether a batch of that shape can take this one's place; recorded graphs hold on to the sampler."""
        same = self.laid.shape[:2] == laid.shape[:2] and self.prefix == prefix and self.sampler is sampler
        return same and self.memory.fits(shape)

    def run(self, laid: torch.Tensor, conditions: Conditions, offset: int) -> torch.Tensor:
        known, positions = first_unknown(laid), laid.shape[2]
        if known == positions:
            return laid
        self.laid[:, :, :positions].copy_(laid)
        self.lengths.copy_(conditions.lengths)
        self.memory.begin(self.prefix - self.lengths, conditions.texts, self.decoder.project)
        self.prefill(conditions.prefix, known - 1)
        self.position.fill_(known - 1)
        self.step_number.fill_(offset + known - 1)
        for position in range(known - 1, positions - 1):
            self.advance(self.prefix + position + 1)
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
        self.memory.place(places, len(places))
        self.decoder.forward(x + self.table[own], self.memory)

    def advance(self, end: int) -> None:
        """Take the step to `end` positions, replaying its graph where there is one; the first of a kind warms it up."""
        kind = self.memory.kind(end)
        if kind in self.recorded:
            self.recorded[kind].replay()
        elif not self.backend.graphs or kind not in self.seen:
            self.seen.add(kind)
            self.step(end)
        else:
            self.record(kind, end)

    def record(self, kind: Hashable, end: int) -> None:
        """Record the step to `end` positions, and take it. Where that fails, steps are no longer recorded.

        A failure for lack of memory is raised: fewer clips may do.
        """
        try:
            self.pool = self.pool or graphs.new_pool()
            self.recorded[kind] = graphs.record(lambda: self.step(end), self.pool, self.decoder.device)
        except Exception as error:
            if out_of_memory(error):
                raise
            log.warning("steps are not recorded as CUDA graphs, which is slower: %s", str(error).partition("\n")[0])
            self.backend = dataclasses.replace(self.backend, graphs=False)
            self.recorded.clear()
            self.step(end)
        else:
            self.recorded[kind].replay()

    def step(self, end: int) -> None:
        """Choose the tokens of the next position. Reads nothing back from the device, and moves nothing in memory."""
        tokens = self.laid.index_select(2, self.position)
        own = self.table.index_select(0, self.lengths + self.position)
        x = self.decoder.embed(tokens).repeat(self.halves, 1, 1) + own[:, None]
        self.memory.place(self.position + self.prefix, end)
        states = self.decoder.forward(x, self.memory)
        logits = self.decoder.logits(states).view(self.halves, self.clips, *self.laid.shape[1:2], -1)
        chosen = self.sampler(logits, self.step_number)
        self.position += 1
        self.step_number += 1
        given = self.laid.index_select(2, self.position)[..., 0]
        self.laid.index_copy_(2, self.position, torch.where(given < 0, chosen, given)[..., None])
