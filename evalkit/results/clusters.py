"""Which prompts of a result belong together, and which of their references are one and the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evalkit.results.record import MetricInfo, Record
from evalkit.stats.clusters import count, numbered
from evalkit.types import Features, Prompt

DISTINCT = "distinct_references"  # the switch of protocols
ONE_CLUSTER = "no interval: all prompts belong to one cluster, which says nothing of others"


@dataclass(frozen=True)
class Clusters:
    """Which prompts belong together.

    Attributes:
        units: the name of each prompt's cluster, by the prompt's id; those that are not named stand by themselves.
        distinct: whether metrics of sets get a reference that prompts of a cluster share once.
    """

    units: Mapping[str, str] = field(default_factory=dict)
    distinct: bool = False

    def unit(self, id: str) -> str:
        """What is drawn with a prompt: the name of its cluster, or its own."""
        return self.units.get(id, id)

    def numbers(self, ids: Iterable[str]) -> np.ndarray | None:
        """The number of each prompt's cluster, (prompts,); None where each prompt stands by itself."""
        return numbered(map(self.unit, ids))

    def references(self, features: Features) -> list[str]:
        """The ids of the references that metrics of sets get: where references are distinct, each content once.

        Those of other clusters do not matter: prompts that share a reference belong to one cluster.
        """
        if not self.distinct:
            return list(features.ids)
        seen: set[tuple[str, str]] = set()
        found = []
        for i, value in zip(features.ids, features.values, strict=True):
            content = self.unit(i), _content(value)
            if content not in seen:
                found.append(i)
            seen.add(content)
        return found

    def of_metric(self, info: MetricInfo) -> Clusters:
        """The same for one metric: references are distinct only where they are a set of clips."""
        return replace(self, distinct=self.distinct and info.compares_with == "references" and not info.clip_by_clip)


def _content(value: np.ndarray) -> str:
    hashed = hashlib.sha256(f"{value.dtype} {value.shape} ".encode())
    hashed.update(np.ascontiguousarray(value).data)
    return hashed.hexdigest()


def of_prompts(prompts: Iterable[Prompt], distinct: bool) -> Clusters:
    """The clusters of prompts; of those that stand by themselves nothing is kept."""
    return Clusters({prompt.id: prompt.unit for prompt in prompts if prompt.cluster}, distinct)


def of_record(record: Record) -> Clusters:
    """The clusters of a record's prompts."""
    units: dict[str, str] = {}
    if "cluster" in record.prompts:
        units = {i: unit for i, unit in zip(record.prompts["id"], record.prompts["cluster"], strict=True) if unit}
    return Clusters(units, bool(record.protocol.switches.get(DISTINCT, False)))


def over(clusters: int) -> str:
    """What intervals draw, in words, where prompts belong to so many clusters, or to none."""
    return "clusters of prompts" if clusters else "prompts"


def drawn(record: Record) -> str:
    """What the intervals of a result draw, in words."""
    forms = {"pairs": "pairs of clips", "sets": "the clips of either set"}
    numbers = of_record(record).numbers(record.prompts["id"])
    return forms.get(record.prompts_info.form) or over(0 if numbers is None else count(len(numbers), numbers))


def together(every: Sequence[Clusters]) -> Clusters:
    """The clusters of several results of the same prompts: what belongs together in any of them does so."""
    first = every[0]
    known = [number for number, one in enumerate(every) if one.units]
    if all(every[number].units == every[known[0]].units for number in known):
        return replace(first, units=every[known[0]].units if known else {})
    leader: dict[str, str] = {}

    def root(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for number, one in enumerate(every):
        for i, unit in one.units.items():
            # of another result a cluster of the same name need not be the same
            leader[root(f"{number} {unit}")] = root(f"prompt {i}")
    ids = dict.fromkeys(i for one in every for i in one.units)
    return Clusters({i: root(f"prompt {i}") for i in ids}, first.distinct)
