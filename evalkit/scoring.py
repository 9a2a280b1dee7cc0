"""Clips to scores: every model with every metric."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.features import Extractor, usable_samples
from evalkit.metrics import Encoder
from evalkit.plan import Plan
from evalkit.types import Clip, Features, Prompt, PromptSet, Score

MIN_SECONDS = 1.0  # audiocraft's evaluate.min_audio_duration; one window of VGGish


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The scores, the clips with what decoding them has shown, and the per-clip table."""

    scores: list[Score]
    references: list[Clip]
    generated: dict[str, list[Clip]]
    clips: pd.DataFrame


def measure(plan: Plan, prompts: PromptSet, references: list[Clip], generated: Mapping[str, list[Clip]]) -> Measurement:
    """Score every model with every metric.

    A metric sees the prompts whose generated clip is usable and, if it compares with clips, whose
    reference is. These pairs are cut to their common length, as in audiocraft; a metric that compares
    with captions hears the whole clip.
    """
    protocol = plan.config.protocol
    extractor = Extractor(plan.cache, plan.device, plan.config.engine.feature_batch_size, protocol.sample_rate)

    def keyed(encoders: list[Encoder]) -> dict[str, Encoder]:
        return {extractor.key(encoder): encoder for encoder in encoders}

    alone = [m for name, m in plan.metrics.items() if name not in plan.paired]
    compared = keyed([m.reference_encoder for m in plan.paired.values()])
    captions = {
        key: extractor.captions(prompts.prompts, encoder, key)
        for key, encoder in keyed([m.reference_encoder for m in alone]).items()
    }
    of_references: dict[str, Features] = {}
    if plan.paired:
        of_references, references = extractor.clips(
            references, compared, loudness=None, refuse_silence=True, title="references"
        )
        require_references(plan, references)
    scores, frames, checked_clips = [], [], {}
    for name, clips in generated.items():

        def of_clips(
            clips: Sequence[Clip], encoders: dict[str, Encoder], name: str = name
        ) -> tuple[dict[str, Features], list[Clip]]:
            loudness = protocol.generated_loudness
            return extractor.clips(clips, encoders, loudness=loudness, refuse_silence=False, title=name)

        cut_clips, cut_references = common_length(clips, references, protocol.sample_rate)
        whole, pairs = keyed([m.encoder for m in alone]), keyed([m.encoder for m in plan.paired.values()])
        if not plan.paired or cut_clips == clips:
            in_whole, checked = of_clips(clips, {**whole, **pairs})
            in_pairs = in_whole
        else:
            in_pairs, checked = of_clips(cut_clips, pairs)
            in_whole = of_clips(clips, whole)[0] if whole else {}
        compared_with = of_references
        if cut_references != references:
            compared_with, _ = extractor.clips(
                cut_references, compared, loudness=None, refuse_silence=False, title=f"references, cut as {name}"
            )
        checked_clips[name] = mark(clips, checked)
        require_generated(plan, name, checked_clips[name])
        per_clip = {}
        for metric_name, metric in plan.metrics.items():
            paired = metric_name in plan.paired
            ours = (in_pairs if paired else in_whole)[extractor.key(metric.encoder)]
            theirs = (compared_with if paired else captions)[extractor.key(metric.reference_encoder)]
            usable = set(theirs.ids)
            ids = [i for i in ours.ids if i in usable]
            if not ids:
                raise EvalkitError(f"{name}: no prompt has both a usable clip and a usable reference for {metric_name}")
            measured = metric(ours.select(ids), theirs.select(ids))
            if not math.isfinite(measured.value):
                raise EvalkitError(f"{name}: {metric_name} is {measured.value}: the clips are too short or too few")
            per_clip[metric_name] = measured.per_clip
            scores.append(
                Score(
                    name, metric_name, measured.value, measured.n, plan.protocols[metric_name], metric.higher_is_better
                )
            )
        frames.append(clip_frame(name, prompts.prompts, checked_clips[name], references, per_clip))
    return Measurement(scores, references, checked_clips, pd.concat(frames, ignore_index=True))


def require_references(plan: Plan, references: Sequence[Clip]) -> None:
    """Raise EvalkitError if too few prompts have a usable reference for the metrics that need one."""
    if not plan.paired:
        return
    usable = sum(clip.ok for clip in references)
    which = f"metric {', '.join(plan.paired)} compares with reference clips, and "
    if not usable:
        reasons = next((f" ({c.id}: {c.reason})" for c in references if c.reason), "")
        raise EvalkitError(
            f"{which}none of the {len(references)} prompts has a usable one{reasons}: "
            "set prompts.references to the folder they are in, or metric=clap_score"
        )
    if usable < plan.config.min_references * len(references):
        bad = next(c for c in references if not c.ok)
        raise EvalkitError(
            f"{which}only {usable} of {len(references)} are usable ({bad.id}: {bad.reason or bad.status}, …): "
            f"complete them, or lower min_references ({plan.config.min_references:g}) to score without them"
        )


def require_generated(plan: Plan, name: str, clips: Sequence[Clip]) -> None:
    """Raise EvalkitError if clips of a model are unusable and that was not allowed."""
    bad = [clip for clip in clips if not clip.ok]
    if len(bad) == len(clips) or (bad and not plan.config.engine.keep_going):
        raise EvalkitError(
            f"{name}: {len(bad)} of {len(clips)} clips are not usable ({bad[0].id}: {bad[0].reason or bad[0].status}"
            f"{', …' if len(bad) > 1 else ''}): mend them, or set engine.keep_going=true to score the others"
        )


def common_length(clips: Sequence[Clip], references: Sequence[Clip], rate: int) -> tuple[list[Clip], list[Clip]]:
    """Cut each pair of usable clips to the length that both have."""

    def cut(clip: Clip, other: Clip) -> Clip:
        if not (clip.ok and other.ok) or usable_samples(clip, rate) <= usable_samples(other, rate):
            return clip
        return dataclasses.replace(clip, seconds=usable_samples(other, rate) / rate)

    pairs = list(zip(clips, references, strict=True))
    return [cut(clip, reference) for clip, reference in pairs], [cut(reference, clip) for clip, reference in pairs]


def mark(clips: Sequence[Clip], checked: Sequence[Clip]) -> list[Clip]:
    """Carry what decoding has shown over to the uncut clips."""
    return [
        dataclasses.replace(clip, status=seen.status, reason=seen.reason, note=seen.note)
        for clip, seen in zip(clips, checked, strict=True)
    ]


def clip_frame(
    model: str,
    prompts: Sequence[Prompt],
    clips: Sequence[Clip],
    references: Sequence[Clip],
    per_clip: Mapping[str, Mapping[str, float]],
) -> pd.DataFrame:
    """The per-clip table of one model."""
    rows = []
    for prompt, clip, reference in zip(prompts, clips, references, strict=True):
        rows.append(
            {
                "model": model,
                "id": prompt.id,
                "caption": prompt.text,
                "tags": list(prompt.tags),
                "status": clip.status,
                "reason": clip.reason,
                "note": clip.note,
                "path": str(clip.path) if clip.path else None,
                "sha256": clip.sha256,
                "sample_rate": clip.sample_rate,
                "channels": clip.channels,
                "seconds": clip.frames / clip.sample_rate if clip.sample_rate else None,
                "reference_status": reference.status,
                "reference_reason": reference.reason,
                "reference_note": reference.note,
                "reference_path": str(reference.path) if reference.path else None,
                "reference_sha256": reference.sha256,
                **{name: values.get(prompt.id) for name, values in per_clip.items() if values},
            }
        )
    return pd.DataFrame(rows)
