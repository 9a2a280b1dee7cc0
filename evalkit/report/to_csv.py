"""The main table as CSV, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from typing import Any

from evalkit.report.document import Document
from evalkit.report.numbers import absent

SUFFIX = ".csv"

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for one


def render(document: Document) -> str:
    """Write the main table as CSV; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    records = document.table.records()
    file = io.StringIO()
    writer = csv.DictWriter(file, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _field(value) for name, value in record.items()} for record in records)
    return file.getvalue()


def _field(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return "" if absent(value) else value
