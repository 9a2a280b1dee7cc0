"""What the decoder is told of each clip: its caption, and for a melody model its melody."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

SHORTEST_TEXT = 32  # tokens to which captions are padded at least
LONG_TEXT = 128  # tokens of captions beyond which fewer are encoded at once


def padded_length(tokens: int) -> int:
    """To how many tokens a caption is padded: a power of two, so that few lengths occur."""
    return max(SHORTEST_TEXT, 1 << (tokens - 1).bit_length())


@dataclass(frozen=True)
class Text:
    """Captions that were encoded together.

    Attributes:
        rows: the places of their clips in the batch.
        states: (captions, tokens, hidden) float32, zero after each one's end; captions after the last row fill up.
        lengths: of each row's caption, in tokens.
    """

    rows: Sequence[int]
    states: torch.Tensor
    lengths: Sequence[int]


@dataclass(frozen=True)
class Conditions:
    """The conditions of one batch.

    Attributes:
        texts: for cross-attention, the captions of all clips; none for a decoder that has them before the music.
        prefix: what stands before the music instead, (rows, positions, hidden) in the decoder's precision; its rows
            are padded on the left, so that all end where the music starts.
        lengths: of each row's prefix, (rows,); zero where there is none.
    """

    texts: Sequence[Text]
    prefix: torch.Tensor | None
    lengths: torch.Tensor


class Conditioner:
    """Encodes captions and melodies with the networks of a checkpoint, in float32.

    Attributes:
        together: captions of one padded length that are encoded at once, filled up to that number, so that no
            caption's states depend on the others', and fewer of long ones; None for all at once, padded to the longest.
    """

    def __init__(self, network: Any, together: int | None = None):
        self.network, self.together = network, together
        self.dtype = network.decoder.lm_heads[0].weight.dtype
        self.melody = network.config.model_type == "musicgen_melody"

    def at_once(self, padded: int) -> int | None:
        """How many captions of a padded length are encoded at once: attention takes the square of it in memory."""
        return self.together and max(1, self.together * LONG_TEXT // max(padded, LONG_TEXT))

    def encode(self, captions: Sequence[Sequence[int]], padded: int | None = None) -> list[Text]:
        """Encode captions, given as tokens, into the decoder's dimensions.

        On a CPU each goes through the text encoder alone, so that its states do not depend on the others.

        Args:
            padded: to how many tokens all are padded; None for the `padded_length` of the longest that are encoded at
                once.
        """
        parts: dict[int, list[int]] = {}
        for row, caption in enumerate(captions):
            parts.setdefault(padded_length(len(caption)) if self.together else 0, []).append(row)
        texts = []
        for length, of_length in parts.items():
            together = self.at_once(length) or len(of_length)
            for start in range(0, len(of_length), together):
                rows = of_length[start : start + together]
                lengths = [len(captions[row]) for row in rows]
                some = [captions[row] for row in rows]
                some += [some[0]] * (together - len(rows))
                texts.append(Text(rows, self._states(some, padded or padded_length(max(lengths))), lengths))
        return texts

    def _states(self, captions: Sequence[Sequence[int]], padded: int) -> torch.Tensor:
        if self.network.device.type != "cpu":
            return self._encode(captions, padded)
        different = {caption: self._encode([caption], len(caption)) for caption in {*map(tuple, captions)}}
        states = [different[tuple(caption)] for caption in captions]
        return torch.cat([functional.pad(one, (0, 0, 0, padded - one.shape[1])) for one in states])

    def _encode(self, captions: Sequence[Sequence[int]], padded: int) -> torch.Tensor:
        network, device = self.network, self.network.device
        tokens = torch.zeros(len(captions), padded, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for row, caption in enumerate(captions):
            tokens[row, : len(caption)] = torch.tensor(caption)
            mask[row, : len(caption)] = 1
        tokens, mask = tokens.to(device), mask.to(device)
        states = network.text_encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        if hasattr(network, "enc_to_dec_proj"):
            states = network.enc_to_dec_proj(states)
        projected: torch.Tensor = states * mask[..., None]
        return projected

    def __call__(self, texts: Sequence[Text], melodies: Sequence[np.ndarray | None], guided: bool) -> Conditions:
        """Put together what a batch is told.

        Args:
            texts: from `encode`; a melody model takes them from one call, all padded to the same length.
            melodies: a chromagram (frames, 12) of each clip, or None; only a melody model has any.
            guided: whether rows for guidance are added, the same clips without their conditions.
        """
        if self.melody:
            return self._prefix(texts, melodies, guided)
        rows = len(melodies) * (2 if guided else 1)
        return Conditions(texts, None, torch.zeros(rows, dtype=torch.long, device=self.network.device))

    def _prefix(self, parts: Sequence[Text], melodies: Sequence[np.ndarray | None], guided: bool) -> Conditions:
        """Put melody and caption one after the other, as transformers does for a clip by itself.

        Without guidance's condition the caption is zero and the melody is the null one.
        """
        padded = parts[0].states.shape[1]
        frames = self.network.config.chroma_length
        chroma = [self.chroma(melody) for melody in melodies]
        found = {
            row: (text, length)
            for part in parts
            for row, text, length in zip(part.rows, part.states, part.lengths, strict=False)
        }
        texts = [found[row][0] for row in range(len(melodies))]
        rows = [found[row][1] for row in range(len(melodies))]
        if guided:
            chroma += [self.chroma(None)] * len(melodies)
            texts += [torch.zeros_like(text) for text in texts]
            rows *= 2
        prefix = texts[0].new_zeros(len(rows), frames + padded, texts[0].shape[-1])
        for row, (melody, text, length) in enumerate(zip(chroma, texts, rows, strict=True)):
            prefix[row, padded - length :] = torch.cat([melody, text[:length]])
        return Conditions([], prefix.to(self.dtype), torch.tensor(rows).to(prefix.device) + frames)

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
