"""Everything that a document says, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from evalkit.report.document import Document
from evalkit.report.literal import escaped

SUFFIX = ".json"


def render(document: Document) -> str:
    """Write everything that a document says as a JSON object; what is not a finite number is null."""
    value = {
        "title": document.title,
        "heading": document.heading,
        "warning": document.warning or None,
        **document.plain,
        "table": document.table.records(),
        "notes": document.notes,
        "provenance": document.provenance,
    }
    return escaped(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def plain(value: Any) -> Any:
    """Make a value fit for JSON: what is not a finite number is None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
