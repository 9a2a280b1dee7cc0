"""The section "Error rates" of docs/sweep.md, from what `benchmarks.sweeps` has measured."""

from __future__ import annotations

from pathlib import Path

JSON = Path("results/benchmarks/sweeps.json")


def write() -> None:
    """Write the section."""
