"""What a section of the page is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup


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
