"""How much memory a batch takes on a device, counted before it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evalkit.decoding.conditions import Conditioner, padded_length
from evalkit.decoding.loop import Loop
from evalkit.decoding.memory import TYPICAL_TEXT

# what graphs, the workspaces of cuBLAS (32 MiB for each of three streams, and as much for cublasLt) and compiled
# kernels take: an assumption, not a measurement
OUTSIDE = 1 << 30
SAMPLING = 112  # bytes for each number that a token is chosen by: filters that sort, and noise in 64 bits


@dataclass(frozen=True)
class Batch:
    """The sizes of a batch that memory depends on.

    Attributes:
        captions: the number of tokens of each clip's caption.
        guided: whether each clip has another row, for guidance.
        frames: of a clip.
        window: frames of the longest window.
        known: frames of a window that are given, at most.
        delay: positions by which a window is longer than its frames.
    """

    captions: Sequence[int]
    guided: bool
    frames: int
    window: int
    known: int
    delay: int

    @property
    def clips(self) -> int:
        return len(self.captions)

    @property
    def rows(self) -> int:
        return self.clips * (2 if self.guided else 1)

    @property
    def positions(self) -> int:
        return self.window + self.delay


def bytes_of(batch: Batch, network: Any, loop: Loop, conditioner: Conditioner) -> int:
    """Bytes that a batch takes at most, besides the weights, the codec and what is `OUTSIDE`.

    That is what is kept for the next batch, the captions' states, and the largest of what the text encoder, the
    projection of captions, the reading of what is given and one step take while they last.
    """
    decoder, config = loop.decoder, network.config.decoder
    hidden, size = config.hidden_size, decoder.dtype.itemsize
    encoded = list(_encoded(batch.captions, conditioner))
    frames = network.config.chroma_length if conditioner.melody else 0
    prefix = frames + encoded[0][1] if conditioner.melody else 0
    positions = prefix + batch.positions

    shape = decoder.shape(batch.rows, positions, [])
    if not conditioner.melody:
        longest = max(tokens for _, tokens in encoded)
        text = max(sum(batch.captions), TYPICAL_TEXT * batch.clips) if decoder.kernels else longest
        shape = dataclasses.replace(shape, clips=batch.clips, text=text)
    memory = decoder.memory(dataclasses.replace(shape, device="meta"), loop.backend.bucket)
    codes = 8 * batch.clips * config.num_codebooks * (4 * batch.positions + 2 * batch.frames)
    kept = _stored(vars(memory)) + positions * hidden * (size + 4) + codes

    states = sum(captions * tokens for captions, tokens in encoded) * hidden * 4
    before = batch.rows * prefix * hidden * size
    new = prefix + batch.known + (batch.delay if batch.known else 0)
    working = [
        max(_encoding(network, *one) for one in encoded),
        _prefixing(batch, states, frames, prefix, hidden)
        if conditioner.melody
        else _projecting(batch, encoded, loop, hidden),
        before + _reading(loop, config, batch.rows, new, new),
        before + _stepping(loop, config, batch, positions),
    ]
    return kept + states + max(working)


def _encoded(captions: Sequence[int], conditioner: Conditioner) -> Iterator[tuple[int, int]]:
    """Captions and padded tokens of each call of the text encoder, see `Conditioner.encode`."""
    lengths = [padded_length(tokens) for tokens in captions]
    for length in sorted(set(lengths)):
        together = conditioner.at_once(length)
        if together is None:
            yield len(captions), max(lengths)
            return
        for _ in range(0, lengths.count(length), together):
            yield together, length


def _stored(value: Any) -> int:
    """Bytes of the tensors in lists, tuples and dictionaries."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    several = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return sum(map(_stored, several))


def _encoding(network: Any, captions: int, tokens: int) -> int:
    """A layer of the text encoder, in float32: its states, and masks and biases of its attention or its MLP."""
    text = network.config.text_encoder
    states = captions * tokens * max(text.d_model, text.num_heads * text.d_kv)
    biases = tokens * tokens * ((2 * captions + 1) * text.num_heads + 4)
    return 4 * (5 * states + max(biases + 2 * states, 2 * captions * tokens * text.d_ff))


def _projecting(batch: Batch, encoded: Sequence[tuple[int, int]], loop: Loop, hidden: int) -> int:
    """One layer's keys and values of captions, and for the kernels once more without their padding."""
    most, size = max(captions * tokens for captions, tokens in encoded), loop.decoder.dtype.itemsize
    kept = min(most, sum(batch.captions)) if loop.backend.kernels else 0
    return hidden * size * (most * (2 if size == 4 else 3) + 2 * kept)


def _prefixing(batch: Batch, states: int, frames: int, prefix: int, hidden: int) -> int:
    """Melodies and captions, put one after the other in float32, then once more in the decoder's precision."""
    return states + 4 * hidden * batch.rows * (frames + 2 * prefix)


def _reading(loop: Loop, config: Any, rows: int, new: int, filled: int) -> int:
    """A layer's states of new positions, their MLP, and masks or scores."""
    if not new:
        return 0
    size = loop.decoder.dtype.itemsize
    states = rows * new * (5 * config.hidden_size + 2 * config.ffn_dim) * size
    attention = rows * new * config.hidden_size * 5 * size
    masks = 0 if loop.backend.kernels and new == 1 else 3 * rows * new * filled * size
    return max(states, attention) + masks + _scores(loop, config, rows, new, filled)


def _scores(loop: Loop, config: Any, rows: int, new: int, filled: int) -> int:
    """What torch's plain attention makes, in float32: scores, and copies of queries, keys and values."""
    if loop.backend.attention != "math":
        return 0
    scores = 3 * rows * config.num_attention_heads * new * filled
    return 4 * (scores + rows * config.hidden_size * (2 * new + 4 * filled))


def _stepping(loop: Loop, config: Any, batch: Batch, positions: int) -> int:
    """One step, and its recording, which has memory of its own."""
    size = loop.decoder.dtype.itemsize
    chosen = config.num_codebooks * config.vocab_size
    logits = batch.rows * chosen * (size + 4) + batch.clips * chosen * SAMPLING
    layer = _reading(loop, config, batch.rows, 1, positions)
    return (2 if loop.backend.graphs else 1) * max(logits, layer)
