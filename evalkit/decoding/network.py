"""The decoder of a MusicGen as generation needs it, on the weights of transformers' modules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

LARGE = 1 << 18  # numbers in a weight, from which on parts are worth their overhead
MANY = 256  # rows, which MKL divides by itself
PARTS = 8


def fused(parts: Iterable[Any]) -> torch.Tensor:
    """Put the weights of modules one below the other, (rows, columns); the modules keep views of them, not copies."""
    modules = list(parts)
    whole = torch.cat([module.weight.detach() for module in modules])
    for module, part in zip(modules, whole.split([len(module.weight) for module in modules]), strict=True):
        module.weight.data = part
    return whole


def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Multiply x (rows, in) by the transpose of weight (out, in).

    On a CPU a large weight is taken in parts: MKL leaves a product of few rows to one thread, and with
    parts each thread has its own. Memory is read at up to 2.5 times the speed.
    """
    small = weight.numel() < LARGE or len(x) > MANY
    if small or x.device.type != "cpu" or x.dtype != torch.float32 or len(weight) % PARTS:
        return functional.linear(x, weight)
    parts = weight.view(PARTS, len(weight) // PARTS, -1).transpose(1, 2)
    return torch.bmm(x.expand(PARTS, *x.shape), parts).transpose(0, 1).reshape(len(x), -1)


@dataclass
class Layer:
    """The weights of one layer: its three norms, attention, cross-attention where there is one, and MLP."""

    norm: Any
    qkv: torch.Tensor
    out: torch.Tensor
    cross_norm: Any
    cross_q: torch.Tensor | None
    cross_kv: torch.Tensor | None
    cross_out: torch.Tensor | None
    mlp_norm: Any
    up: torch.Tensor
    down: torch.Tensor


@dataclass
class Memory:
    """What the decoder remembers of one batch, preallocated.

    Attributes:
        keys, values: per layer (rows, heads, positions, dimensions of a head).
        cross: per layer keys and values of the text, (clips, heads, tokens, dimensions of a head); None
            for a decoder that has the text before the music.
        cross_mask: (clips, 1, 1, tokens), 0 where there is text and -inf where there is padding.
    """

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    cross: list[tuple[torch.Tensor, torch.Tensor]] | None
    cross_mask: torch.Tensor | None

    def read_text(self, text: list[tuple[torch.Tensor, torch.Tensor]] | None, mask: torch.Tensor | None) -> None:
        """Put another batch's text in the place of this one's."""
        for (key, value), (new_key, new_value) in zip(self.cross or [], text or [], strict=True):
            key.copy_(new_key)
            value.copy_(new_value)
        if self.cross_mask is not None and mask is not None:
            self.cross_mask.copy_(mask)


class Decoder:
    """Runs a MusicgenForCausalLM or MusicgenMelodyForCausalLM position by position.

    Rows are the clips, and with guidance once more the clips without their condition. Those have
    nothing to attend to: their text is zero, and as the projections have no bias, what cross-attention
    adds is exactly zero. It is left out.
    """

    def __init__(self, lm: Any):
        self.config = lm.config
        model = lm.model.decoder
        self.codebooks, self.heads = self.config.num_codebooks, self.config.num_attention_heads
        self.vocabulary = self.config.vocab_size
        self.tables = fused(model.embed_tokens)
        # row of the first token of each codebook in the tables
        self.first_rows = torch.arange(self.codebooks, device=self.tables.device) * (self.vocabulary + 1)
        self.final_norm, self.logits_weight = model.layer_norm, fused(lm.lm_heads)
        self.activation = model.layers[0].activation_fn
        self.layers = [_layer(layer) for layer in model.layers]
        self.has_cross = self.layers[0].cross_q is not None
        self._positions = model.embed_positions

    @property
    def device(self) -> torch.device:
        return self.tables.device

    @property
    def dtype(self) -> torch.dtype:
        return self.tables.dtype

    def positions(self, count: int) -> torch.Tensor:
        """The sinusoidal embeddings of the first `count` positions, as transformers computes them."""
        module = self._positions
        if count > len(module.weights):
            module.make_weights(count, module.embedding_dim)
        return module.weights[:count].to(self.dtype)

    def memory(self, rows: int, clips: int, positions: int, tokens: int) -> Memory:
        """Allocate what one batch needs; `tokens` is the padded length of its text."""
        size = self.config.hidden_size // self.heads

        def empty(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, device=self.device, dtype=self.dtype)

        return Memory(
            [empty(rows, self.heads, positions, size) for _ in self.layers],
            [empty(rows, self.heads, positions, size) for _ in self.layers],
            [(empty(clips, self.heads, tokens, size), empty(clips, self.heads, tokens, size)) for _ in self.layers]
            if self.has_cross
            else None,
            empty(clips, 1, 1, tokens) if self.has_cross else None,
        )

    def text(self, states: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Compute each layer's keys and values of the text (clips, tokens, hidden), once per clip."""
        clips, tokens, _ = states.shape
        result = []
        for layer in self.layers:
            assert layer.cross_kv is not None
            both = functional.linear(states, layer.cross_kv).view(clips, tokens, 2, self.heads, -1)
            key, value = both.transpose(1, 3).unbind(2)
            result.append((key, value))
        return result

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Sum the embeddings of the codebooks: (clips, codebooks, positions) to (clips, positions, hidden)."""
        clips, _, positions = tokens.shape
        rows = (tokens + self.first_rows[:, None]).transpose(1, 2).reshape(clips * positions, self.codebooks)
        return functional.embedding_bag(rows, self.tables, mode="sum").view(clips, positions, -1)

    def forward(
        self, x: torch.Tensor, memory: Memory, at: torch.Tensor, filled: int, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Run the layers over new positions, and remember them.

        Args:
            x: embeddings of (rows, new positions, hidden).
            at: where these stand in memory, (new positions,).
            filled: how far memory is read.
            mask: 0 or -inf, to be broadcast to (rows, heads, new positions, filled); None for all of it.

        Returns:
            The normalised states of the last new position, (rows, hidden).
        """
        rows, new, hidden = x.shape
        x = x.reshape(rows * new, hidden)
        for i, layer in enumerate(self.layers):
            keys, values = memory.keys[i], memory.values[i]
            query, key, value = (
                linear(layer.norm(x), layer.qkv).view(rows, new, 3, self.heads, -1).transpose(1, 3).unbind(2)
            )
            keys.index_copy_(2, at, key)
            values.index_copy_(2, at, value)
            seen = functional.scaled_dot_product_attention(
                query, keys[:, :, :filled], values[:, :, :filled], attn_mask=mask
            )
            x = x + linear(seen.transpose(1, 2).reshape(rows * new, hidden), layer.out)
            if memory.cross is not None:
                key, value = memory.cross[i]
                clips = len(key)
                with_text = x[: clips * new]
                query = linear(layer.cross_norm(with_text), layer.cross_q)
                query = query.view(clips, new, self.heads, -1).transpose(1, 2)
                seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=memory.cross_mask)
                with_text += linear(seen.transpose(1, 2).reshape(clips * new, hidden), layer.cross_out)
            x = x + linear(self.activation(linear(layer.mlp_norm(x), layer.up)), layer.down)
        return self.final_norm(x.view(rows, new, hidden)[:, -1])

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Map states (rows, hidden) to logits (rows, codebooks, tokens)."""
        return linear(states, self.logits_weight).view(len(states), self.codebooks, self.vocabulary)


def _layer(layer: Any) -> Layer:
    attention, cross = layer.self_attn, getattr(layer, "encoder_attn", None)
    return Layer(
        norm=layer.self_attn_layer_norm,
        qkv=fused([attention.q_proj, attention.k_proj, attention.v_proj]),
        out=attention.out_proj.weight,
        cross_norm=layer.encoder_attn_layer_norm if cross else None,
        cross_q=cross.q_proj.weight if cross else None,
        cross_kv=fused([cross.k_proj, cross.v_proj]) if cross else None,
        cross_out=cross.out_proj.weight if cross else None,
        mlp_norm=layer.final_layer_norm,
        up=layer.fc1.weight,
        down=layer.fc2.weight,
    )
