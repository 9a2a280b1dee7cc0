"""The references as they are: what the metrics say of the recordings that captions are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evalkit.calibration import Material, Models, Row


@dataclass(frozen=True)
class Recordings:
    """Every usable reference as the clip of its own prompt.

    Metrics that compare clips with references have nothing to say of it, as clips are their own references. Those that
    look for something in clips, such as vocals, say how often it is in recordings: for a detector, how often it errs.
    Where the run transforms references, these are the recordings before that.
    """

    kind: ClassVar[str] = "reference_recordings"
    title: ClassVar[str] = "reference recordings"
    needs_references: ClassVar[bool] = True

    def check(self, models: Models) -> None:
        """Any models will do."""

    def remark(self, models: Models) -> str:
        return "the references themselves as clips: what detectors find in recordings"

    def random(self, models: Models) -> bool:
        return False

    def make(self, material: Material) -> Row:
        prompts, clips = zip(*material.originals, strict=True)
        return Row(prompts, list(clips), list(clips))
