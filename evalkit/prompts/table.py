"""Prompts from a table of one's own."""

from __future__ import annotations

import difflib
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.audioset import classes
from evalkit.errors import EvalkitError
from evalkit.prompts.references import check_options
from evalkit.prompts.selection import GIVEN, check_narrowing, prompt_set, read_prompts, together, words_of
from evalkit.prompts.user_files import Row, find_column, read_rows
from evalkit.store.cache import Cache
from evalkit.types import PromptSet

log = logging.getLogger(__name__)

OPTIONAL = ("reference", *GIVEN, "tags", "labels", "cluster", "translation", "language")  # columns
ALIKE = 0.75  # of difflib's ratio: "duration" and "translation" have 0.63


@dataclass(frozen=True)
class Table:
    """Prompts from a CSV, TSV or JSONL file of one's own.

    Columns: `id` (or `ytid`), `text` (or `caption`), and if wanted `reference`, `melody` and
    `continuation` (audio files, relative to the table's folder), `tags` (a JSON list, or words
    separated by `;`), `labels` (names of AudioSet classes, in the same forms), `cluster` (which rows belong together),
    `translation` (what models are given in place of the caption) and `language` (of what models are given, such as de).

    Attributes:
        path: the file.
        dataset: a name for it; the file's name without its suffix where None.
        languages, aspects, ids, random, random_seed, first: keep only some prompts; see `narrow`.
        references: the clips that the captions describe, where they are not in the table; goes
            before its `reference` column.
        cut, max_seconds: how references are cut, and when they are refused; see evalkit.prompts.references.
    """

    path: str | None = None
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
        if not self.path:
            raise EvalkitError("prompts.path is not set: give a CSV or JSONL file with columns id and text")
        check_narrowing(self)
        check_options(self)

    def file(self, cache: Cache) -> Path:
        """Where the table lies."""
        return Path(str(self.path)).expanduser().absolute()

    def load(self, cache: Cache) -> PromptSet:
        """Read and narrow the prompts, in file order.

        Raises EvalkitError, with the line, for a bad entry, for a melody or continuation that does
        not exist, and for a selection that is empty or larger than what there is.
        """
        path = self.file(cache)
        rows = read_rows(path)

        def more(row: Row) -> dict[str, Any]:
            files = {name: path.parent / row.text(name) for name in ("reference", *GIVEN) if row.text(name)}
            return {**files, "tags": words_of(row, "tags"), "labels": _labels(row), **together(row)}

        prompts = read_prompts(
            rows, find_column(path, rows, "id", "ytid"), find_column(path, rows, "text", "caption"), more
        )
        for column, near in _resembling(rows):
            log.warning("'%s': the column %.40r is not read: did you mean '%s'?", path, column, near)
        result = prompt_set(self, self.dataset or path.stem, path, prompts, [], total=len(rows))
        for prompt, name in itertools.product(result.prompts, GIVEN):
            file = getattr(prompt, name)
            if file and not os.path.isfile(file):
                raise EvalkitError(f"'{path}': the {name} of '{prompt.id}' does not exist: '{file}'")
        return result


def _resembling(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Columns that are not read, and the optional one that the name of each resembles; nothing of others."""
    columns = dict.fromkeys(column for row in rows for column in row.values)
    lacking = [name for name in OPTIONAL if name not in columns]
    for column in columns:
        if column in OPTIONAL:
            continue
        name = column.casefold()
        begun = [known for known in lacking if len(name) > 2 and (known.startswith(name) or name.startswith(known))]
        for near in (begun or difflib.get_close_matches(name, lacking, n=1, cutoff=ALIKE))[:1]:
            yield column, near


def _labels(row: Row) -> tuple[str, ...]:
    labels, known = words_of(row, "labels"), classes().values()
    for label in labels:
        if label not in known:
            near = difflib.get_close_matches(label, known, n=1)
            hint = f": did you mean '{near[0]}'?" if near else ": give names such as 'Piano' and 'Music of Africa'"
            raise row.error(f"labels: '{label:.40}' is no class of AudioSet{hint}")
    return labels
