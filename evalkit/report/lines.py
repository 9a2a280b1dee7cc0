"""Lines of text beside and below each other, as a terminal has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rich.cells import cell_len, chop_cells
from rich.text import Text

GAP = 2  # between columns
NAME = 16  # characters that a word may have without being broken


def parts(text: str) -> list[str]:
    """Where a text may be broken: after spaces, and in long words after what joins their parts."""
    words = re.findall(r"[^ ]+ *", text)
    return [p for w in words for p in (re.findall(r"[^_/-]*[_/-]*", w)[:-1] if cell_len(w.rstrip()) > NAME else [w])]


def wrap(text: str, width: int) -> list[str]:
    """Break a text into lines of a width, inside a word only where it is longer than that."""
    lines = [""]
    for part in parts(text):
        if cell_len(lines[-1] + part.rstrip(" ")) > width and lines[-1]:
            lines.append("")
        if cell_len(part.rstrip(" ")) > width:
            *whole, part = chop_cells(part, width)
            lines[-1:] = [*whole, ""]
        lines[-1] += part
    return [line.rstrip(" ").replace("\u00a0", " ") for line in lines]


def side_by_side(cells: Sequence[Sequence[Text]], widths: Sequence[int], left: Callable[[int], bool]) -> list[Text]:
    """Set cells of several lines beside each other.

    Args:
        left: whether the column of a number is flush left, not right.
    """
    lines = []
    for k in range(max(map(len, cells))):
        line = Text()
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            text = cell[k] if k < len(cell) else Text()
            blank = Text(" " * (width - text.cell_len))
            line.append(" " * GAP if i else "").append(text + blank if left(i) else blank + text)
        line.rstrip()
        lines.append(line)
    return lines
