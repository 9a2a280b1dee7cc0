"""A hook of the site: a link that is called by its file, such as "metrics.md", is called by the page's title there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Write the titles of pages into a page's links."""
    return re.sub(r"\[(?:docs/)?([\w-]+\.md)\](?=\()", lambda match: f"[{_title(match[1]) or match[1]}]", markdown)


def _title(name: str) -> str:
    path = HERE / name
    return path.read_text("utf-8").partition("\n")[0].removeprefix("# ") if path.is_file() else ""
