"""Sections of documents that benchmarks write, beside others that are written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HEADING = "## Error rates"


def replace(path: Path, lines: Sequence[str]) -> None:
    """Put the section of error rates, which begins with its heading, into a document, at its place or at the end.

    The section reaches to the next heading of its level, or to the end.
    """
    text = path.read_text("utf-8")
    section = "\n".join([HEADING, "", *lines]).rstrip("\n") + "\n"
    before, found, after = text.partition(f"{HEADING}\n")
    rest = after.partition("\n## ")[2] if found else ""
    path.write_text(before.rstrip("\n") + "\n\n" + section + (f"\n## {rest}" if rest else ""), "utf-8")
