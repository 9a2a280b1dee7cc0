"""What limits are computed from: the prompts of a record as units, and each metric's sums and counts by prompt."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.report.numbers import counted
from evalkit.results import recompute
from evalkit.results.clusters import of_record
from evalkit.results.record import MetricInfo, Record
from evalkit.results.summary import unique_titles
from evalkit.stats import gaps, paired
from evalkit.stats.estimate import Estimate
from evalkit.stats.gaps import Mean
from evalkit.stats.means import ratio

Bounds = tuple[float, float]


@dataclass(frozen=True, eq=False)
class ByPrompt:
    """An additive metric by prompt.

    Attributes:
        ids: of the prompts that have items.
        sums, counts: of the items of each clip, (samples, prompts).
        which: the unit of each prompt, (prompts,).
        number: of the units of all prompts of the record.
        bounds: between which all values lie.
    """

    ids: Sequence[str]
    sums: np.ndarray
    counts: np.ndarray
    which: np.ndarray
    number: int
    bounds: Bounds

    def of(self, chosen: Collection[str]) -> ByPrompt | None:
        """Those of some prompts; None where a sample has no items of them."""
        inside = np.array([i in chosen for i in self.ids], bool)
        counts = self.counts[:, inside]
        if not inside.any() or not counts.any(axis=1).all():
            return None
        ids = [i for i, here in zip(self.ids, inside, strict=True) if here]
        return ByPrompt(ids, self.sums[:, inside], counts, self.which[inside], self.number, self.bounds)

    @functools.cached_property
    def mean(self) -> Mean:
        """The mean with its interval, over units."""
        return gaps.mean(self.sums, self.counts, self.which, self.number, self.bounds)

    @property
    def share(self) -> bool:
        """Whether each clip has something or has not."""
        return self.bounds == (0.0, 1.0) and bool((self.counts <= 1).all() and np.isin(self.sums, (0, 1)).all())

    @property
    def value(self) -> float:
        """The mean over items, averaged over samples."""
        return self.mean.value


@dataclass(frozen=True, eq=False)
class Model:
    """A row of a record, of whose limits something is said."""

    record: Record
    row: str

    @functools.cached_property
    def prompts(self) -> pd.DataFrame:
        """The record's prompts by id, with columns caption, unit, language and translation."""
        frame = self.record.prompts.set_index("id")
        absent = pd.Series("", index=frame.index)
        language, translation = (
            frame[name].fillna("") if name in frame else absent for name in ("language", "translation")
        )
        unit = frame.index.map(of_record(self.record).unit)
        return pd.DataFrame(
            {"caption": frame["caption"], "unit": unit, "language": language, "translation": translation}
        )

    @functools.cached_property
    def units(self) -> Mapping[str, int]:
        """The number of each prompt's unit, by its id: from 0, in the order of their names."""
        names = {name: number for number, name in enumerate(sorted(set(self.prompts["unit"])))}
        return {str(i): names[name] for i, name in self.prompts["unit"].items()}

    @property
    def number(self) -> int:
        """How many units there are."""
        return len(set(self.units.values()))

    @functools.cached_property
    def unit(self) -> str:
        """What a unit is called: a caption where all of its prompts have the same, such as translations of one."""
        if self.number == len(self.prompts):
            return "prompt"
        return "caption" if self.prompts.groupby("unit")["caption"].nunique().eq(1).all() else "cluster"

    def counted(self, sums: ByPrompt) -> str:
        """On how many prompts a metric was measured, in words, and on how many units where these are others."""
        prompts, units = counted(len(sums.ids), "prompt"), sums.mean.units
        return prompts if units == len(sums.ids) else f"{prompts} ({counted(units, self.unit)})"

    @functools.cached_property
    def seconds(self) -> str:
        """How long clips are, such as "10 s" or "1.9 to 10 s"; empty where that is not known."""
        clips = self.record.clips
        lengths = clips["length"][(clips["model"] == self.row) & clips["status"].eq("ok")].dropna()
        ends = dict.fromkeys(f"{length:.3g}" for length in (lengths.min(), lengths.max())) if len(lengths) else {}
        return f"{' to '.join(ends)} s" if ends else ""

    @property
    def level(self) -> float:
        """Confidence of intervals."""
        return float(self.record.uncertainty["level"])

    @functools.cached_property
    def titles(self) -> Mapping[str, str]:
        """The metrics' titles."""
        return unique_titles(self.record.metrics)

    def metric(self, kind: str) -> str | None:
        """The name of the first metric of a kind that has a value; None where there is none."""
        for name, info in self.record.metrics.items():
            if info.definition.get("kind") == kind and self.has(name):
                return name
        return None

    def has(self, metric: str) -> bool:
        """Whether the record has a value of a metric."""
        scores = self.record.scores
        own = scores[(scores["model"] == self.row) & (scores["metric"] == metric)]
        return bool(np.isfinite(own["value"]).any())

    def of_kind(self, kind: str) -> ByPrompt | None:
        """The first additive metric of a kind by prompt; None where it has no value."""
        name = self.metric(kind)
        return self.sums(name) if name else None

    def info(self, metric: str) -> MetricInfo:
        """What the record says of a metric."""
        return self.record.metrics[metric]

    def sums(self, metric: str) -> ByPrompt | None:
        """An additive metric by prompt; None where it has no value."""
        if metric not in self._sums:
            self._sums[metric] = self._read(metric)
        return self._sums[metric]

    @functools.cached_property
    def _sums(self) -> dict[str, ByPrompt | None]:
        return {}

    def _read(self, metric: str) -> ByPrompt | None:
        try:
            ids, measured = recompute.measure(self.record, self.row, metric)
        except EvalkitError:
            return None
        parts = np.array([[one.parts[i] for i in ids] for one in measured]).transpose(2, 0, 1)
        sums, counts = parts
        present = (counts > 0).any(axis=0) & np.isfinite(sums).all(axis=0)
        if not present.any():
            return None
        low, high = self.info(metric).bounds
        bounds = -math.inf if low is None else low, math.inf if high is None else high
        kept = [i for i, here in zip(ids, present, strict=True) if here]
        which = np.array([self.units[i] for i in kept])
        return ByPrompt(kept, sums[:, present], counts[:, present], which, self.number, bounds)


