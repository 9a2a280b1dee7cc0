"""The files that opinions are read from, one layout each.

A layout is a module of this folder with `recognised(path)`, which says whether a file or folder is one of it,
`read(path, asked)`, and `CALLED`, the names that such files may have others for; its own is what `--layout NAME` finds.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from evalkit.agreeing.lines import NOT_THERE, text_of
from evalkit.errors import EvalkitError, unknown

if TYPE_CHECKING:
    from evalkit.agreeing.opinions import Opinions  # not for the parser, which needs the names alone


@dataclass(frozen=True)
class Asked:
    """What is wanted of a file.

    Attributes:
        score: which of several; None where there is one.
        called: what the file calls a column or an answer, by the name that evalkit has for it.
    """

    score: str | None = None
    called: Mapping[str, str] = field(default_factory=dict)


def names() -> list[str]:
    """The names of all layouts."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def read(path: Path, layout: str | None, asked: Asked) -> Opinions:
    """Read opinions. Raises EvalkitError for what is not there, is in no layout, and for all that is wrong in it."""
    if not path.exists():
        raise EvalkitError(NOT_THERE.format(path))
    if layout is not None and layout not in names():
        raise unknown("layout", layout, names())
    found = [layout] if layout else [name for name in names() if _module(name).recognised(path)]
    if not found and path.is_file():
        text_of(path)  # says what is wrong with a file that is empty, or no text
    if len(found) != 1:
        what = "is in no layout that is known by its content" if not found else f"may be of {' or '.join(found)}"
        raise EvalkitError(f"'{path}' {what}: say which one with --layout: {', '.join(names())} (docs/agree.md)")
    module = _module(found[0])
    if strange := [name for name in asked.called if name not in module.CALLED]:
        if not module.CALLED:
            raise EvalkitError(f"--called {strange[0]}: '{path}' is in the layout {found[0]}, whose names are fixed")
        raise unknown("name for --called", strange[0], module.CALLED)
    opinions: Opinions = module.read(path, asked)
    if opinions.frame.empty:
        raise EvalkitError(f"'{path}' holds no ratings that count")
    return opinions


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
