"""What is said of a sweep: the document that every form of it is made from."""

from __future__ import annotations

import json
from typing import Any

from evalkit.report.document import Document, Item, Listing, Quantity
from evalkit.results.summary import records, warning
from evalkit.results.sweep_record import SweepRecord


def shown(value: Any) -> str:
    """Write an option's value as a command line has it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def document(sweep: SweepRecord) -> Document[Listing]:
    """Say everything about a sweep: its points, the winner, a race's rungs, and provenance."""
    return Document(
        title=f"{sweep.name}: sweep of {', '.join(one.name for one in sweep.parameters)}",
        heading=f"{sweep.dataset}, subset {sweep.subset}: {sweep.prompts:,} prompts, protocol {sweep.protocol}",
        table=Listing(
            columns=[[Quantity("name", "point", "word")]], rows=[Item(row, row) for row in records(sweep.points)]
        ),
        warning=" ".join([*filter(None, [warning(list(sweep.random))]), *sweep.warnings]),
        notes=list(sweep.remarks),
    )
