"""Lists of prompts whose references are still to be had, in the forms that download scripts read."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from evalkit.errors import EvalkitError
from evalkit.prompts import Prompts
from evalkit.prompts.user_files import read_rows
from evalkit.store.cache import Cache
from evalkit.types import Prompt

VIDEO = re.compile(r"[\w-]{11}", re.ASCII)  # what YouTube calls a video
FORMS = (".csv", ".txt")


def require_form(path: Path, prompts: Sequence[Prompt]) -> None:
    """Raise EvalkitError for a path that names no list which can be written of some prompts.

    That is another suffix than .csv and .txt, and a .txt where prompts are no parts of YouTube videos.
    """
    if path.suffix.lower() not in FORMS:
        raise EvalkitError(f"'{path}': name a {' or a '.join(FORMS)} file")
    other = next((p for p in prompts if p.start is None or not VIDEO.fullmatch(p.id)), None)
    if path.suffix.lower() == ".txt" and other is not None:
        raise EvalkitError(f"'{path}': a .txt lists YouTube videos, and '{other.id}' is no part of one: name a .csv")


def list_of(path: Path, wanted: Sequence[Prompt], options: Prompts, cache: Cache) -> str:
    """Write the text of a list, in the form that the suffix of its path names; see `require_form`.

    A .csv has the rows of the prompt set's own file that belong to the prompts, with all its columns, so that what
    reads that file reads this one; columns id and caption where the set has no file. A .txt has the address of each
    prompt's YouTube video, once.
    """
    if path.suffix.lower() == ".txt":
        return "".join(f"https://www.youtube.com/watch?v={i}\n" for i in dict.fromkeys(p.id for p in wanted))
    find_file = getattr(options, "file", None)
    rows = _rows(find_file(cache), wanted) if find_file else []
    return _csv(rows or [{"id": prompt.id, "caption": prompt.text} for prompt in wanted])


def _rows(path: Path, wanted: Sequence[Prompt]) -> list[dict[str, str]]:
    """The rows of a file that belong to some prompts: those with the id, in whichever column, and the caption.

    By the id alone they could be those of others, as where another column numbers the rows.
    """
    found, captions = read_rows(path), {prompt.id: prompt.text for prompt in wanted}
    names = list(dict.fromkeys(column for row in found for column in row.values))
    rows = [{name: str(row.values.get(name, "")) for name in names} for row in found]
    for column in names:
        chosen = [row for row in rows if captions.get(row[column].strip()) in {text.strip() for text in row.values()}]
        if {row[column].strip() for row in chosen} == captions.keys():
            return chosen
    return []


def _csv(rows: Sequence[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["id", "caption"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
