"""Plots as files: PNG and SVG, whose bytes are the same for the same record."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.results.plots.drawing import style
from evalkit.results.plots.plot import PAPER, Plot, no_glyphs
from evalkit.store.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
ENDINGS = ("png", "svg")


def write(plots: Iterable[Plot], folder: Path) -> list[Path]:
    """Write plots into a folder, each as PNG and as SVG, and return the paths.

    Raises EvalkitError where the folder cannot be written to.
    """
    written = []
    for plot in plots:
        figure = plot.figure(PAPER)
        for ending in ENDINGS:
            written.append(folder / f"{plot.name}.{ending}")
            write_bytes(written[-1], encoded(figure, ending, plot.name))
    return written


def encoded(figure: Figure, ending: str, title: str, cut: bool = False) -> bytes:
    """Encode a figure as PNG or SVG, without anything that differs from one time to the next.

    Args:
        cut: whether to leave out the margins.
    """
    metadata = {"Software": None} if ending == "png" else {"Date": None, "Title": title}
    buffer = io.BytesIO()
    with style(), no_glyphs():
        box: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.04} if cut else {}
        figure.savefig(buffer, format=ending, dpi=DPI, metadata=metadata, **box)
    return buffer.getvalue()
