"""Generation by transformers' own `generate()`, which evalkit's loop is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from evalkit.decoding.model import Model
from evalkit.decoding.pattern import UNKNOWN, delays_of
from evalkit.decoding.sampler import Sampler


def generate(
    network: Any,
    captions: Sequence[Sequence[int]],
    frames: int,
    scale: float,
    given: torch.Tensor | None = None,
    **extra: Any,
) -> torch.Tensor:
    """The codes (clips, codebooks, frames) that `generate()` hands to the codec, without sampling of its own.

    It does not mask the padding of a melody model's captions: they must have the same length.
    """
    import transformers

    clips = len(captions)
    text = torch.zeros(clips, max(map(len, captions)), dtype=torch.long)
    mask = torch.zeros_like(text)
    for row, caption in enumerate(captions):
        text[row, : len(caption)], mask[row, : len(caption)] = torch.tensor(caption), 1
    if given is not None:
        extra["decoder_input_ids"] = given.flatten(0, 1)
    # codes that are given count as generated, and the last codebook starts late
    steps = frames - (0 if given is None else given.shape[2]) + max(delays_of(network.config.decoder))
    made: list[torch.Tensor] = []

    def keep(codes: torch.Tensor, *_: Any, **__: Any) -> Any:
        made.append(codes[0])
        return SimpleNamespace(audio_values=torch.zeros(clips, 1, 1))

    with patch.object(network.audio_encoder, "decode", keep), torch.inference_mode():
        config = transformers.GenerationConfig(max_new_tokens=steps, do_sample=False, guidance_scale=scale)
        network.generate(input_ids=text, attention_mask=mask, generation_config=config, **extra)
    return torch.stack(made, dim=2).flatten(1, 2) if len(made) == 2 else made[0]


class Reference(Model):
    """A Model on a CPU that fills each window by `generate()`, with evalkit's sampler as its logits processor."""

    def __init__(self, model: Model):
        super().__init__(model.name, model.network, model.tokenizer, model.engine, model.features)

    def window_codes(
        self,
        codes: torch.Tensor,
        captions: Sequence[Sequence[int]],
        texts: Any,
        melodies: Sequence[np.ndarray | None],
        sampler: Sampler,
        start: int,
    ) -> torch.Tensor:
        from transformers import LogitsProcessorList

        known = int((codes != UNKNOWN).all(dim=1).all(dim=0).sum())
        extra: dict[str, Any] = {"logits_processor": LogitsProcessorList([Processor(sampler, start)])}
        if heard := [melody for melody in melodies if melody is not None]:
            extra["input_features"] = torch.from_numpy(np.stack(heard))
        given = codes[:, :, :known] if known else None
        return generate(self.network, captions, codes.shape[2], sampler.guidance_scale, given, **extra)


class Processor:
    """A transformers LogitsProcessor that lets a `Sampler` choose within `generate()`.

    It guides, filters and samples by itself, and returns scores that leave a greedy search one choice.
    `offset` is added to the step.
    """

    def __init__(self, sampler: Sampler, offset: int):
        self.sampler, self.offset = sampler, offset

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Map logits (halves * clips * codebooks, tokens) to scores of the same shape.

        Both halves are returned equal, so that the guidance that transformers applies after this
        leaves them as they are.
        """
        clips, codebooks = len(self.sampler.keys), self.sampler.codebooks
        step = torch.tensor(self.offset + input_ids.shape[1] - 1)
        chosen = self.sampler(scores.view(-1, clips, codebooks, scores.shape[1]), step).view(-1, 1)
        # moderate numbers: their guided difference must stay finite
        choice = scores.new_full((len(chosen), scores.shape[1]), -1e4).scatter_(1, chosen, 0.0)
        return choice.repeat(scores.shape[0] // len(chosen), 1)
