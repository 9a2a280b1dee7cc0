"""Whether two sides of a comparison can be compared, prompt by prompt, and if not, why.

A difference tells about checkpoints only if all else is the same: `CONDITIONS` is the list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from evalkit.errors import EvalkitError, unknown
from evalkit.results.alike import (
    NAMED,
    captions,
    differences,
    language,
    prompts_differ,
    protocols_differ,
    references,
    references_differ,
    translations,
)
from evalkit.results.comparable import SECONDS, Reason, own_settings
from evalkit.results.comparison_record import SideInfo
from evalkit.results.folders import MANIFEST, identity
from evalkit.results.gate import Condition
from evalkit.results.record import MetricInfo, Record, RowInfo
from evalkit.results.ways import differing as differing_ways

FREE = ("seed", "samples_per_prompt", "duration")  # sampling that may differ, or is a condition of its own
NAMES = ("name", "derived_from", "defines")  # in the switches of a protocol: not what is done to clips


@dataclass(frozen=True)
class Side:
    """One result of a side: a row of its table.

    Attributes:
        row: the name of the row.
    """

    record: Record
    row: str

    @property
    def info(self) -> RowInfo:
        """What the record says of the row."""
        return self.record.rows[self.row]

    @property
    def clips(self) -> pd.DataFrame:
        """The row's clips: columns as `Record.clips` has them."""
        return self.record.clips[self.record.clips["model"] == self.row]

    @property
    def definition(self) -> Mapping[str, Any]:
        """What the clips were made by; empty where that is words."""
        return self.info.definition if isinstance(self.info.definition, Mapping) else {}


@dataclass(frozen=True)
class Paired:
    """The prompts on which sides are compared.

    Attributes:
        ids: those that all sides have, with the same caption and reference, and of which every clip can be used; in the
            order of the first side.
        total: number of prompts that any side has.
        reasons: why the sides cannot be compared on them.
        left_out: how many prompts are not the same on all sides.
    """

    ids: Sequence[str]
    total: int
    reasons: Sequence[Reason]
    left_out: int


def side(record: Record, row: str | None) -> Side:
    """Take a row of a result as a side; None for its only model.

    Raises EvalkitError for a row that there is not, for None where there are several models, and for two folders of
    unlike names, whose clips belong to no prompts.
    """
    models = [name for name, info in record.rows.items() if not info.calibration]
    if row is None and len(models) != 1:
        raise EvalkitError(
            f"'{record.path}' has {len(models)} models ({', '.join(models)}): "
            f"say which one, as in {record.path}::{models[0] if models else 'ROW'}"
        )
    chosen = models[0] if row is None else row
    if chosen not in record.rows:
        raise unknown("row of the result", chosen, record.rows)
    if record.prompts_info.form == "sets":
        raise EvalkitError(
            f"'{record.path}' compares two folders of unlike names, whose clips cannot be paired with those of another "
            "result: give both folders files of the same names"
        )
    return Side(record, chosen)


def info(side: Side) -> SideInfo:
    """Say what a side is, for the record of a comparison."""
    checkpoint = side.info.checkpoint
    return SideInfo(
        row=side.row,
        path=str(side.record.path),
        sha256=identity(side.record.path) if (side.record.path / MANIFEST).is_file() else "",
        checkpoint=checkpoint.source if checkpoint else "",
        digest=checkpoint.digest if checkpoint else "",
        commit=str(side.record.provenance.get("commit") or ""),
        random=side.info.random,
        generated=side.info.generated,
    )


def _generated(*sides: Side) -> bool:
    return all(side.info.generated for side in sides)


def _given(baseline: Side, candidate: Side) -> Iterator[str]:
    """What clips were made from beside captions."""
    ours, theirs = dict(candidate.info.given), dict(baseline.info.given)
    for kind in sorted({*ours, *theirs}) if _generated(baseline, candidate) else ():
        if ours.get(kind, 0) != theirs.get(kind, 0):
            yield f"a {kind} was given for {ours.get(kind, 0):,} prompts, not {theirs.get(kind, 0):,}"
        elif kind == "translation":
            there, here = translations(baseline.record), translations(candidate.record)
            both = captions(candidate.record)
            shared = [i for i in captions(baseline.record) if i in both]
            if others := [i for i in shared if here.get(i) != there.get(i)]:
                yield f"{len(others):,} prompts were given in another translation, such as '{others[0]}'"


