"""What a section of the page is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evalkit.page.links import breakable, linked
from evalkit.report.literal import literal


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own.

    Attributes:
        id: of its element, and what the address of the page has behind "#".
        title: the heading.
        body: HTML below the heading, in which all text of unknown origin is escaped.
        data: what scripts read, by name: JSON-like values, `data(NAME)` of the page's own global object.
        blind: whether it may be seen while names of systems are hidden.
    """

    id: str
    title: str
    body: Markup
    data: Mapping[str, Any] = field(default_factory=dict)
    blind: bool = False


@cache
def environment() -> Environment:
    """Where templates are found; whatever they show is escaped."""
    found = Environment(
        loader=PackageLoader("evalkit.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"breakable": breakable, "linked": linked, "literal": literal}
    return found


def written(template: str, **values: Any) -> Markup:
    """Write a template of `evalkit/page/templates` with values, all of which are escaped."""
    return Markup(environment().get_template(template).render(values))
