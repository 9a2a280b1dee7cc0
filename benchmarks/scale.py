"""What very many clips and workers cost: handing out work, the store, and the statistics.

    OMP_NUM_THREADS=1 python -m benchmarks.scale [--part NAME]

Writes results/benchmarks/scale.json, and its tables to results/benchmarks/scale.md; with `--part` what is not measured
again is taken from the JSON file. What follows from them is in docs/scale.md.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import parts, scale_scheduler

JSON = Path("results/benchmarks/scale.json")
TEXT = Path("results/benchmarks/scale.md")
PARTS = (scale_scheduler,)  # each has MEASURED, rows by the name of a part, and tables() of what was recorded


def write() -> None:
    """Write the tables of all parts."""
    record = json.loads(JSON.read_text("utf-8"))
    machine = record["machine"]
    about = f"{machine['cpu']}, Python {machine['python']}; the figures are in {JSON.name}."
    lines = ["# Very many clips and workers", "", f"`python -m benchmarks.scale` writes this file. {about}", ""]
    for part in PARTS:
        if all(name in record for name in part.MEASURED):
            lines += part.tables(record)
    TEXT.write_text("\n".join(lines).rstrip("\n") + "\n", "utf-8")


def main() -> None:
    """Measure, record, write the tables."""
    measured = {name: rows for part in PARTS for name, rows in part.MEASURED.items()}
    parts.measure(__doc__, measured, JSON, {}, write)


if __name__ == "__main__":
    main()
