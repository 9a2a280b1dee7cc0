"""Chroma cosine similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evalkit.encoders import Encoder
from evalkit.metrics import mean_over_items
from evalkit.stats.divergence import cosine_similarity
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class ChromaSimilarity:
    """Mean cosine similarity of chromagrams, over the frames of all clips.

    As in audiocraft's `ChromaCosineSimilarityMetric`: frames are the items of the mean, so longer
    clips weigh more.
    """

    encoder: Encoder
    kind: ClassVar[str] = "chroma_similarity"
    title: ClassVar[str] = "Chroma cosine similarity"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    clip_by_clip: ClassVar[bool] = True
    additive: ClassVar[bool] = True

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare chromagrams (frames, pitch classes), clip by clip."""
        pairs = zip(generated.values, reference.values, strict=True)
        # a protocol that does not cut pairs may leave unlike lengths
        common = [(g, r, min(len(g), len(r))) for g, r in pairs]
        return mean_over_items(generated.ids, [cosine_similarity(g[:n], r[:n]) for g, r, n in common])
