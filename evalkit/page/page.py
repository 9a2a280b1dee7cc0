"""The whole page as one text."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from evalkit.page import sections
from evalkit.page.inline import embedded, hashed, written
from evalkit.page.tables import tone
from evalkit.page.view import View
from evalkit.store.provenance import installed

OURS = '<meta name="generator" content="evalkit '  # in every page, near its beginning


def render(view: View) -> str:
    """Write the page of some records: HTML that needs no other file but the clips that it links to."""
    shown = [section for module in _modules() if (section := module.section(view)) is not None]
    first, script = "\n".join(static("js", "head")), "\n".join(static("js"))
    return str(
        written(
            "page.html.j2",
            view=view,
            document=view.document,
            sections=shown,
            data={name: embedded(value) for section in shown for name, value in section.data.items()},
            style=Markup("\n".join(static("css"))),
            first=Markup(first),
            script=Markup(script),
            policy=policy(first, script),
            tone=tone(view.document.outcome),
            title=": ".join(filter(None, [view.document.outcome, view.document.title])),
            version=installed("evalkit"),
        )
    )


def policy(*scripts: str) -> str:
    """What the page may load and run: nothing but these scripts, and pictures and sound."""
    return (
        f"default-src 'none'; script-src {' '.join(map(hashed, scripts))}; "
        "style-src 'unsafe-inline'; img-src data:; media-src data: blob: file: 'self'; base-uri 'none'; "
        "form-action 'none'"
    )


def static(ending: str, folder: str = ".") -> list[str]:
    """The files of a folder of `evalkit/page/static` with an ending, in the order of their names."""
    found = sorted(files("evalkit.page").joinpath("static", folder).iterdir(), key=lambda one: one.name)
    return [one.read_text("utf-8") for one in found if one.name.endswith(f".{ending}")]


def _modules() -> list[Any]:
    names = [module.name for module in pkgutil.iter_modules(sections.__path__)]
    modules = [importlib.import_module(f"{sections.__name__}.{name}") for name in names]
    return sorted(modules, key=lambda module: module.ORDER)
