"""Several reference packs as one: of partial downloads, of other metrics, or of other lengths of clips."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.packs.pack import About, Pack, PackedEncoder, PackedFeatures, Part, Reference
from evalkit.store.digests import digest

AND = " AND "  # between licences that all apply, as SPDX writes it
ALSO = " + "  # between other things that packs say
NAMED = 3  # prompts that messages name of many


@dataclass(frozen=True)
class Joined:
    """A pack of several, and what was decided to make it.

    Attributes:
        other_content: ids whose reference has another content in a later pack, which was left out.
        other_features: in how many parts packs have other features of the same audio, and by how much they differ at
            most, by the kind of the encoder; those of the first pack were kept.
    """

    pack: Pack
    other_content: tuple[str, ...]
    other_features: Mapping[str, tuple[int, float]]


def joined(packs: Sequence[Pack]) -> Joined:
    """Join packs of one data set: of each prompt's reference the first that is usable, and all features of these.

    What comes out depends on nothing but what the packs hold and their order: a pack joined with itself is the same
    pack. Raises EvalkitError for packs that were made of other data, otherwise, or on another type of device, and
    where a usable reference would have no features of an encoder, or of a length of clips, that others have.
    """
    for one, other in itertools.combinations(packs, 2):
        _require_alike(one, other)
    references, other_content = _references(packs)
    contents = {one.sha256 for one in references if one.status == "ok"}
    _require_durations(packs, references)
    parts = {part.key: part for pack in packs for part in pack.parts if part.content in contents}
    parts = {key: parts[key] for key in sorted(parts)}
    peaks = {key: peak for pack in reversed(packs) for key, peak in pack.peaks_of(parts).items()}
    unusable = {key: next(p.unusable[key] for p in packs if key in p.unusable) for key in parts if key not in peaks}
    encoders = _encoders(packs)
    features, other_features = {}, {}
    for encoder in encoders.values():
        values, differing = _features(packs, encoder, peaks, parts)
        features[encoder.digest] = PackedFeatures.of([values.get(key) for key in parts])
        if differing[0]:
            other_features[encoder.kind] = differing
    pack = Pack(
        about=_about(packs, tuple(encoders.values())),
        references=references,
        parts=tuple(parts.values()),
        peaks=np.array([peaks[key][0] if key in peaks else np.nan for key in parts]),
        unusable=unusable,
        features=features,
    )
    return Joined(pack, other_content, other_features)


def _require_alike(first: Pack, other: Pack) -> None:
    """Raise EvalkitError for a pack that cannot be joined with the first one."""
    ours, theirs = first.about, other.about
    apart = f"'{first.name}' and '{other.name}' cannot be joined"
    for what, own, their in (
        ("the data set", ours.dataset, theirs.dataset),
        ("the protocol", ours.protocol, theirs.protocol),
        ("the sample rate", ours.sample_rate, theirs.sample_rate),
        ("the resampler", ours.resampler, theirs.resampler),
        ("the version of evalkit's conditioning", ours.conditioning, theirs.conditioning),
        ("prompts.cut", ours.cut, theirs.cut),
        ("prompts.max_seconds", ours.max_seconds, theirs.max_seconds),
        ("the type of the device", ours.device, theirs.device),
        ("what rendered the references", _rendered(ours), _rendered(theirs)),
    ):
        if own != their:
            raise EvalkitError(
                f"{apart}: {what} is {_said(own)} of the one and {_said(their)} of the other: pack the references "
                "again in the same way"
            )
    for one in other.references:
        known = first.by_id.get(one.id)
        if known is not None and known.caption != one.caption:
            raise EvalkitError(f"{apart}: they were made for different captions of '{one.id}': take packs of one file")
    for encoder in ours.encoders:
        for its in theirs.encoders:
            if encoder.digest != its.digest and _apart_from_weights(encoder) == _apart_from_weights(its):
                raise EvalkitError(
                    f"{apart}: their features of {encoder.kind} are of other weights ({_weights(encoder)}, and "
                    f"{_weights(its)}): pack the references again with the same ones"
                )


def _rendered(about: About) -> Any:
    made = about.rendered
    return made and f"{made.by}, {made.duration:g} s, {digest(made.definition)[:12]}"


def _said(value: Any) -> str:
    if value is None:
        return "none"
    return f"'{value}'" if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def _apart_from_weights(encoder: PackedEncoder) -> Any:
    """The definition without what says which weights the encoder's networks have."""

    def without(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [without(part) for part in value]
        if isinstance(value, Mapping):  # of an Asset it is one of these
            asset = not value.keys().isdisjoint(("sha256", "random_seed", "commit"))
            return None if asset else {key: without(part) for key, part in value.items()}
        return value

    return without(encoder.definition)


def _weights(encoder: PackedEncoder) -> str:
    if not encoder.weights:
        return "of its own"
    return ", ".join(one.source if one.random else f"{one.name} {one.digest[:12]}" for one in encoder.weights)


def _references(packs: Sequence[Pack]) -> tuple[tuple[Reference, ...], tuple[str, ...]]:
    """Of each prompt the first reference that is usable, and the ids of those that have another content elsewhere."""
    found: dict[str, Reference] = {}
    other: dict[str, None] = {}
    for pack in packs:
        for one in pack.references:
            known = found.setdefault(one.id, one)
            if one.status == "ok" and known.status != "ok":
                found[one.id] = one
            elif one.status == "ok" and one.sha256 != known.sha256:
                other[one.id] = None
    return tuple(found.values()), tuple(other)


def _require_durations(packs: Sequence[Pack], references: Sequence[Reference]) -> None:
    """Raise EvalkitError where a usable reference has no parts for a length of clips that others have parts for."""
    contents = [{part.content for part in pack.parts} for pack in packs]
    packed = set().union(*contents)  # others are too short or too long for any
    for duration in sorted({duration for pack in packs for duration in pack.about.durations}):
        having = [pack for pack in packs if duration in pack.about.durations]
        there = set().union(*(own for own, pack in zip(contents, packs, strict=True) if pack in having))
        if lacking := [one.id for one in references if one.sha256 in packed - there]:
            raise EvalkitError(
                f"{_names(p for p in packs if p not in having)} cannot be joined with {_names(having)}: of "
                f"{first_of(lacking)} there would be no features for clips of {duration:g} s: pack them with "
                f"sampling.duration={duration:g} too, or join packs of the same durations"
            )


def _encoders(packs: Sequence[Pack]) -> dict[str, PackedEncoder]:
    """All encoders by digest, each with all metrics that it was packed for."""
    found: dict[str, PackedEncoder] = {}
    for pack in packs:
        for encoder in pack.about.encoders:
            known = found.setdefault(encoder.digest, encoder)
            metrics = tuple(dict.fromkeys([*known.metrics, *encoder.metrics]))
            found[encoder.digest] = dataclasses.replace(known, metrics=metrics)
    return found


def _features(
    packs: Sequence[Pack], encoder: PackedEncoder, usable: Iterable[str], parts: Mapping[str, Part]
) -> tuple[dict[str, np.ndarray], tuple[int, float]]:
    """The features of usable parts by their keys, and in how many parts packs differ, and by how much at most."""
    values: dict[str, np.ndarray] = {}
    differing, largest = 0, 0.0
    for pack in packs:
        for key, own in pack.features_of(encoder.digest, usable).items():
            known = values.setdefault(key, own)
            if known is own or np.array_equal(known, own):
                continue
            if known.shape != own.shape:
                raise EvalkitError(
                    f"'{pack.name}' has features {own.shape} of {encoder.kind} where another pack has {known.shape} of "
                    "the same audio: pack the references again with one version of evalkit"
                )
            differing, largest = differing + 1, max(largest, float(np.abs(known - own).max()))
    if lacking := {parts[key].content for key in usable if key not in values}:
        references, other_content = _references(packs)
        ids = [one.id for one in references if one.sha256 in lacking]
        other = ", of which they have other audio," if {*ids} & {*other_content} else ""
        having = [pack for pack in packs if encoder.digest in pack.features]
        without = _names(pack for pack in packs if pack not in having)
        raise EvalkitError(
            f"{without} cannot be joined with {_names(having)}: of {first_of(ids)}{other} "
            f"there would be no features of {encoder.kind} (metric {', '.join(encoder.metrics)}): pack them for the "
            "same metrics"
        )
    return values, (differing, largest)


def _names(packs: Iterable[Pack]) -> str:
    return " and ".join(dict.fromkeys(f"'{pack.name}'" for pack in packs))


def first_of(ids: Sequence[str]) -> str:
    """Name the first of some prompts, and say how many there are of more."""
    named = ", ".join(f"'{i}'" for i in ids[:NAMED])
    return f"{named}, … ({len(ids):,})" if len(ids) > NAMED else named


def _about(packs: Sequence[Pack], encoders: tuple[PackedEncoder, ...]) -> About:
    abouts = [pack.about for pack in packs]

    def every(name: str, between: str) -> str:
        said = [part for about in abouts for part in getattr(about, name).split(between) if part]
        return between.join(dict.fromkeys(said))

    return dataclasses.replace(
        abouts[0],
        subset=every("subset", ALSO),
        total=max(about.total for about in abouts),
        licence=every("licence", AND),
        text=every("text", "\n"),
        evalkit=every("evalkit", ALSO),
        commit=every("commit", ALSO),
        when=max(about.when for about in abouts),
        durations=tuple(sorted({duration for about in abouts for duration in about.durations})),
        device_name=every("device_name", ALSO),
        encoders=encoders,
    )
