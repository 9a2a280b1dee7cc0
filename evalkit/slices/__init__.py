"""Slices: groups of prompts that are scored by themselves; one file, and one YAML in conf/slice, for each kind."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evalkit.errors import EvalkitError, unknown
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


def standard(slices: Iterable[str]) -> list[Slice]:
    """Make the slices of evalkit's own kinds, each KIND or KIND:NAME, where no YAMLs are read.

    A kind is a module of this room with one dataclass, whose defaults are the values in its YAML. Raises EvalkitError
    for a kind that does not exist.
    """
    kinds = [module.name for module in pkgutil.iter_modules(__path__)]
    made = []
    for asked in slices:
        kind, _, name = asked.partition(":")
        if kind not in kinds:
            raise unknown("slice", kind, kinds)
        (own,) = _dataclasses_of(f"{__name__}.{kind}")
        made.append(Slice(kind, name, own()))
    return made


def groups(prompts: Sequence[Prompt], slices: Iterable[Slice], missing_ok: bool = False) -> list[Group]:
    """Group prompts as the slices ask, each group once.

    Args:
        missing_ok: whether to leave out a slice of which no prompt is.

    Raises EvalkitError otherwise: for a name that no prompt has, whether in upper or lower case, and for a kind
    that gives no group.
    """
    found = []
    for slice in slices:
        members: dict[str, set[str]] = {}
        for prompt in prompts:
            for value in slice.grouping.groups_of(prompt):
                members.setdefault(value, set()).add(prompt.id)
        if slice.name:
            names = _matching(slice, members, missing_ok)
        else:
            order = slice.grouping.order({value: len(ids) for value, ids in members.items()})
            names = [value for value in order if value in members]
        if not names and not missing_ok:
            raise EvalkitError(f"slices: no prompt has a {slice.kind}: leave '{slice}' out")
        found += [Group(slice.kind, value, frozenset(members[value])) for value in names]
    return list(dict.fromkeys(found))


def largest(sizes: Mapping[str, int], most: int) -> list[str]:
    """Name the groups with the most prompts, the largest first; of equal ones, the first given."""
    return sorted(sizes, key=lambda name: -sizes[name])[:most]


def _dataclasses_of(module: str) -> list[Any]:
    """The dataclasses that a module defines."""
    found = vars(importlib.import_module(module)).values()
    return [c for c in found if isinstance(c, type) and dataclasses.is_dataclass(c) and c.__module__ == module]


def _matching(slice: Slice, names: Iterable[str], missing_ok: bool) -> list[str]:
    """Find the group that a slice names."""
    folded = {name.casefold(): name for name in names}
    asked = slice.name.casefold()
    if asked in folded:
        return [folded[asked]]
    if missing_ok:
        return []
    near = difflib.get_close_matches(asked, folded, n=1)
    hint = f": did you mean '{folded[near[0]]}'?" if near else ""
    raise EvalkitError(f"slices: no prompt has the {slice.kind} '{slice.name}'{hint}")
