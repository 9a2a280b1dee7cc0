"""What people read: one table model, and its forms.

A form is a module `to_NAME` of this room with a function `render(document) -> str`, which `--format NAME` finds.
Where it also has a `SUFFIX`, such as ".md", each result's folder holds a file of that form.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from evalkit.errors import unknown

if TYPE_CHECKING:
    from evalkit.report.document import Document

PREFIX = "to_"


def formats() -> list[str]:
    """The names of all forms."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))


def files(document: Document) -> dict[str, str]:
    """Write a document in all forms that are kept as files, by their names, such as "table.md"."""
    modules = [importlib.import_module(f"{__name__}.{PREFIX}{name}") for name in formats()]
    return {f"table{module.SUFFIX}": module.render(document) for module in modules if hasattr(module, "SUFFIX")}


def renderer(name: str) -> Callable[[Document], str]:
    """Find the function that writes a document in some form. Raises EvalkitError for a form that does not exist."""
    if name not in formats():
        raise unknown("format", name, formats())
    render: Callable[[Document], str] = importlib.import_module(f"{__name__}.{PREFIX}{name}").render
    return render
