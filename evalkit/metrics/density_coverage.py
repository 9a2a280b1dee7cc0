"""Density and coverage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.metrics import mean_over_items
from evalkit.stats.neighbours import clip_means, covered, densities
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class DensityCoverage:
    """How densely generated clips lie among references, or how many references have one near.

    Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models". Around each
    reference lies a ball up to its k-th neighbour among the references. Density is the mean number
    of balls that a generated clip lies in, divided by k: about 1 for real music, and it may be more.
    Coverage is the share of balls with a generated clip in them; its values per clip are those of a
    prompt's reference. Both withstand outliers better than precision and recall. Clips are points:
    the means of their frames.

    The balls of all clips (and, for coverage, the generated clips) are taken as they are: density's interval
    is for other generated clips, coverage's for other references.

    Attributes:
        part: which of the two.
    """

    encoder: Encoder
    part: Literal["density", "coverage"]
    k: int = 5
    kind: ClassVar[str] = "density_coverage"
    higher_is_better: ClassVar[bool] = True
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.part not in ("density", "coverage") or self.k < 1:
            raise EvalkitError(f"DensityCoverage: part={self.part}, k={self.k}: set density or coverage, and k from 1")

    @property
    def min_clips(self) -> int:
        return self.k + 1

    @property
    def title(self) -> str:
        return self.part.capitalize()

    @property
    def bounds(self) -> tuple[float, float]:
        return (0.0, math.inf if self.part == "density" else 1.0)

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare clips (frames, dimensions). Raises EvalkitError for k or fewer references."""
        present, points = clip_means(generated.values)
        present_references, centres = clip_means(reference.values)
        if min(len(points), len(centres) - self.k) < 1:
            raise EvalkitError(
                f"{self.title}: {len(centres)} references with features are too few for k={self.k}: "
                "use more prompts, or a smaller k"
            )
        if self.part == "density":
            density = densities(points, centres, self.k)
            return mean_over_items(generated.ids, np.split(density, np.cumsum(present)[:-1]))
        items = np.split(covered(points, centres, self.k), np.cumsum(present_references)[:-1])
        return mean_over_items(reference.ids, items, of_references=True)
