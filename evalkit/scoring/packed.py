"""What keeps a run from using a reference pack, said by name before anything is made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalkit.calibration import Row
from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.features import extractor as features
from evalkit.features.extractor import Extractor
from evalkit.models import Generator
from evalkit.packs.pack import Pack, PackedEncoder
from evalkit.plan import Plan
from evalkit.prompts import Prompts
from evalkit.prompts.references import packed_references
from evalkit.prompts.selection import sampled
from evalkit.protocols import seconds_compared
from evalkit.results.alike import differences
from evalkit.results.options import leaves
from evalkit.scoring.embedding import common_length, one_per_prompt
from evalkit.settings import Protocol
from evalkit.store.digests import digest
from evalkit.store.identity import identity
from evalkit.types import Clip, PromptSet


def require_pack(plan: Plan, prompts: PromptSet) -> None:
    """Raise EvalkitError where the references come from a pack that does not hold what the run compares with.

    That is a pack of other prompts, protocol, weights or code, or without a metric or a part of references. Of
    clips that are not there yet the length is taken to be the one that is asked for.
    """
    pack = plan.pack
    if pack is None:
        return
    if audio := [name for name, row in plan.calibration.items() if row.needs_references]:
        raise EvalkitError(
            f"calibration={audio[0]} is made of the references' audio, and the pack '{pack.name}' holds none: leave it "
            "out, or give the audio itself"
        )
    if plan.transform is not None:
        raise EvalkitError(
            f"references are to be {plan.transform.about(plan.cache)}, which is made of their audio, and the pack "
            f"'{pack.name}' holds none: leave references=… out, or give the audio itself"
        )
    if not plan.paired:
        return
    packed_references(prompts, plan.prompts, pack, math.inf)  # refuses other prompts
    if problem := next(problems(plan, pack), None):
        raise EvalkitError(f"the pack '{pack.name}' {problem}")
    _require_parts(plan, prompts, pack)


def problems(plan: Plan, pack: Pack) -> Iterator[str]:
    """Say in what a pack differs from what a plan's metrics compare with, apart from prompts and parts."""
    about = pack.about
    if problem := other_protocol(plan.protocol, pack):
        yield problem
    for name, metric in plan.paired.items():
        encoder = metric.reference_encoder
        assert encoder is not None, "a paired metric compares with references"
        own = identity(encoder, plan.cache)
        if digest(own) not in pack.features:
            yield _other_encoder(pack, name, encoder, own)
    if (rendered := about.rendered) and rendered.duration != plan.sampling.duration:
        yield (
            f"holds references that {rendered.by} rendered {rendered.duration:g} s long, and this run asks for "
            f"{plan.sampling.duration:g} s: set sampling.duration={rendered.duration:g}, or pack them again"
        )


def other_protocol(protocol: Protocol, pack: Pack) -> str:
    """Say in what audio was prepared otherwise for a pack than a protocol does it; empty for nothing."""
    about = pack.about
    ours = {
        "sample_rate": protocol.sample_rate,
        "resampler": protocol.resampler,
        "version of evalkit's conditioning": features.VERSION,
    }
    theirs = dict(zip(ours, (about.sample_rate, about.resampler, about.conditioning), strict=True))
    said = ", ".join(f"{name} {text}" for name, text in differences(theirs, ours))
    return said and (
        f"was made under the protocol {about.protocol}, which differs from this run's, {protocol.name}: "
        f"{said}: set protocol={about.protocol}, or get a pack of {protocol.name}"
    )


def _other_encoder(pack: Pack, name: str, encoder: Encoder, own: Mapping[str, Any]) -> str:
    """Say why the features that a metric compares with are not in a pack."""
    alike = [one for one in pack.about.encoders if one.definition.get("package") == own.get("package")]
    alike = [one for one in alike if one.kind == own["kind"]]
    if not alike:
        packed = sorted({metric for one in pack.about.encoders for metric in one.metrics})
        return (
            f"was packed for the metrics {', '.join(packed)}, and metric.{name} needs features of {own['kind']}: "
            "leave the metric out, or pack the references for it too"
        )
    nearest = next((one for one in alike if name in one.metrics), alike[0])
    whose = f"features of {own['kind']} (metric.{name})"
    if nearest.random != encoder.random:
        kinds = ("random", "published or own") if nearest.random else ("published or own", "random")
        return (
            f"holds {whose} of {kinds[0]} weights, and this run has {kinds[1]} ones, so that no number would mean "
            "anything: use the same weights, or another pack"
        )
    said = list(_differences(nearest, own))
    todo = next((remedy for _, remedy in said if remedy), "")
    under = "" if todo else f", under the protocol {pack.about.protocol}"
    todo = todo or "follow that protocol as it is, or pack the references with the options of this run"
    return f"holds {whose} that were made otherwise{under}: {'; '.join(text for text, _ in said)}: {todo}"


