"""KL divergence of label distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError, unknown
from evalkit.metrics import mean_over_items
from evalkit.stats.divergence import DIRECTIONS, Direction, directed_kl
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class KLD:
    """Mean KL divergence of a classifier's label probabilities, over paired segments.

    Segments are the items of the mean, as in audiocraft's `PasstKLDivergenceMetric`: a clip that is
    longer than the classifier's input counts several times.

    Attributes:
        direction: "reference_generated" is KL(reference ‖ generated), "generated_reference" the other
            way round, "both" their sum.
        epsilon: added inside the logarithm of the second of the two; nothing is renormalised.
    """

    encoder: Encoder
    direction: Direction = "reference_generated"
    epsilon: float = 1e-6
    title: str = "KLD"
    kind: ClassVar[str] = "kld"
    higher_is_better: ClassVar[bool] = False
    clip_by_clip: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise unknown("direction of KLD", self.direction, DIRECTIONS)
        if not 0 <= self.epsilon < 1:
            raise EvalkitError(f"{self.title}: epsilon={self.epsilon:g} must be at least 0 and below 1")

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare probabilities (segments, labels), clip by clip, over the segments that both have."""
        divergences = [self.divergence(g, r) for g, r in zip(generated.values, reference.values, strict=True)]
        if not any(map(len, divergences)):
            raise EvalkitError(
                f"{self.title}: the clips are shorter than the shortest segment that the classifier takes"
            )
        return mean_over_items(generated.ids, divergences)

    def divergence(self, generated: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The divergence of each pair of rows (segments, labels): (segments,), in nats."""
        both = min(len(generated), len(reference))  # a protocol that does not cut pairs may leave unlike lengths
        return directed_kl(generated[:both], reference[:both], self.direction, self.epsilon)
