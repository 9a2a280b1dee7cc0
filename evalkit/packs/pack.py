"""A reference pack: the features of references, and what was found of each of them, without audio.

It says what was packed and how, and what was found of each prompt's reference before any of it was cut; it holds the
features of the parts of references that runs may use, by the keys that the feature stage finds clips by. What a run
cuts, and which references it takes, is thus decided by its own options, as with audio.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.store.digests import digest
from evalkit.types import Clip

STATUSES = ("ok", "missing", "unreadable", "failed")  # of a reference before it is cut


@dataclass(frozen=True)
class Weights:
    """A file that an encoder's weights were read from.

    Attributes:
        name, licence: in words.
        source: a URL, or a hub repository with its revision; "a local file" for any other.
        digest: SHA-256 of the file or folder, or the commit of the repository; empty for random weights.
        random: whether they are random.
    """

    name: str
    licence: str
    source: str
    digest: str
    random: bool


@dataclass(frozen=True)
class PackedEncoder:
    """An encoder whose features a pack holds.

    Attributes:
        definition: everything that affects its output but the device, as `evalkit.store.identity.identity` says it.
        metrics: the names of those that it was packed for.
        random: whether its weights are random.
    """

    definition: Mapping[str, Any]
    metrics: tuple[str, ...]
    random: bool
    weights: tuple[Weights, ...]

    @functools.cached_property
    def digest(self) -> str:
        """The digest of the definition."""
        return digest(self.definition)

    @property
    def kind(self) -> str:
        """The name that its features are kept under."""
        return str(self.definition["kind"])


@dataclass(frozen=True)
class Rendered:
    """The model that rendered references, which are no recordings then.

    Attributes:
        by: the name of its class.
        kind, random: see `evalkit.models.Model`.
        duration: of the clips in seconds.
        definition: everything that affects them, as `evalkit.store.identity.identity` says it.
    """

    by: str
    kind: str
    random: bool
    duration: float
    definition: Mapping[str, Any]


@dataclass(frozen=True)
class About:
    """What was packed, and how.

    Attributes:
        dataset, subset, total: of the prompts, as `evalkit.types.PromptSet` has them.
        licence, text: under what the pack may be used, and what else its maker says of it.
        evalkit, commit, when: the version and commit that made it, and the time in UTC.
        durations: of generated clips in seconds, for which parts of references were packed, beside whole references.
        cut, max_seconds: how parts were chosen, and when a file was too long, as `evalkit.prompts.Prompts` has them.
        protocol: the name of the protocol that clips were prepared by.
        sample_rate, resampler, conditioning: what of it changes all features: the rate in Hz (None for each file's
            own), how it was reached, and the version of the code that does it.
        device, device_name: the type of the device that computed the features, and what it calls itself.
        encoders: whose features the pack holds.
        rendered: what rendered the references; None for recordings.
    """

    dataset: str
    subset: str
    total: int
    licence: str
    text: str
    evalkit: str
    commit: str
    when: str
    durations: tuple[float, ...]
    cut: str
    max_seconds: float | None
    protocol: str
    sample_rate: int | None
    resampler: str
    conditioning: int
    device: str
    device_name: str
    encoders: tuple[PackedEncoder, ...]
    rendered: Rendered | None = None


@dataclass(frozen=True)
class Reference:
    """What was found of a prompt's reference, before any of it was cut.

    Attributes:
        id: the prompt's.
        caption: digest of the prompt's caption.
        status: one of `STATUSES`; `reason` says more, and names no place of a machine.
        sha256, frames, sample_rate, channels, gain: as `evalkit.types.Clip` has them.
    """

    id: str
    caption: str
    status: str
    reason: str = ""
    sha256: str = ""
    frames: int = 0
    sample_rate: int = 0
    channels: int = 0
    gain: float = 1.0

    @property
    def clip(self) -> Clip:
        """The reference as a clip without a file."""
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "caption"}
        return Clip(**facts)


class Part(NamedTuple):
    """A part of a reference, which may be all of it.

    Attributes:
        key: what the feature stage finds it by: 64 hexadecimal digits.
        content: the SHA-256 of the reference's file.
        start, samples: where it begins, and how long it is, at the pack's rate (at the file's own where it has none).
    """

    key: str
    content: str
    start: int
    samples: int


@dataclass(frozen=True, eq=False)
class PackedFeatures:
    """The features of one encoder: those of all parts, one after the other.

    Attributes:
        values: float32 (frames of all parts, dimensions).
        frames: int64 (parts,), how many are of each part; none of one that cannot be used.
    """

    values: np.ndarray
    frames: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[np.ndarray | None]) -> PackedFeatures:
        """Put the features (frames, dimensions) of parts together; None for one that cannot be used."""
        some = [part for part in parts if part is not None]
        frames = np.array([0 if part is None else len(part) for part in parts], np.int64)
        return cls(np.concatenate(some) if some else np.empty((0, 1), np.float32), frames)

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.frames)

    def part(self, place: int) -> np.ndarray:
        """The features of one part, by its place."""
        end = int(self._ends[place])
        return self.values[end - int(self.frames[place]) : end]


@dataclass(frozen=True, eq=False)
class Pack:
    """A reference pack.

    Attributes:
        references: one for each prompt that was packed.
        parts: of references, whose features the pack holds.
        peaks: float64 (parts,), the absolute peak of each part; NaN for one that cannot be used.
        unusable: why a part cannot be used, by its key.
        features: by the digests of encoders, for all parts in their order.
        name, sha256: of the file that it was read from.
    """

    about: About
    references: tuple[Reference, ...]
    parts: tuple[Part, ...]
    peaks: np.ndarray
    unusable: Mapping[str, str]
    features: Mapping[str, PackedFeatures]
    name: str = ""
    sha256: str = ""

    @functools.cached_property
    def by_id(self) -> dict[str, Reference]:
        """The references by the prompts' ids."""
        return {one.id: one for one in self.references}

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {part.key: place for place, part in enumerate(self.parts)}

    def __contains__(self, key: object) -> bool:
        """Whether there is a part of this key, be it that it cannot be used."""
        return key in self._places

    def peaks_of(self, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """The peaks (1,) of usable parts, by their keys."""
        return {k: self.peaks[i : i + 1] for k, i in self._usable(keys)}

    def features_of(self, encoder: str, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """The features of usable parts by their keys, of an encoder by its digest; none of one that was not packed."""
        if encoder not in self.features:
            return {}
        found = self.features[encoder]
        return {k: found.part(i) for k, i in self._usable(keys)}

    def _usable(self, keys: Iterable[str]) -> Iterable[tuple[str, int]]:
        return ((k, self._places[k]) for k in keys if k in self._places and k not in self.unusable)

    def lacks(self, clips: Sequence[Clip]) -> EvalkitError:
        """Make the error for parts of references that the pack does not hold."""
        first, *more = clips
        part = "as a whole"
        if first.seconds is not None:
            end = f"{first.start + first.seconds:.9g}"
            part = f"over its first {end} s" if not first.start else f"from {first.start:.9g} to {end} s"
        others = f", and of {len(more):,} more" if more else ""
        lengths = sorted({clip.seconds for clip in clips if clip.seconds is not None})
        if len(lengths) > 1:
            some = ", ".join(f"{length:.9g}" for length in lengths[:3]) + (", …" if len(lengths) > 3 else "")
            remedy = f"parts of {len(lengths):,} lengths are missing ({some} s): compare clips of one length"
        else:
            option = f"sampling.duration={lengths[0]:.9g}" if lengths else "the prompts.max_seconds of this run"
            remedy = f"pack the references again with {option}, or join this pack with one that was made so"
        return EvalkitError(f"the pack '{self.name}' holds no features of '{first.id}' {part}{others}: {remedy}")

    @property
    def usable(self) -> int:
        """How many prompts have a reference, as far as its header says."""
        return sum(one.status == "ok" for one in self.references)
