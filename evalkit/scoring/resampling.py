"""A metric's values on resamples of the prompts: kept in the cache, and found there by whatever makes them first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.metrics import Metric
from evalkit.plan import Plan
from evalkit.results.clusters import Clusters
from evalkit.results.evidence import Evidence, Side
from evalkit.results.scored import Chosen, compared
from evalkit.settings import Uncertainty
from evalkit.stats.bootstrap import resample
from evalkit.store.cache import Cache
from evalkit.store.collection import Collection as Store
from evalkit.store.digests import digest
from evalkit.store.entry import Item
from evalkit.types import Measured

VERSION = 2  # of the draws and of what is computed from them


class NotYet(Exception):
    """Resamples are not in the cache, and were not to be made."""


@dataclass(frozen=True)
class Resampling:
    """How one metric is resampled, and where that is kept: of all sets of clips that it is given.

    Attributes:
        name: of the metric.
        definition: all that affects its values.
    """

    cache: Cache
    name: str
    metric: Metric
    definition: Any
    uncertainty: Uncertainty

    @property
    def store(self) -> Store:
        """Where the values are."""
        key = {
            "version": VERSION,
            "metric": self.definition,
            "resamples": self.uncertainty.resamples,
            "seed": self.uncertainty.seed,
        }
        return self.cache.collection("resamples", key, self.metric.title)

    def values(self, measured: Measured, chosen: Chosen, sample: int, make: bool = True) -> np.ndarray:
        """A metric's value on each resample, from the cache, since FAD's take longer than all else of a second run.

        They are found by the features and the value itself, so that a metric that computes another value never meets
        the resamples of what it was before. Raises NotYet for what is not there, unless it is to be made.

        Args:
            chosen, sample: what the metric compares, and the number of the pair of which `measured` is the value.
        """
        assert measured.resampled is not None
        options, (ours, theirs) = self.uncertainty, chosen.pairs[sample]
        references, drawn = chosen.references, chosen.drawn
        by_itself = references is not None  # whether the references are resampled by themselves
        # prompts that each stand by themselves are found by what they were before there were clusters
        of_clusters = [] if drawn is None else [[part.tolist() for part in drawn]]
        key = digest([measured.value, ours.digest(), theirs and theirs.digest(), by_itself, *of_clusters])
        found = self.store.read([key]).get(key, Item()).value
        if found is None:
            if not make:
                raise NotYet(self.name)
            found = resample(measured.resampled, len(ours.ids), references, options.resamples, options.seed, drawn)
            if found.shape != (options.resamples,):
                raise EvalkitError(
                    f"metric.{self.name}: resampled gave {found.shape} for {options.resamples} resamples"
                )
            self.store.write({key: Item(found)})
        return found


def resampling_of(plan: Plan, metric: str) -> Resampling:
    """How a run resamples one of its metrics."""
    return Resampling(plan.cache, metric, plan.metrics[metric], plan.definition(metric), plan.uncertainty)


@dataclass(frozen=True)
class Asked:
    """One score whose resamples another process can make from the features that a run keeps.

    Attributes:
        metric: its name.
        sides: of each sample.
        sets: whether the metric compares two sets of clips.
        only: the ids of the prompts that count; None for all.
        clusters: of the prompts, as the metric takes them.
    """

    metric: str
    sides: tuple[tuple[Side, Side | None], ...]
    sets: bool
    only: tuple[str, ...] | None
    clusters: Clusters

    def make(self, resampling: Resampling, evidence: Evidence) -> None:
        """Make the resamples of all samples that are not in the cache."""
        pairs = [(evidence.of(ours), evidence.of(theirs) if theirs else None) for ours, theirs in self.sides]
        chosen = compared(pairs, self.sets, self.only, self.clusters)
        for sample, pair in enumerate(chosen.pairs):
            resampling.values(resampling.metric(*pair), chosen, sample)
