"""In what two results differ that are set side by side: prompts, references, and how numbers were computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.results.options import leaves
from evalkit.results.record import Record

NOT_ALTERED = "references as they are"  # what references are that were not altered
NAMED = 4  # differences that a sentence names


def prompts_differ(first: Record, other: Record) -> str:
    """Say in what the prompts of two results differ; empty where they are the same.

    Their order, and the files that they were read from, do not matter.
    """
    forms = {first.prompts_info.form, other.prompts_info.form}
    if "prompts" not in forms:
        return ""  # names of files, of which each result has its own
    if len(forms) > 1:
        return "one compares two folders, the other has prompts"
    ours, theirs = (captions(record) for record in (other, first))
    if alone := sorted({*ours} ^ {*theirs}):
        return f"different prompts: {len(alone):,} are in one of them only, such as '{alone[0]}'"
    if altered := [id for id in ours if ours[id] != theirs[id]]:
        id = altered[0]
        said = f"'{ours[id]:.40}', not '{theirs[id]:.40}'"
        return f"different captions of {len(altered):,} of {len(ours):,} prompts, such as of '{id}': {said}"
    return ""


def references_differ(first: Record, other: Record) -> str:
    """Say in what the references of two results differ, of prompts for which both have one; empty where in nothing."""
    ours, theirs = (references(record) for record in (other, first))
    if (said := _altered(other)) != (before := _altered(first)):
        return f"{said}, not {before}"
    if first.prompts_info.form != "prompts" and (alone := {*ours.values()} ^ {*theirs.values()}):
        return f"different references: {len(alone):,} are in one of them only"
    both = [id for id in ours if id in theirs]
    if altered := [id for id in both if ours[id][0] != theirs[id][0]]:
        return f"different references of {len(altered):,} of {len(both):,} prompts, such as of '{altered[0]}'"
    return parts_differ(first, other)


def parts_differ(first: Record, other: Record) -> str:
    """Say in how many references that two results share other parts count; empty where the same parts do."""
    ours, theirs = (references(record) for record in (other, first))
    both = [id for id in ours if id in theirs and ours[id][0] == theirs[id][0]]
    if not (altered := [id for id in both if ours[id] != theirs[id]]):
        return ""
    said = " s, not ".join(f"{start:g} to {end:g}" for _, start, end in (ours[altered[0]], theirs[altered[0]]))
    return (
        f"other parts of the same references of {len(altered):,} of {len(both):,} prompts, such as of '{altered[0]}': "
        f"{said} s"
    )


def protocols_differ(first: Record, other: Record) -> str:
    """Name the protocols of two results; empty where they follow one."""
    ours, theirs = other.protocol.name, first.protocol.name
    return f"protocol {ours}, not {theirs}" if ours != theirs else ""


def _altered(record: Record) -> str:
    """What references are, in words."""
    altered = record.references_info.altered if record.references_info else ""
    return f"references {altered}" if altered else NOT_ALTERED


def captions(record: Record) -> dict[str, str]:
    """The caption of each prompt, by its id."""
    return dict(zip(record.prompts["id"], record.prompts["caption"], strict=True))


def translations(record: Record) -> dict[str, str]:
    """What models were given in place of the caption of each prompt that has a translation, by its id."""
    prompts = record.prompts
    if "translation" not in prompts.columns:
        return {}
    return {i: text for i, text in zip(prompts["id"], prompts["translation"], strict=True) if text}


def language(record: Record) -> str:
    """In which languages models were given the prompts of a record, in words."""
    known = sorted({*record.prompts["language"]} - {""}) if "language" in record.prompts.columns else []
    return ", ".join(known) or ("translation" if translations(record) else "the captions' own language")


def references(record: Record) -> dict[str, tuple[str, float, float]]:
    """The content of each prompt's usable reference, and where the part that counts begins and ends, by its id."""
    if record.references_info is None:
        return {}
    models = [name for name, row in record.rows.items() if not row.calibration]
    clips = record.clips[record.clips["model"].isin(models) & (record.clips["reference_status"] == "ok")]
    start, length = (clips[f"reference_{name}"].fillna(0.0).round(2) for name in ("start", "length"))
    return dict(zip(clips["id"], zip(clips["reference_sha256"], start, start + length, strict=True), strict=True))


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where two mappings differ: the key, and what one has and the other has not, such as "0.96, not 0.5"."""
    mine, its = dict(leaves(ours)), dict(leaves(theirs))
    seen = set()
    for key in dict.fromkeys([*mine, *its]):
        if mine.get(key) != its.get(key):
            place, _, last = key.rpartition(".")
            if last not in ("random_seed", "sha256", "repo", "commit", "files"):
                yield key, f"{_shown(mine.get(key))}, not {_shown(its.get(key))}"
            elif place not in seen:  # the files of a network are described by several keys
                seen.add(place)
                (our_seed, our), (their_seed, their) = _weights(mine, place), _weights(its, place)
                both = our_seed is not None and their_seed is not None
                yield ("random_weights", f"{our_seed}, not {their_seed}") if both else (place, f"{our}, not {their}")


def _weights(values: Mapping[str, Any], place: str) -> tuple[Any, str]:
    """The seed of random weights, if they are random, and what identifies them in words."""
    seed = values.get(f"{place}.random_seed")
    digest = str(values.get(f"{place}.sha256") or values.get(f"{place}.commit"))
    return seed, digest[:12] if seed is None else "random"


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
