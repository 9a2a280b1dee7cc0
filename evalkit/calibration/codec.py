"""The references through the codec of a model: the best that the model's tokens can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from evalkit.calibration import Material, Models, Row
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import condition
from evalkit.models import Generate, Generator, Model
from evalkit.settings import Engine
from evalkit.store.cache import Cache
from evalkit.store.digests import canonical
from evalkit.types import Clip, Prompt


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
        clips = {clip.id: clip for _, clip in material.recordings}
        asked = [  # a clip is found again by the content and the part of its reference
            Prompt(clip.id, canonical([clip.start, clip.seconds, clip.gain]), melody=clip.path)
            for clip in clips.values()
        ]
        coded = material.generate(ThroughCodec(_first(material.models), clips), asked, self.title, duration=0.0)
        return Row([prompt for prompt, _ in material.recordings], coded, list(clips.values()))


@dataclass(frozen=True)
class ThroughCodec:
    """Makes clips of other clips, by coding and decoding them.

    Attributes:
        model: has a codec.
        clips: what to code, by the prompt's id; prompts hold their content and part for the cache's key.
    """

    model: Model
    clips: Mapping[str, Clip] = field(metadata={"identity": False})
    kind: ClassVar[str] = "through_codec"
    version: ClassVar[int] = 1

    def load(self, cache: Cache, engine: Engine) -> Generate:
        """Load the codec; its function gives Audio at the codec's rate."""
        assert self.model.codec is not None
        code = self.model.codec(cache, engine.device)
        return lambda prompts, sampling: [code(condition(self.clips[p.id], None, None).stored) for p in prompts]


def _with_codec(models: Models) -> dict[str, Model]:
    return {name: model for name, model in models.items() if isinstance(model, Generator) and model.codec}


def _first(models: Models) -> Model:
    return next(iter(_with_codec(models).values()))
