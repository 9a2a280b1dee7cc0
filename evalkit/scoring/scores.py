"""Clips to scores: every model with every metric."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evalkit.calibration.rows import Row
from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import usable_seconds
from evalkit.metrics import Metric
from evalkit.plan import Plan
from evalkit.prompts.slices import Group
from evalkit.stats.bootstrap import draws, interval
from evalkit.store.digests import digest
from evalkit.store.identity import identity
from evalkit.types import Clip, Features, Measured, PromptSet, Score

RESAMPLED = 1  # version of the draws and of what is computed from them


Pair = tuple[Features, Features | None]  # what a metric compares: clips, with references or captions or nothing


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The scores, the clips with what decoding them has shown, and the per-clip table.

    Attributes:
        slices: one row per group of prompts, model and metric, as `slice_row` makes it.
    """

    scores: list[Score]
    references: list[Clip]
    generated: dict[str, list[Clip]]
    clips: pd.DataFrame
    slices: pd.DataFrame


def measure(
    plan: Plan,
    prompts: PromptSet,
    references: list[Clip],
    generated: Mapping[str, list[Clip]],
    slices: Sequence[Group] = (),
    calibration: Mapping[str, Row] | None = None,
) -> Measurement:
    """Score every model, and every row of calibration, with every metric.

    A metric sees the prompts whose generated clip is usable and, if it compares with clips, whose
    reference is. These pairs are cut to their common length, as in audiocraft; a metric that compares
    with captions hears the whole clip. Where a metric has no number for a row of calibration, as the
    stereo width of silence, the score is NaN and its note says why.

    `generated` holds one clip per prompt, or several, as `prompts.sampled` orders them: these are
    scored as so many sets of one clip per prompt, see `score_of`.
    """
    rate = plan.protocol.sample_rate
    extractor = plan.extractor()

    def keyed(encoders: Iterable[Encoder]) -> dict[str, Encoder]:
        return {extractor.key(encoder): encoder for encoder in encoders}

    paired, alone = plan.paired.values(), [m for name, m in plan.metrics.items() if name not in plan.paired]
    captions = {
        key: extractor.captions(prompts.prompts, encoder, key)
        for key, encoder in keyed(m.reference_encoder for m in alone if m.reference_encoder).items()
    }

    def of_references(
        clips: Sequence[Clip], title: str, refuse_silence: bool
    ) -> tuple[dict[str, Features], list[Clip]]:
        encoders = keyed(m.reference_encoder for m in paired if m.reference_encoder)
        if not encoders:
            return {}, []
        return extractor.clips(clips, encoders, loudness=None, refuse_silence=refuse_silence, title=title)

    def of_generated(
        clips: Sequence[Clip], metrics: Iterable[Metric], title: str
    ) -> tuple[dict[str, Features], list[Clip]]:
        encoders, loudness = keyed(m.encoder for m in metrics), plan.protocol.generated_loudness
        return extractor.clips(clips, encoders, loudness=loudness, refuse_silence=False, title=title)

    whole_references, checked = of_references(references, "references", refuse_silence=True)
    if plan.paired:
        references = checked
        require_references(plan, references)

    def compared(
        title: str, clips: list[Clip], own_references: list[Clip], cut: bool
    ) -> tuple[list[Clip], dict[str, Pair]]:
        """The clips as decoding shows them, and what each metric compares."""
        cut_clips, cut_references = clips, own_references
        if cut and plan.protocol.pair_length == "common":
            cut_clips, cut_references = common_length(clips, own_references, rate)
        same = cut_clips == clips  # the usual case, in which every clip is decoded once
        whole, checked = of_generated(clips, plan.metrics.values() if same else alone, title)
        pairs = whole if same else of_generated(cut_clips, paired, f"{title}, cut as its references")[0]
        against = whole_references
        if cut_references != references:
            # the beginning of a recording may be silent, and is then compared as it is
            against, _ = of_references(cut_references, f"references, cut as {title}", refuse_silence=False)

        def pair(name: str, metric: Metric) -> Pair:
            ours, theirs = (pairs, against) if name in plan.paired else (whole, captions)
            other = theirs[extractor.key(metric.reference_encoder)] if metric.reference_encoder else None
            return ours[extractor.key(metric.encoder)], other

        return checked, {name: pair(name, metric) for name, metric in plan.metrics.items()}

    scores, frames, checked_clips, rows = [], [], {}, []
    models = {name: Row(prompts.prompts, clips) for name, clips in generated.items()}
    for name, row in {**models, **(calibration or {})}.items():
        own_references = references if row.references is None else row.references
        sets = one_per_prompt(row)
        titles = [name, *(f"{name}, clip {number} of each prompt" for number in range(2, len(sets) + 1))]
        seen = [compared(t, clips, own_references, row.paired) for t, clips in zip(titles, sets, strict=True)]
        checked_clips[name] = mark(row.clips, [clip for checked, _ in seen for clip in checked])
        require_generated(plan, name, checked_clips[name])
        values: list[dict[str, dict[str, float]]] = [{} for _ in sets]
        for metric_name, metric in plan.metrics.items():
            samples = [pairs[metric_name] for _, pairs in seen]
            per_clip: list[dict[str, float]] = []
            if name in models:
                score, per_clip = score_of(plan, name, metric_name, samples)
                rows += [slice_row(plan, name, metric_name, samples, group) for group in slices]
            elif not row.paired and metric.clip_by_clip:
                score = no_score(plan, name, metric_name, "no clip has a reference of its own here")
            else:
                score, per_clip = score_if_any(plan, name, metric_name, samples)
            scores.append(score)
            for of_sample, found in zip(values, per_clip, strict=False):
                of_sample[metric_name] = found
        frames.append(clip_frame(name, row, checked_clips[name], own_references, values))
    clip_table = pd.concat(frames, ignore_index=True)
    if (clip_table["sample"] == 1).all():
        clip_table = clip_table.drop(columns="sample")
    return Measurement(scores, references, checked_clips, clip_table, pd.DataFrame(rows))