def _duration(baseline: Side, candidate: Side) -> Iterator[str]:
    if _generated(baseline, candidate):
        ours, theirs = (float(side.record.sampling["duration"]) for side in (candidate, baseline))
        if ours != theirs:
            yield f"clips of {ours:g} s, not {theirs:g} s"
        return  # shorter ones than were asked for are the model's doing
    ours, theirs = (float(_usable(side)["length"].median()) for side in (candidate, baseline))
    if not abs(ours - theirs) <= SECONDS:  # what is not known is another
        yield f"clips of {_seconds(ours)}, not {_seconds(theirs)}"


def _seconds(length: float) -> str:
    return "unknown length" if math.isnan(length) else f"{length:.3g} s"


def _sampling(baseline: Side, candidate: Side) -> Iterator[str]:
    if not _generated(baseline, candidate):
        return
    ours, theirs = (_sampled(side) for side in (candidate, baseline))
    # without a checkpoint, as of a synthesizer, the settings are all that there is to compare
    if baseline.definition.get("kind") == candidate.definition.get("kind") and baseline.info.checkpoint:
        ours, theirs = {**own_settings(candidate.definition), **ours}, {**own_settings(baseline.definition), **theirs}
    for key, text in differences(ours, theirs):
        yield f"{key} {text}"


def _sampled(side: Side) -> dict[str, Any]:
    """The sampling parameters that were used: a model's own go before those of the run."""
    own = own_settings(side.definition)
    return {key: own.get(key, value) for key, value in side.record.sampling.items() if key not in FREE}


def _dtype(baseline: Side, candidate: Side) -> Iterator[str]:
    ours, theirs = (side.record.provenance["dtype"] for side in (candidate, baseline))
    if _generated(baseline, candidate) and ours != theirs:
        yield f"{ours}, not {theirs}"


def _engine(baseline: Side, candidate: Side) -> Iterator[str]:
    ours, theirs = (_device(side) for side in (candidate, baseline))
    if ours != theirs:
        yield f"{ours}, not {theirs}"


def _device(side: Side) -> str:
    return str(side.record.provenance["device"]).partition(":")[0]


def _protocol(baseline: Side, candidate: Side) -> Iterator[str]:
    ours, theirs = (side.record.protocol for side in (candidate, baseline))
    found = [f"{key} {text}" for key, text in differences(ours.switches, theirs.switches)]
    if ours.name != theirs.name:
        found.insert(0, f"{ours.name}, not {theirs.name}")
    if found:
        yield _listed(found)


def _prompts(baseline: Side, candidate: Side) -> Iterator[str]:
    said = prompts_differ(baseline.record, candidate.record)
    # of two folders the names of the files are the ids
    if not said and (alone := sorted({*captions(baseline.record)} ^ {*captions(candidate.record)})):
        said = f"different files: {len(alone):,} are in one of the results only, such as '{alone[0]}'"
    if said:
        yield f"{said} (--common-prompts compares those that are the same)"


def _references(baseline: Side, candidate: Side) -> Iterator[str]:
    if said := references_differ(baseline.record, candidate.record):
        yield said
    ours, theirs = (references(side.record) for side in (candidate, baseline))
    shared = {*captions(baseline.record)} & {*captions(candidate.record)}
    if alone := sorted(({*ours} ^ {*theirs}) & shared):
        yield f"{len(alone):,} prompts have a reference in one of the results only, such as '{alone[0]}'"


def _clips(baseline: Side, candidate: Side) -> Iterator[str]:
    shared = {*captions(baseline.record)} & {*captions(candidate.record)}
    ours, theirs = (_whole(side) & shared for side in (candidate, baseline))
    for more, fewer, name in ((theirs, ours, "candidate"), (ours, theirs, "baseline")):
        if alone := sorted(more - fewer):
            yield f"{len(alone):,} prompts have no usable clip in the {name} only, such as '{alone[0]}'"


def _usable(side: Side) -> pd.DataFrame:
    return side.clips[side.clips["status"] == "ok"]


def _whole(side: Side) -> set[str]:
    """The prompts of which every clip can be used."""
    clips = side.clips
    return {*clips["id"]} - {*clips.loc[clips["status"] != "ok", "id"]}


