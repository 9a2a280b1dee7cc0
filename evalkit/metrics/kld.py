"""KL divergence of label distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evalkit.bootstrap import mean_over_items
from evalkit.errors import EvalkitError
from evalkit.metrics import Encoder
from evalkit.stats import kl_divergence
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class KLD:
    """Mean KL(reference ‖ generated) of a classifier's label probabilities, over paired segments.

    Segments are the items of the mean, as in audiocraft's `PasstKLDivergenceMetric`: a clip that is
    longer than the classifier's input counts several times.
    """

    encoder: Encoder
    epsilon: float = 1e-6
    title: ClassVar[str] = "KLD"
    higher_is_better: ClassVar[bool] = False

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare probabilities (segments, labels), clip by clip."""
        divergences = [
            kl_divergence(p, r, self.epsilon) for p, r in zip(generated.values, reference.values, strict=True)
        ]
        if not any(map(len, divergences)):
            raise EvalkitError("KLD: the clips are shorter than the shortest segment that the classifier takes")
        return mean_over_items(generated.ids, divergences)
