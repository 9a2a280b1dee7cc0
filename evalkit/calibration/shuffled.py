"""Each reference as the clip of another prompt: music that fits no caption."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from evalkit.calibration import Material, Models, Row, shuffle
from evalkit.errors import EvalkitError


@dataclass(frozen=True)
class Shuffled:
    """The references, none with its own prompt.

    In an order that is a function of the prompts' ids, each goes to the prompt before it; where prompts belong
    together, by as many places as the largest cluster has, so that none goes to a prompt of its own cluster.
    """

    kind: ClassVar[str] = "shuffled_references"
    title: ClassVar[str] = "shuffled references"
    needs_references: ClassVar[bool] = True

    def check(self, models: Models) -> None:
        """Any models will do."""

    def remark(self, models: Models) -> str:
        return "each reference as the clip of another prompt: fits no caption, and as a set is the references"

    def random(self, models: Models) -> bool:
        return False

    def make(self, material: Material) -> Row:
        clusters = shuffle(material.recordings)
        drawn, places = [recording for own in clusters for recording in own], max(map(len, clusters))
        if 2 * places > len(drawn):
            raise EvalkitError(
                f"{self.title}: {places:,} of {len(drawn):,} references belong to one cluster, so that not all can go "
                "to prompts of others: leave calibration.shuffled out"
            )
        pairs = zip(drawn, drawn[places:] + drawn[:places], strict=True)
        others = [replace(clip, id=prompt.id) for (prompt, _), (_, clip) in pairs]
        return Row([prompt for prompt, _ in drawn], others, [clip for _, clip in drawn])