def one_per_prompt(row: Row) -> list[list[Clip]]:
    """Split the clips into sets of one clip per prompt, each clip with its prompt's id."""
    ids = [prompt.id for prompt in row.prompts]
    starts = range(0, len(row.clips), len(ids))
    return [
        [dataclasses.replace(clip, id=i) for i, clip in zip(ids, row.clips[start : start + len(ids)], strict=True)]
        for start in starts
    ]


def score_of(
    plan: Plan, model: str, name: str, samples: Sequence[Pair], only: Collection[str] | None = None
) -> tuple[Score, list[dict[str, float]]]:
    """Apply a metric to the ids that both sides have, of some `only`: the score, and each clip's own value.

    Several samples, which are sets of one clip per prompt, are measured each by itself and their
    values averaged: so FAD and the like stay comparable with numbers of one clip per prompt, as they
    would not if all clips were one larger set. A prompt counts if each of its clips does. Resamples
    draw prompts with all their clips, and `n` counts prompts (where samples differ, in the smallest).

    Raises EvalkitError if that gives no number.
    """
    metric, options = plan.metrics[name], plan.config.uncertainty
    sides = [side for pair in samples for side in pair if side is not None]
    usable = set.intersection(*(set(side.ids) for side in sides))
    ids = [i for i in samples[0][0].ids if i in usable and (only is None or i in only)]
    if not ids:
        raise EvalkitError(f"{model}: {name}: no prompt has both a usable clip and a usable reference")
    chosen = [(ours.select(ids), theirs and theirs.select(ids)) for ours, theirs in samples]
    measured = [metric(ours, theirs) for ours, theirs in chosen]
    value = float(np.mean([m.value for m in measured]))
    if not math.isfinite(value):
        raise EvalkitError(f"{model}: {name} is {value}: the clips are too short or too few")
    low = high = math.nan
    if options.resamples and all(m.resampled for m in measured) and len(ids) > 1:
        # the draws are a function of the number of prompts, so the same for all samples
        resampled = [resampled_values(plan, name, m, *pair) for m, pair in zip(measured, chosen, strict=True)]
        low, high = interval(value, np.mean(resampled, axis=0), options.level, len(ids), metric.bounds)
    notes = [m.note for m in measured]
    if len(set(notes)) > 1:
        notes = [f"clip {number} of each prompt: {note}" for number, note in enumerate(notes, 1) if note]
    score = Score(
        model=model,
        metric=name,
        value=value,
        n=min(m.n for m in measured),
        protocol=plan.protocols[name],
        higher_is_better=metric.higher_is_better,
        low=low,
        high=high,
        note="\n".join(dict.fromkeys(notes)),
    )
    return score, [m.per_clip for m in measured]


