"""Half of the references against the other half, all separated: the floor where both sides have artefacts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from evalkit.calibration import Material, Models, Row
from evalkit.calibration.halves import Halves
from evalkit.transforms import Transform


@dataclass(frozen=True)
class SeparatedHalves:
    """The halves of `halves`, each clip of both through a transform.

    Attributes:
        transform: by default that of `references=instrumental`; it need not be the run's.
    """

    transform: Transform
    kind: ClassVar[str] = "separated_halves"
    title: ClassVar[str] = "separated halves"
    needs_references: ClassVar[bool] = True

    def check(self, models: Models) -> None:
        self.transform.check()

    def remark(self, models: Models) -> str:
        return "half of the references against the other half, both separated: the floor where both have artefacts"

    def random(self, models: Models) -> bool:
        return self.transform.random

    def make(self, material: Material) -> Row:
        clips = material.made_of(self.transform, [clip for _, clip in material.originals], self.title)
        after = [(prompt, clip) for (prompt, _), clip in zip(material.originals, clips, strict=True)]
        return Halves().make(replace(material, recordings=after))
