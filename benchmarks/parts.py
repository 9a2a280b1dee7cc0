"""Benchmarks that are measured part by part, of which each can be measured again by itself."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.interval_coverage import machine

Row = dict[str, Any]


def measure(
    about: str | None,
    measured: Mapping[str, Callable[[], Iterator[Row]]],
    path: Path,
    facts: Mapping[str, Any],
    write: Callable[[], None],
) -> None:
    """Measure the parts that the command line asks for, record each row at once, and write what documents say.

    Args:
        about: the docstring of the benchmark.
        measured: gives the rows of each part.
        path: of the record.
        facts: what stands in it besides.
        write: writes the section of a document from the record.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=(*measured, "all", "none"), default="all")
    part = parser.parse_args().part
    for name in measured if part == "all" else [part] if part != "none" else []:
        started, rows = time.process_time(), []
        for row in measured[name]():
            rows.append(row)
            record(path, name, rows, time.process_time() - started, facts)
    write()


def record(path: Path, part: str, rows: list[Row], seconds: float, facts: Mapping[str, Any]) -> None:
    """Store the rows of a part; what others have measured meanwhile stays."""
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    used = known.get("cpu", {}) | {part: round(seconds, 1)}
    known |= {**facts, part: rows, "cpu": used, "machine": machine()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", "utf-8")
