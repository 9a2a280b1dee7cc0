"""What each clip contributes to FAD, for finding outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.stats.frechet import frechet_distance, gaussian
from evalkit.stats.influence import frechet_distances_without
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class FADContribution:
    """The share of FAD that goes away without the clips that contribute most to it.

    A clip's contribution, its value per clip, is FAD minus FAD without that generated clip: positive
    for a clip that makes FAD worse. It is exact, and defined however few windows a clip has; the FAD
    of a clip by itself (Gui et al. 2024) compares a set with the few windows of one clip, and for 19
    windows of 128 dimensions says mostly that they are few. Contributions do not add up to FAD, and as
    FAD grows when clips go, most are negative in a small set: compare them with each other. The
    metric's value is 1 - FAD without the worst clips / FAD, large where few outliers make the FAD.

    There is no interval: which clips are the worst would have to be found anew in each resample.

    Attributes:
        worst: share of clips that are left out, at least one clip.
    """

    encoder: Encoder
    ddof: int = 1
    worst: float = 0.05
    kind: ClassVar[str] = "fad_contribution"
    title: ClassVar[str] = "FAD outlier share"
    min_clips: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.ddof not in (0, 1) or not 0 < self.worst < 1:
            raise EvalkitError("FAD contribution: ddof must be 0 or 1, worst between 0 and 1")

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare windows (frames, dimensions). Raises EvalkitError for fewer than two clips of two windows."""
        used = {i: frames for i, frames in zip(generated.ids, generated.values, strict=True) if len(frames)}
        try:
            whole, without = frechet_distances_without(list(used.values()), reference.values, self.ddof)
        except ValueError as error:
            raise EvalkitError(
                f"FAD contribution: {error}: the clips are too few or shorter than one window"
            ) from error
        if not np.isfinite(without).all():
            raise EvalkitError("FAD contribution: without one clip too few windows are left: use more prompts")
        per_clip = dict(zip(used, (whole - without).tolist(), strict=True))
        worst = set(sorted(used, key=lambda i: (-per_clip[i], i))[: math.ceil(self.worst * len(used))])
        rest = [frames for i, frames in used.items() if i not in worst]
        try:
            left = frechet_distance(*gaussian(rest, self.ddof), *gaussian(reference.values, self.ddof))
        except ValueError as error:
            raise EvalkitError("FAD contribution: too few windows are left: use more prompts") from error
        scale = np.trace(gaussian(reference.values, self.ddof)[1])
        if whole < 1e-6 * scale:  # nothing but rounding, of which clips have no share
            return Measured(0.0, n=len(used), per_clip=per_clip, note="FAD is 0: no clip contributes")
        return Measured(1 - left / whole, n=len(used), per_clip=per_clip)
