"""MAUVE audio divergence."""

from __future__ import annotations

import functools
import importlib.util
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.stats import mauve
from evalkit.stats.bootstrap import draws
from evalkit.types import Features, Measured

FEWEST = 20  # clips, of which a cluster has ten of either set on average
SAMPLES = 20  # of the clips, in which clusters are found anew for the interval

ROUNDING = 1e-9  # a difference that is nothing else
NOTHING = "no interval: MAD is 0, for every cluster has equal shares of generated clips and references"
EVERYTHING = "no interval: MAD is as large as it can be, for no cluster has generated clips and references"

Sides = tuple[np.ndarray, np.ndarray]  # of generated clips, and of references


@dataclass(frozen=True)
class MAD:
    """-ln MAUVE: how little generated clips and references overlap, by the clusters that both fall into.

    Huang et al. 2025, "Aligning Text-to-Music Evaluation with Human Preferences" (arXiv 2503.16669), whose package is
    mad-metric: each clip is one point, the maximum of its embedding over time; all points, brought to length 1, are
    reduced to the principal components with 90 % of the variance and divided by k-means into as many clusters as there
    are tens of clips in the smaller set; from the shares of both sets in each cluster follows MAUVE (Pillutla et al.
    2021). Between 0 and 5.5, which is that of sets without a cluster in common.

    Two sets of one kind are not at 0, and of sets that differ the value grows with the number of clips, because
    clusters become finer: compare at the same number (docs/uncertainty.md).

    k-means finds other clusters from other starts, and the order of the files is one: the package takes them as the
    folder lists them. Here each set is sorted by its points, and the value is the mean over several starts, the first
    of which is the package's.

    Other clips would have other clusters, and those move the value more than the clips do by themselves. So a resample
    takes its clusters from one of 20 other resamples, and two sides are compared as parts of one set, in the same
    clusters.

    Attributes:
        clusterings: how many starts. 1 for the package's own single one, which varies more.
    """

    encoder: Encoder
    clusterings: int = 5
    kind: ClassVar[str] = "mad"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "MAD"
    min_clips: ClassVar[int] = FEWEST
    higher_is_better: ClassVar[bool] = False
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.clusterings < 1:
            raise EvalkitError(f"MAD: clusterings={self.clusterings}: must be at least 1")
        if importlib.util.find_spec("faiss") is None:
            raise EvalkitError("MAD: the package faiss-cpu is not installed: pip install 'evalkit[mad]'")

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, _farthest()

    @property
    def reference_encoder(self) -> Encoder:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare clips (frames, dimensions). Raises EvalkitError for fewer than 20 with frames on either side."""
        ours, theirs = (_Points(side) for side in (generated, reference))
        for name, side in (("generated clips", ours), ("references", theirs)):
            if len(side.points) < FEWEST:
                raise EvalkitError(f"MAD: {len(side.points)} {name} with features are too few: use {FEWEST} or more")
            if not np.isfinite(side.points).all():
                raise EvalkitError(f"MAD: the features of the {name} are not finite")
        border, starts = len(theirs.points), [mauve.SEED + start for start in range(self.clusterings)]
        number = max(2, round(min(len(ours.points), border) / 10))
        # all components, which are fewer than dimensions where points are few; k-means takes the leading ones
        points = mauve.components(mauve.directions(np.concatenate([theirs.points, ours.points])), share=1.0)

        def labelled(counts: np.ndarray | None) -> list[Sides]:
            leading = mauve.components(points, weights=counts)
            found = (mauve.clustered(leading, number, start, counts) for start in starts)
            return [(one[border:], one[:border]) for one in found]

        labels = labelled(None)

        @functools.cache
        def anew() -> list[list[Sides]]:
            paired = generated.ids == reference.ids
            drawn = draws(len(generated.ids), SAMPLES, 0)
            others = drawn if paired else draws(len(reference.ids), SAMPLES, 0, side=1)
            both = np.concatenate([others[:, theirs.places], drawn[:, ours.places]], axis=1)
            return [labelled(counts) for counts in both]

        def kept(generated_weights: np.ndarray, reference_weights: np.ndarray) -> np.ndarray:
            weights = generated_weights[:, ours.places], reference_weights[:, theirs.places]
            return np.mean([_values(both, number, weights) for both in labels], axis=0)

        def resampled(generated_weights: np.ndarray, reference_weights: np.ndarray) -> np.ndarray:
            weights = generated_weights[:, ours.places], reference_weights[:, theirs.places]
            # which of the samples a resample takes its clusters from is by chance, but always the same
            sample = np.rint(generated_weights @ np.arange(len(generated.ids))).astype(int) % SAMPLES
            values = np.empty(len(sample))
            for chosen in np.unique(sample):
                rows = sample == chosen
                some = weights[0][rows], weights[1][rows]
                of_starts = [_values(both, number, some) for both in anew()[chosen]]
                values[rows] = np.mean(of_starts, axis=0)
            return values

        def influence() -> np.ndarray:
            slopes = []
            for own, other in labels:
                p, q = (mauve.shares(one, number, np.ones((1, len(one))))[0] for one in (own, other))
                of_clusters = -mauve.log_slopes(p, q)
                slopes.append((of_clusters[own] - p @ of_clusters) / len(own))
            moved = np.zeros(len(generated.ids))
            moved[ours.places] = np.mean(slopes, axis=0)
            return moved

        value = kept(*(np.ones((1, len(side.ids))) for side in (generated, reference))).item()
        # where sets are wholly alike or apart resamples in pairs would all be so, and claim to be sure of it
        note = NOTHING if value < ROUNDING else EVERYTHING if value > _farthest() - ROUNDING else ""
        return Measured(
            value, n=len(ours.points), resampled=None if note else resampled, subsets=True, kept=kept, together=True,
            influence=influence, note=note,
        )  # fmt: skip


class _Points:
    """The clips of a set that have frames, as points, sorted by these.

    Attributes:
        places: of each point's clip among those of the set, (points,).
        points: (points, dimensions).
    """

    def __init__(self, features: Features):
        present = np.array([i for i, frames in enumerate(features.values) if len(frames)], int)
        points = np.array([features.values[i].max(axis=0) for i in present])
        order = np.lexsort(points.T[::-1]) if len(points) else present
        self.places, self.points = present[order], points[order]


def _values(labels: Sides, number: int, weights: Sides) -> np.ndarray:
    """-ln MAUVE of each resample, (resamples,), from the clusters that both sides' points are in, of so many."""
    p, q = (mauve.shares(own, number, counts) for own, counts in zip(labels, weights, strict=True))
    result: np.ndarray = -np.log(mauve.area(mauve.divergence_curve(p, q)))
    return result


@functools.cache
def _farthest() -> float:
    """-ln MAUVE of two sets that have no cluster in common."""
    return -math.log(mauve.area(mauve.divergence_curve(np.eye(2)[:1], np.eye(2)[1:])).item())
