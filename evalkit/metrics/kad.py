"""Kernel audio distance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.stats.kernel import median_distance, unbiased_mmd
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class KAD:
    """Unbiased squared maximum mean discrepancy between the windows of all clips of each set.

    Chung et al. 2025, "KAD: No More FAD!": a Gaussian kernel whose bandwidth is the median distance of
    the reference windows, and a scale of 100, as in kadtk. Two differences from kadtk 1.0: it takes
    the bandwidth from the generated set, against its own description; and its authors recommend
    PANNs' embeddings, not VGGish's. The value may be negative where the sets hardly differ.
    It is unbiased for independent windows; those of a clip are alike, so that it is larger the fewer clips there
    are (docs/uncertainty.md): compare at the same number.

    Resamples, and subsets, keep the bandwidth, which is a part of the kernel: without it two of them could not be
    compared. Near zero their interval is a rough one.

    Attributes:
        scale: what the discrepancy is multiplied by.
        bandwidth: in place of the median distance.
        bandwidth_frames: the median of more reference windows is that of a sample of this many.
        seed: of that sample.
    """

    encoder: Encoder
    scale: float = 100.0
    bandwidth: float | None = None
    bandwidth_frames: int = 4000
    seed: int = 0
    title: str = field(default="KAD", metadata={"identity": False})
    kind: ClassVar[str] = "kad"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.scale <= 0 or (self.bandwidth is not None and self.bandwidth <= 0) or self.bandwidth_frames < 2:
            raise EvalkitError("KAD: scale and bandwidth must be positive, bandwidth_frames at least 2")

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare windows (frames, dimensions). Raises EvalkitError for fewer than two windows, or equal ones."""
        for name, features in (("generated", generated), ("reference", reference)):
            if (count := sum(map(len, features.values))) < 2:
                raise EvalkitError(
                    f"KAD: {count} windows are too few: the {name} clips are too few or shorter than one window"
                )
        bandwidth = self.bandwidth or median_distance(reference.values, self.bandwidth_frames, self.seed)
        if not bandwidth:
            raise EvalkitError("KAD: most reference windows are equal, so they give no bandwidth: set bandwidth")

        def resampled(generated_weights: np.ndarray, reference_weights: np.ndarray) -> np.ndarray:
            weights = generated_weights, reference_weights
            return self.scale * unbiased_mmd(generated.values, reference.values, *weights, bandwidth)

        (value,) = resampled(*(np.ones((1, len(side.ids))) for side in (generated, reference)))
        n = sum(len(frames) > 0 for frames in generated.values)
        return Measured(float(value), n=n, resampled=resampled, subsets=True)
