"""The few values that pass between stages, all frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

ClipStatus = Literal["ok", "missing", "unreadable", "too short", "too long", "silent", "failed", "unpaired"]

# What a run measures: clips of captions; two folders whose files have the same names; any two folders.
Form = Literal["prompts", "pairs", "sets"]


@dataclass(frozen=True)
class Prompt:
    """One caption to generate music for.

    Attributes:
        id: unique within its prompt set; never used as a path.
        text: the caption.
        reference: a recording that the caption describes, where the prompt set names one.
        melody: audio whose melody conditions the generation, where there is one.
        continuation: audio that the generated clip continues, where there is one.
        tags: aspects, for subsets and slices.
        labels: names of AudioSet classes, for slices.
        seconds: how much of the reference the caption is about; None for all of it.
        start: where in the full recording that part begins, in seconds, where known.
        cluster: which prompts belong together, as captions of one recording or translations of one caption do: what
            is uncertain is uncertain over clusters. Empty for a prompt that stands by itself.
        translation: what models are given in place of the caption, which their clips are scored against all the same.
        language: of what models are given, as a tag of BCP 47 such as "de"; empty where that is not known.
    """

    id: str
    text: str
    reference: Path | None = None
    melody: Path | None = None
    continuation: Path | None = None
    tags: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    seconds: float | None = None
    start: float | None = None
    cluster: str = ""
    translation: str = ""
    language: str = ""

    @property
    def unit(self) -> str:
        """What intervals and tests draw: the prompt's cluster, or the prompt itself."""
        return self.cluster or self.id

    @property
    def given(self) -> Prompt:
        """The prompt as models are given it: with its translation, where it has one, as the caption."""
        return replace(self, text=self.translation, translation="") if self.translation else self


@dataclass(frozen=True)
class PromptSet:
    """Prompts in a fixed order, and what they are a subset of.

    Attributes:
        dataset: the name that published numbers are joined on, such as "musiccaps".
        subset: the selection in words; "all" where nothing was left out.
        total: number of prompts in the dataset before selection.
        sha256: digest of the file the prompts were read from.
        form: "prompts", or how the files of two folders without captions belong together; their names are the ids.
        taken: ids of the whole dataset, where recordings that prompts share have names that may be ids too.
    """

    dataset: str
    subset: str
    total: int
    prompts: tuple[Prompt, ...]
    sha256: str
    form: Form = "prompts"
    taken: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass(frozen=True)
class Clip:
    """One audio file for one prompt, generated or reference, with the part of it that counts.

    Attributes:
        id: the prompt's id.
        status: "ok", or why the clip cannot be used; `reason` says more. "unpaired" stands where one of two folders has
            no file of that name, and needs none.
        sha256: digest of the file's bytes.
        start, seconds: the part used, in seconds; `seconds` None means to the end.
        gain: what the samples were multiplied by when stored, undone on reading.
        note: what was done to a usable clip, such as a cut.
        origin: digest of the file that it was made of; empty for a clip that was made of no other.
        made: how evalkit computed it: what may change the last bits, but nothing that it is looked up by. Empty where
            it did not, or where that was not recorded.
    """

    id: str
    path: Path | None = None
    status: ClipStatus = "ok"
    reason: str = ""
    sha256: str = ""
    frames: int = 0
    sample_rate: int = 0
    channels: int = 0
    start: float = 0.0
    seconds: float | None = None
    gain: float = 1.0
    note: str = ""
    origin: str = ""
    made: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def ok(self) -> bool:
        return self.status == "ok"


@dataclass(frozen=True)
class Features:
    """What one encoder says about a set of clips or captions.

    Attributes:
        ids: prompt ids, in order.
        values: one float32 array (frames, dimensions) per id.
    """

    ids: tuple[str, ...]
    values: tuple[np.ndarray, ...]

    def digest(self) -> str:
        """SHA-256 of ids, shapes and values, as hexadecimal digits."""
        names = {dtype: str(dtype) for dtype in {value.dtype for value in self.values}}
        shapes = [(i, v.shape, names[v.dtype]) for i, v in zip(self.ids, self.values, strict=True)]
        hashed = hashlib.sha256(repr(shapes).encode())
        for value in self.values:
            hashed.update(np.ascontiguousarray(value).data)
        return hashed.hexdigest()

    def select(self, ids: Iterable[str]) -> Features:
        """Take the features of some ids, in the order given. KeyError for an absent id."""
        index = dict(zip(self.ids, self.values, strict=True))
        chosen = tuple(ids)
        return Features(chosen, tuple(index[i] for i in chosen))


@dataclass(frozen=True)
class Measured:
    """A metric's value over n clips.

    Attributes:
        per_clip: each clip's own value, where it has one.
        parts: for a mean over items (frames, segments) the sum and the number of each clip's items, of all
            clips, those without items too. The value is the sum of the sums over the sum of the numbers, and
            the interval is computed from these.
        resampled: gives the value of each of many resamples from how often each clip of either side is drawn:
            two arrays (resamples, clips of that side), in the order of the features. They are one and the same
            where clips and references are paired; a metric without references ignores the second. It is asked for as
            many resamples at a time as memory has room for, of which each has its value whatever the others are. With
            neither parts nor this there is no interval.
        subsets: whether `resampled`, given clips that each count once or not at all, gives the value of those that
            count, on either side, with what is taken from all references and stays, such as a kernel's bandwidth.
            A metric whose value `parts` give on any subset need not say so.
        kept: as `resampled`, with what is found in all clips of both sides, such as their clusters, as it is, where
            `resampled` has it as other clips would. For subsets; None where `resampled` serves for both.
        together: whether sets are compared as parts of one that is measured as a whole, since what is found in each by
            itself differs by chance. Needs `subsets`. Such a value is not corrected to one of infinitely many clips.
        influence: gives how each generated clip moves the value, (clips,): the derivative in how often it counts. With
            it, many groups of prompts can be compared.
        note: what a reader of the table must know about this value, such as why it has no interval.
    """

    value: float
    n: int
    per_clip: dict[str, float] = field(default_factory=dict)
    parts: dict[str, tuple[float, float]] = field(default_factory=dict)
    resampled: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    subsets: bool = False
    kept: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    together: bool = False
    influence: Callable[[], np.ndarray] | None = None
    note: str = ""

    @property
    def of_subsets(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
        """What gives the value of clips that each count once or not at all; None where nothing does."""
        return (self.kept or self.resampled) if self.subsets else None


class BatchSize(NamedTuple):
    """How many clips are generated at once: `rows`, and the `most` that would be if there were more prompts."""

    rows: int
    most: int
