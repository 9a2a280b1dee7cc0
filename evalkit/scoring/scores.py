"""Features to scores: every row of the table with every metric, and what the record keeps of it."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evalkit.errors import EvalkitError, failure
from evalkit.plan import Plan
from evalkit.progress import progress
from evalkit.results.clusters import Clusters
from evalkit.results.evidence import Evidence, Side, Writer
from evalkit.results.frames import CLIPS, SLICES, VALUES, typed
from evalkit.results.record import MetricInfo
from evalkit.results.scored import NO_PAIRS, Pair, Scored, compared, no_score, scored, usable_ids
from evalkit.scoring.clip_table import clip_frame, value_frame
from evalkit.scoring.embedding import Embedded
from evalkit.scoring.resampling import Asked, NotYet, resampling_of
from evalkit.slices import Group
from evalkit.types import Clip, Features, Measured

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measurement:
    """What a run has measured.

    Attributes:
        metrics: what it was measured with, by name.
        scores: of each row of the table and each metric, in order, without what was measured of each sample.
        references: the models' references, with what decoding them has shown.
        generated: the clips of each row of the table, with what decoding them has shown.
        paired: whether each clip of a row has a reference of its own.
        clips, values, slices, evidence: as `evalkit.results.record.Record` has them.
    """

    metrics: Mapping[str, MetricInfo]
    scores: Mapping[tuple[str, str], Scored]
    references: Sequence[Clip]
    generated: Mapping[str, Sequence[Clip]]
    paired: Mapping[str, bool]
    clips: pd.DataFrame
    values: pd.DataFrame
    slices: pd.DataFrame
    evidence: Evidence


def score(
    plan: Plan, metrics: Mapping[str, MetricInfo], rows: Iterable[Embedded], slices: Sequence[Group] = ()
) -> Measurement:
    """Score every row of the table with every metric, and every model's groups of prompts.

    Where a metric has no value, as the stereo width of silence, or where it or its encoder fails, the score is
    NaN and its note says why; for a model that is logged too. Raises EvalkitError where no model has any score.
    """
    scores: dict[tuple[str, str], Scored] = {}
    groups: list[dict[str, Any]] = []
    frames, values, models, generated, paired = [], [], [], {}, {}
    references: Sequence[Clip] = ()
    writer = Writer(plan.cache.arrays)
    for row in rows:
        generated[row.name], paired[row.name] = row.row.clips, row.row.paired
        if row.model:
            references = row.references
        for side, features in kept(row, metrics.values()):
            writer.add(side, features)
        parts = slices if row.model else ()
        known = resampled_elsewhere(plan, row, metrics, parts, writer.evidence()) if plan.elsewhere else {}
        found: dict[str, list[Measured]] = {}
        with progress(f"scores of {row.name}", len(metrics), "metrics") as advance:
            for name, info in metrics.items():
                if info.clip_by_clip and not row.row.paired and not _has_pairs(row, info):
                    one = no_score(NO_PAIRS)
                else:
                    one = known.get((name, None)) or score_if_any(plan, row, name, info)
                for group in parts:
                    part = known.get((name, group)) or score_if_any(plan, row, name, info, group.ids)
                    groups.append(slice_row(plan, row, name, part, group))
                found[name] = list(one.measured)
                # resampling holds on to the row's features, of which those of one row at a time are kept
                scores[row.name, name] = dataclasses.replace(one, measured=())
                advance(1)
        frames.append(clip_frame(row, found))
        values.append(value_frame(row, metrics, found))
        if row.model:
            models.append(row.name)
    for name in metrics:
        resampling_of(plan, name).store.compact()
    require_scores([scores[row_name, name] for row_name in models for name in metrics])
    return Measurement(
        metrics=metrics,
        scores=scores,
        references=references,
        generated=generated,
        paired=paired,
        clips=typed(pd.concat(frames, ignore_index=True), CLIPS),
        values=typed(pd.concat(values, ignore_index=True), VALUES),
        slices=typed(pd.DataFrame(groups, columns=list(SLICES)), SLICES),
        evidence=writer.evidence(),
    )


def _sides(row: Embedded, info: MetricInfo) -> tuple[tuple[str, str], tuple[str, str] | None]:
    ours, theirs = info.sides_of_sets if row.row.sets else info.sides
    return (info.encoder, ours), ((info.reference_encoder, theirs) if theirs else None)


def _has_pairs(row: Embedded, info: MetricInfo) -> bool:
    """Whether any clip of two sets has a reference of its own name."""
    return row.row.sets and bool(usable_ids(row.pairs(*_sides(row, info))))


def kept(row: Embedded, metrics: Iterable[MetricInfo]) -> Iterator[tuple[Side, Features]]:
    """The features that a record keeps: those of metrics whose values are not in their clips' sums."""
    wanted = dict.fromkeys(side for info in metrics if not info.additive for side in _sides(row, info) if side)
    for sample, sides in enumerate(row.sides, 1):
        for encoder, side in (one for one in wanted if one in sides):
            yield Side(encoder, row.name, sample, side), sides[encoder, side]