def resampled_values(plan: Plan, name: str, measured: Measured, ours: Features, theirs: Features | None) -> np.ndarray:
    """A metric's value on each resample, kept in the cache, since FAD's take longer than all else of a second run.

    The key holds the features and the value itself, so that a metric that computes another value
    never meets the resamples of what it was before.
    """
    assert measured.resampled is not None
    options = plan.config.uncertainty
    made_of = [identity(plan.metrics[name], plan.cache), measured.value, ours.digest(), theirs and theirs.digest()]
    key = digest([RESAMPLED, *made_of, options.resamples, options.seed])
    found = plan.cache.read_feature("resamples", key)
    if found is None:
        found = measured.resampled(draws(len(ours.ids), options.resamples, options.seed))
        plan.cache.write_feature("resamples", key, found)
    return found


def slice_row(plan: Plan, model: str, metric: str, samples: Sequence[Pair], group: Group) -> dict[str, Any]:
    """One score of one group of prompts; a group too small for the metric has no value, and a note says why.

    Keys: slice, group, those of Score.row(), and small (n less than `small_slice`).
    """
    about = {"slice": group.kind, "group": group.name}
    score, _ = score_if_any(plan, model, metric, samples, group.ids)
    return {**about, **score.row(), "small": score.n < plan.config.small_slice}


def score_if_any(
    plan: Plan, model: str, name: str, samples: Sequence[Pair], only: Collection[str] | None = None
) -> tuple[Score, list[dict[str, float]]]:
    """Like `score_of`, but where that gives no number, the score is NaN and says why."""
    try:
        return score_of(plan, model, name, samples, only)
    except EvalkitError as error:
        return no_score(plan, model, name, str(error)), []


def no_score(plan: Plan, model: str, name: str, reason: str) -> Score:
    """The score of a metric that has no number to give."""
    return Score(model, name, math.nan, 0, plan.protocols[name], plan.metrics[name].higher_is_better, note=reason)


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


def common_length(clips: Sequence[Clip], references: Sequence[Clip], rate: int | None) -> tuple[list[Clip], list[Clip]]:
    """Cut each pair of usable clips to the length that both have."""

    def cut(clip: Clip, other: Clip) -> Clip:
        if not (clip.ok and other.ok) or usable_seconds(clip, rate) <= usable_seconds(other, rate):
            return clip
        return dataclasses.replace(clip, seconds=usable_seconds(other, rate))

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
    row: Row,
    clips: Sequence[Clip],
    references: Sequence[Clip],
    values: Sequence[Mapping[str, Mapping[str, float]]],
) -> pd.DataFrame:
    """The per-clip table of one model; `values` are those of each metric, by the prompt's id, for each sample."""
    size = len(row.prompts)
    rows = []
    for i, clip in enumerate(clips):
        sample, place = divmod(i, size)
        prompt, reference = row.prompts[place], references[place]
        rows.append(
            {
                "model": model,
                "id": prompt.id,
                "sample": sample + 1,
                "caption": prompt.text,
                "tags": list(prompt.tags),
                "labels": list(prompt.labels),
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
                **{name: found.get(prompt.id) for name, found in values[sample].items() if found},
            }
        )
    return pd.DataFrame(rows)
