"""Audiobox Aesthetics: what listeners would say of production and content, clip by clip, without references."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from evalkit.encoders import Encoder
from evalkit.encoders.audiobox_aesthetics import AXES
from evalkit.errors import unknown
from evalkit.metrics import mean_over_items
from evalkit.types import Features, Measured

TITLES = {
    "CE": "Audiobox enjoyment",
    "CU": "Audiobox usefulness",
    "PC": "Audiobox complexity",
    "PQ": "Audiobox quality",
}


@dataclass(frozen=True)
class PredictedRating:
    """Mean over clips of one of the four ratings that Audiobox Aesthetics predicts.

    Tjandra et al. 2025, arXiv 2502.05139. Listeners rated from 1 to 10; predictions are in these units, and no limit
    is built into them.

    Attributes:
        axis: "PQ", production quality; "PC", production complexity, of which more is not better; "CE", content
            enjoyment; or "CU", content usefulness.
    """

    encoder: Encoder
    axis: Literal["CE", "CU", "PC", "PQ"]
    kind: ClassVar[str] = "predicted_rating"
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    reference_encoder: ClassVar[None] = None
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise unknown("axis of Audiobox Aesthetics", self.axis, AXES)

    @property
    def title(self) -> str:
        return TITLES[self.axis]

    @property
    def higher_is_better(self) -> bool | None:
        return None if self.axis == "PC" else True

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        """Average one column of scores (1, 4); a clip without samples has none."""
        column = AXES.index(self.axis)
        return mean_over_items(generated.ids, [scores[:, column] for scores in generated.values])
