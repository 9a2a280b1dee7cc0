"""Prompts from a table of one's own."""

from __future__ import annotations

import difflib
import itertools
import os
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
        result = prompt_set(self, self.dataset or path.stem, path, prompts, [], total=len(rows))
        for prompt, name in itertools.product(result.prompts, GIVEN):
            file = getattr(prompt, name)
            if file and not os.path.isfile(file):
                raise EvalkitError(f"'{path}': the {name} of '{prompt.id}' does not exist: '{file}'")
        return result


def _labels(row: Row) -> tuple[str, ...]:
    labels, known = words_of(row, "labels"), classes().values()
    for label in labels:
        if label not in known:
            near = difflib.get_close_matches(label, known, n=1)
            hint = f": did you mean '{near[0]}'?" if near else ": give names such as 'Piano' and 'Music of Africa'"
            raise row.error(f"labels: '{label:.40}' is no class of AudioSet{hint}")
    return labels
