"""AudioSet's 527 classes, in the order of every classifier's outputs.

data/audioset_labels.csv is the released class_labels_indices.csv (Google, CC BY 4.0).
"""

from __future__ import annotations

import csv
import functools
from pathlib import Path


@functools.cache
def classes() -> dict[str, str]:
    """Names by machine identifier such as /m/09x0r, in the order of the outputs."""
    with (Path(__file__).parent / "data" / "audioset_labels.csv").open(encoding="utf-8", newline="") as file:
        return {row["mid"]: row["display_name"] for row in csv.DictReader(file)}
