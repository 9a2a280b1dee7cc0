"""References without vocals, against the references as they are: what separating them does by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evalkit.calibration import Material, Models, Row
from evalkit.transforms import Transform


@dataclass(frozen=True)
class Separated:
    """Every usable reference through a transform, each against itself before it.

    Attributes:
        transform: by default that of `references=instrumental`; it need not be the run's.
    """

    transform: Transform
    kind: ClassVar[str] = "separated_references"
    title: ClassVar[str] = "separated references"
    needs_references: ClassVar[bool] = True

    def check(self, models: Models) -> None:
        self.transform.check()

    def remark(self, models: Models) -> str:
        return "each reference without its vocals, against itself as it is: what vocals and artefacts are together"

    def random(self, models: Models) -> bool:
        return self.transform.random

    def make(self, material: Material) -> Row:
        before = [clip for _, clip in material.originals]
        after = material.made_of(self.transform, before, self.title)
        return Row([prompt for prompt, _ in material.originals], after, before)
