"""Whether a clip's CLAP embedding finds its caption among all captions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.metrics import mean_over_items
from evalkit.stats.divergence import cosine_similarity
from evalkit.stats.neighbours import clip_means
from evalkit.types import Features, Measured

ROWS = 256  # clips whose similarities to all captions are in memory at once, at most
SIMILARITIES = 2**22  # that are in memory at once
ROUNDING = 1e-12  # cosines that differ by no more are a tie


@dataclass(frozen=True)
class RetrievalRecall:
    """R@k: share of clips whose own caption is among the k most similar ones, of the captions of all clips.

    Ties are broken by chance, and counted as their expectation: if all captions are as similar as
    the right one, R@1 is 1/n, not 1. A second caption with the same words is a wrong one. Values depend
    on the number of captions, so compare them at the same n only. Values per clip are ranks from 1,
    the middle one in a tie. The interval is for other clips, with the same captions to choose from.
    """

    encoder: Encoder
    text_encoder: Encoder
    k: int
    kind: ClassVar[str] = "retrieval_recall"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.k < 1:
            raise EvalkitError(f"R@k: k={self.k}: must be at least 1")

    @property
    def min_clips(self) -> int:
        return self.k + 1

    @property
    def title(self) -> str:
        return f"CLAP R@{self.k}"

    @property
    def reference_encoder(self) -> Encoder:
        return self.text_encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Rank captions for each clip, embeddings (1, dimensions). Raises EvalkitError for k or fewer captions."""
        clips, captions = vectors(self.title, generated), vectors(self.title, reference)
        if len(captions) <= self.k:
            raise EvalkitError(f"{self.title}: all of {len(captions)} captions would count: use more prompts")
        better, tied = ranks(clips, captions)
        # of the places better+1 … better+1+tied, each as likely for the right caption, those up to k are hits
        hits = np.clip((self.k - better) / (tied + 1), 0, 1)
        measured = mean_over_items(generated.ids, list(hits[:, None]))
        per_clip = dict(zip(generated.ids, (1 + better + tied / 2).tolist(), strict=True))
        return replace(measured, per_clip=per_clip)


@dataclass(frozen=True)
class CaptionMargin:
    """CLAP score with each clip's own caption, minus that with the captions shuffled.

    The shuffle is seeded, and no clip keeps its caption. A margin of 0 says that the score tells
    nothing about the captions.
    """

    encoder: Encoder
    text_encoder: Encoder
    seed: int = 0
    kind: ClassVar[str] = "caption_margin"
    title: ClassVar[str] = "CLAP margin"
    min_clips: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    @property
    def reference_encoder(self) -> Encoder:
        return self.text_encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Compare embeddings (1, dimensions). Raises EvalkitError for fewer than two clips."""
        clips, captions = vectors(self.title, generated), vectors(self.title, reference)
        if len(clips) < 2:
            raise EvalkitError(f"{self.title}: one clip has no other caption: use more prompts")
        others = captions[shuffled(generated.ids, self.seed)]
        margins = cosine_similarity(clips, captions) - cosine_similarity(clips, others)
        return mean_over_items(generated.ids, list(margins[:, None]))


def vectors(title: str, features: Features) -> np.ndarray:
    """One vector per clip or caption (n, d). Raises EvalkitError for one that has none."""
    present, means = clip_means(features.values)
    if not present.all():
        raise EvalkitError(f"{title}: '{features.ids[int(np.argmin(present))]}' has no embedding")
    return means


def ranks(clips: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many captions are more similar to each clip than its own, and how many others exactly as similar, (n,)."""
    units = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-8) for x in (clips, captions)]
    better, tied = np.empty(len(clips)), np.empty(len(clips))
    size = max(1, min(ROWS, SIMILARITIES // len(captions)))
    for start in range(0, len(clips), size):
        rows = slice(start, start + size)
        similarities = units[0][rows] @ units[1].T
        lead = similarities - np.diagonal(similarities, start)[:, None]
        better[rows] = (lead > ROUNDING).sum(axis=1)
        tied[rows] = (np.abs(lead) <= ROUNDING).sum(axis=1) - 1
    return better, tied


def shuffled(ids: tuple[str, ...], seed: int) -> np.ndarray:
    """For each id the index of another, (n,): a random cycle through all, the same in whatever order the ids come."""
    order = np.argsort(np.array(ids))
    cycle = order[np.random.default_rng(seed).permutation(len(ids))]
    other = np.empty(len(ids), dtype=int)
    other[cycle] = np.roll(cycle, 1)
    return other
