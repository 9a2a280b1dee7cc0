"""Half of the references against the other half: the distance of two sets of real recordings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from evalkit.calibration import Material, Models, Recording, Row, shuffle
from evalkit.errors import EvalkitError


@dataclass(frozen=True)
class Halves:
    """One half of the references as clips, the other as their references; of an odd number one is left out.

    Which one is in which half is a function of the prompts' ids. A reference that prompts of a cluster share is there
    once, and those of a cluster are in one half; what makes the other longer is left out.
    """

    kind: ClassVar[str] = "reference_halves"
    title: ClassVar[str] = "reference halves"
    needs_references: ClassVar[bool] = True

    def check(self, models: Models) -> None:
        """Any models will do."""

    def remark(self, models: Models) -> str:
        return "half of the references against the other half: the floor, at half the clips"

    def random(self, models: Models) -> bool:
        return False

    def make(self, material: Material) -> Row:
        clusters = [_distinct(own) for own in shuffle(material.recordings)]
        drawn = [recording for own in clusters for recording in own]
        ends = list(itertools.accumulate(map(len, clusters)))[:-1]
        if not ends:
            raise EvalkitError(f"{self.title}: all references belong to one cluster: leave calibration.halves out")
        cut = min(ends, key=lambda end: abs(2 * end - len(drawn)))
        size = min(cut, len(drawn) - cut)
        pairs = list(zip(drawn[:size], drawn[cut : cut + size], strict=True))
        prompts, clips = zip(*(first for first, _ in pairs), strict=True)
        others = [replace(clip, id=prompt.id) for (prompt, _), (_, clip) in pairs]
        return Row(prompts, list(clips), others, paired=False)


def _distinct(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings of a cluster, each content once."""
    distinct: dict[tuple[str, float, float | None], Recording] = {}
    for prompt, clip in recordings:
        distinct.setdefault((clip.sha256, clip.start, clip.seconds), (prompt, clip))
    return list(distinct.values())
