"""Audio files that users bring, found by the id of a prompt: below a folder, or listed in a table."""

from __future__ import annotations

import dataclasses
import math
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from evalkit import audio
from evalkit.prompts.user_files import find_column, read_rows
from evalkit.settings import MIN_SECONDS
from evalkit.store.memory import Fact, remembered
from evalkit.types import Clip

AT_ONCE = 64  # files that a thread looks at one after the other

HEADER = Fact("headers", audio.PROBED)  # frames, rate and channels of a file

T = TypeVar("T")


def mapped(function: Callable[..., T], *items: Sequence[Any]) -> Iterator[T]:
    """Apply a function of files to items on threads, in order, several items at a time as most take no time."""
    starts = range(0, len(items[0]), AT_ONCE)
    with ThreadPoolExecutor() as pool:
        blocks = [zip(*(one[start : start + AT_ONCE] for one in items), strict=True) for start in starts]
        for found in pool.map(lambda block: [function(*item) for item in block], blocks):
            yield from found


def normal(name: str) -> str:
    """The one form of an id: file systems differ in how they write an accented letter."""
    return unicodedata.normalize("NFC", name)


def by_stem(folder: Path) -> dict[str, list[Path]]:
    """List all audio files below a folder by their names without suffix, in the `normal` form.

    Ids come from outside: they are looked up here, and never joined to a path. Raises EvalkitError
    for a folder that holds no audio.
    """
    files: dict[str, list[Path]] = {}
    for path in audio.files_below(folder):
        files.setdefault(normal(path.stem), []).append(path)
    return files


def by_id(table: Path, folder: Path) -> dict[str, Path]:
    """Read which file belongs to each id, in the `normal` form, from a CSV, TSV or JSONL file.

    Its columns are `id` (or `ytid`) and `path` (or `reference`); paths are relative to `folder`.
    Raises EvalkitError for a file that cannot be read, an empty field and a second path for one id.
    """
    rows = read_rows(table)
    id_column, path_column = find_column(table, rows, "id", "ytid"), find_column(table, rows, "path", "reference")
    files: dict[str, Path] = {}
    for row in rows:
        name, path = normal(row.text(id_column)), row.text(path_column)
        if not name or not path:
            raise row.error(f"{path_column if name else id_column} is empty")
        if name in files:
            raise row.error(f"a second {path_column} for '{name}': remove one")
        files[name] = folder / path
    return files


def probed(id: str, path: Path) -> Clip:
    """Describe a file by its header: a Clip that is ok, "missing" or "unreadable", without a digest."""
    if not os.path.isfile(path):  # unlike Path.is_file, it takes names that are too long
        return Clip(id, path, "missing", f"'{path}' does not exist")
    try:
        frames, rate, channels = remembered(HEADER, path, lambda: list(audio.probe(path)))
    except audio.AudioError as error:
        return Clip(id, path, "unreadable", str(error))
    return Clip(id, path, frames=frames, sample_rate=rate, channels=channels)


def long_enough(clip: Clip, seconds: float) -> Clip:
    """The clip, or the clip as "too short" if `seconds`, what counts of it, are under a second."""
    if seconds >= MIN_SECONDS:
        return clip
    # rounded down, so that no reason says that a second is less than a second
    said = f"{math.floor(seconds * 1e5) / 1e5:.5f}" if seconds > 0.99 else f"{seconds:.2f}"
    return dataclasses.replace(clip, status="too short", reason=f"{said} s: at least {MIN_SECONDS:g} s are needed")
