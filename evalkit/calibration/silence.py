"""Digital silence: what the metrics say of nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.audio import Audio
from evalkit.calibration import Material, Models, Row
from evalkit.models import Generate
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.types import Prompt

RATE = 32000  # Hz, MusicGen's


@dataclass(frozen=True)
class Silence:
    """A silent clip for each prompt."""

    kind: ClassVar[str] = "digital_silence_row"
    title: ClassVar[str] = "digital silence"
    needs_references: ClassVar[bool] = False

    def check(self, models: Models) -> None:
        """Any models will do."""

    def remark(self, models: Models) -> str:
        return "every sample is zero"

    def random(self, models: Models) -> bool:
        return False

    def make(self, material: Material) -> Row:
        return Row(material.prompts, material.generate(DigitalSilence(), material.prompts, self.title))


@dataclass(frozen=True)
class DigitalSilence:
    """Makes clips whose samples are all zero; stereo at 32 kHz."""

    kind: ClassVar[str] = "digital_silence"
    version: ClassVar[int] = 1

    def load(self, cache: Cache, engine: Engine) -> Generate:
        """Nothing to load."""

        def generate(prompts: Sequence[Prompt], sampling: Sampling) -> list[Audio]:
            samples = np.zeros((2, round(sampling.duration * RATE)), np.float32)
            return [Audio(samples, RATE) for _ in prompts]

        return generate
