"""Fréchet audio distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.stats.frechet import frechet_distance, gaussian, resampled_frechet_distances
from evalkit.stats.influence import frechet_influences
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class FAD:
    """Fréchet distance between Gaussians fitted to all windows of all clips of each set.

    Kilgour et al. 2019, "Fréchet Audio Distance". Windows count equally, so longer clips weigh more.
    """

    encoder: Encoder
    ddof: int = 1
    title: str = "FAD"
    kind: ClassVar[str] = "fad"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.ddof not in (0, 1):
            raise EvalkitError(f"FAD: ddof={self.ddof}: must be 0 or 1")

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare windows (frames, dimensions). Raises EvalkitError for fewer than two windows."""
        fits: list[np.ndarray] = []
        for name, features in (("generated", generated), ("reference", reference)):
            try:
                fits += gaussian(features.values, self.ddof)
            except ValueError as error:
                raise EvalkitError(f"FAD: {error}: the {name} clips are too few or shorter than one window") from error

        def resampled(generated_weights: np.ndarray, reference_weights: np.ndarray) -> np.ndarray:
            weights = generated_weights, reference_weights
            return resampled_frechet_distances(generated.values, reference.values, *weights, self.ddof)

        def influence() -> np.ndarray:
            return frechet_influences(generated.values, *fits)

        n = sum(len(frames) > 0 for frames in generated.values)
        return Measured(frechet_distance(*fits), n=n, resampled=resampled, subsets=True, influence=influence)