def require_scores(scores: Sequence[Scored]) -> None:
    """Log why models have no score of a metric. Raises EvalkitError if there is not a single score."""
    reasons = list(dict.fromkeys(one.note for one in scores if math.isnan(one.value)))
    if reasons and all(math.isnan(one.value) for one in scores):
        raise EvalkitError(reasons[0])
    for reason in reasons:
        log.warning("no score: %s", reason)


def score_of(
    plan: Plan,
    row: str,
    name: str,
    samples: Sequence[Pair],
    only: Collection[str] | None = None,
    sets: bool = False,
    make: bool = True,
    clusters: Clusters | None = None,
) -> Scored:
    """Apply a metric to the prompts that both sides have, or to those of `only`; or to two `sets` of clips.

    Args:
        clusters: of the prompts, as the metric takes them; None where each prompt stands by itself.

    Raises EvalkitError if that gives no value, and NotYet where resamples that are not in the cache are not to be made.
    """
    metric = plan.metrics[name]
    chosen = compared(samples, sets, only, clusters)
    ids = chosen.ids
    if not ids:
        raise EvalkitError(f"{row}: {name}: no prompt has both a usable clip and a usable reference")
    # values of single clips may be those of references that are a set by themselves
    known = ids
    if chosen.references is not None:
        known = [*ids, *(i for _, theirs in chosen.pairs if theirs for i in theirs.ids)]
    try:
        measured = [metric(*pair) for pair in chosen.pairs]
        for one in measured:
            require_measured(name, known, one)
            if metric.additive:
                require_parts(name, ids, one)

        def resampled(sample: int) -> np.ndarray:
            return resampling_of(plan, name).values(measured[sample], chosen, sample, make)

        return scored(f"{row}: {name}", ids, measured, metric.bounds, plan.uncertainty, resampled, chosen)
    except (EvalkitError, NotYet):
        raise
    except Exception as error:
        log.info("%s: metric.%s failed", row, name, exc_info=True)
        raise EvalkitError(failure(f"metric.{name}", error)) from error


def require_measured(name: str, ids: Sequence[str], measured: Any) -> None:
    """Raise EvalkitError where a metric gave something else than a Measured of numbers."""
    if not isinstance(measured, Measured):
        raise EvalkitError(f"metric.{name} gave {type(measured).__name__}, not an evalkit.types.Measured")
    for what, value in (("value", measured.value), ("n", measured.n)):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise EvalkitError(f"metric.{name}: {what} is {type(value).__name__}, not a number")
    if unknown := sorted(measured.per_clip.keys() - set(ids)):
        raise EvalkitError(f"metric.{name} gave a value for the clip '{unknown[0]}', which it was not given")


