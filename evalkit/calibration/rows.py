"""Rows of the table that are no models, and show what the scale is.

They are scored as the clips of a model are, at the loudness that the protocol gives these, so that a
row says what a model would score whose clips were such.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evalkit.audio import Audio
from evalkit.errors import EvalkitError, unknown
from evalkit.features.conditioning import condition
from evalkit.generation.clips import clips_of
from evalkit.models import Existing, Generate, Generator, Model
from evalkit.settings import Dtype, Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.digests import canonical, digest
from evalkit.store.seeds import keyed
from evalkit.types import Clip, Prompt, PromptSet

if TYPE_CHECKING:
    from evalkit.plan import Plan


RATE = 32000  # Hz


LEVEL = -20.0  # dB of full scale: the RMS of noise


# Each row's name in the table, with a space, so that no model has it, and what a reader is told about it.
ROWS = {
    "halves": ("reference halves", "half of the references against the other half: the floor, at half the clips"),
    "codec": ("reference codec", "the references through the codec of {model}: the best that its tokens can say"),
    "shuffled": (
        "shuffled references",
        "each reference as the clip of another prompt: fits no caption, and as a set is the references",
    ),
    "noise": ("white noise", f"independent in each channel, {LEVEL:g} dB of full scale"),
    "silence": ("digital silence", "every sample is zero"),
}


OF_REFERENCES = ("halves", "codec", "shuffled")


@dataclass(frozen=True)
class Row:
    """Clips to be scored as one row: prompts, clips and references in the same order.

    Attributes:
        references: None for the run's own.
        paired: whether a clip may be compared with its own reference; if not, only the two sets may.
    """

    prompts: Sequence[Prompt]
    clips: list[Clip]
    references: list[Clip] | None = None
    paired: bool = True


def check(requested: Iterable[str], models: Mapping[str, Any]) -> None:
    """Raise EvalkitError for a row that does not exist, and for a codec that no model of the run has."""
    for name in requested:
        if name not in ROWS:
            raise unknown("calibration row", name, ROWS)
        if name == "codec" and not _with_codec(models):
            raise EvalkitError(
                "calibration: 'codec' needs a model with a codec, such as model=musicgen_small: "
                f"{', '.join(models)} {'have' if len(models) > 1 else 'has'} none"
            )


def remarks(requested: Iterable[str], models: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of the table must know about the rows, one sentence each."""
    for name in dict.fromkeys(requested):
        label, about = ROWS[name]
        yield f"{label}: {about.format(model=next(iter(_with_codec(models)), ''))}"


def random_rows(requested: Iterable[str], models: Mapping[str, Any]) -> list[str]:
    """The rows that random weights have made: that of a random codec."""
    codecs = list(_with_codec(models).values())
    return [ROWS["codec"][0]] if "codec" in requested and codecs[0].random else []


def needs_references(requested: Iterable[str]) -> bool:
    """Whether a row is made of references."""
    return any(name in OF_REFERENCES for name in requested)


def rows(plan: Plan, prompts: PromptSet, references: Sequence[Clip]) -> dict[str, Row]:
    """Make the rows that the configuration asks for, by their name in the table, in its order.

    Rows of references hold the prompts whose reference is usable, and of halves, those of one half.
    Raises EvalkitError where there are fewer than two of these.
    """
    made: dict[str, Row] = {}
    usable: list[tuple[Prompt, Clip]] = []
    if needs_references(plan.config.calibration):
        _, checked = plan.extractor().clips(references, {}, loudness=None, refuse_silence=True, title="references")
        usable = [(p, clip) for p, clip in zip(prompts.prompts, checked, strict=True) if clip.ok]
        if len(usable) < 2:
            raise EvalkitError(
                f"calibration: {len(usable)} of {len(references)} references are usable, and at least 2 are needed: "
                "set prompts.references to the folder they are in"
            )

    def clips(prompts: Sequence[Prompt], model: Generator, title: str, duration: float = 0.0) -> list[Clip]:
        return clips_of(
            model,
            prompts,
            Sampling(duration=duration),  # nothing else changes these clips
            plan.cache,
            replace(plan.engine, dtype=Dtype.float32),
            title,
        )

    for name in dict.fromkeys(plan.config.calibration):
        label, _ = ROWS[name]
        if name == "halves":
            row = halves(usable)
        elif name == "shuffled":
            row = shuffled(usable)
        elif name == "codec":
            codec = ThroughCodec(next(iter(_with_codec(plan.models).values())), {clip.id: clip for _, clip in usable})
            asked = [Prompt(c.id, canonical([c.start, c.seconds, c.gain]), melody=c.path) for _, c in usable]
            row = Row([prompt for prompt, _ in usable], clips(asked, codec, label), [clip for _, clip in usable])
        else:
            model = Noise() if name == "noise" else Silence()
            own = clips(prompts.prompts, model, label, plan.sampling.duration)
            row = Row(prompts.prompts, own)
        made[label] = row
    return made


