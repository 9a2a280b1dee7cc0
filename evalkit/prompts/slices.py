"""Scores of groups of prompts: by tag, AudioSet label, caption length, or whether a voice is asked for."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.errors import EvalkitError, unknown
from evalkit.prompts.instrumental import asks_for_no_voice
from evalkit.types import Prompt

MOST = 20  # groups of a kind that has many: the largest


WORDS = (25, 50, 75)  # a caption of MusicCaps has 49 on average, half of them 37 to 60


KINDS = ("tag", "label", "caption_length", "voice")


@dataclass(frozen=True)
class Group:
    """The prompts of one group.

    Attributes:
        kind: what prompts are grouped by, one of KINDS.
        name: the tag, label or range.
    """

    kind: str
    name: str
    ids: frozenset[str]


def check(requested: Sequence[str]) -> None:
    """Raise EvalkitError for a slice that does not exist."""
    for slice in requested:
        kind, colon, name = slice.partition(":")
        if kind not in KINDS:
            raise unknown("slice", kind, KINDS)
        if colon and (kind not in ("tag", "label") or not name):
            raise EvalkitError(f"slices={slice}: only tag:NAME and label:NAME name a single group")


def groups(prompts: Sequence[Prompt], requested: Sequence[str]) -> list[Group]:
    """Group prompts as requested: "tag", "label" (the MOST largest groups of each), "tag:NAME",
    "label:NAME", "caption_length" (in words) or "voice" (see evalkit.voices).

    Raises EvalkitError for a name that no prompt has.
    """
    found = []
    for slice in requested:
        kind, _, name = slice.partition(":")
        members: dict[str, set[str]] = {}
        for prompt in prompts:
            for value in dict.fromkeys(_values(kind, prompt)):
                members.setdefault(value, set()).add(prompt.id)
        if name:
            if name.casefold() not in members:
                near = difflib.get_close_matches(name.casefold(), members, n=1)
                hint = f": did you mean '{near[0]}'?" if near else ""
                raise EvalkitError(f"slices: no prompt has the {kind} '{name}'{hint}")
            names = [name.casefold()]
        elif kind in ("tag", "label"):
            names = [value for value, _ in Counter({v: len(ids) for v, ids in members.items()}).most_common(MOST)]
        else:
            names = [value for value in _order(kind) if value in members]
        if not names:
            raise EvalkitError(f"slices: no prompt has a {kind}: leave '{slice}' out")
        found += [Group(kind, value, frozenset(members[value])) for value in names]
    return list(dict.fromkeys(found))


def _values(kind: str, prompt: Prompt) -> list[str]:
    if kind == "tag":
        return [tag.casefold() for tag in prompt.tags]
    if kind == "label":
        return [label.casefold() for label in prompt.labels]
    if kind == "voice":
        return ["instrumental" if asks_for_no_voice(prompt) else "vocal"]
    words = len(prompt.text.split())
    return [_order(kind)[sum(words > limit for limit in WORDS)]]


def _order(kind: str) -> list[str]:
    if kind == "voice":
        return ["instrumental", "vocal"]
    starts = [1, *(limit + 1 for limit in WORDS)]
    return [*(f"{a} to {b} words" for a, b in zip(starts, WORDS, strict=False)), f"over {WORDS[-1]} words"]
