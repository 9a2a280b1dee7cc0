"""A record as runs of a tracker, with what is said of it, its page and its configuration as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from evalkit.errors import EvalkitError, reason
from evalkit.page.writing import write
from evalkit.report.document import Document
from evalkit.report.to_markdown import shortened
from evalkit.results import REPORT
from evalkit.results.folders import MANIFEST, identity
from evalkit.store.digests import digest
from evalkit.store.redaction import redacted
from evalkit.trackers.run import Limits

RANDOM = "random weights"


@dataclass(frozen=True)
class About:
    """What all runs of a record share.

    Attributes:
        sha256: of the record's manifest, which has the digests of all else.
        group: the folder's name.
        time: when it was written.
        marks: warnings in a few words.
        warning, text: what is said of the record.
        files: its page, its table and its configuration, by name.
        missing: what is not sent, one sentence each.
    """

    sha256: str
    group: str
    time: float
    marks: Sequence[str]
    warning: str
    text: str
    files: Mapping[str, Path]
    missing: Sequence[str]

    def key(self, name: str) -> str:
        """What is known again when the same part of the same record is sent once more."""
        key: str = digest([self.sha256, name])
        return key

    def named(self, name: str) -> str:
        """A run's name, with the warnings that nobody may miss."""
        return f"{name} ({', '.join(self.marks)})" if self.marks else name

    def said(self, missing: Sequence[str] = ()) -> str:
        """The text, below what was left out of it."""
        lines = [*self.missing, *missing]
        return "\n".join([*(f"- not sent: {line}" for line in lines), *([""] if lines else []), self.text])

    def tags(self, path: Path, more: Mapping[str, str]) -> dict[str, str]:
        """The tags that every run has, with some more; empty ones are left out."""
        every = {"evalkit_path": str(path), "evalkit_record": self.sha256, "evalkit_warning": self.warning, **more}
        return {name: text for name, text in every.items() if text}


def about(record: Any, random: Sequence[str], limits: Limits, folder: Path, own_page: bool = False) -> About:
    """Gather what all runs of a record share, and write its files into a folder.

    Args:
        own_page: make a page in that folder, whatever page the record has.
    """
    document: Document[Any] = record.document()
    missing: list[str] = []
    files = {"table.md": folder / "table.md", "config.yaml": folder / "config.yaml"}
    text = shortened(document)
    files["table.md"].write_text(text, "utf-8")
    if config := getattr(record, "config", None):
        plain = yaml.safe_dump(redacted(config), sort_keys=False, allow_unicode=True)
        files["config.yaml"].write_text(plain, "utf-8")
    else:
        del files["config.yaml"]
    if limits.report:
        try:
            files[REPORT] = write([record], folder / REPORT) if own_page else page(record)
        except Exception as error:  # the numbers are worth more than their page
            missing.append(f"the page, because it could not be made: {reason(error)}")
    return About(
        sha256=identity(record.path),
        group=record.path.name,
        time=(record.path / MANIFEST).stat().st_mtime,
        marks=[RANDOM] if random else [],
        warning=document.warning,
        text=text,
        files=files,
        missing=missing,
    )


def page(record: Any) -> Path:
    """Where the page of a record is; it is made if it is not there."""
    target: Path = record.path / REPORT
    return target if target.is_file() else write([record])


def capped(frame: pd.DataFrame, rows: int, what: str, missing: list[str]) -> pd.DataFrame:
    """The first rows of a frame; appends to `missing` how many others there are."""
    if len(frame) > rows:
        missing.append(f"{what}: {len(frame) - rows:,} of {len(frame):,} rows are beyond the first {rows:,}")
    return frame.head(rows)


def require_saved(record: Any) -> None:
    """Raise EvalkitError for a record that lies in no folder."""
    if not (record.path / MANIFEST).is_file():
        raise EvalkitError("the record was not saved: save it, so that what is sent can be found again")