def require_parts(name: str, ids: Sequence[str], measured: Measured) -> None:
    """Raise EvalkitError where a metric that says that it is additive is not: its sums would be stored for nothing."""
    sums, counts = (math.fsum(part[i] for part in measured.parts.values()) for i in (0, 1))
    same = counts and math.isclose(measured.value, sums / counts, rel_tol=1e-6, abs_tol=1e-9)
    if set(measured.parts) != set(ids) or (math.isfinite(measured.value) and not same):
        raise EvalkitError(
            f"metric.{name} says that it is additive, but its value is not the sum of its parts over their count: "
            "hand over `parts` of every id, or declare additive = False"
        )


def resampled_elsewhere(
    plan: Plan, row: Embedded, metrics: Mapping[str, MetricInfo], slices: Sequence[Group], evidence: Evidence
) -> dict[tuple[str, Group | None], Scored]:
    """Have resamples made by other processes, if those of several scores of a row are not in the cache.

    Returns the scores that are known already, by metric and group of prompts: those that lack none, and those whose
    resamples nobody could make.
    """
    known: dict[tuple[str, Group | None], Scored] = {}
    asked: dict[tuple[str, Group | None], Asked] = {}
    whole = {name: info for name, info in metrics.items() if not info.additive}
    for name, group in itertools.product(whole, (None, *slices)):
        info, only = whole[name], None if group is None else group.ids
        if info.clip_by_clip and not row.row.paired and not row.row.sets:
            continue
        try:
            one = score_if_any(plan, row, name, info, only, make=False)
            # what a metric has measured of a group is not read, and holds on to features
            known[name, group] = one if group is None else dataclasses.replace(one, measured=())
        except NotYet:
            (encoder, ours), against = _sides(row, info)
            sides = tuple(
                (Side(encoder, row.name, n, ours), Side(against[0], row.name, n, against[1]) if against else None)
                for n in range(1, len(row.sides) + 1)
            )
            sets = row.row.sets and not info.clip_by_clip
            ids = None if only is None else tuple(sorted(only))
            asked[name, group] = Asked(name, sides, sets, ids, row.clusters.of_metric(info))
    if len(asked) > 1:
        assert plan.elsewhere is not None
        failed = plan.elsewhere.resamples(row.name, evidence, list(asked.values()))
        for number, reason in failed.items():
            place = list(asked)[number]
            # not tried again here: what has killed other processes would kill this one
            known[place] = no_score(f"{row.name}: {place[0]}: its resamples could not be made: {reason}")
    return known


def slice_row(plan: Plan, row: Embedded, metric: str, one: Scored, group: Group) -> dict[str, Any]:
    """One score of one group of prompts, with the columns of `evalkit.results.frames.SLICES`."""
    return {
        "slice": group.kind,
        "group": group.name,
        **score_row(plan, row.name, metric, one),
        "small": (one.clusters or one.n) < plan.small_slice,
    }


def score_row(plan: Plan, row: str, metric: str, one: Scored) -> dict[str, Any]:
    """A score as a row of a frame."""
    return {
        "model": row,
        "metric": metric,
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "n": one.n,
        "sets": max(1, len(one.values)),
        "seed_sd": one.seed_sd,
        "spread": one.spread,
        "protocol": plan.protocols[metric],
        "higher_is_better": plan.metrics[metric].higher_is_better,
        "note": one.note,
    }


def score_if_any(
    plan: Plan, row: Embedded, name: str, info: MetricInfo, only: Collection[str] | None = None, make: bool = True
) -> Scored:
    """Like `score_of` of a row, but where that gives no value, the score is NaN and says why."""
    try:
        sets = row.row.sets and not info.clip_by_clip
        clusters = row.clusters.of_metric(info)
        return score_of(plan, row.name, name, row.pairs(*_sides(row, info)), only, sets, make, clusters)
    except EvalkitError as error:
        return no_score(str(error))