Told = Callable[[Side, Side], Iterator[str]]  # in what a side differs from the baseline's first

# Of whole results: a gate may say that some of these may differ.
CONDITIONS: Mapping[Condition, Told] = {
    "given": _given,
    "duration": _duration,
    "sampling": _sampling,
    "dtype": _dtype,
    "engine": _engine,
    "protocol": _protocol,
}
OF_PROMPTS: Mapping[str, Told] = {"prompts": _prompts, "references": _references}
OF_CLIPS: Mapping[str, Told] = {"clips": _clips}


def differing(baseline: Sequence[Side], candidate: Sequence[Side], may_differ: Sequence[str]) -> list[Reason]:
    """Say in what results differ beside their checkpoints: nothing where they can be compared.

    Every result is compared with the first of the baseline; results of one side must have clips of their own. What is
    said of prompts, references and unusable clips is said by `paired`, and not here.

    Args:
        may_differ: conditions in which they may. Raises EvalkitError for a name that is none.
    """
    for name in may_differ:
        if name not in CONDITIONS:
            raise unknown("condition in may_differ", name, CONDITIONS)
    first, *others = [*baseline, *candidate]
    found = _reasons(first, others, {name: told for name, told in CONDITIONS.items() if name not in may_differ})
    copies = [name for name, sides in (("baseline", baseline), ("candidate", candidate)) if _copies(sides)]
    said = "results of the {} have the same clips, and are no evidence of their own: run them with other seeds"
    return [*found, *(Reason("clips", said.format(name)) for name in copies)]


def _copies(sides: Sequence[Side]) -> bool:
    """Whether two results of one side are the same."""
    return len({_contents_of_clips(side, captions(side.record)) for side in sides}) < len(sides)


def _reasons(first: Side, others: Sequence[Side], conditions: Mapping[Any, Told]) -> list[Reason]:
    found = [Reason(name, text) for name, told in conditions.items() for other in others for text in told(first, other)]
    return list(dict.fromkeys(found))


def paired(sides: Sequence[Side], common_prompts: bool) -> Paired:
    """Find the prompts on which sides are compared: the same id, caption and reference, with clips that can be used.

    Args:
        sides: of the baseline and the candidate.
        common_prompts: whether prompts that are not the same on all sides are left out; else they are a reason.

    Raises EvalkitError where no prompt is left.
    """
    first, *others = sides
    every = [_contents(side.record) for side in sides]
    ids = [id for id, content in every[0].items() if all(each.get(id) == content for each in every[1:])]
    total = len(dict.fromkeys(id for each in every for id in each))
    reasons = [] if common_prompts else _reasons(first, others, OF_PROMPTS)
    if not ids:
        reasons = _reasons(first, others, OF_PROMPTS)
        reasons += [
            Reason("protocol", text) for other in others if (text := protocols_differ(first.record, other.record))
        ]
        why = "; ".join(dict.fromkeys(reason.text for reason in reasons))
        raise EvalkitError(f"the baseline and the candidate have no prompt with its reference in common: {why}")
    reasons += _reasons(first, others, OF_CLIPS)
    usable = set.intersection(*(_whole(side) for side in sides))
    chosen = [id for id in ids if id in usable]
    if not chosen:
        raise EvalkitError("no prompt has clips that can be used on both sides: there is nothing to compare")
    return Paired(chosen, total, reasons, total - len(ids))


def _contents(record: Record) -> dict[str, tuple[Any, ...]]:
    """What must be the same of a prompt."""
    known = references(record)
    return {id: (caption, known.get(id)) for id, caption in captions(record).items()}


def incomparable(sides: Sequence[Side], metric: str) -> list[str]:
    """Say why the numbers of a metric are different quantities on some sides: nothing where they are one.

    Raises KeyError for a metric that a side does not have.
    """
    first, *others = sides
    found = [text for other in others for text in _computed(first, other, metric)]
    infos = [side.record.metrics[metric] for side in sides]
    if any(info.weights is None for info in infos):
        found.append("the digests of its weights were not recorded: run the result again")
    return list(dict.fromkeys(found))


