"""The result of a run: what it measured, what it was made from, and its files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from evalkit import report
from evalkit.report import Count, Summary
from evalkit.store import RunFolder
from evalkit.types import Clip, Score


@dataclass(frozen=True)
class Result:
    """What a run gives.

    Attributes:
        table: one row per model; for each metric measured, n, published and difference.
        scores: one row per model and metric.
        clips: one row per model and prompt, with status, reason and per-clip values.
        summary: everything the printed table says.
        config, provenance: what was asked for, resolved, and what it was made with.
        path: the run's folder.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    clips: pd.DataFrame
    summary: Summary
    config: dict[str, Any]
    provenance: dict[str, Any]
    path: Path

    def print(self) -> None:
        """Print the table, and where the result lies, on the terminal."""
        console = Console()
        report.to_rich(self.summary, console)
        console.print(f"result: {self.path}", markup=False, highlight=False, soft_wrap=True)


def count(clips: Sequence[Clip]) -> Count:
    """Count usable clips, and the others by what is wrong with them."""
    return Count(sum(c.ok for c in clips), len(clips), dict(Counter(c.status for c in clips if not c.ok)))


def save(
    folder: RunFolder,
    *,
    summary: Summary,
    scores: Sequence[Score],
    clips: pd.DataFrame,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Result:
    """Write all files of a result, `result.json` last, and return it."""
    rows = [score.row() for score in scores]
    folder.parquet("clips.parquet", clips)
    folder.json("scores.json", rows)
    folder.json("provenance.json", dict(provenance))
    folder.text("table.md", report.to_markdown(summary))
    folder.text("table.csv", report.to_csv(summary))
    folder.json("table.json", report.to_json(summary))
    files = sorted(p.name for p in folder.path.iterdir())
    folder.json("result.json", {"status": "finished", "files": files})
    return Result(
        table=report.table(summary),
        scores=pd.DataFrame(rows),
        clips=clips,
        summary=summary,
        config=json.loads(json.dumps(config)),
        provenance=dict(provenance),
        path=folder.path,
    )
