"""Checks that audiocraft's configuration and tensors are what a module of transformers computes with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evalkit.errors import EvalkitError

SHOWN = 5  # names in a message


class Section:
    """One section of a configuration, of which every value must be known and one that transformers can compute.

    Attributes:
        problems: what cannot be represented, as "section.key=value"; shared between sections.
    """

    def __init__(self, values: Any, section: str, problems: list[str]):
        self.values: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}
        self.section, self.problems = section, problems

    def number(self, key: str) -> int:
        """A whole number above 0; where it is none, a problem, and 1."""
        value = self.values.pop(key, None)
        if type(value) is int and value > 0:
            return value
        self.refuse(key, value)
        return 1

    def one_of(self, key: str, allowed: Iterable[Any], default: Any) -> Any:
        """The value, or audiocraft's default; a problem where it is not among those allowed."""
        value = self.values.pop(key, default)
        if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed):
            self.refuse(key, value)
        return value

    def names(self, key: str) -> list[str]:
        """A list of names, sorted; none where there is no list."""
        value = self.values.pop(key, None)
        return sorted(map(str, value)) if isinstance(value, list) else []

    def ignore(self, *keys: str) -> None:
        """Skip what matters only to training, or to how fast the same numbers are computed."""
        for key in keys:
            self.values.pop(key, None)

    def close(self) -> None:
        """Report every value that is left: who knows what it does."""
        for key, value in self.values.items():
            self.refuse(key, value)
        self.values = {}

    def refuse(self, key: str, value: Any) -> None:
        self.problems.append(f"{self.section}.{key}={str(value)[:40]}" if self.section else f"{key}={str(value)[:40]}")


def require(name: str, problems: list[str]) -> None:
    """Raise EvalkitError where there are problems, with their names."""
    if problems:
        raise EvalkitError(
            f"{name}: transformers has no module for this checkpoint, whose configuration has {_some(problems)}"
        )


def assign(name: str, network: Any, table: Mapping[str, tuple[str, ...]], weights: Mapping[str, Any]) -> None:
    """Copy weights into a network of transformers, in float32.

    Args:
        name: of the part of the checkpoint, for messages.
        table: for each of audiocraft's tensors, the network's tensors that it holds, one below the other.
        weights: audiocraft's tensors.

    Raises:
        EvalkitError: tensors are missing, left over, or of another shape, with their names.
    """
    import torch

    if missing := sorted(set(table) - set(weights)):
        raise EvalkitError(f"{name}: {len(missing)} tensors are missing: {_some(missing)}")
    if extra := sorted(set(weights) - set(table)):
        raise EvalkitError(f"{name}: {len(extra)} tensors are left over: {_some(extra)}")
    own = network.state_dict()
    shapes = {}
    for source, targets in table.items():
        first = own[targets[0]].shape
        shapes[source] = (sum(own[target].shape[0] for target in targets), *first[1:]) if first else ()
    if misfits := [
        f"{source} is {tuple(weights[source].shape)} instead of {shape}"
        for source, shape in shapes.items()
        if tuple(weights[source].shape) != shape
    ]:
        raise EvalkitError(f"{name}: {len(misfits)} tensors do not fit the configuration: {_some(misfits)}")
    with torch.no_grad():
        for source, targets in table.items():
            parts = [weights[source]] if len(targets) == 1 else weights[source].chunk(len(targets))
            for target, part in zip(targets, parts, strict=True):
                own[target].copy_(part)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
