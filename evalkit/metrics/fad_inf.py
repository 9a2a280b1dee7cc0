"""FAD extrapolated to infinitely many clips."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.stats.frechet import effective_sample_size, gaussian, resampled_frechet_distances
from evalkit.types import Features, Measured

PARTS = (1, 2, 3, 4)  # all clips, halves, thirds, quarters
FEWEST = 12  # clips: the smallest sets that docs/uncertainty.md measures
WORTH = 2  # independent windows per dimension


@dataclass(frozen=True)
class FADInfinity:
    """FAD∞: FAD extrapolated from all clips, halves, thirds and quarters to infinitely many.

    FAD is larger the fewer clips there are. Chong and Forsyth 2020, "Effectively Unbiased FID and Inception Score",
    and Gui et al. 2024, "Adapting Fréchet Audio Distance for Generative Music Evaluation", draw a line through it
    against 1/n; here it is a parabola (least squares), because FAD is not a line of as few clips as music is
    evaluated on. The value may be slightly negative where the sets hardly differ.

    Both sets are divided, by the same prompts where they are paired. In those papers generated clips alone are,
    against a large reference set that has nothing to do with them. Here each clip has its own reference, and what
    the two have in common makes whole sets alike, but not a part of one and the whole other: the extrapolation
    would fall below zero. Parts are of clips, not of windows, which within a clip are alike. docs/uncertainty.md
    has the measured bias of each way.

    Resamples are those of FAD: the value varies with the clips as FAD does. The interval is about the FAD of
    infinitely many clips.

    Attributes:
        repeats: how many times clips are divided at random into each number of parts; their FADs are averaged.
        seed: of the divisions.
    """

    encoder: Encoder
    ddof: int = 1
    repeats: int = 5
    seed: int = 0
    kind: ClassVar[str] = "fad_infinity"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "FAD∞"
    min_clips: ClassVar[int] = FEWEST
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.ddof not in (0, 1) or self.repeats < 1:
            raise EvalkitError(f"FAD∞: ddof={self.ddof}, repeats={self.repeats}: set 0 or 1, and at least 1")

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare windows (frames, dimensions). Raises EvalkitError for too few clips."""
        # by id, so that the same clips are drawn in whatever order they come
        sets = [{i: v for i, v in sorted(zip(s.ids, s.values, strict=True)) if len(v)} for s in (generated, reference)]
        paired = generated.ids == reference.ids
        if paired:
            sets = [{i: one[i] for i in one if i in other} for one, other in (sets, sets[::-1])]
        ours, theirs = (list(one.values()) for one in sets)
        for clips in (ours, theirs):
            n = len(clips)
            if n < FEWEST:
                raise EvalkitError(f"FAD∞: {n} clips of at least one window are too few: use {FEWEST} or more")
            worth, needed = effective_sample_size(clips), WORTH * clips[0].shape[1]
            if worth < needed:
                raise EvalkitError(
                    f"FAD∞: {n:,} clips, whose windows are alike, are worth {worth:,.0f} independent windows, too few "
                    f"to extrapolate from with {clips[0].shape[1]:,} dimensions: use {math.ceil(needed * n / worth):,} "
                    "clips or more"
                )
        rng = np.random.default_rng(self.seed)
        parts, weights = self._parts(len(ours), rng)
        other_weights = weights if paired else self._parts(len(theirs), rng)[1]
        distances = resampled_frechet_distances(ours, theirs, weights, other_weights, self.ddof)
        means = [distances[parts == k].mean() for k in PARTS]
        value = float(np.polyfit(PARTS, means, 2)[-1])  # k parts are of n/k clips: against k is against 1/n

        def resampled(generated_weights: np.ndarray, reference_weights: np.ndarray) -> np.ndarray:
            weights = generated_weights, reference_weights
            return resampled_frechet_distances(generated.values, reference.values, *weights, self.ddof)

        if means[0] < 1e-6 * np.trace(gaussian(theirs, self.ddof)[1]):
            return Measured(value, n=len(ours), note="no interval: FAD is 0 but for rounding")
        return Measured(value, n=len(ours), resampled=resampled)

    def _parts(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Divide n clips again and again: into how many parts, (parts,), and which are in each part, (parts, n)."""
        numbers, rows = [], []
        for k in PARTS:
            for _ in range(self.repeats if k > 1 else 1):
                place = rng.permutation(n) % k
                rows += [place == part for part in range(k)]
                numbers += [k] * k
        return np.array(numbers), np.array(rows, dtype=np.float64)
