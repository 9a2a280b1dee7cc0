"""MuQ's network: log-mel bands, two convolutional blocks and a conformer, whose weights have the published names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from evalkit import compat

RATE = 24000  # Hz
FFT = 2048  # samples
PART = 1000  # frames of bands that are convolved at once, 10 s: those of a whole song would fill gigabytes
EDGE = 12  # frames beside them that their vectors depend on: 9, in whole vectors


class LogMel(nn.Module):
    """Log-mel bands in dB, with the mean and the spread of those that the network was trained on taken out.

    Args:
        settings: of the network, as its config.json has them.
    """

    def __init__(self, settings: Mapping[str, Any]):
        super().__init__()
        compat.prepare()
        from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

        hop, bands = settings["hop_length"], settings["n_mels"]
        self.bands = MelSpectrogram(sample_rate=RATE, n_fft=FFT, hop_length=hop, n_mels=bands)
        self.decibels = AmplitudeToDB()
        self.mean, self.spread = (settings["stat"][f"melspec_2048_{what}"] for what in ("mean", "std"))

    def forward(self, samples: Any) -> Any:
        """Bands (clips, bands, frames) of samples (clips, samples), a frame for each whole hop."""
        return (self.decibels(self.bands(samples))[..., :-1] - self.mean) / self.spread


class Block(nn.Module):
    """Two convolutions over bands and frames, and a third one around them; both axes are halved."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv3 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Any) -> Any:
        inner = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(inner)) + self.bn3(self.conv3(x))).relu()


class Subsampling(nn.Module):
    """What the conformer reads: a vector for four frames of the bands."""

    def __init__(self, bands: int, channels: int, width: int):
        super().__init__()
        self.conv = nn.Sequential(Block(1, channels), Block(channels, channels))
        self.linear = nn.Linear(channels * bands // 4, width)

    def forward(self, bands: Any) -> Any:
        """Vectors (clips, frames / 4, width) of bands (clips, bands, frames)."""
        vectors = []
        for start in range(0, bands.shape[-1], PART):
            before = min(start, EDGE)
            found = self.conv(bands[:, None, :, start - before : start + PART + EDGE])
            found = found[..., before // 4 : (before + PART) // 4]
            vectors.append(self.linear(found.permute(0, 3, 1, 2).flatten(2)))
        return torch.cat(vectors, dim=1)


class Network(nn.Module):
    """From log-mel bands to one of the hidden states.

    Args:
        settings: of the network, as its config.json has them.
        layer: how many layers of the conformer; what all of them give is normalised.
    """

    def __init__(self, settings: Mapping[str, Any], layer: int):
        super().__init__()
        compat.prepare()
        from transformers.models.wav2vec2_conformer.configuration_wav2vec2_conformer import Wav2Vec2ConformerConfig
        from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import Wav2Vec2ConformerEncoder

        width = settings["encoder_dim"]
        own = {**settings["w2v2_config"], "hidden_size": width, "num_hidden_layers": layer}
        self.conv = Subsampling(settings["n_mels"], settings["conv_dim"], width)
        self.conformer = Wav2Vec2ConformerEncoder(Wav2Vec2ConformerConfig(**own, attn_implementation="sdpa"))
        del self.conformer.pos_conv_embed  # nothing reads it
        if layer < settings["encoder_depth"]:
            self.conformer.layer_norm = nn.Identity()

    def forward(self, bands: Any) -> Any:
        """Hidden states (clips, frames / 4, width) of bands (clips, bands, frames)."""
        states = self.conv(bands)
        positions = compat.rotary_positions(self.conformer.embed_positions, states)
        for one in self.conformer.layers:
            states = one(states, relative_position_embeddings=positions)
        return self.conformer.layer_norm(states)


def empty(settings: Mapping[str, Any], layer: int) -> Network:
    """The network on the CPU with no weights yet: to draw initial ones takes longer than to read published ones."""
    with torch.device("meta"):
        network = Network(settings, layer)
    return network.to_empty(device="cpu")
