"""The codec of a MusicGen checkpoint by itself: music as its tokens can say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from evalkit import audio, compat
from evalkit.audio import Audio
from evalkit.checkpoints.transformers import load_pretrained, quiet_transformers
from evalkit.errors import loading
from evalkit.models import Code
from evalkit.precision import fixed_precision


def load_codec(name: str, folder: Path, device: str) -> Code:
    """Load the EnCodec of a checkpoint, alone, in float32; `name` is for messages.

    The function encodes and decodes a clip, at the codec's rate (32 kHz) and in the model's channels:
    each channel by itself for a stereo model, the mean of channels for a mono one. A mono clip stays
    mono. Raises EvalkitError for a checkpoint whose codec is missing or damaged.
    """
    compat.prepare()
    import transformers

    what = f"{name}: the codec in '{folder}'"
    with loading(what), quiet_transformers():
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        inside = {"config": config.audio_encoder, "key_mapping": {r"^audio_encoder\.": ""}}
    network, _ = load_pretrained(what, transformers.EncodecModel, folder, **inside)
    return coder(network, config.decoder.audio_channels, device)


def coder(network: Any, channels: int, device: str) -> Code:
    """Make the function that `load_codec` gives of an EncodecModel and the channels of the model it is a part of."""
    import torch

    compat.whole_paddings(network)
    network.to(device).eval()
    rate = network.config.sampling_rate

    @fixed_precision()
    def code(clip: Audio) -> Audio:
        clip = audio.resample(clip, rate)
        if clip.samples.shape[0] > channels:
            clip = audio.downmix(clip)
        waves = torch.from_numpy(np.ascontiguousarray(clip.samples))[:, None].to(device)  # (channels, 1, samples)
        with torch.inference_mode():
            tokens = network.encode(waves)
            decoded = network.decode(tokens.audio_codes, tokens.audio_scales).audio_values
        return Audio(decoded[:, 0, : waves.shape[-1]].cpu().numpy(), rate)

    return code
