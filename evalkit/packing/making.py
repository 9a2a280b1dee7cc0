"""References to a pack: each part that a run may compare with is encoded once, as that run would."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from omegaconf import DictConfig

from evalkit import progress
from evalkit.assets import Asset, assets_of
from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.features import extractor as features
from evalkit.features.conditioning import usable_seconds
from evalkit.features.extractor import Extractor
from evalkit.filling import beyond_one_process
from evalkit.models import Generator
from evalkit.packs.pack import About, Pack, PackedEncoder, PackedFeatures, Part, Reference, Rendered, Weights
from evalkit.packs.packed import Packed
from evalkit.plan import Plan, make_plan, require_files
from evalkit.precision import fixed_precision
from evalkit.prompts.references import packed_references, probe_references
from evalkit.protocols import seconds_compared
from evalkit.recording import weights_info
from evalkit.results.record import Count, count
from evalkit.scoring.rows import reference_clips
from evalkit.store.cache import Cache
from evalkit.store.digests import digest
from evalkit.store.identity import identity
from evalkit.store.known import known_digests
from evalkit.store.leases import lease
from evalkit.store.provenance import provenance
from evalkit.types import Clip, PromptSet


@dataclasses.dataclass(frozen=True)
class Made:
    """A pack, and how many prompts have a reference that a run with the same options could use."""

    pack: Pack
    coverage: Count


def pack_of(config: DictConfig, licence: str = "unknown", text: str = "") -> Made:
    """Pack the references of a configuration, for those of its metrics that compare with references.

    Features that are in the cache are taken from there. Raises EvalkitError for what cannot be packed.

    Args:
        licence, text: what the pack says of itself.
    """
    root = Cache(config.cache_dir).root
    with progress.silenced(config.engine.quiet), lease(root), known_digests(root), fixed_precision():
        plan = plan_of(config)
        prompts = plan.prompts.load(plan.cache)
        require_files(plan)
        with beyond_one_process(plan) as plan:
            pack = packed(plan, prompts, licence, text)
        return Made(pack, coverage(plan, prompts, pack))


def plan_of(config: DictConfig) -> Plan:
    """The plan of a configuration with nothing in it but what compares with references.

    Raises EvalkitError where nothing does, where the references are a pack already, and for features that a decoder
    makes sound of.
    """
    plan = make_plan(config)
    if isinstance(plan.references, Packed):
        raise EvalkitError(f"prompts.references={plan.references.asset.source} is a pack already: give the audio")
    if plan.transform is not None:
        raise EvalkitError("references=…: packs are of references as they are, which others can use: leave it out")
    if not plan.paired:
        raise EvalkitError(f"no metric of {', '.join(plan.metrics)} compares with reference clips: choose others")
    for name, metric in plan.paired.items():
        if getattr(metric.reference_encoder, "decodable", False):
            raise EvalkitError(
                f"metric.{name}: a decoder makes sound of its features again, so that a pack of them would hold the "
                "references' audio: leave it out"
            )
    return dataclasses.replace(plan, metrics=plan.paired, models={}, calibration={})


def packed(plan: Plan, prompts: PromptSet, licence: str, text: str) -> Pack:
    """Encode all parts of the references that runs may compare with, and pack them.

    Raises EvalkitError where none can be used, and where an encoder fails.
    """
    extractor = plan.extractor()
    encoders = [metric.reference_encoder for metric in plan.metrics.values() if metric.reference_encoder is not None]
    keyed = {extractor.key(encoder): encoder for encoder in encoders}
    values: dict[str, dict[str, np.ndarray]] = {key: {} for key in keyed}
    parts: dict[str, Part] = {}
    peaks: dict[str, float] = {}
    unusable: dict[str, str] = {}
    for title, clips in _compared_with(plan, prompts).items():
        found, checked = extractor.clips(clips, keyed, loudness=None, refuse_silence=False, title=title)
        if extractor.broken:
            raise EvalkitError(next(iter(extractor.broken.values())))
        of = {clip.id: Part(extractor.part_key(clip), clip.sha256, *extractor.span(clip)) for clip in clips if clip.ok}
        parts |= {part.key: part for part in of.values()}
        unusable |= {of[one.id].key: _without_places(one.reason) for one in checked if one.id in of and not one.ok}
        for key, own in found.items():
            values[key] |= {of[i].key: value for i, value in zip(own.ids, own.values, strict=True)}
        peaks |= extractor.peaks([clip for clip in checked if clip.ok])
    if not peaks:
        reasons = next((f" ({clip.id}: {clip.reason})" for clip in checked if clip.reason), "")
        raise EvalkitError(
            f"none of the {len(prompts):,} prompts has a usable reference{reasons}: give the folder they are in"
        )
    keys = sorted(parts)
    return Pack(
        about=_about(plan, prompts, licence, text),
        references=_references(plan, prompts),
        parts=tuple(parts[key] for key in keys),
        peaks=np.array([peaks.get(key, np.nan) for key in keys]),
        unusable=unusable,
        features={
            digest(identity(encoder, plan.cache)): PackedFeatures.of([values[key].get(part) for part in keys])
            for key, encoder in keyed.items()
        },
    )


def _compared_with(plan: Plan, prompts: PromptSet) -> dict[str, list[Clip]]:
    """What runs compare with that generate clips of `sampling.duration`, and runs on clips that are there, by a title.

    Clips that are there may have any length. Where they are shorter than a whole reference, and as long as was asked
    for, they are compared with its beginning.
    """
    duration, rate = plan.sampling.duration, plan.protocol.sample_rate
    whole = reference_clips(plan, prompts, whole=True)
    found = {"references": whole, "references of generated clips": reference_clips(plan, prompts, whole=False)}
    if plan.protocol.pair_length == "common":
        found["beginnings of references"] = [
            dataclasses.replace(clip, seconds=duration) if clip.ok and usable_seconds(clip, rate) > duration else clip
            for clip in whole
        ]
    return found


def coverage(plan: Plan, prompts: PromptSet, pack: Pack) -> Count:
    """Count the prompts whose reference a run could use, by what a pack says of them."""
    clips = packed_references(prompts, plan.prompts, pack, seconds_compared(plan.protocol, plan.sampling.duration))
    extractor: Extractor = dataclasses.replace(plan.extractor(), pack=pack)
    _, checked = extractor.clips(clips, {}, loudness=None, refuse_silence=True, title="references")
    return count([clip.status for clip in checked])


def _references(plan: Plan, prompts: PromptSet) -> tuple[Reference, ...]:
    """What is found of each prompt's reference before any of it is cut."""
    if isinstance(plan.references, Generator):
        clips = reference_clips(plan, prompts, whole=True)
    else:
        clips = probe_references(prompts, plan.prompts)
    return tuple(
        Reference(
            id=prompt.id,
            caption=digest(prompt.text),
            status=clip.status,
            reason=_reason(clip),
            sha256=clip.sha256,
            frames=clip.frames,
            sample_rate=clip.sample_rate,
            channels=clip.channels,
            gain=clip.gain,
        )
        for prompt, clip in zip(prompts.prompts, clips, strict=True)
    )