def _computed(baseline: Side, candidate: Side, metric: str) -> Iterator[str]:
    ours, theirs = (side.record.metrics[metric] for side in (candidate, baseline))
    found = [f"{key} {text}" for key, text in differences(ours.definition, theirs.definition)]
    switches = (_of_clips(side.record.protocol.switches) for side in (candidate, baseline))
    found += [f"{key} {text}" for key, text in differences(*switches)]
    if ours.weights is not None and theirs.weights is not None and _digests(ours) != _digests(theirs):
        found.append("other weights")
    if not found and (ours.definition != theirs.definition or _meaning(ours) != _meaning(theirs)):
        found.append("another definition")
    if not found and _device(baseline) == _device(candidate) and _encoders(ours) != _encoders(theirs):
        found.append("other encoders")  # of whose keys the device is a part
    if found:
        yield f"computed otherwise: {_listed(found)}"


def _of_clips(switches: Mapping[str, Any]) -> dict[str, Any]:
    """The switches of how clips are prepared; those of each network are in the definitions of metrics."""
    return {key: value for key, value in switches.items() if not isinstance(value, Mapping) and key not in NAMES}


def _digests(info: MetricInfo) -> list[tuple[str, str]]:
    return sorted((one.name, one.digest) for one in info.weights or ())


def _meaning(info: MetricInfo) -> tuple[Any, ...]:
    return info.higher_is_better, info.compares_with, info.clip_by_clip, info.additive, tuple(info.bounds)


def _encoders(info: MetricInfo) -> tuple[str, str]:
    return info.encoder, info.reference_encoder


def _listed(found: Sequence[str]) -> str:
    more = [f"and {len(found) - NAMED:,} more"] if len(found) > NAMED else []
    return ", ".join([*found[:NAMED], *more])


def random_networks(sides: Sequence[Side]) -> list[str]:
    """Name the networks and models of sides that have random weights."""
    networks = [name for side in sides for info in side.record.metrics.values() for name in info.random]
    return list(dict.fromkeys([*networks, *(side.row for side in sides if side.info.random)]))


def identical(baseline: Sequence[Side], candidate: Sequence[Side], ids: Sequence[str]) -> bool:
    """Whether either side's clips of some prompts are those of the other, byte for byte."""
    ours, theirs = ({_contents_of_clips(side, ids) for side in sides} for sides in (candidate, baseline))
    return ours == theirs


def _contents_of_clips(side: Side, ids: Iterable[str]) -> frozenset[tuple[Any, ...]]:
    clips = side.clips[side.clips["id"].isin(list(ids))]
    return frozenset(clips[["id", "sample", "sha256"]].itertuples(index=False, name=None))


def remarks(baseline: Sequence[Side], candidate: Sequence[Side]) -> list[str]:
    """Say what a reader should know of how the sides were made, and what does not forbid to compare them."""
    sides = [*baseline, *candidate]
    found: list[str] = []
    first, *others = dict.fromkeys(language(side.record) for side in sides)
    if others and any(translations(side.record) for side in sides):
        found.append(
            f"prompts were given in {_listed(others)}, not {first}: clips are scored against the same captions"
        )
    unknown_sampling = [side.row for side in sides if not side.info.generated]
    if unknown_sampling:
        found.append(f"how the clips were made is not known, nor whether alike: {', '.join(unknown_sampling)}")
    made = [side for side in sides if side.info.generated]
    if len({side.record.sampling.get("seed") for side in made}) > 1:
        found.append("the sides have different seeds: noise is not shared, and differences are less sure")
    kinds = dict.fromkeys(str(side.definition.get("kind")) for side in made)
    if len(kinds) > 1:
        found.append(f"different kinds of models: {', '.join(kinds)}")
    elif made and not made[0].info.checkpoint:
        settings = [own_settings(side.definition) for side in made]
        said = dict.fromkeys(f"{k} {text}" for own in settings[1:] for k, text in differences(own, settings[0]))
        found += [f"the settings of the models differ: {_listed([*said])}"] if said else []
    ways = dict.fromkeys(text for side in made[1:] for text in differing_ways(made[0].info, side.info))
    found += [f"clips were computed otherwise, which may change their last bits: {_listed([*ways])}"] if ways else []
    packages = [side.record.provenance["packages"] for side in sides]
    said = dict.fromkeys(f"{k} {text}" for own in packages[1:] for k, text in differences(own, packages[0]))
    return [*found, *([f"other versions of packages: {_listed([*said])}"] if said else [])]
