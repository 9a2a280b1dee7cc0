"""Captions of any data set that a hub has as files: no code of its repository is run."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from evalkit.assets import Asset
from evalkit.errors import EvalkitError, unknown
from evalkit.prompts.hub_tables import INSIDE, check_format, read_table, tables_in
from evalkit.prompts.references import check_options
from evalkit.prompts.selection import check_narrowing, prompt_set, read_prompts, together, words_of
from evalkit.prompts.user_files import Row, find_column
from evalkit.store.cache import Cache
from evalkit.store.digests import digest, sha256_file
from evalkit.types import PromptSet

log = logging.getLogger(__name__)

COLUMNS = ("id", "caption", "translation", "language", "cluster", "tags", "reference")
COMMIT = re.compile(r"[0-9a-f]{40}")
ID = "prompt's id"  # the column of ids that are made


@dataclass(frozen=True)
class HubDataset:
    """Captions from a data set's Parquet, CSV, TSV or JSON files, of which each row is a prompt.

    Attributes:
        repo: the id of its repository.
        revision: a commit, in full; for a branch, or None for main, it is said which commit that was.
        files: patterns of the files with captions, and of those with recordings if these are files too.
        licence: in words.
        source: where the data set comes from, in place of a repository.
        path: a local copy, in place of either: a folder with `files` below it, or one file.
        format: parquet, csv, tsv, jsonl or json; None for what the files' names say.
        columns: names of the columns for id, caption, translation, language, cluster, tags and reference; None where
            there is none. Without one for ids, a prompt is named by the number of its row, from 0. The one for
            references has paths of recordings in the repository; where ids are the same column, they are the names of
            these files without suffixes.
        dataset: a name for it; the repository's or the local copy's where None.
        languages, aspects, ids, random, random_seed, first: keep only some prompts; see `narrow`.
        references: recordings in place of those that the column names; needed where these are inside Parquet files.
        cut, max_seconds: how references are cut, and when they are refused; see evalkit.prompts.references.
    """

    repo: str | None = None
    revision: str | None = None
    files: list[str] | None = None
    licence: str = "unknown"
    source: Asset | None = field(default=None, metadata={"option": "path"})
    path: str | None = None
    format: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    languages: list[str] | None = None
    aspects: list[str] | None = None
    ids: list[str] | None = None
    random: int | None = None
    random_seed: int = 0
    first: int | None = None
    references: Any = None
    cut: str = "start"
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.path:
            object.__setattr__(self, "source", None)  # so that nothing is fetched
        elif self.source is None:
            if not self.repo:
                raise EvalkitError(
                    "prompts.repo is not set: give the id of a data set, or prompts.path for a local copy"
                )
            of_hub = {"repo": self.repo, "repo_type": "dataset", "revision": self.revision, "files": self.files}
            made = Asset(f"data set {self.repo}", self.licence, **of_hub)  # type: ignore[arg-type]
            object.__setattr__(self, "source", made)
        for name in self.columns:
            if name not in COLUMNS:
                raise unknown("of prompts.columns", name, COLUMNS)
        if not self.columns.get("caption"):
            raise EvalkitError("prompts.columns.caption is not set: give the name of the column with captions")
        check_format(self.format, "prompts.format")
        check_narrowing(self)
        check_options(self)

    def load(self, cache: Cache) -> PromptSet:
        """Read and narrow the prompts, in the order of the files' names and of their rows.

        Raises EvalkitError, with the file and row, for a bad entry, for a column that is not there or holds recordings
        themselves, and for a selection that is empty or larger than what there is.
        """
        place = self._place(cache)
        tables = tables_in(place, self.files, self.format)
        rows: list[Row] = []
        for table in tables:
            read = read_table(table, self.format)
            for column in filter(None, self.columns.values()):
                find_column(table, read, column)
            rows += read
        rows = [Row(row.place, {**row.values, ID: self._id(number, row)}) for number, row in enumerate(rows)]
        prompts = read_prompts(rows, ID, self.columns["caption"], partial(self._more, _Recordings(place)))
        name = self.dataset or (self.repo or place.stem).rpartition("/")[2]
        made = prompt_set(self, name, tables[0], prompts, [], total=len(rows))
        return made if len(tables) == 1 else replace(made, sha256=digest([sha256_file(table) for table in tables]))

    def _place(self, cache: Cache) -> Path:
        if self.source is None:
            return Path(str(self.path)).expanduser().absolute()
        place = self.source.locate(cache, "prompts.path")
        if self.source.repo and not COMMIT.fullmatch(str(self.source.revision)):
            log.warning(
                "prompts.revision %s: the captions are those of the commit %s, and may change with the next",
                f"is {self.source.revision}" if self.source.revision else "is not set, so main is read",
                place.name,
            )
        return place

    def _id(self, number: int, row: Row) -> str:
        column = self.columns.get("id")
        if not column:
            return str(number)
        return PurePosixPath(row.text(column)).stem if column == self.columns.get("reference") else row.text(column)

    def _more(self, recordings: _Recordings, row: Row) -> dict[str, Any]:
        named = {name: self.columns.get(name) or "" for name in ("cluster", "translation", "language")}
        tags, reference = self.columns.get("tags"), None if self.references else self.columns.get("reference")
        return {
            **together(row, named),
            "tags": words_of(row, tags) if tags else (),
            "reference": recordings.find(row, reference) if reference else None,
        }


class _Recordings:
    """The recordings of a data set, by the paths that it gives."""

    def __init__(self, place: Path):
        self.place = place

    def find(self, row: Row, column: str) -> Path | None:
        """The file that a row names, which may lie in a folder more than its path says; where it would be if absent.

        Raises EvalkitError for a path that leads out of the data set, and for a recording inside the table.
        """
        if row.values.get(column) is INSIDE:
            raise row.error(
                f"{column} holds the recordings themselves, which are not read: write them to a folder, each under its "
                "prompt's id, and set prompts.references to it"
            )
        path = PurePosixPath(row.text(column))
        if not path.name:
            return None
        if path.is_absolute() or ".." in path.parts:
            raise row.error(f"{column} is '{path!s:.80}', which leads out of the data set")
        given = (self.place if self.place.is_dir() else self.place.parent) / path
        if given.is_file():
            return given
        ends = [
            file
            for file in self._by_name.get(path.name, [])
            if PurePosixPath(file).parts[-len(path.parts) :] == path.parts
        ]
        if len(ends) > 1:
            raise row.error(f"{column}: both '{ends[0]}' and '{ends[1]}' could be '{path}': remove one")
        return ends[0] if ends else given

    @functools.cached_property  # only where a file is not where it is said to be
    def _by_name(self) -> Mapping[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for file in sorted(self.place.rglob("*")) if self.place.is_dir() else []:
            found.setdefault(file.name, []).append(file)
        return found
