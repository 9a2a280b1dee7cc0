"""A pack and audio: whether the references are the same files, and whether their features come out the same again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from omegaconf import DictConfig

from evalkit import progress
from evalkit.errors import EvalkitError
from evalkit.features.extractor import Extractor
from evalkit.filling import beyond_one_process
from evalkit.models import Generator
from evalkit.packing.making import plan_of
from evalkit.packs.files import damaged
from evalkit.packs.joining import first_of
from evalkit.packs.pack import Pack, Part, Reference
from evalkit.plan import Plan, require_files
from evalkit.precision import fixed_precision
from evalkit.prompts.audio_files import normal
from evalkit.prompts.references import packed_references, probe_references
from evalkit.scoring.packed import problems
from evalkit.scoring.rows import reference_clips
from evalkit.store.cache import Cache
from evalkit.store.digests import digest
from evalkit.store.identity import identity
from evalkit.store.known import known_digests
from evalkit.store.leases import lease
from evalkit.types import Clip, PromptSet

# of a prompt: its reference is the same file; another; in the pack alone; among the clips alone, as the pack says that
# it had none, or does not have the prompt; in neither
Found = Literal["same", "other content", "gone", "only in the clips", "not in the pack", "in neither"]


@dataclass
class Compared:
    """The features of one encoder, or the peaks of clips, compared part by part.

    Attributes:
        parts: how many were compared, and of them `equal` to the last bit.
        largest: the largest absolute difference of two values.
        unlike: how many have other frames on both sides, or cannot be used on one.
    """

    parts: int = 0
    equal: int = 0
    largest: float = 0.0
    unlike: int = 0

    def add(self, packed: np.ndarray | None, made: np.ndarray | None) -> None:
        """Compare the values of one part, None where it cannot be used; on both sides is nothing to compare."""
        if packed is None and made is None:
            return
        self.parts += 1
        if packed is None or made is None or packed.shape != made.shape:
            self.unlike += 1
        elif packed.tobytes() == made.tobytes():
            self.equal += 1
        else:
            self.largest = max(self.largest, float(np.abs(packed.astype(np.float64) - made).max()))

    @property
    def apart(self) -> str:
        """How many parts are not equal, and by how much; empty where all are."""
        said = f"{self.parts - self.equal:,} of {self.parts:,} parts"
        more = [f"by {self.largest:.3g} at most"] if self.largest else []
        more += [f"{self.unlike:,} of them of another length or usable on one side only"] if self.unlike else []
        return ", ".join([said, *more]) if self.equal < self.parts else ""


@dataclass(frozen=True)
class Verified:
    """What a pack and audio have in common.

    Attributes:
        references: what was found of each prompt, by its id.
        features: by what was compared: "peaks", and the kinds of encoders with the metrics that read them.
        left_out: encoders of the pack that were not compared, as the metrics that were selected do not read them.
        device: the types of the devices that computed the pack, and what it was compared with.
    """

    references: Mapping[str, Found]
    features: Mapping[str, Compared]
    left_out: Sequence[str]
    device: tuple[str, str]

    def of(self, found: Found) -> list[str]:
        """The ids of which something was found."""
        return [i for i, one in self.references.items() if one == found]

    @property
    def _devices(self) -> str:
        packed, here = self.device
        return "" if packed == here else f" (the pack was made on {packed}, and this is {here})"

    @property
    def problems(self) -> list[str]:
        """Why the pack is not verified, one sentence each; nothing where it is."""
        said = []
        if not any(one.parts for one in self.features.values()):
            said.append("nothing was compared, as no usable reference is the same file")
        if ids := self.of("other content"):
            said.append(f"other content of {first_of(ids)}")
        if ids := self.of("gone"):
            said.append(f"no usable clip of {first_of(ids)}")
        for what, one in self.features.items():
            if one.apart:
                said.append(f"{what} not bit-identical in {one.apart}{self._devices}")
        if self.left_out:
            said.append(f"{', '.join(self.left_out)}: not compared, as no metric that is selected reads them")
        return said


def verify(config: DictConfig, pack: Pack) -> Verified:
    """Compare a pack with the references of a configuration, whose features are made again or taken from the cache.

    Each part of each reference that is the same file on both sides is compared, for the encoders that the metrics of
    the configuration read. Raises EvalkitError for a pack of other prompts, captions, protocol or weights, and for
    weights that are missing.
    """
    root = Cache(config.cache_dir).root
    with progress.silenced(config.engine.quiet), lease(root), known_digests(root), fixed_precision():
        plan = plan_of(config)
        prompts = plan.prompts.load(plan.cache)
        packed_references(prompts, plan.prompts, pack, math.inf)  # refuses other prompts
        if problem := next(problems(plan, pack), None):
            raise EvalkitError(f"the pack '{pack.name}' {problem}")
        require_files(plan)
        with beyond_one_process(plan) as plan:
            return _verified(plan, prompts, pack)


def _verified(plan: Plan, prompts: PromptSet, pack: Pack) -> Verified:
    rendered = isinstance(plan.references, Generator)
    clips = reference_clips(plan, prompts, whole=True) if rendered else probe_references(prompts, plan.prompts)
    known = {normal(one.id): one for one in pack.references}
    references = {clip.id: _found(known.get(normal(clip.id)), clip) for clip in clips}
    encoders = {digest(identity(e, plan.cache)): e for m in plan.metrics.values() if (e := m.reference_encoder)}
    names = {one.digest: f"features of {one.kind} ({', '.join(one.metrics)})" for one in pack.about.encoders}
    extractor = plan.extractor()
    features = {"peaks": Compared()} | {names[key]: Compared() for key in encoders}
    for some in _rounds(pack, [clip for clip in clips if references[clip.id] == "same"], extractor):
        keyed = {extractor.key(encoder): encoder for encoder in encoders.values()}
        made, checked = extractor.clips(some, keyed, loudness=None, refuse_silence=False, title="references")
        if extractor.broken:
            raise EvalkitError(next(iter(extractor.broken.values())))
        keys = [extractor.part_key(clip) for clip in some]
        peaks, packed = extractor.peaks([clip for clip in checked if clip.ok]), pack.peaks_of(keys)
        for key in keys:
            features["peaks"].add(packed.get(key), np.array([peaks[key]]) if key in peaks else None)
        for encoder_digest, encoder in encoders.items():
            own = made[extractor.key(encoder)]
            here = {extractor.part_key(c): v for c, v in zip([c for c in checked if c.ok], own.values, strict=True)}
            there = pack.features_of(encoder_digest, keys)
            for key in keys:
                features[names[encoder_digest]].add(there.get(key), here.get(key))
    extractor.compact()
    left_out = [name for key, name in names.items() if key not in encoders]
    return Verified(references, features, left_out, (pack.about.device, plan.engine.device.split(":")[0]))


def _found(packed: Reference | None, clip: Clip) -> Found:
    if packed is None:
        return "not in the pack"
    if packed.status == "ok" and clip.ok:
        return "same" if packed.sha256 == clip.sha256 else "other content"
    if packed.status == "ok":
        return "gone"
    return "only in the clips" if clip.ok else "in neither"


def _rounds(pack: Pack, clips: Sequence[Clip], extractor: Extractor) -> Iterator[list[Clip]]:
    """The parts that a pack has of some clips: the first of each content, then the second of each, and so on."""
    parts: dict[str, list[Part]] = {}
    for part in pack.parts:
        parts.setdefault(part.content, []).append(part)
    once = {clip.sha256: clip for clip in reversed(clips)}  # several prompts may have one recording
    for place in range(max((len(parts.get(one, [])) for one in once), default=0)):
        some = []
        for sha256, clip in once.items():
            for part in parts.get(sha256, [])[place : place + 1]:
                rate = extractor.rate or clip.sample_rate
                cut = dataclasses.replace(clip, start=part.start / rate, seconds=part.samples / rate)
                if extractor.part_key(cut) != part.key:
                    raise damaged(Path(pack.name), f"a part of '{clip.id}' has another key than evalkit gives it")
                some.append(cut)
        yield some