def paired_by_unit(base: ByPrompt, own: ByPrompt) -> tuple[Estimate | None, np.ndarray | None, int]:
    """Estimate by how much one side exceeds another on the units that both have, as `evalkit compare` would.

    The prompts of a unit count together, on either side, whichever of them there are.

    Returns the estimate, how each unit moves it, (units,), and how many units there are; None where there is none.
    """
    common = np.intersect1d(own.which, base.which)
    if not len(common):
        return None, None, 0
    before, after = (_by_unit(side, common) for side in (base, own))
    influence = np.zeros(own.number)
    influence[common] = (ratio(*after)[1] - ratio(*before)[1]) / len(common)
    if base.share and own.share and all((counts == 1).all() for _, counts in (before, after)):
        old, new = before[0].mean(axis=0), after[0].mean(axis=0)
        more, fewer = float((new * (1 - old)).sum()), float((old * (1 - new)).sum())
        return paired.share_difference(more, fewer, len(common)), influence, len(common)
    return paired.mean_difference(before, after, own.bounds), influence, len(common)


def _by_unit(side: ByPrompt, common: np.ndarray) -> paired.Parts:
    """ByPrompt and counts of some units, (samples, units)."""
    inside = np.isin(side.which, common)
    place = np.searchsorted(common, side.which[inside])
    sums, counts = (
        np.array([np.bincount(place, one, minlength=len(common)) for one in array[:, inside]])
        for array in (side.sums, side.counts)
    )
    return sums, counts
