"""Calibration: rows of the table that are no models, and show what the scale is.

There is one file, and one YAML in conf/calibration, for each. Their clips are scored as those of a model
are, at the loudness that the protocol gives these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from evalkit.errors import EvalkitError
from evalkit.features.extractor import Extractor
from evalkit.generation.clips import Elsewhere, clips_of
from evalkit.generation.of_clips import Maker, made_of
from evalkit.models import Existing, Generator, Model
from evalkit.settings import Dtype, Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.digests import digest
from evalkit.types import Clip, Prompt

Models = Mapping[str, Model | Existing]
Recording = tuple[Prompt, Clip]  # a prompt with its usable reference


@dataclass(frozen=True)
class Row:
    """Clips to be scored as one row: prompts, clips and references in the same order.

    Attributes:
        references: None for the run's own.
        paired: whether a clip may be compared with its own reference; if not, only the two sets may.
        sets: whether clips and references are two sets, of which metrics of whole sets take all, and those of
            pairs the clips that have a reference.
    """

    prompts: Sequence[Prompt]
    clips: list[Clip]
    references: list[Clip] | None = None
    paired: bool = True
    sets: bool = False


@dataclass(frozen=True)
class Material:
    """What a row can be made of.

    Attributes:
        prompts: all prompts of the run.
        recordings: the prompts whose reference is usable, with it, two at least; none where no row needs them.
        originals: the same before the run's transform of references; the same clips where it has none.
        models: those of the run, by name.
        duration: of the clips of models, in seconds.
        elsewhere: what makes clips in place of this process.
    """

    prompts: Sequence[Prompt]
    recordings: Sequence[Recording]
    originals: Sequence[Recording]
    models: Models
    duration: float
    cache: Cache
    engine: Engine
    elsewhere: Elsewhere | None = None

    def generate(self, generator: Generator, prompts: Sequence[Prompt], title: str) -> list[Clip]:
        """Give one clip per prompt, in order, generating in float32 only what is not stored yet.

        Nothing but the generator, the prompt and the run's duration changes a clip, whatever the run's sampling.

        Args:
            title: says in progress bars and messages what is generated.
        """
        sampling = Sampling(duration=self.duration)
        engine = replace(self.engine, dtype=Dtype.float32)
        return clips_of(generator, prompts, sampling, self.cache, engine, title, self.elsewhere)

    def made_of(self, maker: Maker, clips: Sequence[Clip], title: str) -> list[Clip]:
        """Give what is made of each of some clips, in order, making only what is not stored yet.

        Args:
            title: says in progress bars and messages what is made.
        """
        return made_of(maker, clips, self.cache, self.engine, title, self.elsewhere)


class Calibration(Protocol):
    """A row of calibration: a frozen dataclass that declares all of these."""

    @property
    def kind(self) -> str:
        """What name its class goes by in results; it stays when the class moves."""

    @property
    def title(self) -> str:
        """What its row is called in the table. With a space, so that no model has the name."""

    @property
    def needs_references(self) -> bool:
        """Whether it is made of references, which a run then needs whatever its metrics are."""

    def check(self, models: Models) -> None:
        """Refuse a run with whose models it cannot be made. Raises EvalkitError for one."""

    def remark(self, models: Models) -> str:
        """Say in a sentence what a reader of the table must know about the row."""

    def random(self, models: Models) -> bool:
        """Tell whether random weights have made its clips."""

    def make(self, material: Material) -> Row:
        """Make the row."""


def usable_recordings(extractor: Extractor, prompts: Sequence[Prompt], references: Sequence[Clip]) -> list[Recording]:
    """Choose the prompts whose reference can be decoded and is not silent. EvalkitError for fewer than two."""
    _, checked = extractor.clips(references, {}, loudness=None, refuse_silence=True, title="references")
    usable = [(prompt, clip) for prompt, clip in zip(prompts, checked, strict=True) if clip.ok]
    if len(usable) < 2:
        raise EvalkitError(
            f"calibration: {len(usable)} of {len(references)} references are usable, and at least 2 are needed: "
            "set prompts.references to the folder they are in"
        )
    return usable


def shuffle(recordings: Sequence[Recording]) -> list[list[Recording]]:
    """Put recordings in an order that is a function of the prompts' ids alone, and those of a cluster into one list."""
    clusters: dict[str, list[Recording]] = {}
    for prompt, clip in sorted(recordings, key=lambda pair: digest(["calibration", pair[0].id])):
        clusters.setdefault(prompt.unit, []).append((prompt, clip))
    return list(clusters.values())
