"""The table of the records, with what must be read first."""

from __future__ import annotations

from evalkit.page.section import Section, written
from evalkit.page.view import View

ORDER = 10


def section(view: View) -> Section:
    """Write the main table."""
    return Section("summary", "Summary", written("summary.html.j2", document=view.document))
