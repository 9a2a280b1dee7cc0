"""The decoder of a MusicGen as generation needs it, on the weights of transformers' modules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from evalkit.decoding.conditions import Text
from evalkit.decoding.memory import Memory, Ranged, Shape, Sliced

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


def added(x: torch.Tensor, more: torch.Tensor, norm: Any, of: torch.Tensor) -> torch.Tensor:
    """Add to x (rows, hidden), in place, and return the LayerNorm of `of`; both are the first rows of one tensor."""
    x.add_(more)
    return norm(of)


def added_in_one(x: torch.Tensor, more: torch.Tensor, norm: Any, of: torch.Tensor) -> torch.Tensor:
    """Do what `added` does in one kernel."""
    from evalkit.decoding import kernels

    whole = x if len(x) > len(of) else of
    return kernels.add_norm(whole, more, norm.weight, norm.bias, norm.eps, len(of))


class Decoder:
    """Runs a MusicgenForCausalLM or MusicgenMelodyForCausalLM position by position.

    Rows are the clips, and with guidance once more the clips without their condition. Those have
    nothing to attend to: their text is zero, and as the projections have no bias, what cross-attention
    adds is exactly zero. It is left out.
    """

    def __init__(self, lm: Any, kernels: bool = False):
        """`lm` gives its weights; with `kernels` evalkit's own attend, add and normalise."""
        self.kernels, self._added = kernels, added_in_one if kernels else added
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

    def shape(self, rows: int, positions: int, texts: Sequence[Text]) -> Shape:
        """The shape of the memory that a batch needs."""
        text = (Ranged if self.kernels else Sliced).text_of(texts)
        clips = sum(len(one.rows) for one in texts)
        size = self.config.hidden_size // self.heads
        return Shape(rows, clips, positions, text, len(self.layers), self.heads, size, self.dtype, self.device)

    def memory(self, shape: Shape, bucket: int = 1) -> Memory:
        """Allocate what a batch of this shape needs."""
        return Ranged(shape) if self.kernels else Sliced(shape, bucket)

    def project(self, layer: int, states: torch.Tensor) -> torch.Tensor:
        """A layer's keys and values of captions (n, tokens, hidden): (n, tokens, 2, heads, size of a head)."""
        weight = self.layers[layer].cross_kv
        assert weight is not None
        return functional.linear(states, weight).view(*states.shape[:2], 2, self.heads, -1)

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Sum the embeddings of the codebooks: (clips, codebooks, positions) to (clips, positions, hidden)."""
        clips, _, positions = tokens.shape
        rows = (tokens + self.first_rows[:, None]).transpose(1, 2).reshape(clips * positions, self.codebooks)
        return functional.embedding_bag(rows, self.tables, mode="sum").view(clips, positions, -1)

    def forward(self, x: torch.Tensor, memory: Memory) -> torch.Tensor:
        """Run the layers over new positions, which stand where `memory.place` said, and remember them.

        Args:
            x: embeddings of (rows, new positions, hidden); what it holds is overwritten.

        Returns:
            The normalised states of the last new position, (rows, hidden).
        """
        rows, new, hidden = x.shape
        x = x.view(rows * new, hidden)
        with_text = x[: memory.shape.clips * new]
        normed = self.layers[0].norm(x)
        following = [layer.norm for layer in self.layers[1:]]
        for i, layer in enumerate(self.layers):
            seen = linear(memory.music(i, linear(normed, layer.qkv)), layer.out)
            if layer.cross_q is None:
                normed = self._added(x, seen, layer.mlp_norm, x)
            else:
                normed = self._added(x, seen, layer.cross_norm, with_text)
                seen = memory.text(i, linear(normed, layer.cross_q))
                normed = self._added(with_text, linear(seen, layer.cross_out), layer.mlp_norm, x)
            made = linear(self.activation(linear(normed, layer.up)), layer.down)
            if i < len(following):
                normed = self._added(x, made, following[i], x)
        if new > 1:
            x, made = (t.view(rows, new, hidden)[:, -1].contiguous() for t in (x, made))
        return self._added(x, made, self.final_norm, x)

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
