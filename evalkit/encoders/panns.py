"""PANNs: label probabilities, 16 kHz mono to 527 AudioSet classes per clip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from evalkit import compat
from evalkit.assets import Asset
from evalkit.batching import Room, in_batches
from evalkit.encoders import Encoder, Input, Reads, load_headed, mono_input
from evalkit.errors import EvalkitError, unknown
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.weights import fill, load_tensors, randomize, seeded

RATE = 16000  # Hz
CLASSES = 527
TOGETHER = round(320 * RATE)  # samples in one forward


@dataclass(frozen=True)
class PANNs:
    """Kong et al. 2020, "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition".

    Cnn14_16k, with the network of frechet-audio-distance, on whole clips.

    Attributes:
        activation: "softmax" over all labels, or "sigmoid" of each label by itself.
        pad_to: seconds that shorter clips are filled up to with zeros; at least the network's shortest.
    """

    weights: Asset
    activation: Literal["softmax", "sigmoid"] = "softmax"
    pad_to: float = 2.0
    channels: Literal["mean", "first", "side"] = "mean"
    resampler: str = "julius"
    remove_dc: bool = False
    kind: ClassVar[str] = "panns"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1

    @property
    def random(self) -> bool:
        return self.weights.random

    @property
    def hears(self) -> Input:
        return mono_input(RATE, self.channels, self.resampler, self.remove_dc)

    def __post_init__(self) -> None:
        if self.activation not in ("softmax", "sigmoid"):
            raise unknown("PANNs activation", self.activation, ["softmax", "sigmoid"])
        if not 0.4 <= self.pad_to <= 60:
            raise EvalkitError(f"PANNs: pad_to={self.pad_to:g} must be between 0.4 and 60 s")
        _ = self.hears  # refuses what cannot be heard

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives probabilities (1, 527)."""
        return load_headed(self, cache, device)

    @property
    def trunk(self) -> Encoder:
        return PANNsOutput(dataclasses.replace(self, activation="softmax"))

    def head(self, output: np.ndarray) -> np.ndarray:
        return output[:1] if self.activation == "softmax" else output[1:]


@dataclass(frozen=True)
class PANNsOutput:
    """What the network says of a clip, through both activations: softmax, then sigmoid.

    Attributes:
        classifier: the network, and how it is fed; its activation plays no part.
    """

    classifier: PANNs
    kind: ClassVar[str] = "panns_output"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1

    @property
    def random(self) -> bool:
        return self.classifier.random

    @property
    def hears(self) -> Input:
        return self.classifier.hears

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives (2, 527)."""
        import torch

        network = network_of(self.classifier.weights, cache).to(device).eval()
        shortest = round(self.classifier.pad_to * RATE)
        together = Room(TOGETHER)

        def forward(batch: Any) -> Any:
            # the network itself gives only sigmoids, which softmax cannot be had from exactly
            logits = network.fc_audioset(network(batch)["embedding"])
            return torch.stack([logits.softmax(-1), logits.sigmoid()], dim=1)

        @fixed_precision()
        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            padded = [np.pad(np.asarray(c, np.float32), (0, max(0, shortest - len(c)))) for c in clips]
            return in_batches(forward, padded, device, together)

        return encode


def network_of(weights: Asset, cache: Cache) -> Any:
    """The network on the CPU, with published or seeded random weights."""
    with seeded(weights.random_seed):
        network = compat.panns_cnn14_16k()
        if weights.random:
            randomize(network, gain=2**0.5)
            randomize(network.fc_audioset, gain=1.0)
            network.bn0.running_mean.fill_(-30)  # the level and spread of music's log-mel bands in dB
            network.bn0.running_var.fill_(20**2)
    if not weights.random:
        path = weights.locate(cache)
        checkpoint = load_tensors(path, weights.name)
        fill(network, checkpoint.get("model") if isinstance(checkpoint, dict) else checkpoint, weights.name, path)
    return network
