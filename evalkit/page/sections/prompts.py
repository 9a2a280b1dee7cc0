"""All clips: a table to sort, filter and search, and the detail of each prompt, which has an address of its own."""

from __future__ import annotations

from evalkit.page import columns
from evalkit.page.inline import written
from evalkit.page.section import Section
from evalkit.page.view import View

ORDER = 40


def section(view: View) -> Section | None:
    """Write the table's frame, and its rows as data; None where no prompt is known."""
    clips = columns.clips_of(view)
    if clips.prompts.empty:
        return None
    body = written("prompts.html.j2", clips=clips, files=not clips.prompts["caption"].any())
    return Section("prompts", "All clips", body, {"prompts": columns.data(view, clips)}, blind=True)
