"""How many of the chosen prompts have a reference that can be used."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator

from omegaconf import DictConfig

from evalkit.audio import AudioError
from evalkit.checks import Asked, Finding
from evalkit.config import build
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import condition
from evalkit.features.extractor import Extractor
from evalkit.models import Generator
from evalkit.packs.packed import Packed
from evalkit.progress import progress
from evalkit.prompts import Prompts
from evalkit.prompts.audio_files import mapped
from evalkit.prompts.references import packed_references, survey_references
from evalkit.protocols import protocol_of, seconds_compared
from evalkit.scoring.packed import other_protocol, require_held
from evalkit.store.cache import Cache
from evalkit.types import Clip, PromptSet

SUBJECT = "prompts"
ORDER = 80
SHOWN = 3  # prompts that are named for each reason


def check(asked: Asked) -> Iterator[Finding]:
    """Read the prompts that the options name, and find the reference of each: by its header, or by decoding it."""
    if not asked.named & {"prompts", "experiment"}:
        return
    options: Prompts = build(asked.config.prompts, list(asked.config.allow_targets))
    try:
        prompts = options.load(Cache(asked.config.cache_dir))
    except EvalkitError as error:
        yield Finding("prompts", "missing", str(error), needed=True)
        return
    facts = {"dataset": prompts.dataset, "subset": prompts.subset, "prompts": len(prompts.prompts)}
    yield Finding("prompts", "ok", f"{len(prompts.prompts):,} of {prompts.dataset}, {prompts.subset}", facts=facts)
    yield from _references(prompts, options, asked)


def surveyed(prompts: PromptSet, options: Prompts, config: DictConfig, read_data: bool) -> list[Clip]:
    """The reference of each prompt as a run would find it: by its header, or decoded if all data is to be read.

    A pack says at once what decoding has shown. Raises EvalkitError where there is no such folder, file or pack, where
    it fits no prompt, and for a pack of another protocol, or without the parts that the run's clips are compared with.
    """
    if isinstance(options.references, Generator):
        return [Clip(prompt.id) for prompt in prompts.prompts]
    protocol = protocol_of(config)
    duration = seconds_compared(protocol, config.sampling.duration)
    if isinstance(options.references, Packed):
        cache = Cache(config.cache_dir)
        pack = options.references.read(cache)
        if problem := other_protocol(protocol, pack):
            raise EvalkitError(f"the pack '{pack.name}' {problem}")
        clips = packed_references(prompts, options, pack, duration)
        extractor = Extractor(cache, "cpu", None, protocol.sample_rate, protocol.resampler, pack=pack)
        require_held(pack, clips, extractor, options, config.sampling.duration)
        return extractor.clips(clips, {}, loudness=None, refuse_silence=True, title="references")[1]
    clips = survey_references(prompts, options, duration)
    return decoded(clips) if read_data else clips


def enough(usable: int, total: int, wanted: float) -> bool:
    """Whether a run would go on with so many usable references, of which it wants a share."""
    return usable >= wanted * total and usable > 0


def _references(prompts: PromptSet, options: Prompts, asked: Asked) -> Iterator[Finding]:
    if isinstance(options.references, Generator):
        yield Finding("references", "ok", "made by a model", facts={"usable": len(prompts.prompts)})
        return
    if not options.references and not any(prompt.reference for prompt in prompts.prompts):
        said = "none is given: metrics that compare with references cannot be measured"
        yield Finding("references", "warning", said, remedy="set prompts.references", facts={"usable": 0})
        return
    try:
        clips = surveyed(prompts, options, asked.config, asked.read_data)
    except EvalkitError as error:
        yield Finding("references", "missing", str(error), needed=True, facts={"usable": 0})
        return
    usable, total = sum(clip.ok for clip in clips), len(clips)
    fine = enough(usable, total, asked.config.min_references)
    how = "decoded" if asked.read_data else "by their headers"
    if isinstance(options.references, Packed):
        how = "from a pack"
    remedy = "" if fine else f"a run wants {asked.config.min_references:.0%} of them (min_references)"
    yield Finding(
        "references",
        "ok" if usable == total else "warning" if fine else "missing",
        f"{usable:,} of {total:,} can be used ({how})",
        needed=True,
        remedy=remedy,
        facts={"usable": usable, "wanted": asked.config.min_references, "decoded": asked.read_data},
    )
    counts = Counter(clip.status for clip in clips if not clip.ok)
    for status, count in counts.most_common():
        some = [clip for clip in clips if clip.status == status][:SHOWN]
        names = ", ".join(clip.id for clip in some) + (", …" if count > len(some) else "")
        ids = [clip.id for clip in clips if clip.status == status]
        said = f"{count:,}: {names}; the first one: {some[0].reason}"
        yield Finding(status, "warning", said, facts={status: ids})


def decoded(clips: list[Clip]) -> list[Clip]:
    """Read every clip that its header lets pass, as a run does: what cannot be used is "unreadable" or "silent"."""
    with progress("decoding references", len(clips), "files") as advance:
        found = []
        for clip in mapped(_decoded, clips):
            found.append(clip)
            advance(1)
    return found


def _decoded(clip: Clip) -> Clip:
    if not clip.ok or clip.path is None:
        return clip
    try:
        peak = condition(clip, rate=None, loudness=None).peak  # resampling makes no silence, and takes long
    except AudioError as error:
        return dataclasses.replace(clip, status="unreadable", reason=str(error))
    return clip if peak else dataclasses.replace(clip, status="silent", reason="digital silence")
