"""The plots of a sweep."""

from __future__ import annotations

from pathlib import Path

from evalkit.results.sweep_record import SweepRecord


def write(sweep: SweepRecord, folder: Path) -> list[str]:
    """Write all plots into a folder, each as PNG and SVG, and return their names without ending."""
    return []
