"""White noise: what the metrics say of clips that are no music."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.audio import Audio
from evalkit.calibration import Material, Models, Row
from evalkit.errors import EvalkitError
from evalkit.models import Generate
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.seeds import keyed
from evalkit.types import Prompt

RATE = 32000  # Hz, MusicGen's


@dataclass(frozen=True)
class Noise:
    """A clip of white noise for each prompt.

    Attributes:
        level: RMS in dB of full scale, at most 0.
        title: the row's name in the table; another one lets two levels stand side by side.
    """

    level: float = -20.0
    title: str = "white noise"
    kind: ClassVar[str] = "white_noise_row"
    needs_references: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.level > 0:
            raise EvalkitError(f"calibration: noise: level={self.level:g}: must be at most 0 dB of full scale")

    def check(self, models: Models) -> None:
        """Any models will do."""

    def remark(self, models: Models) -> str:
        return f"independent in each channel, {self.level:g} dB of full scale"

    def random(self, models: Models) -> bool:
        return False

    def make(self, material: Material) -> Row:
        return Row(material.prompts, material.generate(WhiteNoise(float(self.level)), material.prompts, self.title))


@dataclass(frozen=True)
class WhiteNoise:
    """Makes white noise, independent in each channel, other noise for each prompt; stereo at 32 kHz.

    Samples are rounded to 16 bits: they take half the space.

    Attributes:
        level: RMS in dB of full scale.
    """

    level: float
    kind: ClassVar[str] = "white_noise"
    version: ClassVar[int] = 1

    def load(self, cache: Cache, engine: Engine) -> Generate:
        """Nothing to load."""

        def one(prompt: Prompt, samples: int) -> Audio:
            noise = keyed("white noise", prompt.id).normal(0, 10 ** (self.level / 20), (2, samples))
            return Audio((np.rint(noise.clip(-1, 1) * 32767) / 2**15).astype(np.float32), RATE)

        def generate(prompts: Sequence[Prompt], sampling: Sampling) -> list[Audio]:
            return [one(p, round(sampling.duration * RATE)) for p in prompts]

        return generate
