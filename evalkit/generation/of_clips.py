"""Clips that are made of other clips, such as references through a codec: stored and found as those of models are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from evalkit.audio import Audio
from evalkit.generation.clips import Elsewhere, clips_of
from evalkit.models import Generate
from evalkit.settings import Dtype, Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.digests import digest
from evalkit.store.identity import identity
from evalkit.types import Clip, Prompt

Make = Callable[[Sequence[Clip]], list[Audio]]


class Maker(Protocol):
    """What makes clips of clips: a frozen dataclass that declares all of these, and whose fields they depend on."""

    @property
    def kind(self) -> str:
        """What name its clips are kept under; it stays when the class moves."""

    @property
    def version(self) -> int:
        """Which version of its code makes the clips; raised when the same clip would give another one."""

    def load(self, cache: Cache, engine: Engine) -> Make:
        """Load what makes the audio of each of some clips. Raises EvalkitError for what is missing or damaged."""


@dataclass(frozen=True)
class OfClips:
    """A generator whose prompts stand for clips.

    Attributes:
        clips: by the prompt's id.
    """

    maker: Maker
    clips: Mapping[str, Clip] = field(repr=False)

    @property
    def kind(self) -> str:
        """The maker's, by which its clips are listed."""
        return self.maker.kind

    def identity(self, cache: Cache) -> Any:
        """Describe the maker: the clips are the prompts' matter."""
        return identity(self.maker, cache)

    def load(self, cache: Cache, engine: Engine) -> Generate:
        """Load the maker."""
        make = self.maker.load(cache, engine)
        return lambda prompts, sampling: make([self.clips[prompt.id] for prompt in prompts])


def made_of(
    maker: Maker, clips: Sequence[Clip], cache: Cache, engine: Engine, title: str, elsewhere: Elsewhere | None = None
) -> list[Clip]:
    """Give what is made of each of some usable clips, in order and in float32, making only what is not stored yet.

    A clip is found again by the content and the part of the one that it is made of, whichever prompts have that, and
    says its digest as `origin`. On a CPU each is stored when it is made, on a GPU batch by batch. Raises EvalkitError
    as `clips_of` does.

    Args:
        title: says in progress bars and messages what is made.
    """
    contents = {_key(clip): clip for clip in clips}
    asked = [Prompt(key, "") for key in contents]
    size = 1 if engine.device == "cpu" else engine.batch_size
    engine = replace(engine, dtype=Dtype.float32, batch_size=size)
    made = clips_of(OfClips(maker, contents), asked, Sampling(duration=0.0), cache, engine, title, elsewhere)
    found = {clip.id: clip for clip in made}
    return [replace(found[_key(clip)], id=clip.id, origin=clip.sha256) for clip in clips]


def _key(clip: Clip) -> str:
    return digest([clip.sha256, clip.start, clip.seconds, clip.gain])[:32]
