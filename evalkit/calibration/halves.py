"""Half of the references against the other half: the distance of two sets of real recordings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from evalkit.calibration import Material, Models, Row, shuffle


@dataclass(frozen=True)
class Halves:
    """One half of the references as clips, the other as their references; of an odd number one is left out.

    Which one is in which half is a function of the prompts' ids.
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
        drawn = shuffle(material.recordings)
        size = len(drawn) // 2
        pairs = list(zip(drawn[:size], drawn[size : 2 * size], strict=True))
        prompts, clips = zip(*(first for first, _ in pairs), strict=True)
        others = [replace(clip, id=prompt.id) for (prompt, _), (_, clip) in pairs]
        return Row(prompts, list(clips), others, paired=False)
