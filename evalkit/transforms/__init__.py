"""Transforms: what references become before anything is compared with them.

There is one file, and one YAML in conf/references, for each. No published number is of references that were
transformed: what is compared with them is marked "(changed)".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from evalkit.generation.clips import Elsewhere
from evalkit.generation.of_clips import Maker, made_of
from evalkit.settings import Engine
from evalkit.store.cache import Cache
from evalkit.types import Clip


class Transform(Maker, Protocol):
    """Makes a reference of a reference: a frozen dataclass that declares all of these."""

    @property
    def random(self) -> bool:
        """Whether its weights are random. No weights are not."""

    def check(self) -> None:
        """Refuse a machine that it cannot be used on. Raises EvalkitError, before anything is loaded."""

    def about(self, cache: Cache) -> str:
        """Say in a few words what references are then, with what identifies its weights."""

    def change(self, cache: Cache) -> str:
        """Say what is done to references, with what identifies its weights, as a protocol's changes are said."""


def transformed(
    transform: Transform,
    clips: Sequence[Clip],
    cache: Cache,
    engine: Engine,
    title: str,
    elsewhere: Elsewhere | None = None,
) -> list[Clip]:
    """Give clips with what a transform makes of the usable ones in their place, with what was said of these."""
    made = iter(made_of(transform, [clip for clip in clips if clip.ok], cache, engine, title, elsewhere))
    return [replace(next(made), seconds=clip.seconds, note=clip.note) if clip.ok else clip for clip in clips]
