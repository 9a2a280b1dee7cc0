"""Clips to features: what each metric compares, for one row of the table after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalkit.calibration import Row
from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import usable_seconds
from evalkit.features.extractor import Extractor
from evalkit.metrics import Metric
from evalkit.plan import Plan
from evalkit.results.clusters import Clusters, of_prompts
from evalkit.results.scored import Pair
from evalkit.types import Clip, Features, Prompt


@dataclass(frozen=True)
class Embedded:
    """One row of the table, ready to be scored.

    Attributes:
        name: the row's name in the table.
        row: its prompts, and its clips and references with what decoding them has shown.
        model: whether it is a model, not a calibration row.
        cut: the clips of each sample as they are compared with references.
        sides: for each sample the features by encoder and side; sides are named as
            `evalkit.results.evidence.Side` says. A sample is one clip of each prompt.
        broken: why an encoder gave no features, by its key.
        clusters: which prompts of the run belong together.
    """

    name: str
    row: Row
    model: bool
    cut: Sequence[Sequence[Clip]]
    sides: Sequence[Mapping[tuple[str, str], Features]]
    broken: Mapping[str, str]
    clusters: Clusters

    @property
    def references(self) -> list[Clip]:
        """The references that the clips are compared with, in the order of the prompts."""
        assert self.row.references is not None
        return self.row.references

    def pairs(self, ours: tuple[str, str], theirs: tuple[str, str] | None) -> list[Pair]:
        """What a metric compares in each sample, by encoder and side. EvalkitError where an encoder gave none."""
        for key, _ in filter(None, (ours, theirs)):
            if key in self.broken:
                raise EvalkitError(self.broken[key])
        return [(sides[ours], sides[theirs] if theirs else None) for sides in self.sides]


def embed(
    plan: Plan,
    prompts: Sequence[Prompt],
    references: Sequence[Clip],
    models: Mapping[str, Row],
    others: Mapping[str, Row],
    part: bool = False,
) -> Iterator[Embedded]:
    """Encode the clips of every model, and of every calibration row, one row after the other.

    A metric sees the prompts whose generated clip is usable and, if it compares with clips, whose
    reference is. These pairs are cut to their common length, as in audiocraft; a metric that compares
    with captions hears the whole clip. A model's clips are one per prompt, or several, in the order
    of `prompts.selection.sampled`. An encoder that fails leaves out its features. Raises EvalkitError where too
    few clips or references can be used, unless these are only a `part` of the run's.
    """
    sets = any(row.sets for row in models.values())
    extractor = plan.extractor()
    stage = _Stage(plan, extractor, prompts, references, sets, part)
    for name, row in {**models, **others}.items():
        yield stage.embedded(name, row, name in models)
    extractor.compact()


class _Stage:
    """What all rows of a run share: the networks, the captions' features, and those of whole references."""

    def __init__(
        self,
        plan: Plan,
        extractor: Extractor,
        prompts: Sequence[Prompt],
        references: Sequence[Clip],
        sets: bool,
        part: bool,
    ):
        self.plan, self.extractor, self.part = plan, extractor, part
        self.paired = list(plan.paired.values())
        # of two sets, the metrics that take all references; the others take those that have a partner
        self.of_sets = [metric for metric in self.paired if not metric.clip_by_clip]
        self.alone = [metric for name, metric in plan.metrics.items() if name not in plan.paired]
        text = self._keyed(m.reference_encoder for m in self.alone if m.reference_encoder)
        self.captions = {}
        for key, encoder in text.items():
            try:
                self.captions[key] = extractor.captions(prompts, encoder, key)
            except EvalkitError:
                if key not in extractor.broken:  # which says why, to the metrics that need them
                    raise
        self.clusters = of_prompts(prompts, plan.protocol.distinct_references)
        self.references = list(references)
        self.whole: dict[str, Features] = {}
        if self.paired:
            first = (self.of_sets if sets else []) or self.paired
            self.whole, self.references = self._of_references(references, "references", True, first)
            self._require_references(self.references)

    def embedded(self, name: str, row: Row, model: bool) -> Embedded:
        """Encode one row's clips, and its references where they are cut otherwise than whole."""
        against, references = self.whole, self.references
        if row.references is not None:
            references = row.references
            if self.paired:
                against, references = self._of_references(references, f"references of {name}", True, self.paired)
                self._require_references(references)
        sets = one_per_prompt(row)
        titles = [name, *(f"{name}, clip {number} of each prompt" for number in range(2, len(sets) + 1))]
        if row.sets:
            seen = [self._sets(name, sets[0], references, against)]
        else:
            seen = [
                self._sample(t, clips, references, against, row.paired) for t, clips in zip(titles, sets, strict=True)
            ]
        checked = mark(row.clips, [clip for checked, _, _ in seen for clip in checked])
        if not self.part:
            require_generated(self.plan, name, checked)
        known = dataclasses.replace(row, clips=checked, references=references)
        cut, sides = [cut for _, cut, _ in seen], [sides for _, _, sides in seen]
        return Embedded(name, known, model, cut, sides, dict(self.extractor.broken), self.clusters)

    def _require_references(self, references: Sequence[Clip]) -> None:
        if not self.part:
            require_references(self.plan, references)

    def _sample(
        self, title: str, clips: list[Clip], references: list[Clip], against: dict[str, Features], paired: bool
    ) -> tuple[list[Clip], list[Clip], dict[tuple[str, str], Features]]:
        """One clip per prompt: as decoding shows them, as they were cut, and their features by encoder and side."""
        cut, cut_references = clips, references
        if paired and self.plan.protocol.pair_length == "common":
            cut, cut_references = common_length(clips, references, self.plan.protocol.sample_rate)
        same = cut == clips  # the usual case, in which every clip is decoded once
        whole, checked = self._of_generated(clips, self.plan.metrics.values() if same else self.alone, title)
        pairs = whole if same else self._of_generated(cut, self.paired, f"{title}, cut as its references")[0]
        if cut_references != references:
            # the beginning of a recording may be silent, and is then compared as it is
            against, _ = self._of_references(cut_references, f"references, cut as {title}", False, self.paired)
        sides = {
            **{(key, "clips"): whole[key] for key in self._keyed(m.encoder for m in self.alone) if key in whole},
            **{(key, "cut clips"): pairs[key] for key in self._keyed(m.encoder for m in self.paired) if key in pairs},
            **{(key, "references"): features for key, features in against.items()},
            **{(key, "captions"): features for key, features in self.captions.items()},
        }
        return checked, cut, sides

    def _sets(
        self, title: str, clips: list[Clip], references: list[Clip], whole: dict[str, Features]
    ) -> tuple[list[Clip], list[Clip], dict[tuple[str, str], Features]]:
        """Like `_sample`, of two sets: metrics of sets get every clip, whole, and the others the pairs of one name."""
        alone = [*self.alone, *self.of_sets]
        ours, checked = self._of_generated(clips, alone, title)
        sides = {(key, "clips"): ours[key] for key in self._keyed(m.encoder for m in alone) if key in ours}
        sides |= {(key, "whole references"): features for key, features in whole.items()}
        cut = checked
        if by_clip := [metric for metric in self.paired if metric.clip_by_clip]:
            if self.plan.protocol.pair_length == "common":
                cut, references = common_length(checked, references, self.plan.protocol.sample_rate)
            pairs = [(clip, other) for clip, other in zip(cut, references, strict=True) if clip.ok and other.ok]
            own, _ = self._of_generated([clip for clip, _ in pairs], by_clip, f"{title}, pairs")
            theirs, _ = self._of_references([other for _, other in pairs], "references, pairs", False, by_clip)
            sides |= {(key, "cut clips"): features for key, features in own.items()}
            sides |= {(key, "references"): features for key, features in theirs.items()}
        return checked, cut, sides

    def _keyed(self, encoders: Iterable[Encoder]) -> dict[str, Encoder]:
        return {self.extractor.key(encoder): encoder for encoder in encoders}

    def _of_references(
        self, clips: Sequence[Clip], title: str, refuse_silence: bool, metrics: Iterable[Metric]
    ) -> tuple[dict[str, Features], list[Clip]]:
        encoders = self._keyed(m.reference_encoder for m in metrics if m.reference_encoder)
        if not encoders:
            return {}, []
        return self.extractor.clips(clips, encoders, loudness=None, refuse_silence=refuse_silence, title=title)

    def _of_generated(
        self, clips: Sequence[Clip], metrics: Iterable[Metric], title: str
    ) -> tuple[dict[str, Features], list[Clip]]:
        encoders, loudness = self._keyed(m.encoder for m in metrics), self.plan.protocol.generated_loudness
        return self.extractor.clips(clips, encoders, loudness=loudness, refuse_silence=False, title=title)


