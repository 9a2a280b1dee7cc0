"""Inception score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import xlogy

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.stats.divergence import blocks, inception_scores, splits
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class InceptionScore:
    """Exponential of the mean KL divergence of a clip's label probabilities from their mean over clips.

    Salimans et al. 2016, "Improved Techniques for Training GANs": high if each clip is one clear kind
    of sound and the kinds differ; no reference is heard. Segments of a clip count like clips.
    Published values for music are on other classifiers (audioldm_eval: PANNs), and many average ten
    splits of the set, which makes each smaller.

    Values per clip are KL divergences in nats, from the mean of the clip's split. Resamples keep the
    splits.

    Attributes:
        splits: the score is the mean over this many random parts of the clips.
        seed: of the random parts.
    """

    encoder: Encoder
    splits: int = 1
    seed: int = 0
    kind: ClassVar[str] = "inception_score"
    reference_encoder: ClassVar[None] = None
    title: ClassVar[str] = "Inception score"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (1.0, math.inf)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    @property
    def min_clips(self) -> int:
        return 2 * self.splits

    def __post_init__(self) -> None:
        if self.splits < 1:
            raise EvalkitError(f"Inception score: splits={self.splits}: must be at least 1")

    def __call__(self, generated: Features, reference: None = None) -> Measured:
        """Score probabilities (segments, labels). Raises EvalkitError for fewer than two clips in a split."""
        values = generated.values
        used = sorted((i for i in range(len(values)) if len(values[i])), key=lambda i: generated.ids[i])
        if len(used) < 2 * self.splits:
            raise EvalkitError(
                f"Inception score: {len(used)} clips with features are too few: "
                f"use at least {2 * self.splits} prompts for {self.splits} splits"
            )
        parts = splits(used, self.splits, self.seed)
        counts = np.array([float(len(segments)) for segments in values])
        negentropies = np.array([_negentropy(np.asarray(segments, np.float64)) for segments in values])

        def sums(clips: np.ndarray) -> np.ndarray:
            return np.array([values[i].sum(axis=0, dtype=np.float64) for i in clips])

        def resampled(generated_weights: np.ndarray, reference_weights: np.ndarray) -> np.ndarray:
            return inception_scores(counts, sums, negentropies, parts, generated_weights)

        ones = np.ones((1, len(values)))
        (value,) = resampled(ones, ones)
        divergences = np.empty(len(values))
        for part in parts:
            marginal = sum(sums(part[some]).sum(axis=0) for some in blocks(len(part))) / counts[part].sum()
            crossed = np.concatenate([xlogy(sums(part[some]), marginal).sum(axis=1) for some in blocks(len(part))])
            divergences[part] = (negentropies[part] - crossed) / counts[part]
        per_clip = {generated.ids[i]: float(divergences[i]) for i in sorted(used)}
        one_part = self.splits == 1  # a subset of several would be divided anew
        return Measured(float(value), n=len(used), per_clip=per_clip, resampled=resampled, subsets=one_part)


def _negentropy(segments: np.ndarray) -> float:
    return float(xlogy(segments, segments).sum())
