"""Slices: groups of prompts that are scored by themselves; one file, and one YAML in conf/slice, for each kind."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from evalkit.errors import EvalkitError
from evalkit.types import Prompt


class Grouping(Protocol):
    """A kind of slice: what prompts are grouped by."""

    @property
    def named(self) -> bool:
        """Whether `slices=[KIND:NAME]` may ask for one group by its name."""
        ...

    def groups_of(self, prompt: Prompt) -> Sequence[str]:
        """Name the groups that a prompt belongs to: none, one or several."""
        ...

    def order(self, sizes: Mapping[str, int]) -> Sequence[str]:
        """Name the groups to score, in the order of the table; those without a prompt are left out.

        Args:
            sizes: number of prompts of each group, the group of the first prompt first.
        """
        ...


@dataclass(frozen=True)
class Slice:
    """One entry of the option `slices`.

    Attributes:
        kind: the name of the kind's YAML.
        name: the one group that is asked for; empty for all.
    """

    kind: str
    name: str
    grouping: Grouping

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True)
class Group:
    """The prompts of one group.

    Attributes:
        kind: what prompts are grouped by: the name of the kind's YAML.
        name: the group's, such as a tag, a label or a range.
        ids: those of its prompts.
    """

    kind: str
    name: str
    ids: frozenset[str]


def groups(prompts: Sequence[Prompt], slices: Iterable[Slice]) -> list[Group]:
    """Group prompts as the slices ask, each group once.

    Raises EvalkitError for a name that no prompt has, whether in upper or lower case, and for a kind
    that gives no group.
    """
    found = []
    for slice in slices:
        members: dict[str, set[str]] = {}
        for prompt in prompts:
            for value in slice.grouping.groups_of(prompt):
                members.setdefault(value, set()).add(prompt.id)
        if slice.name:
            names = [_matching(slice, members)]
        else:
            order = slice.grouping.order({value: len(ids) for value, ids in members.items()})
            names = [value for value in order if value in members]
        if not names:
            raise EvalkitError(f"slices: no prompt has a {slice.kind}: leave '{slice}' out")
        found += [Group(slice.kind, value, frozenset(members[value])) for value in names]
    return list(dict.fromkeys(found))


def largest(sizes: Mapping[str, int], most: int) -> list[str]:
    """Name the groups with the most prompts, the largest first; of equal ones, the first given."""
    return sorted(sizes, key=lambda name: -sizes[name])[:most]


def _matching(slice: Slice, names: Iterable[str]) -> str:
    """Find the group that a slice names."""
    folded = {name.casefold(): name for name in names}
    asked = slice.name.casefold()
    if asked in folded:
        return folded[asked]
    near = difflib.get_close_matches(asked, folded, n=1)
    hint = f": did you mean '{folded[near[0]]}'?" if near else ""
    raise EvalkitError(f"slices: no prompt has the {slice.kind} '{slice.name}'{hint}")