def one_per_prompt(row: Row) -> list[list[Clip]]:
    """Split the clips into sets of one clip per prompt, each clip with its prompt's id."""
    ids = [prompt.id for prompt in row.prompts]
    starts = range(0, len(row.clips), len(ids))
    return [
        [dataclasses.replace(clip, id=i) for i, clip in zip(ids, row.clips[start : start + len(ids)], strict=True)]
        for start in starts
    ]


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


def require_references(plan: Plan, references: Sequence[Clip]) -> None:
    """Raise EvalkitError if too few prompts have a usable reference for the metrics that need one."""
    if not plan.paired:
        return
    references = [clip for clip in references if clip.status != "unpaired"]
    usable = sum(clip.ok for clip in references)
    which = f"metric {', '.join(plan.paired)} compares with reference clips, and "
    if not usable:
        reasons = next((f" ({c.id}: {c.reason})" for c in references if c.reason), "")
        raise EvalkitError(
            f"{which}none of the {len(references)} prompts has a usable one{reasons}: "
            "set prompts.references to the folder they are in, or metric=clap_score"
        )
    if usable < plan.min_references * len(references):
        bad = next(c for c in references if not c.ok)
        raise EvalkitError(
            f"{which}only {usable} of {len(references)} are usable ({bad.id}: {bad.reason or bad.status}, …): "
            f"complete them, or lower min_references ({plan.min_references:g}) to score without them"
        )


def require_generated(plan: Plan, name: str, clips: Sequence[Clip]) -> None:
    """Raise EvalkitError if clips of a model are unusable and that was not allowed."""
    clips = [clip for clip in clips if clip.status != "unpaired"]
    bad = [clip for clip in clips if not clip.ok]
    if len(bad) == len(clips) or (bad and not plan.engine.keep_going):
        raise EvalkitError(
            f"{name}: {len(bad)} of {len(clips)} clips are not usable ({bad[0].id}: {bad[0].reason or bad[0].status}"
            f"{', …' if len(bad) > 1 else ''}): mend them, or set engine.keep_going=true to score the others"
        )
