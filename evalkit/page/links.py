"""Text and addresses in the page, of which none acts; paths stay right where page and files are moved together."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit

from markupsafe import Markup, escape

from evalkit.report.literal import literal

ADDRESS = re.compile(r"https?://[^\s<>\"']*[^\s<>\"'.,;:)\]]")


def linked(text: str) -> Markup:
    """Escape a text, and make links of the addresses in it."""
    parts, last, shown = [], 0, literal(text)
    for match in ADDRESS.finditer(shown):
        parts += [escape(shown[last : match.start()]), Markup('<a href="{0}">{0}</a>').format(match[0])]
        last = match.end()
    return Markup("").join([*parts, escape(shown[last:])])


def breakable(text: str) -> Markup:
    """Escape a text that may be a name or a path, which may go on on the next line behind its parts."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[_/])(?=.)", literal(text)))


def address(url: str, output: Path) -> str:
    """Where a link leads, from the page: paths of files relative to it; empty for what is no address

    Paths stay right where page and files are moved together.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme in ("http", "https"):
        return url
    if parts.scheme == "file":
        return relative(Path(os.fsdecode(unquote_to_bytes(parts.path))), output)
    return url if not parts.scheme and not parts.netloc else ""


def relative(path: Path, output: Path) -> str:
    """The address of a file or folder: relative to the page, but for one on another drive."""
    try:
        return quote(os.fsencode(Path(os.path.relpath(path, output.parent)).as_posix()))
    except ValueError:  # no relative path leads to another drive
        return path.absolute().as_uri()
