"""What very many clips and workers cost: handing out work, the store, and the statistics.

    OMP_NUM_THREADS=1 python -m benchmarks.scale [--part NAME]

Writes results/benchmarks/scale.json, and its tables to results/benchmarks/scale.md; with `--part` what is not measured
again is taken from the JSON file. What follows from them is in docs/scale.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import parts, scale_scheduler, scale_stats, scale_store
from benchmarks.interval_coverage_report import table
from benchmarks.parts import Row

JSON = Path("results/benchmarks/scale.json")
TEXT = Path("results/benchmarks/scale.md")
CLIPS = (2_000, 10_000, 100_000)  # the first for statistics whose time grows with the square of clips

ABOUT_STATISTICS = (
    "19 windows of 128 numbers of each clip and side, in files that are mapped into memory; a process for each row. "
    "Seconds by the clock are those of cores that others used too. Memory is what the process holds at most, besides "
    "what it held before and the pages of those files:"
)

MEASURED: dict[str, Callable[[], Iterator[Row]]] = {
    **scale_scheduler.MEASURED,
    **scale_store.MEASURED,
    "statistics": lambda: scale_stats.rows(CLIPS),
}


def statistics(record: Mapping[str, list[Row]]) -> list[str]:
    """What was measured of statistics, in Markdown."""
    return [
        *("## Statistics", "", ABOUT_STATISTICS, ""),
        *table(
            ["what", "clips", "s", "CPU s", "MiB"],
            (
                [row["title"], f"{row['clips']:,}", row["seconds"], row["cpu_seconds"], row["mib_beside_features"]]
                for row in record["statistics"]
            ),
        ),
    ]


TABLES: dict[str, Callable[[Mapping[str, list[Row]]], list[str]]] = {  # by the part that is recorded last of each
    "scheduler_parent": scale_scheduler.tables,
    "store": scale_store.tables,
    "statistics": statistics,
}


def write() -> None:
    """Write the tables of all parts."""
    record = json.loads(JSON.read_text("utf-8"))
    machine = record["machine"]
    about = f"{machine['cpu']}, Python {machine['python']}; the figures are in {JSON.name}."
    lines = ["# Very many clips and workers", "", f"`python -m benchmarks.scale` writes this file. {about}", ""]
    for part, tables in TABLES.items():
        if part in record:
            lines += tables(record)
    TEXT.write_text("\n".join(lines).rstrip("\n") + "\n", "utf-8")


def main() -> None:
    """Measure, record, write the tables."""
    parts.measure(__doc__, MEASURED, JSON, {}, write)


if __name__ == "__main__":
    main()
