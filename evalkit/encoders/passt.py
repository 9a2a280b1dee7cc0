"""PaSST: the label probabilities of KLD, 32 kHz mono to 527 AudioSet classes per segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from evalkit import compat
from evalkit.assets import Asset
from evalkit.encoders import Input, by_length, fill, randomize, seeded
from evalkit.errors import EvalkitError
from evalkit.store import Cache

RATE = 32000  # Hz
LONGEST = 20.0  # seconds, the length of the network's time encoding
CLASSES = 527
TOGETHER = round(40 * RATE)  # samples in one forward; attention's memory grows with the length squared


@dataclass(frozen=True)
class PaSST:
    """Koutini et al. 2022, "Efficient Training of Audio Transformers with Patchout".

    hear21passt's base20sec, fed as audiocraft's metrics/kld.py does: unpadded, level untouched.

    Attributes:
        segment: seconds; longer clips are cut into segments of this length, the last one shorter.
        shortest: seconds; segments of this length or less are dropped.
    """

    weights: Asset
    segment: float = LONGEST
    shortest: float = 0.15
    sample_rate: int = RATE
    channels: Literal["mean", "first", "side"] = "mean"
    resampler: str = "julius"
    reads: ClassVar[str] = "audio"
    version: ClassVar[int] = 1

    @property
    def hears(self) -> Input:
        return Input(self.sample_rate, self.channels, self.resampler)

    def __post_init__(self) -> None:
        if self.sample_rate != RATE:
            raise EvalkitError(f"PaSST reads {RATE} Hz, not {self.sample_rate}")
        if not 0.15 <= self.shortest < self.segment <= LONGEST:
            raise EvalkitError(
                f"PaSST: shortest={self.shortest:g} and segment={self.segment:g} must lie in this order between "
                f"0.15 and {LONGEST:g} s"
            )

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives probabilities (segments, 527)."""
        import torch

        network = network_of(self.weights, cache).to(device).eval()

        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            cut = [self.segments(clip) for clip in clips]
            flat = [segment for segments in cut for segment in segments]
            result = np.empty((len(flat), CLASSES), np.float32)
            # even in eval mode the front end draws from torch's global generator
            with torch.inference_mode(), seeded(None), compat.quiet():
                for indices in by_length(flat, TOGETHER):
                    batch = torch.from_numpy(np.stack([flat[i] for i in indices])).to(device)
                    result[indices] = network(batch).softmax(-1).cpu().numpy()
            return np.split(result, np.cumsum([len(segments) for segments in cut])[:-1])

        return encode

    def segments(self, clip: np.ndarray) -> list[np.ndarray]:
        """Cut a clip (samples,) into the segments that count."""
        length, shortest = int(self.segment * RATE), int(self.shortest * RATE)
        parts = (clip[start : start + length] for start in range(0, len(clip), length))
        return [np.asarray(part, np.float32) for part in parts if len(part) > shortest]


def network_of(weights: Asset, cache: Cache) -> Any:
    """The front end and the network on the CPU, with published or seeded random weights."""
    with seeded(weights.random_seed):
        model = compat.passt_20sec()
        if weights.random:
            randomize(model.net, gain=1.0)
            randomize(model.net.head, gain=2.0)  # a KL divergence of about 2 between unlike sounds
    if not weights.random:
        path = weights.locate(cache)
        fill(model.net, compat.load_tensors(path, weights.name), weights.name, path)
    return model
