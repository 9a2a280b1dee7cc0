"""The plots of a sweep: each metric against each parameter, the Pareto front, and a map of two parameters."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.results import drawing, drawn_front, drawn_map, drawn_parameters
from evalkit.results.sweep_record import SweepRecord
from evalkit.store.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = 6  # in one figure; further ones are in another
DPI = 150
LONGEST = 60  # characters of a parameter in a file's name

log = logging.getLogger(__name__)


def figures(sweep: SweepRecord) -> dict[str, Figure]:
    """Draw all plots that a sweep has enough points for, by the names of their files without an ending.

    Each is a figure of its own, which pyplot knows nothing of.
    """
    with drawing.style():
        return dict(_figures(sweep))


def write(sweep: SweepRecord, folder: Path) -> list[str]:
    """Write all plots into a folder, each as PNG and SVG, which are the same for the same record.

    Returns their names without an ending. Raises EvalkitError where the folder cannot be written to.
    """
    names = []
    with drawing.style(), warnings.catch_warnings():
        # of characters that DejaVu Sans does not have, which are boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for name, figure in _figures(sweep):
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # once for both files, of which each would else do it again
            for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Title": name})):
                buffer = io.BytesIO()
                figure.savefig(buffer, format=ending, dpi=DPI, metadata=metadata)
                write_bytes(folder / f"{name}.{ending}", buffer.getvalue())
            names.append(name)
    return names


def _figures(sweep: SweepRecord) -> Iterator[tuple[str, Figure]]:
    """All plots with their names."""
    if sweep.scores["value"].notna().sum() == 0:
        return
    taken: set[str] = set()
    for parameter in sweep.parameters:
        if len(parameter.values) > 1:
            yield from _numbered(
                f"by-{_safe(parameter.name)}", drawn_parameters.figures(sweep, parameter, METRICS), taken
            )
    yield from _numbered("pareto", drawn_front.figures(sweep), taken)
    yield from _numbered("map", drawn_map.figures(sweep, METRICS), taken)


def _numbered(name: str, several: Iterator[Figure], taken: set[str]) -> Iterator[tuple[str, Figure]]:
    """Give figures the first names that are free: NAME, NAME-2, …"""
    number = 1
    for figure in several:
        while (free := name if number == 1 else f"{name}-{number}").lower() in taken:
            number += 1
        taken.add(free.lower())  # there are file systems to which A and a are the same
        yield free, figure


def _safe(name: str) -> str:
    """A text as a part of a file's name on every system."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.")[:LONGEST] or "option"
