"""Contracts: whether a component declares all that the pipeline asks of its kind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from evalkit.errors import EvalkitError


def require(name: str, component: object, contract: type) -> None:
    """Raise EvalkitError for the first member of a contract that a component lacks.

    A contract is a Protocol whose members are properties, which the component may declare in any way, and
    methods. Their docstrings begin "Whether…", "What…" and so on, and with a verb: messages are made of them.
    Nothing is evaluated, because the value of a property may depend on files.

    Args:
        name: of the component in the configuration, such as "metric.fad".
    """
    for member, declared in members(contract):
        if inspect.getattr_static(component, member, inspect.Parameter.empty) is inspect.Parameter.empty:
            about = (declared.__doc__ or "").replace(";", ".").partition(".")[0]
            lacks = "does not say" if isinstance(declared, property) else "cannot"
            raise EvalkitError(
                f"{name}: {type(component).__name__} {lacks} {about[:1].lower()}{about[1:]}: declare `{member}`"
            )


def members(contract: type) -> Iterator[tuple[str, property | Callable[..., Any]]]:
    """The members that a Protocol declares, with those of the Protocols it is derived from first."""
    for base in reversed(contract.__mro__):
        for name, value in vars(base).items():
            method = inspect.isfunction(value) and (name == "__call__" or not name.startswith("_"))
            if method or isinstance(value, property):
                yield name, value
