"""Clips that a metric measured and people heard: how both order them, all of them or those of one prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.listening.gathered import Choices, Ratings
from evalkit.stats.correlation import coefficients, concordance, fisher, pairs_within

LEAST = 3  # clips, with fewer of which there is no correlation


class Clips:
    """Clips that have both a value of a metric and a rating.

    Attributes:
        values: of the metric, (clips,).
        system, prompt: the places of each clip's, (clips,).
    """

    def __init__(self, data: Ratings | Choices, values: np.ndarray):
        """Take what both know.

        Args:
            values: of a metric, (systems, prompts); NaN where there is none.
        """
        self._sums, self._counts = _cells(data)
        self._chosen = np.isfinite(values) & (self._counts.sum(axis=1) > 0)
        self.values: np.ndarray = values[self._chosen]
        self.system, self.prompt = (place[self._chosen] for place in np.indices(values.shape))

    def ratings(self, raters: np.ndarray) -> np.ndarray:
        """The mean rating of each clip where each rater counts so often, (clips,); NaN where none has rated it."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.tensordot(raters, self._sums, (0, 1)) / np.tensordot(raters, self._counts, (0, 1))
        rated: np.ndarray = found[self._chosen]
        return rated

    def over(self, within: bool, with_accuracy: bool = False) -> Over | None:
        """Correlations over all clips, or within prompts; None where there are too few clips for any."""
        groups = self.prompt if within else np.zeros_like(self.prompt)
        pairs = pairs_within(groups) if within else None
        if len(self.values) < LEAST or (pairs is not None and not pairs.size):
            return None
        return Over(self, groups, pairs, with_accuracy)


@dataclass(frozen=True)
class Over:
    """What correlations of clips are over.

    Attributes:
        groups: of each clip, within which correlations are.
        pairs: clips of the same group, two and two; None where all clips are one group, in which they are too many.
        with_accuracy: whether Somers' d, from which pairwise accuracy follows, stands behind the other coefficients.
    """

    clips: Clips
    groups: np.ndarray
    pairs: np.ndarray | None
    with_accuracy: bool

    @property
    def n(self) -> int:
        """Groups, or clips where all are one."""
        return len(self.clips.values) if self.pairs is None else len(np.unique(self.groups))

    def coefficients(self, ratings: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Compute Pearson's, Spearman's and Kendall's coefficient, and d if wanted; NaN where there is none.

        Args:
            ratings, weights: of clips, as of `evalkit.stats.correlation.coefficients`.
        """
        x = self.clips.values
        found = coefficients(x, ratings, weights, self.groups, self.pairs)
        if not self.with_accuracy:
            return found
        d = np.nan if self.pairs is None else concordance(x, ratings, weights, self.pairs)
        return np.array([*found, d])

    def statistic(self, raters: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        """The coefficients as a statistic for `evalkit.stats.crossed`: (draws, coefficients)."""
        return np.array(
            [
                self.coefficients(self.clips.ratings(by_rater), by_prompt[self.clips.prompt])
                for by_rater, by_prompt in zip(raters, prompts, strict=True)
            ]
        )

    def transformed(self, raters: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        """The same in Fisher's z."""
        return fisher(self.statistic(raters, prompts), self.n)


def _cells(data: Ratings | Choices) -> tuple[np.ndarray, np.ndarray]:
    """What each rater said of each clip, and of how many questions, (systems, raters, prompts)."""
    if isinstance(data, Ratings):
        return data.sums, data.counts
    return (data.wins + data.ties / 2).sum(axis=1), data.played.sum(axis=1)
