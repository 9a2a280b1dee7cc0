"""The section "Error rates" of docs/reproduce.md, from what `benchmarks.verdicts` has measured."""

from __future__ import annotations

from pathlib import Path

JSON = Path("results/benchmarks/verdicts.json")


def write() -> None:
    """Write the section."""
