"""What the decoder is told of each clip: its caption, and for a melody model its melody."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional


@dataclass(frozen=True)
class Conditions:
    """The conditions of one batch, in the decoder's precision.

    Attributes:
        text: for cross-attention (clips, tokens, hidden).
        mask: what is added to the attention to `text`, (clips, 1, 1, tokens): 0, or -inf where it is padding.
        prefix: what stands before the music instead, (rows, positions, hidden); its rows are padded on
            the left, so that all end where the music starts.
        lengths: of each row's prefix, (rows,); zero where there is none.
    """

    text: torch.Tensor | None
    mask: torch.Tensor | None
    prefix: torch.Tensor | None
    lengths: torch.Tensor


class Conditioner:
    """Encodes captions and melodies with the networks of a checkpoint, in float32."""

    def __init__(self, network: Any):
        self.network = network
        self.dtype = network.decoder.lm_heads[0].weight.dtype
        self.melody = network.config.model_type == "musicgen_melody"

    def encode(self, captions: Sequence[Sequence[int]], padded: int) -> torch.Tensor:
        """Encode captions into the decoder's dimensions: (clips, padded, hidden), zero after each one's end.

        On a CPU each goes through the text encoder alone, so that its states do not depend on the others.
        """
        if self.network.device.type != "cpu":
            return self._encode(captions, padded)
        different = {caption: self._encode([caption], len(caption)) for caption in {*map(tuple, captions)}}
        states = [different[tuple(caption)] for caption in captions]
        return torch.cat([functional.pad(one, (0, 0, 0, padded - one.shape[1])) for one in states])

    def _encode(self, captions: Sequence[Sequence[int]], padded: int) -> torch.Tensor:
        network, device = self.network, self.network.device
        tokens = torch.zeros(len(captions), padded, dtype=torch.long, device=device)
        mask = torch.zeros_like(tokens)
        for row, caption in enumerate(captions):
            tokens[row, : len(caption)] = torch.tensor(caption, device=device)
            mask[row, : len(caption)] = 1
        states = network.text_encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        if hasattr(network, "enc_to_dec_proj"):
            states = network.enc_to_dec_proj(states)
        projected: torch.Tensor = states * mask[..., None]
        return projected

    def __call__(
        self, states: torch.Tensor, lengths: Sequence[int], melodies: Sequence[np.ndarray | None], guided: bool
    ) -> Conditions:
        """Put together what a batch is told.

        Args:
            states: of the captions, from `encode`.
            lengths: of the captions, in tokens.
            melodies: a chromagram (frames, 12) of each clip, or None; only a melody model has any.
            guided: whether rows for guidance are added, the same clips without their conditions.
        """
        clips, padded, _ = states.shape
        device = states.device
        if self.melody:
            return self._prefix(states, lengths, melodies, guided)
        padding = torch.arange(padded, device=device) >= torch.tensor(lengths, device=device)[:, None, None, None]
        mask = torch.zeros(padding.shape, dtype=self.dtype, device=device).masked_fill(padding, -math.inf)
        none = torch.zeros(clips * (2 if guided else 1), dtype=torch.long, device=device)
        return Conditions(states.to(self.dtype), mask, None, none)

    def _prefix(
        self, states: torch.Tensor, lengths: Sequence[int], melodies: Sequence[np.ndarray | None], guided: bool
    ) -> Conditions:
        """Put melody and caption one after the other, as transformers does for a clip by itself.

        Without guidance's condition the caption is zero and the melody is the null one.
        """
        clips, padded, hidden = states.shape
        frames = self.network.config.chroma_length
        chroma = [self.chroma(melody) for melody in melodies]
        texts = list(states)
        rows = [*lengths]
        if guided:
            chroma += [self.chroma(None)] * clips
            texts += [torch.zeros_like(text) for text in texts]
            rows *= 2
        prefix = states.new_zeros(len(rows), frames + padded, hidden)
        for row, (melody, text, length) in enumerate(zip(chroma, texts, rows, strict=True)):
            prefix[row, padded - length :] = torch.cat([melody, text[:length]])
        return Conditions(None, None, prefix.to(self.dtype), torch.tensor(rows, device=states.device) + frames)

    def chroma(self, melody: np.ndarray | None) -> torch.Tensor:
        """Project a chromagram (frames, 12), repeated or cut to what the model reads, to (chroma_length, hidden)."""
        config = self.network.config
        if melody is None:  # the null melody: the first pitch class, always
            melody = np.zeros((1, config.num_chroma), np.float32)
            melody[:, 0] = 1
        features = torch.from_numpy(np.ascontiguousarray(melody, np.float32)).to(self.network.device)
        if hasattr(self.network, "audio_enc_to_dec_proj"):
            features = self.network.audio_enc_to_dec_proj(features)
        return features.repeat(math.ceil(config.chroma_length / len(features)), 1)[: config.chroma_length]
