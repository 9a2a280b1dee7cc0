"""Metrics: one file each, all with one signature; here is what the pipeline asks of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from evalkit.encoders import Encoder
from evalkit.types import Features, Measured


def mean_over_items(ids: Sequence[str], items: Sequence[ArrayLike], of_references: bool = False) -> Measured:
    """The mean over all items (frames, segments) of all clips, of which each may have several or none.

    Args:
        items: of each id an array (items,), or one number.
        of_references: whether the clips that are averaged are the references.

    Returns the value with `per_clip`, `parts` and `resampled`: all that an additive metric hands over.
    """
    sums, counts = [float(np.sum(x, dtype=np.float64)) for x in items], [float(np.size(x)) for x in items]
    return mean_of_parts(ids, sums, counts, of_references)


def mean_of_parts(
    ids: Sequence[str], sums: Sequence[float], counts: Sequence[float], of_references: bool = False
) -> Measured:
    """The mean over all items of all clips, from each clip's sum and number of items, in the order of the ids."""
    totals, numbers = np.array(sums, np.float64), np.array(counts, np.float64)

    def resampled(generated_weights: np.ndarray, reference_weights: np.ndarray) -> np.ndarray:
        weights = reference_weights if of_references else generated_weights
        with np.errstate(invalid="ignore"):
            values: np.ndarray = (weights @ totals) / (weights @ numbers)
        return values

    ones = np.ones((1, len(ids)))
    (value,) = resampled(ones, ones)
    parts = dict(zip(ids, zip(totals.tolist(), numbers.tolist(), strict=True), strict=True))
    per_clip = {i: total / count for i, (total, count) in parts.items() if count}
    return Measured(float(value), n=len(per_clip), per_clip=per_clip, parts=parts, resampled=resampled)


class Metric(Protocol):
    """A number for a set of generated clips: a frozen dataclass that declares all of these.

    There are no defaults, so that no metric is taken for what it does not say that it is. One that has no value
    for few clips may declare `min_clips` too, the least that it needs: a run of fewer prompts is refused at once.
    """

    @property
    def kind(self) -> str:
        """What name its results are kept under; it stays when the class moves."""

    @property
    def title(self) -> str:
        """What the table calls it."""

    @property
    def higher_is_better(self) -> bool | None:
        """Whether a higher value is better; None if neither a higher nor a lower one is."""

    @property
    def bounds(self) -> tuple[float, float]:
        """What all values lie between, where intervals end; -inf and inf where there are no limits.

        A mean of clips of which each is at one or the other, as of 0 and 1, is a share, and gets a share's interval.
        """

    @property
    def clip_by_clip(self) -> bool:
        """Whether each clip is compared with its own reference clip, so that sets of unlike clips have no value."""

    @property
    def additive(self) -> bool:
        """Whether the value is the sum of the clips' sums over the sum of their counts, for any set of prompts.

        Each clip's sum and count, in `Measured.parts`, must depend on that clip and its own reference or
        caption alone: they are stored, and the values of subsets are computed from them. False where a value
        depends on the set as a whole, as that of FAD does, or a clip's on the others, as precision's does.
        """

    @property
    def encoder(self) -> Encoder:
        """What turns the generated clips into features."""

    @property
    def reference_encoder(self) -> Encoder | None:
        """What turns what they are compared with into features: clips, captions or, with None, nothing."""

    def __call__(self, generated: Features, reference: Any) -> Measured:
        """Compute the value from features.

        Args:
            generated, reference: Features of the same ids in the same order; `reference` is None where
                `reference_encoder` is.

        Raises EvalkitError where there is none, as for too few clips.
        """
