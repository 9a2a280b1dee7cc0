"""Chroma cosine similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.metrics import Encoder
from evalkit.stats import cosine_similarity
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class ChromaSimilarity:
    """Mean cosine similarity of chromagrams, over the frames of all clips.

    As in audiocraft's `ChromaCosineSimilarityMetric`: frames are the items of the mean, so longer
    clips weigh more.
    """

    encoder: Encoder
    title: ClassVar[str] = "Chroma cosine similarity"
    higher_is_better: ClassVar[bool] = True

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare chromagrams (frames, pitch classes), clip by clip."""
        frames = [cosine_similarity(g, r) for g, r in zip(generated.values, reference.values, strict=True)]
        per_clip = {i: float(f.mean()) for i, f in zip(generated.ids, frames, strict=True)}
        return Measured(float(np.concatenate(frames).mean()), n=len(frames), per_clip=per_clip)
