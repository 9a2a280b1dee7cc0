"""SongEval: what musicians would say of a song, clip by clip, without references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from evalkit.encoders import Encoder
from evalkit.encoders.songeval import AXES
from evalkit.errors import unknown
from evalkit.metrics import mean_over_items
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class SongRating:
    """Mean over clips of one of the five ratings, from 1 to 5, that SongEval predicts.

    Yao et al. 2025, arXiv 2505.10793. Musicians rated whole songs with vocals, and the network was trained on such: for
    short or instrumental clips nobody has shown what its ratings mean.

    Attributes:
        axis: "coherence", of the whole; "musicality", of the whole; "memorability"; "clarity", of the song's structure;
            or "naturalness", of breathing and phrasing in the vocals.
    """

    encoder: Encoder
    axis: Literal["coherence", "musicality", "memorability", "clarity", "naturalness"]
    kind: ClassVar[str] = "song_rating"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (1.0, 5.0)
    reference_encoder: ClassVar[None] = None
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise unknown("axis of SongEval", self.axis, AXES)

    @property
    def title(self) -> str:
        return f"SongEval {self.axis}"

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        """Average one column of ratings (1, 5); a clip too short for a frame of MuQ has none."""
        column = AXES.index(self.axis)
        return mean_over_items(generated.ids, [ratings[:, column] for ratings in generated.values])
