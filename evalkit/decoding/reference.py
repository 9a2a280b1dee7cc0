"""Generation by transformers' own `generate()`: slow, and what the loop is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from evalkit.decoding.pattern import UNKNOWN, delays_of
from evalkit.decoding.sampler import Processor, Sampler
from evalkit.errors import EvalkitError


class Reference:
    """Runs `generate()` with evalkit's sampler as its logits processor, and takes the codes it would decode."""

    def __init__(self, network: Any):
        import transformers

        self.network = network
        decoder = network.config.decoder
        if delays_of(decoder) != [k // decoder.audio_channels for k in range(decoder.num_codebooks)]:
            raise EvalkitError(
                "transformers cannot generate with the codebook delays of this checkpoint: leave engine.decode as it is"
            )
        self.generation = transformers.GenerationConfig
        self.dtype = network.decoder.lm_heads[0].weight.dtype
        network.decoder.register_forward_pre_hook(self._cast_text, with_kwargs=True)

    def __call__(
        self,
        codes: torch.Tensor,
        captions: Sequence[Sequence[int]],
        melodies: Sequence[np.ndarray | None],
        sampler: Sampler,
        offset: int,
    ) -> torch.Tensor:
        """Fill in the unknown codes of (clips, codebooks, frames), whose known ones come first.

        A melody model does not mask the padding of its captions: they must have the same length.
        """
        from transformers import LogitsProcessorList

        network, clips = self.network, len(codes)
        device = network.device
        text = torch.zeros(clips, max(map(len, captions)), dtype=torch.long, device=device)
        mask = torch.zeros_like(text)
        for row, caption in enumerate(captions):
            text[row, : len(caption)] = torch.tensor(caption, device=device)
            mask[row, : len(caption)] = 1
        extra: dict[str, Any] = {}
        known = int((codes != UNKNOWN).all(dim=1).all(dim=0).sum())
        if known:
            extra["decoder_input_ids"] = codes[:, :, :known].flatten(0, 1)
        if known_melodies := [melody for melody in melodies if melody is not None]:
            extra["input_features"] = torch.from_numpy(np.stack(known_melodies)).to(device)
        made: list[torch.Tensor] = []

        def keep(codes: torch.Tensor, *_: Any, **__: Any) -> Any:
            made.append(codes[0])
            return SimpleNamespace(audio_values=codes.new_zeros(clips, 1, 1))

        with patch.object(network.audio_encoder, "decode", keep):
            network.generate(
                input_ids=text,
                attention_mask=mask,
                generation_config=self.generation(
                    # a prompt of codes counts as what was generated, and the last codebook starts late
                    max_new_tokens=codes.shape[2] - known + max(delays_of(network.config.decoder)),
                    do_sample=False,  # the sampler chooses
                    guidance_scale=sampler.guidance_scale,
                ),
                logits_processor=LogitsProcessorList([Processor(sampler, offset)]),
                **extra,
            )
        return torch.stack(made, dim=2).flatten(1, 2) if len(made) == 2 else made[0]

    def _cast_text(self, decoder: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Give the decoder the text states in its own precision: they come in the text encoder's."""
        states = kwargs.get("encoder_hidden_states")
        if states is not None:
            kwargs["encoder_hidden_states"] = states.to(self.dtype)
        return args, kwargs
