"""What a component is, as a value that keys of the cache are made of."""

from __future__ import annotations

import dataclasses
import functools
import secrets
import sys
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.store.cache import Cache
from evalkit.store.digests import digest, sha256_file, sha256_tree


def identity(value: Any, cache: Cache) -> Any:
    """Describe a component by everything that affects what it computes, as a JSON-like value.

    Dataclasses become their class attributes `kind` and `version`, and their fields, except fields with
    metadata identity=False; what has an `identity(cache)` of its own (files, by content) describes
    itself. Where a class lies does not count, but of one that is not evalkit's the package does, and the content of
    the package's sources: there a `version` may be forgotten. Raises EvalkitError for a class without a `kind` of
    its own.
    """
    if hasattr(value, "identity"):
        return value.identity(cache)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = [f.name for f in dataclasses.fields(value) if f.metadata.get("identity", True)]
        return {
            **named(type(value)),
            "version": getattr(value, "version", 0),
            **{name: identity(getattr(value, name), cache) for name in kept},
        }
    if isinstance(value, dict):
        return {str(k): identity(v, cache) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [identity(v, cache) for v in value]
    if isinstance(value, Path):
        return {"sha256": sha256_tree(value)}
    return value


def named(component: type) -> dict[str, str]:
    """Give the name that a component's class has in keys of the cache and in results."""
    kind = vars(component).get("kind")  # an inherited one would be that of other code
    if not isinstance(kind, str) or not kind:
        raise EvalkitError(
            f"{component.__module__}.{component.__qualname__} has no name that its results are kept under: "
            f"give the class one that stays, such as kind: ClassVar[str] = '{component.__name__.lower()}'"
        )
    package = component.__module__.partition(".")[0]
    return {"kind": kind} if package == "evalkit" else {"kind": kind, "package": package, "source": source(component)}


@functools.cache  # by class: a module that is loaded anew makes new classes, and an edited file that is not, none
def source(component: type) -> str:
    """Digest the Python files of the package that a class lies in, or of its module where that is in no package.

    A class without files, as of a notebook, gets a digest that no other process has: what it was is not known later.
    """
    name = component.__module__.partition(".")[0]
    package = sys.modules[name]
    folders = [Path(folder) for folder in getattr(package, "__path__", [])]
    files = [(path.relative_to(folder), path) for folder in folders for path in folder.rglob("*.py")]
    if not folders and (file := getattr(package, "__file__", None)) and Path(file).is_file():
        files = [(Path(file).relative_to(Path(file).parent), Path(file))]
    if not files:
        return secrets.token_hex(32)
    return digest(sorted([place.as_posix(), sha256_file(path)] for place, path in files))