def _differences(packed: PackedEncoder, own: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """In what an encoder differs from a packed one, with what to do about it where that is not the protocol."""
    files = {
        key.rpartition(".")[0]
        for definition in (packed.definition, own)
        for key, _ in leaves(definition)
        if key.rpartition(".")[2] in ("sha256", "commit", "random_seed")
    }
    for key, text in differences(packed.definition, own):
        last = key.rpartition(".")[2]
        if last == "random_weights":
            yield f"random weights of seed {text}", f"set random_weights={text.partition(',')[0]}, or use another pack"
        elif last == "version":
            yield f"version {text}, of evalkit's code", "pack the references again, or use the evalkit of the pack"
        elif last == "source":
            yield f"code {text.replace(', not ', '…, not ')}", "pack the references again"
        elif key in files:
            yield f"{key} {text}", "use the same weights, or another pack"
        else:
            yield f"{key} {text}", ""


def _other_options(pack: Pack, lacking: Sequence[Clip], own: Prompts, duration: float) -> EvalkitError | None:
    """Make the error for parts that are not in a pack since it was made with other options of the prompts."""
    contents = {part.content for part in pack.parts}
    its = pack.about
    some = f"'{lacking[0].id}'" + (f" and {len(lacking) - 1:,} more" if len(lacking) > 1 else "")
    if own.cut != its.cut and duration in its.durations:
        option, ours, theirs, why = "cut", own.cut, its.cut, f"which takes another part of {some}"
    elif own.max_seconds != its.max_seconds and not any(clip.sha256 in contents for clip in lacking):
        ours, theirs = ("null" if value is None else f"{value:g}" for value in (own.max_seconds, its.max_seconds))
        option, why = "max_seconds", f"under which {some} are not too long"
    else:
        return None
    return EvalkitError(
        f"the pack '{pack.name}' was made with prompts.{option}={theirs}, and this run has prompts.{option}={ours}, "
        f"{why}: set prompts.{option}={theirs}, or pack the references again"
    )


def require_held(pack: Pack, clips: Sequence[Clip], extractor: Extractor, options: Prompts, duration: float) -> None:
    """Raise EvalkitError where a pack lacks the parts of references that the options of prompts have chosen.

    Args:
        clips: the references, cut to these parts.
        duration: of generated clips, in seconds.
    """
    if lacking := [clip for clip in clips if clip.ok and extractor.part_key(clip) not in pack]:
        raise _other_options(pack, lacking, options, duration) or pack.lacks(lacking)


def _require_parts(plan: Plan, prompts: PromptSet, pack: Pack) -> None:
    """Raise EvalkitError where a pack lacks a part of a reference that is known to be needed."""
    extractor, common, duration = plan.extractor(), plan.protocol.pair_length == "common", plan.sampling.duration
    whole = packed_references(prompts, plan.prompts, pack, math.inf)
    if any(isinstance(model, Generator) for model in plan.models.values()):
        clips = packed_references(prompts, plan.prompts, pack, seconds_compared(plan.protocol, duration))
        require_held(pack, clips, extractor, plan.prompts, duration)
    for model in plan.models.values():
        if not isinstance(model, Generator):
            require_held(pack, whole, extractor, plan.prompts, duration)
            clips = model.find(sampled([prompt.given for prompt in prompts.prompts], plan.sampling.samples_per_prompt))
            for sample in one_per_prompt(Row(prompts.prompts, clips)) if common else []:
                cut = common_length(sample, whole, plan.protocol.sample_rate)[1]
                if lacking := [clip for clip in cut if clip.ok and extractor.part_key(clip) not in pack]:
                    raise pack.lacks(lacking)
