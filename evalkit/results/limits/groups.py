"""Styles, cultures and captions: how groups of prompts fare beside all others."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.report.document import Listing
from evalkit.report.literal import literal
from evalkit.results import recompute
from evalkit.results.clusters import of_record
from evalkit.results.frames import prompts_of
from evalkit.results.limits import equal
from evalkit.results.limits.limit import (
    Claim,
    Difference,
    Limit,
    all_at_once,
    claims,
    few,
    listed,
    listing,
    of_metric,
    quoted,
)
from evalkit.results.limits.material import Model
from evalkit.results.sliced import LEAST as LEAST_OF_SETS
from evalkit.slices import Group, groups, standard
from evalkit.stats import gaps

CAPTIONS = ("caption_length", "caption_kind")
ELSEWHERE = ("voice", "language")  # kinds of slices that other limits are about
# Kinds of metrics that other limits are about, or that are two sides of one that is here.
OTHERS = {
    "clipped_clips", "clipped_samples", "dc_offset", "silence_start", "silence_length", "vocals_share",
    "vocals_probability", "vocals_in_vocal", "unknown_pieces",
}  # fmt: skip
FEW_OF_SETS = f"fewer than {LEAST_OF_SETS} {{unit}}s: too few for a metric of sets"
UNKNOWN = "its groups are not those of evalkit's own slices, so that nobody can tell which prompts are in"
WORDS: Mapping[str, tuple[str, str]] = {  # what groups of a kind are, and what one is called
    "region": ("Regions", "region"), "label": ("Labels of AudioSet", "label"), "tag": ("Aspects", "aspect"),
    "caption_length": ("Length of captions", "length"), "caption_kind": ("Kinds of captions", "kind"),
}  # fmt: skip


def styles(model: Model) -> Limit | None:
    """Compare groups of prompts by music, such as regions, labels and aspects; None where the record has no such."""
    kinds = [kind for kind in _kinds(model) if kind not in (*CAPTIONS, *ELSEWHERE)]
    return _limit(model, "styles", "Styles and cultures", kinds)


def captions(model: Model) -> Limit | None:
    """Compare groups of prompts by how their captions are written; None where the record has no such."""
    return _limit(model, "captions", "How captions are written", [kind for kind in _kinds(model) if kind in CAPTIONS])


def _kinds(model: Model) -> list[str]:
    own = model.record.slices[model.record.slices["model"] == model.row]
    return list(dict.fromkeys(map(str, own["slice"])))


def _limit(model: Model, name: str, title: str, kinds: Sequence[str]) -> Limit | None:
    said, tables, notes = list[str](), list[Listing](), list[str]()
    metrics = []
    for metric in _metrics(model):
        if kinds and (why := _why_not(model, metric)):
            notes.append(f"{model.titles[metric]} is not compared: {why}.")
        else:
            metrics.append(metric)
    for kind in kinds:
        heading, word = WORDS.get(kind, (literal(kind.replace("_", " ")).capitalize(), literal(kind.replace("_", " "))))
        try:
            found = _groups(model, kind)
        except EvalkitError as error:
            notes.append(f"{heading}: {error}.")
            continue
        if whole := [group.name for group in found if len(group.ids) == len(model.units)]:
            notes.append(f"{heading}: all prompts are in {listed([quoted(one) for one in whole])}.")
        differences = [one for metric in metrics for one in _differences(model, metric, found)]
        if not differences:
            continue
        own = claims(differences, model.level)
        said += _said(own, heading, model.unit)
        intro = "Differences are from all other prompts. " + all_at_once(own, model.level)
        if sets := dict.fromkeys(one.difference.title for one in own if one.difference.more.get("sets")):
            intro += (
                f" {listed([*sets])}: of equally many prompts on both sides, the larger drawn from {equal.DRAWS} times."
            )
        tables.append(listing(word, "the rest", own, heading, model.unit, intro=intro))
    return Limit(name, title, said, tables, notes) if tables or notes else None


def _groups(model: Model, kind: str) -> list[Group]:
    """The groups of a kind that the record has scores of, with their prompts.

    Raises EvalkitError where they cannot be told again.
    """
    own = model.record.slices[(model.record.slices["slice"] == kind) & (model.record.slices["model"] == model.row)]
    names = list(dict.fromkeys(map(str, own["group"])))
    prompts = prompts_of(model.record.prompts)
    try:
        made = groups(prompts, standard([f"{kind}:{name}" for name in names]), missing_ok=True)
        made += groups(prompts, standard([kind]), missing_ok=True)
    except EvalkitError as error:
        raise EvalkitError(UNKNOWN) from error
    found = list({one.name: one for one in made if one.name in names}.values())
    sizes = {(row["group"], row["metric"]): row["n"] for row in own.to_dict("records")}
    for metric in model.record.metrics:
        sums = model.sums(metric) if model.info(metric).additive and model.has(metric) else None
        chosen = {} if sums is None else {one.name: sums.of(one.ids) for one in found}
        if any(sizes.get((name, metric)) not in (None, len(some.ids)) for name, some in chosen.items() if some):
            raise EvalkitError(UNKNOWN)
    if len(found) < len(names):
        raise EvalkitError(UNKNOWN)
    return found


def _why_not(model: Model, metric: str) -> str:
    """Why groups cannot be compared by a metric of sets; empty where they can."""
    info = model.info(metric)
    if info.additive:
        return ""
    if model.record.rows[model.row].sets or (info.clip_by_clip and not model.record.rows[model.row].paired):
        return "clips and references are two sets of their own"
    try:
        pairs = recompute.pairs_of(model.record, model.row, metric)
        if equal.wide(pairs):
            return f"features of more than {equal.DIMENSIONS} dimensions take too long"
        return "" if recompute.rebuilt(info)(*pairs[0]).subsets else "it has no values of parts of its clips"
    except EvalkitError as error:
        return str(error)


def _metrics(model: Model) -> list[str]:
    """The metrics of which one direction is better and that no other limit is about."""
    return [
        name
        for name, info in model.record.metrics.items()
        if info.higher_is_better is not None and info.definition.get("kind") not in OTHERS and model.has(name)
    ]


def _differences(model: Model, metric: str, found: Sequence[Group]) -> Iterator[Difference]:
    if model.info(metric).additive:
        yield from _of_means(model, metric, found)
    else:
        yield from _of_sets(model, metric, found)


def _of_means(model: Model, metric: str, found: Sequence[Group]) -> Iterator[Difference]:
    sums = model.sums(metric)
    if sums is None:
        return
    for group in found:
        own, rest = sums.of(group.ids), sums.of(set(sums.ids) - group.ids)
        if own is None or rest is None:
            if len(group.ids) < len(model.units):  # of a group of all prompts there is a note
                yield Difference(
                    who=group.name, metric=metric, title=model.titles[metric],
                    higher_is_better=model.info(metric).higher_is_better, n=len(own.ids) if own else 0,
                    of=len(rest.ids) if rest else 0, units=own.mean.units if own else 0,
                    of_units=rest.mean.units if rest else 0, value=own.value if own else math.nan,
                    other=rest.value if rest else math.nan, estimate=None, influence=None, share=sums.share,
                    note="no value here" if own is None else "no value elsewhere",
                )  # fmt: skip
            continue
        estimate, influence = gaps.gap(own.mean, rest.mean)
        one = Difference(
            who=group.name, metric=metric, title=model.titles[metric],
            higher_is_better=model.info(metric).higher_is_better, n=len(own.ids), of=len(rest.ids),
            units=own.mean.units, of_units=rest.mean.units, value=own.value, other=rest.value, estimate=estimate,
            influence=influence, share=sums.share,
        )  # fmt: skip
        yield dataclasses.replace(one, note=few(model.unit)) if one.few else one


def _of_sets(model: Model, metric: str, found: Sequence[Group]) -> Iterator[Difference]:
    info = model.info(metric)
    compute, pairs = recompute.rebuilt(info), recompute.pairs_of(model.record, model.row, metric)
    clusters, known = of_record(model.record).of_metric(info), equal.usable(pairs)
    for group in found:
        own = [i for i in pairs[0][0].ids if i in known and i in group.ids]
        rest = [i for i in pairs[0][0].ids if i in known and i not in group.ids]
        if not own or not rest:
            continue
        units, of_units = (len({model.units[i] for i in side}) for side in (own, rest))
        about = functools.partial(
            Difference, who=group.name, metric=metric, title=model.titles[metric],
            higher_is_better=info.higher_is_better, n=len(own), of=len(rest), units=units, of_units=of_units,
            more={"sets": True},
        )  # fmt: skip
        unknown = functools.partial(about, value=math.nan, other=math.nan, estimate=None, influence=None)
        if min(units, of_units) < LEAST_OF_SETS:
            yield unknown(note=FEW_OF_SETS.format(unit=model.unit))
            continue
        try:
            gap = equal.gap(compute, pairs, own, rest, model.units, clusters)
        except EvalkitError as error:
            yield unknown(note=str(error))
            continue
        sure = bool(np.isfinite(gap.influence).all())
        yield about(
            value=gap.value, other=gap.other, estimate=gap.estimate if sure else None,
            influence=gap.influence if sure else None, note="" if sure else "no interval",
        )  # fmt: skip


def _said(found: Sequence[Claim], heading: str, unit: str) -> Iterator[str]:
    """What is worse than the rest, and by how much others may be at most."""
    for metric in dict.fromkeys(one.difference.metric for one in found):
        own = [one for one in found if one.difference.metric == metric and one.verdict]
        if own:
            yield f"{heading}, {of_metric(own, 'the rest of the prompts', quotes=True)}"
    judged = {one.difference.who for one in found if one.verdict}
    unjudged = [who for who in dict.fromkeys(one.difference.who for one in found) if who not in judged]
    if unjudged:
        named = listed([quoted(who) for who in unjudged])
        yield f"{heading}: {named} {'has' if len(unjudged) == 1 else 'have'} too few {unit}s to judge by."
