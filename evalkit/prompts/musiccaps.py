"""MusicCaps and its subsets."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evalkit.assets import Asset
from evalkit.audioset import classes
from evalkit.errors import EvalkitError, unknown
from evalkit.instrumental import is_instrumental
from evalkit.prompts.hub_tables import read_table, tables_in
from evalkit.prompts.listed import NO_SINGING, asset_of, on_list
from evalkit.prompts.references import check_options
from evalkit.prompts.selection import check_language, check_narrowing, prompt_set, read_prompts
from evalkit.prompts.user_files import Row, find_column, read_rows
from evalkit.store.cache import Cache
from evalkit.types import Prompt, PromptSet

FLAGS = {"balanced": "is_balanced_subset", "audioset_eval": "is_audioset_eval"}


def _flagged(column: str) -> Callable[[Prompt, Row], bool]:
    def keep(_: Prompt, row: Row) -> bool:
        value = row.text(column).casefold()
        if value not in ("true", "false"):
            raise row.error(f"{column} is '{value:.40}', not True or False")
        return value == "true"

    return keep


SUBSETS: dict[str, Callable[[Prompt, Row], bool]] = {
    "all": lambda prompt, row: True,
    "instrumental": lambda prompt, row: is_instrumental(prompt.tags),
    **{name: _flagged(column) for name, column in FLAGS.items()},
}


@dataclass(frozen=True)
class MusicCaps:
    """MusicCaps (Agostinelli et al. 2023), or another file with the columns of `musiccaps-public.csv`.

    Attributes:
        source: where the file comes from.
        path: a local copy of it, or the folder that holds one; takes the place of `source`.
        translations: where translated captions come from, or the path of their file or folder: any table with columns
            ytid and caption. Models are given these in place of the captions, of which those without one are left out.
        language: of the translations, as a tag such as "ru".
        dataset: the name that published numbers are joined on.
        subset: all, balanced (1,000 prompts with genres in balance), audioset_eval (2,858 prompts
            from AudioSet's evaluation split), instrumental (see evalkit.instrumental) or no_singing (2,218 prompts
            that Stability AI lists).
        no_singing: where that list comes from, or its path.
        aspects, ids, random, random_seed, first: narrow the subset further; see `narrow`.
        references: the clips that the captions describe.
        cut, max_seconds: how references are cut, and when they are refused; see evalkit.prompts.references.
    """

    source: Asset | None = field(default=None, metadata={"option": "path"})
    no_singing: Asset | str | None = None
    path: str | None = None
    translations: Asset | str | None = None
    language: str | None = None
    dataset: str = "musiccaps"
    subset: str = "all"
    aspects: list[str] | None = None
    ids: list[str] | None = None
    random: int | None = None
    random_seed: int = 0
    first: int | None = None
    references: Any = None
    cut: str = "end"
    max_seconds: float | None = 21.0

    def __post_init__(self) -> None:
        if self.path:
            object.__setattr__(self, "source", None)  # so that nothing is fetched
        elif self.source is None:
            raise EvalkitError("prompts.path is not set: give the file of captions")
        if self.subset not in (*SUBSETS, NO_SINGING):
            raise unknown("subset", self.subset, (*SUBSETS, NO_SINGING))
        wanted = self.no_singing if self.subset == NO_SINGING else None
        object.__setattr__(self, "no_singing", asset_of(wanted, "no-singing list"))
        object.__setattr__(self, "translations", asset_of(self.translations, "translations of MusicCaps"))
        if bool(self.translations) != bool(self.language):
            raise EvalkitError("prompts.translations and prompts.language belong together: set both, or neither")
        check_language(self.language or "", "prompts.language")
        check_narrowing(self)
        check_options(self)

    def file(self, cache: Cache) -> Path:
        """Where the file of captions lies. Raises EvalkitError where it has not been fetched."""
        path = self.source.locate(cache) if self.source else Path(str(self.path)).expanduser().absolute()
        return path / "musiccaps-public.csv" if path.is_dir() else path

    def load(self, cache: Cache) -> PromptSet:
        """Read and narrow the prompts, in file order.

        Raises EvalkitError, with the line, for a file that is not as published, and for a selection
        that is empty or larger than what there is.
        """
        path = self.file(cache)
        rows = read_rows(path)
        for column in ("ytid", "caption", "aspect_list", "start_s", "end_s", FLAGS.get(self.subset, "ytid")):
            find_column(path, rows, column)
        prompts = read_prompts(rows, "ytid", "caption", _of_musiccaps)
        if self.subset == NO_SINGING:
            assert not isinstance(self.no_singing, str)
            chosen = on_list(prompts, self.no_singing, "ytid", cache)
        else:
            keep = SUBSETS[self.subset]
            chosen = [prompt for prompt, row in zip(prompts, rows, strict=True) if keep(prompt, row)]
        words = [self.subset] if self.subset != "all" else []
        if self.translations:
            before, chosen = len(chosen), self._translated(chosen, cache)
            words += ["with a translation"] if len(chosen) < before else []
        return prompt_set(self, self.dataset, path, chosen, words, total=len(rows))

    def _translated(self, prompts: Sequence[Prompt], cache: Cache) -> list[Prompt]:
        """The prompts of which there is a translation, with it."""
        assert isinstance(self.translations, Asset)
        place = self.translations.locate(cache, "prompts.translations")
        texts: dict[str, str] = {}
        for table in tables_in(place, None if self.translations.path else self.translations.files):
            rows = read_table(table)
            id_column, text_column = find_column(table, rows, "ytid"), find_column(table, rows, "caption")
            # as of other prompts, an id that is there twice and an empty caption are refused
            texts |= {p.id: p.text for p in read_prompts(rows, id_column, text_column, lambda row: {})}
        kept = [p for p in prompts if p.id in texts]
        if not kept:
            raise EvalkitError(
                f"'{place}' has a translation of none of the {len(prompts):,} prompts: it needs their ytid"
            )
        return [replace(p, translation=texts[p.id], language=str(self.language)) for p in kept]


def _of_musiccaps(row: Row) -> dict[str, Any]:
    """Tags, labels and times of a row of MusicCaps."""
    try:
        aspects = ast.literal_eval(row.text("aspect_list"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        aspects = None
    if not (isinstance(aspects, list) and all(isinstance(a, str) for a in aspects)):
        raise row.error(f"aspect_list is not a list of quoted words: {row.text('aspect_list'):.40}")
    start, end = row.number("start_s"), row.number("end_s")
    if not 0 <= start < end:
        raise row.error(f"start_s={start:g} and end_s={end:g} are not a stretch of time")
    names = classes()
    labels = tuple(names.get(m, m) for m in row.text("audioset_positive_labels").split(",") if m)
    return {"tags": tuple(aspects), "labels": labels, "start": start, "seconds": end - start}