def _reason(clip: Clip) -> str:
    """Why a reference cannot be used, without a place of this machine."""
    return "there was none when the pack was made" if clip.status == "missing" else _without_places(clip.reason)


def _without_places(reason: str) -> str:
    """A reason with nothing but the last part of paths."""
    return re.sub(r"'[^']*[/\\]([^'/\\]*)'", r"'\1'", reason)


def _about(plan: Plan, prompts: PromptSet, licence: str, text: str) -> About:
    made = provenance(plan.engine.device)
    metrics: dict[str, list[str]] = {}
    encoders: dict[str, Encoder] = {}
    for name, metric in plan.metrics.items():
        assert metric.reference_encoder is not None, "a paired metric compares with references"
        key = digest(identity(metric.reference_encoder, plan.cache))
        encoders[key] = metric.reference_encoder
        metrics.setdefault(key, []).append(name)
    model = plan.references
    return About(
        dataset=prompts.dataset,
        subset=prompts.subset,
        total=prompts.total,
        licence=licence,
        text=text,
        evalkit=str(made["packages"]["evalkit"]),
        commit=f"{made['commit'] or ''}{', with local changes' if made['dirty'] else ''}",
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        durations=(float(plan.sampling.duration),),
        cut=plan.prompts.cut,
        max_seconds=plan.prompts.max_seconds,
        protocol=plan.protocol.name,
        sample_rate=plan.protocol.sample_rate,
        resampler=plan.protocol.resampler,
        conditioning=features.VERSION,
        device=plan.engine.device.split(":")[0],
        device_name=made["device_name"],
        encoders=tuple(_encoder(plan, encoders[key], names) for key, names in metrics.items()),
        rendered=Rendered(
            by=type(model).__name__,
            kind=model.kind,
            random=model.random,
            duration=plan.sampling.duration,
            definition=identity(model, plan.cache),
        )
        if isinstance(model, Generator)
        else None,
    )


def _encoder(plan: Plan, encoder: Encoder, metrics: Sequence[str]) -> PackedEncoder:
    weights = tuple(_weights(plan, asset) for asset in assets_of(encoder))
    return PackedEncoder(identity(encoder, plan.cache), tuple(metrics), encoder.random, weights)


def _weights(plan: Plan, asset: Asset) -> Weights:
    source = "a local file" if asset.path else asset.source
    return Weights(asset.name, asset.licence, source, weights_info(asset, plan.cache).digest, asset.random)
