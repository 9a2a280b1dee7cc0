"""CLAP score, which the model card calls text consistency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evalkit.encoders import Encoder
from evalkit.metrics import mean_over_items
from evalkit.stats.divergence import cosine_similarity
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class CLAPScore:
    """Mean cosine similarity of a clip's CLAP embedding and its caption's.

    As in audiocraft's `CLAPTextConsistencyMetric`. References are captions, not clips.
    """

    encoder: Encoder
    text_encoder: Encoder
    kind: ClassVar[str] = "clap_score"
    title: ClassVar[str] = "CLAP score"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    @property
    def reference_encoder(self) -> Encoder:
        return self.text_encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare embeddings (1, dimensions), clip by clip."""
        pairs = zip(generated.values, reference.values, strict=True)
        return mean_over_items(generated.ids, [cosine_similarity(g, r) for g, r in pairs])