def halves(usable: Sequence[tuple[Prompt, Clip]]) -> Row:
    """One seeded half of the references as clips, the other as their references; of an odd number one is left out."""
    drawn = _drawn(usable)
    size = len(drawn) // 2
    pairs = list(zip(drawn[:size], drawn[size : 2 * size], strict=True))
    prompts, clips = zip(*(first for first, _ in pairs), strict=True)
    others = [replace(clip, id=prompt.id) for (prompt, _), (_, clip) in pairs]
    return Row(prompts, list(clips), others, paired=False)


def shuffled(usable: Sequence[tuple[Prompt, Clip]]) -> Row:
    """The references, none with its own prompt: in a seeded order, each goes to the prompt before it."""
    drawn = _drawn(usable)
    others = [replace(clip, id=prompt.id) for (prompt, _), (_, clip) in zip(drawn, drawn[1:] + drawn[:1], strict=True)]
    return Row([prompt for prompt, _ in drawn], others, [clip for _, clip in drawn])


def _drawn(usable: Sequence[tuple[Prompt, Clip]]) -> list[tuple[Prompt, Clip]]:
    """In an order that is a function of the ids alone."""
    return sorted(usable, key=lambda pair: digest(["calibration", pair[0].id]))


def _with_codec(models: Mapping[str, Model | Existing]) -> dict[str, Model]:
    return {name: model for name, model in models.items() if isinstance(model, Generator) and model.codec}


@dataclass(frozen=True)
class ThroughCodec:
    """Clips as a model's codec hands them on.

    Attributes:
        model: has `codec(cache, device)`, which gives a function from Audio to Audio.
        clips: what to code, by the prompt's id; prompts hold their content and part for the cache's key.
    """

    model: Any
    clips: Mapping[str, Clip] = field(metadata={"identity": False})
    kind: ClassVar[str] = "through_codec"
    version: ClassVar[int] = 1

    def check(self, sampling: Sampling) -> None:
        """Nothing depends on the sampling."""

    def load(self, cache: Cache, engine: Engine) -> Generate:
        """Load the codec; its function gives Audio at the codec's rate."""
        code = self.model.codec(cache, engine.device)
        return lambda prompts, sampling: [code(condition(self.clips[p.id], None, None).stored) for p in prompts]


@dataclass(frozen=True)
class Noise:
    """White noise, independent in each channel, other noise for each prompt; stereo at 32 kHz.

    Samples are rounded to 16 bits: they take half the space.

    Attributes:
        level: RMS in dB of full scale.
    """

    level: float = LEVEL
    kind: ClassVar[str] = "white_noise"
    version: ClassVar[int] = 1

    def check(self, sampling: Sampling) -> None:
        """Any duration will do."""

    def load(self, cache: Cache, engine: Engine) -> Generate:
        """Nothing to load."""

        def one(prompt: Prompt, samples: int) -> Audio:
            noise = keyed("white noise", prompt.id).normal(0, 10 ** (self.level / 20), (2, samples))
            return Audio((np.rint(noise.clip(-1, 1) * 32767) / 2**15).astype(np.float32), RATE)

        return lambda prompts, sampling: [one(p, round(sampling.duration * RATE)) for p in prompts]


@dataclass(frozen=True)
class Silence:
    """Digital silence, stereo at 32 kHz."""

    kind: ClassVar[str] = "digital_silence"
    version: ClassVar[int] = 1

    def check(self, sampling: Sampling) -> None:
        """Any duration will do."""

    def load(self, cache: Cache, engine: Engine) -> Generate:
        """Nothing to load."""
        return lambda prompts, sampling: [
            Audio(np.zeros((2, round(sampling.duration * RATE)), np.float32), RATE) for _ in prompts
        ]
