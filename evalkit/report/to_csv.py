"""The main table as CSV, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from typing import Any

from evalkit.report.document import Document
from evalkit.report.literal import literal
from evalkit.report.numbers import absent

SUFFIX = ".csv"

FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes for one


def render(document: Document) -> str:
    """Write the main table as CSV; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    records = document.table.records()
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(_field, records[0] if records else []))
    writer.writerows(map(_field, record.values()) for record in records)
    return file.getvalue()


def _field(value: Any) -> Any:
    if isinstance(value, str):
        shown = literal(value)
        return f"'{shown}" if shown.startswith(FORMULA) else shown
    return "" if absent(value) else value
