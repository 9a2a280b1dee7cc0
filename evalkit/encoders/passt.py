"""PaSST: the label probabilities of KLD, 32 kHz mono to 527 AudioSet classes per segment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from evalkit import compat
from evalkit.assets import Asset
from evalkit.batching import Room, of_parts
from evalkit.encoders import Encoder, Input, Reads, load_headed, mono_input, to_peak
from evalkit.encoders.attention import speed_up_passt
from evalkit.errors import EvalkitError, unknown
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.weights import fill, load_tensors, randomize, seeded

RATE = 32000  # Hz
LONGEST = 20.0  # seconds, the length of the longer network's time encoding
CLASSES = 527
DIMENSIONS = 768  # of what the classifier sees
TOGETHER = round(160 * RATE)  # samples in one forward


@dataclass(frozen=True)
class PaSST:
    """Koutini et al. 2022, "Efficient Training of Audio Transformers with Patchout".

    By default hear21passt's base20sec, fed as audiocraft's metrics/kld.py does: unpadded, level untouched.

    Attributes:
        network: 20 for hear21passt's base20sec, 10 for its base: the seconds it was trained on.
        segment: seconds; longer clips are cut into segments of this length, the last one shorter.
        step: seconds between the starts of segments; None for segments side by side.
        most: only this many segments, from the start; None for all.
        shortest: seconds; segments of this length or less are dropped.
        pad_over: seconds; segments longer than this are filled up with zeros; None for none.
        aggregate: "mean" or "max" of a clip's logits over its segments gives one row per clip; None
            leaves one row per segment.
        peak_headroom: decibels between full scale and the peak that clips are first scaled to; None
            to leave the level.
        activation: "softmax" over all labels, as in audiocraft, or "sigmoid" of each label by itself,
            which is what the network was trained with.
    """

    weights: Asset
    network: Literal[10, 20] = 20
    segment: float = LONGEST
    step: float | None = None
    most: int | None = None
    shortest: float = 0.15
    pad_over: float | None = None
    aggregate: Literal["mean", "max"] | None = None
    peak_headroom: float | None = None
    activation: Literal["softmax", "sigmoid"] = "softmax"
    sample_rate: int = RATE
    channels: Literal["mean", "first", "side"] = "mean"
    resampler: str = "julius"
    remove_dc: bool = False
    kind: ClassVar[str] = "passt"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 2

    @property
    def random(self) -> bool:
        return self.weights.random

    @property
    def hears(self) -> Input:
        return mono_input(self.sample_rate, self.channels, self.resampler, self.remove_dc)

    def __post_init__(self) -> None:
        if self.sample_rate != RATE:
            raise EvalkitError(f"PaSST reads {RATE} Hz, not {self.sample_rate}")
        if self.activation not in ("softmax", "sigmoid"):
            raise unknown("PaSST activation", self.activation, ["softmax", "sigmoid"])
        if self.network not in (10, 20):
            raise EvalkitError(f"PaSST: network={self.network}: there is one of 10 and one of 20 seconds")
        if not 0.15 <= self.shortest < self.segment <= self.network:
            raise EvalkitError(
                f"PaSST: shortest={self.shortest:g} and segment={self.segment:g} must lie in this order between "
                f"0.15 and the network's {self.network} s"
            )
        if self.step is not None and not 0.01 <= self.step <= self.segment:
            raise EvalkitError(f"PaSST: step={self.step:g} must be between 0.01 s and segment, or null")
        if self.most is not None and self.most < 1:
            raise EvalkitError(f"PaSST: most={self.most} must be at least 1, or null")
        if self.aggregate not in ("mean", "max", None):
            raise unknown("PaSST aggregate", self.aggregate, ["mean", "max", "null"])
        _ = self.hears  # refuses what cannot be heard

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives probabilities (segments, 527)."""
        return load_headed(self, cache, device)

    @property
    def trunk(self) -> Encoder:
        return PaSSTOutput(dataclasses.replace(self, aggregate=None, activation="softmax"))

    def head(self, output: np.ndarray) -> np.ndarray:
        import torch

        return self.probabilities(torch.from_numpy(np.ascontiguousarray(output[:, :CLASSES])))

    def segments(self, clip: np.ndarray) -> list[np.ndarray]:
        """Cut a clip (samples,) into the segments that count."""
        length, shortest = int(self.segment * RATE), int(self.shortest * RATE)
        samples = to_peak(np.asarray(clip, np.float32), self.peak_headroom)
        step = length if self.step is None else int(self.step * RATE)
        # what a segment shares with the one before needs no segment of its own
        starts = range(0, max(step, len(samples) - (length - step)), step)[: self.most]
        parts = [part for part in (samples[start : start + length] for start in starts) if len(part) > shortest]
        if self.pad_over is None:
            return parts
        over = int(self.pad_over * RATE)
        return [np.pad(part, (0, length - len(part))) if len(part) > over else part for part in parts]

    def probabilities(self, logits: Any) -> np.ndarray:
        """Probabilities (segments, 527), or (1, 527) of all, from a tensor of logits (segments, 527)."""
        if self.aggregate and len(logits):
            logits = logits.mean(0, keepdim=True) if self.aggregate == "mean" else logits.amax(0, keepdim=True)
        result: np.ndarray = (logits.softmax(-1) if self.activation == "softmax" else logits.sigmoid()).numpy()
        return result


@dataclass(frozen=True)
class PaSSTOutput:
    """What the network says of each segment: 527 logits, and the 768 numbers that they are computed from.

    Attributes:
        classifier: the network and the segments; its aggregate and activation play no part.
    """

    classifier: PaSST
    kind: ClassVar[str] = "passt_output"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1

    @property
    def random(self) -> bool:
        return self.classifier.random

    @property
    def hears(self) -> Input:
        return self.classifier.hears

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives (segments, 527 + 768)."""
        network = network_of(self.classifier.weights, cache, self.classifier.network).to(device).eval()
        network.mode = "all"
        together = Room(TOGETHER)

        @fixed_precision()
        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            cut = [self.classifier.segments(clip) for clip in clips]
            with compat.quiet():
                return of_parts(network, cut, device, together, CLASSES + DIMENSIONS)

        return encode


def network_of(weights: Asset, cache: Cache, seconds: int = 20) -> Any:
    """The front end and the network on the CPU, with published or seeded random weights."""
    with seeded(weights.random_seed):
        model = compat.passt_model(seconds)
        if weights.random:
            randomize(model.net, gain=1.0)
            randomize(model.net.head, gain=2.0)  # a KL divergence of about 2 between unlike sounds
    if not weights.random:
        path = weights.locate(cache)
        fill(model.net, load_tensors(path, weights.name), weights.name, path)
    speed_up_passt(model)
    return model
