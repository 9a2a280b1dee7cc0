"""Voices where they are asked for: of references the sensitivity of the detector that finds unwanted ones.

The row "reference recordings" of `calibration=[recordings]` has the recordings themselves as clips. There this metric
is how often PaSST hears a voice that the caption speaks of, and one less `vocals_share` is how often it hears none
where the caption speaks of none: the detector's sensitivity and specificity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evalkit.encoders import Encoder
from evalkit.metrics import mean_over_items
from evalkit.metrics.vocals import heard, require_threshold, voices
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class VocalsInVocal:
    """Share of the clips of prompts that ask for a voice in which one is heard.

    Attributes:
        prompt_encoder: tells which prompts are instrumental; the others ask for a voice.
        threshold: probability from which on a voice counts as heard.
    """

    encoder: Encoder
    prompt_encoder: Encoder
    threshold: float = 0.5
    kind: ClassVar[str] = "vocals_in_vocal"
    title: ClassVar[str] = "Vocals in vocal"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_threshold("vocals_in_vocal", self.threshold)

    @property
    def reference_encoder(self) -> Encoder:
        return self.prompt_encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Count clips from probabilities (segments, 527) and whether prompts are instrumental (1, 1).

        Raises EvalkitError where no prompt asks for a voice.
        """
        return mean_over_items(generated.ids, heard(voices(generated, reference, asked_for=True), self.threshold))
