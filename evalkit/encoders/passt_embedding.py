"""PaSST's embedding: what its classifier sees, 32 kHz mono to 768 dimensions per segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evalkit.encoders import Encoder, Input, Reads, load_headed
from evalkit.encoders.passt import CLASSES, PaSST
from evalkit.store.cache import Cache


@dataclass(frozen=True)
class PaSSTEmbedding:
    """Koutini et al. 2022, "Efficient Training of Audio Transformers with Patchout".

    The mean of the class and distillation tokens, hear21passt's mode "embed_only". kadtk's embedding is
    another: it fills clips up to the network's length, and appends the 527 logits.

    Attributes:
        classifier: the network, and the segments that it reads; each gives one embedding. Its
            aggregate and activation play no part.
    """

    classifier: PaSST
    kind: ClassVar[str] = "passt_embedding"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1

    @property
    def random(self) -> bool:
        return self.classifier.random

    @property
    def hears(self) -> Input:
        return self.classifier.hears

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives embeddings (segments, 768)."""
        return load_headed(self, cache, device)

    @property
    def trunk(self) -> Encoder:
        return self.classifier.trunk

    def head(self, output: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(output[:, CLASSES:])
