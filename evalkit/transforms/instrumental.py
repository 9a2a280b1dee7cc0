"""References without their vocals, as the music was that MusicGen was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from evalkit import audio
from evalkit.audio import Audio
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import condition
from evalkit.generation.clips import TOGETHER
from evalkit.generation.of_clips import Make
from evalkit.separation import OVERLAP, STEMS, Demucs, Passage
from evalkit.settings import Engine
from evalkit.store.cache import Cache
from evalkit.types import Clip

KEPT = STEMS[:3]  # drums, bass and other


@dataclass(frozen=True)
class Instrumental:
    """The drums, bass and other stems of a recording, added up, at the separator's rate; what was mono stays mono.

    Added up, and not what the vocals leave of the recording, which would hold all that the separator assigns to no
    stem. The part that counts is what it is in the whole recording, so that its edges have what is around them for
    a context, and the same seconds are the same whatever part of the recording counts.

    Attributes:
        overlap: share of a segment that the next one has in common with it.
    """

    separator: Demucs
    overlap: float = OVERLAP
    kind: ClassVar[str] = "instrumental_references"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise EvalkitError(f"references.overlap={self.overlap:g}: must be at least 0 and less than 1")

    @property
    def random(self) -> bool:
        return self.separator.weights.random

    def check(self) -> None:
        self.separator.check()

    def about(self, cache: Cache) -> str:
        return f"instrumental ({self.separator.named(cache)})"

    def change(self, cache: Cache) -> str:
        return f"references separated: {' + '.join(KEPT)} by {self.separator.named(cache)}"

    def load(self, cache: Cache, engine: Engine) -> Make:
        """Load the separator. On a GPU the segments of several recordings go through it at once."""
        together = 1 if engine.device == "cpu" else engine.batch_size or TOGETHER
        separate, rate = self.separator.passages(cache, engine.device, self.overlap, together)

        def make(clips: Sequence[Clip]) -> list[Audio]:
            stems = separate([Passage(_whole(clip), clip.start, clip.seconds) for clip in clips])
            mixes = [one[: len(KEPT)].sum(axis=0) for one in stems]
            pairs = zip(mixes, clips, strict=True)
            return [Audio(mix.mean(axis=0, keepdims=True) if clip.channels == 1 else mix, rate) for mix, clip in pairs]

        return make


def _whole(clip: Clip) -> Audio:
    """The whole recording of a clip; surround, which has no left and right that all formats agree on, as a mono one."""
    whole = condition(replace(clip, start=0.0, seconds=None), None, None).stored
    return audio.downmix(whole) if len(whole.samples) > 2 else whole
