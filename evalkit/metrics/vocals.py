"""Voices that nobody asked for: singing and speech in the clips of instrumental prompts.

MusicGen was trained on music without vocals, and its model card says that it "is not able to generate
realistic vocals". A clip's voice is the highest probability, over its segments, of any label of
AudioSet that is singing or speech. Classifiers miss voices and hear some where there are none: the
calibration row "reference codec" tells how recordings of the same prompts fare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.audioset import classes
from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.metrics import mean_over_items
from evalkit.types import Features, Measured

# What evalkit.instrumental calls a voice, as far as AudioSet has it. Shouts, laughter, crying and crowds are
# also in recordings of instruments; "Vocal music" and "A capella" are what a song with these is.
VOICES = (
    *("Speech", "Male speech, man speaking", "Female speech, woman speaking", "Child speech, kid speaking"),
    *("Conversation", "Narration, monologue", "Speech synthesizer", "Whispering"),
    *("Singing", "Choir", "Yodeling", "Chant", "Mantra", "Male singing", "Female singing", "Child singing"),
    *("Synthetic singing", "Rapping", "Humming", "Beatboxing", "Vocal music", "A capella"),
)


def indices() -> list[int]:
    """Where the labels of voices are among a classifier's outputs."""
    names = list(classes().values())
    return [names.index(name) for name in VOICES]


def voices(generated: Features, reference: Features, asked_for: bool = False) -> list[float | None]:
    """Each clip's voice, from probabilities (segments, 527); None for a prompt that is not instrumental.

    A clip too short for a segment has none either. Raises EvalkitError if no clip is left.

    Args:
        asked_for: take the other prompts instead, which ask for a voice.
    """
    columns = indices()
    found = [
        float(probabilities[:, columns].max())
        if bool(instrumental.item()) != asked_for and len(probabilities)
        else None
        for probabilities, instrumental in zip(generated.values, reference.values, strict=True)
    ]
    if all(voice is None for voice in found):
        lacking = "vocals_in_vocal: no prompt asks for a voice" if asked_for else "vocals: no prompt is instrumental"
        raise EvalkitError(f"{lacking}: choose other prompts, or leave this metric out")
    return found


def heard(found: Sequence[float | None], threshold: float) -> list[np.ndarray]:
    """Whether each voice counts as heard, (1,), or nothing of a clip that does not count, (0,)."""
    return [np.array([voice >= threshold] if voice is not None else [], float) for voice in found]


def require_threshold(metric: str, threshold: float) -> None:
    """Raise EvalkitError for a probability by which all voices count as heard, or none."""
    if not 0 < threshold < 1:
        raise EvalkitError(f"{metric}: threshold={threshold:g}: must be between 0 and 1")


@dataclass(frozen=True)
class VocalsShare:
    """Share of the clips of instrumental prompts in which a voice is heard.

    Attributes:
        prompt_encoder: tells which prompts are instrumental.
        threshold: probability from which on a voice counts as heard.
    """

    encoder: Encoder
    prompt_encoder: Encoder
    threshold: float = 0.5
    kind: ClassVar[str] = "vocals_share"
    title: ClassVar[str] = "Vocals in instrumental"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_threshold("vocals", self.threshold)

    @property
    def reference_encoder(self) -> Encoder:
        return self.prompt_encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Count clips from probabilities (segments, 527) and whether prompts are instrumental (1, 1)."""
        return mean_over_items(generated.ids, heard(voices(generated, reference), self.threshold))


@dataclass(frozen=True)
class VocalsProbability:
    """Mean over the clips of instrumental prompts of the probability of a voice.

    Attributes:
        prompt_encoder: tells which prompts are instrumental.
    """

    encoder: Encoder
    prompt_encoder: Encoder
    kind: ClassVar[str] = "vocals_probability"
    title: ClassVar[str] = "Voice probability in instrumental"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    @property
    def reference_encoder(self) -> Encoder:
        return self.prompt_encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Average probabilities (segments, 527) of prompts that are instrumental (1, 1)."""
        found = voices(generated, reference)
        return mean_over_items(generated.ids, [np.array([v] if v is not None else []) for v in found])
