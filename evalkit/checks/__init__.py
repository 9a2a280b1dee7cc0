"""What `evalkit doctor` looks at: one file per subject.

A subject is a module of this room with `SUBJECT`, what it is called, `ORDER`, where it stands, quick ones first, and
a function `check(asked)` that yields what it finds.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from omegaconf import DictConfig

# "warning" where something works and could be better, "missing" and "damaged" where something does not work, "absent"
# where something is not there and need not be
Status = Literal["ok", "warning", "missing", "damaged", "absent"]
BAD = ("missing", "damaged")


@dataclass(frozen=True)
class Asked:
    """What is to be looked at.

    Attributes:
        config: what the options say, with no model and the prompts of the demo where they name none.
        named: the groups that the options name: what these need is needed.
        device: as engine.device has it.
        read_data: whether every byte is read.
    """

    config: DictConfig
    named: frozenset[str] = frozenset()
    device: str = "auto"
    read_data: bool = False


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
        what: the thing.
        found: what is said of it.
        needed: whether what was asked for does not work where it is missing or damaged.
        remedy: what to do, one sentence; empty for nothing.
        facts: values for programs, by name.
    """

    what: str
    status: Status
    found: str
    needed: bool = False
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bad(self) -> bool:
        """Whether something that is needed does not work."""
        return self.needed and self.status in BAD


@dataclass(frozen=True)
class Subject:
    """One thing that is looked at."""

    name: str
    check: Callable[[Asked], Iterator[Finding]]


def subjects() -> list[Subject]:
    """Find all subjects, quick ones first."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return [Subject(module.SUBJECT, module.check) for module in sorted(modules, key=lambda module: module.ORDER)]


def megabytes(size: int) -> str:
    """Write a number of bytes for people."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
