"""The references through the codec of a model: the best that the model's tokens can say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evalkit.calibration import Material, Models, Row
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import condition
from evalkit.generation.of_clips import Make
from evalkit.models import Generator, Model
from evalkit.settings import Engine
from evalkit.store.cache import Cache


@dataclass(frozen=True)
class Codec:
    """Every usable reference, coded and decoded by the first model of the run that has a codec."""

    kind: ClassVar[str] = "reference_codec"
    title: ClassVar[str] = "reference codec"
    needs_references: ClassVar[bool] = True

    def check(self, models: Models) -> None:
        if not _with_codec(models):
            raise EvalkitError(
                "calibration: 'codec' needs a model with a codec, such as model=musicgen_small: "
                f"{', '.join(models)} {'have' if len(models) > 1 else 'has'} none"
            )

    def remark(self, models: Models) -> str:
        return (
            f"the references through the codec of {next(iter(_with_codec(models)))}: the best that its tokens can say"
        )

    def random(self, models: Models) -> bool:
        return _first(models).random

    def make(self, material: Material) -> Row:
        clips = [clip for _, clip in material.recordings]
        coded = material.made_of(ThroughCodec(_first(material.models)), clips, self.title)
        return Row([prompt for prompt, _ in material.recordings], coded, clips)


@dataclass(frozen=True)
class ThroughCodec:
    """Makes clips of other clips, by coding and decoding them.

    Attributes:
        model: has a codec.
    """

    model: Model
    kind: ClassVar[str] = "through_codec"
    version: ClassVar[int] = 1

    def load(self, cache: Cache, engine: Engine) -> Make:
        """Load the codec; its function gives Audio at the codec's rate."""
        assert self.model.codec is not None
        code = self.model.codec(cache, engine.device)
        return lambda clips: [code(condition(clip, None, None).stored) for clip in clips]


def _with_codec(models: Models) -> dict[str, Model]:
    return {name: model for name, model in models.items() if isinstance(model, Generator) and model.codec}


def _first(models: Models) -> Model:
    return next(iter(_with_codec(models).values()))
