"""Published lists of the prompts that a subset has."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from evalkit.assets import Asset
from evalkit.errors import EvalkitError
from evalkit.prompts.user_files import find_column, read_rows
from evalkit.store.cache import Cache
from evalkit.types import Prompt

log = logging.getLogger(__name__)

NO_SINGING = "no_singing"  # the subset that Stability AI has published for several data sets


def asset_of(value: Asset | str | None, name: str) -> Asset | None:
    """An asset, or what a path in place of one means: the local copy."""
    return Asset(name, path=value) if isinstance(value, str) else value


def on_list(prompts: Sequence[Prompt], source: Asset | None, column: str, cache: Cache) -> list[Prompt]:
    """Keep the prompts whose ids a list has, of which no other column is read, and say if the list has more.

    Raises EvalkitError for a list that is not there, or cannot be read, or has none of the ids.
    """
    if source is None:
        raise EvalkitError(f"prompts.{NO_SINGING} is not set: give the file of the prompts without singing")
    path = source.locate(cache, f"prompts.{NO_SINGING}")
    rows = read_rows(path)
    find_column(path, rows, column)
    ids = {row.text(column) for row in rows}
    kept = [prompt for prompt in prompts if prompt.id in ids]
    if not kept:
        raise EvalkitError(f"'{path}' lists none of the {len(prompts):,} prompts: its first {column} is '{min(ids)}'")
    if more := len(ids) - len(kept):
        log.warning("'%s' lists %s prompts that are not in the file of captions", path.name, f"{more:,}")
    return kept
