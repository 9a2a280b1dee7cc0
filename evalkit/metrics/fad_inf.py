"""FAD extrapolated to infinitely many clips."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.stats import linregress

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.stats.frechet import frechet_distance, gaussian, resampled_frechet_distances, resampled_gaussians
from evalkit.types import Features, Measured

FEWEST, FEW = 5, 100  # clips: none is computed from fewer, and one from fewer is doubtful
GOOD_FIT = 0.9  # R²
UNSURE = 0.02  # standard error of the intercept, as a share of it


@dataclass(frozen=True)
class FADInfinity:
    """FAD∞: the intercept of a line through FAD against 1/n, the FAD of subsets of n clips.

    Chong and Forsyth 2020, "Effectively Unbiased FID and Inception Score"; Gui et al. 2024, "Adapting
    Fréchet Audio Distance for Generative Music Evaluation". FAD is larger the fewer clips there are;
    the intercept is rid of that to first order, and may be negative where the sets hardly differ.
    Otherwise than in fadtk, subsets are of clips, not of windows, which within a clip are alike; they
    are drawn without replacement; and there are several of each size, of which the mean counts.

    Resamples are those of FAD: the line takes bias away, and the intercept varies with the clips as
    FAD does. What the draw of subsets adds is not in the interval.

    Attributes:
        of: "generated" leaves the reference set whole, as published, so what its size adds to FAD
            remains; "both" draws the same prompts from both sets.
        smallest: share of the clips in the smallest subsets.
        sizes: number of sizes, evenly spaced up to all clips.
        subsets: of each size.
        seed: of the subsets.
    """

    encoder: Encoder
    ddof: int = 1
    of: Literal["generated", "both"] = "generated"
    smallest: float = 0.1
    sizes: int = 15
    subsets: int = 20
    seed: int = 0
    kind: ClassVar[str] = "fad_infinity"
    title: ClassVar[str] = "FAD∞"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.ddof not in (0, 1) or self.of not in ("generated", "both"):
            raise EvalkitError(f"FAD∞: ddof={self.ddof}, of={self.of}: set 0 or 1, and generated or both")
        if not 0 < self.smallest < 1 or self.sizes < 3 or self.subsets < 1:
            raise EvalkitError("FAD∞: smallest must be between 0 and 1, sizes at least 3, subsets at least 1")

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare windows (frames, dimensions). Raises EvalkitError for too few clips."""
        pairs = zip(generated.ids, generated.values, reference.values, strict=True)
        # by id, so that the same clips are drawn in whatever order they come
        kept = sorted((i, g, r) for i, g, r in pairs if len(g) and (len(r) or self.of == "generated"))
        ours, theirs = [g for _, g, _ in kept], [r for _, _, r in kept]
        n = len(kept)
        sizes = np.unique(np.linspace(max(2, round(self.smallest * n)), n, self.sizes).round().astype(int))
        if n < FEWEST:
            raise EvalkitError(f"FAD∞: {n} clips of at least one window are too few for a line: use {FEWEST} or more")
        subsets = self._subsets(n, sizes)
        try:
            target = gaussian(reference.values, self.ddof)
        except ValueError as error:
            raise EvalkitError(f"FAD∞: {error}: the reference clips are shorter than one window") from error
        fits = (fit for block in resampled_gaussians(ours, subsets, self.ddof) for fit in zip(*block, strict=True))
        if self.of == "both":
            blocks = resampled_gaussians(theirs, subsets, self.ddof)
            targets = (fit for block in blocks for fit in zip(*block, strict=True))
        else:
            targets = (target for _ in subsets)
        distances = np.array([frechet_distance(*a, *b) for a, b in zip(fits, targets, strict=True)])
        means = np.append(distances[:-1].reshape(-1, self.subsets).mean(axis=1), distances[-1])
        line = linregress(1 / sizes, means)
        frames = sizes[0] * np.mean([len(clip) for clip in ours])

        def resampled(weights: np.ndarray) -> np.ndarray:
            return resampled_frechet_distances(generated.values, reference.values, weights, self.ddof)

        doubts = {
            "the line fits poorly": line.rvalue**2 < GOOD_FIT and line.intercept_stderr > UNSURE * abs(line.intercept),
            f"fewer than {FEW} clips": n < FEW,
            "the smallest subsets have fewer windows than dimensions": frames < ours[0].shape[1],
        }
        note = f"R² {line.rvalue**2:.3f} over {sizes[0]} to {n} clips"
        if any(doubts.values()):
            note += f"; doubtful: {', '.join(doubt for doubt, applies in doubts.items() if applies)}"
        alike = distances[-1] < 1e-6 * np.trace(target[1])  # nothing but rounding, which resamples repeat
        return Measured(float(line.intercept), n=n, resampled=None if alike else resampled, note=note)

    def _subsets(self, n: int, sizes: np.ndarray) -> np.ndarray:
        """Which of n clips are in each subset, (subsets, n): several of each size, and all clips once."""
        rng = np.random.default_rng(self.seed)
        rows = [rng.permutation(n) < size for size in sizes[:-1] for _ in range(self.subsets)]
        return np.array([*rows, np.ones(n, bool)], dtype=np.float64)
