"""Improved precision and recall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.metrics import mean_over_items
from evalkit.stats.neighbours import clip_means, near_set
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class PrecisionRecall:
    """Share of one set's clips that lie near clips of the other set.

    Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models":
    a clip lies near another if it is no farther from it than that one's k-th neighbour in its own set.
    Precision is the share of generated clips that lie near references (how many are like music),
    recall the share of references that lie near generated clips (how much of music is reached); its
    values per clip are those of a prompt's reference. Clips are points: the means of their frames.

    The neighbourhoods of all clips are taken as they are: the interval is for other clips of the set whose
    share is taken, with the same clips of the other set.

    Attributes:
        part: which of the two.
    """

    encoder: Encoder
    part: Literal["precision", "recall"]
    k: int = 3
    kind: ClassVar[str] = "precision_recall"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.part not in ("precision", "recall") or self.k < 1:
            raise EvalkitError(f"PrecisionRecall: part={self.part}, k={self.k}: set precision or recall, and k from 1")

    @property
    def min_clips(self) -> int:
        return self.k + 1

    @property
    def title(self) -> str:
        return self.part.capitalize()

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare clips (frames, dimensions). Raises EvalkitError for k or fewer clips."""
        sets = (generated, reference) if self.part == "precision" else (reference, generated)
        (present, points), (_, centres) = (clip_means(features.values) for features in sets)
        if min(len(points), len(centres) - self.k) < 1:
            raise EvalkitError(
                f"{self.title}: {len(centres)} clips with features are too few for k={self.k}: "
                "use more prompts, or a smaller k"
            )
        items = np.split(near_set(points, centres, self.k), np.cumsum(present)[:-1])
        return mean_over_items(sets[0].ids, items, of_references=self.part == "recall")
