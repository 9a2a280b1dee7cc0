"""The section "Error rates" of docs/listening.md, from what `benchmarks.listening` has measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import sections
from benchmarks.interval_coverage_report import table

JSON = Path("results/benchmarks/listening.json")
TEXT = Path("docs/listening.md")

Row = dict[str, Any]


def write() -> None:
    """Write the section."""
