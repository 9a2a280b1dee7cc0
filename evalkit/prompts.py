"""Prompt sets: which captions to generate music for, and where their references are.

A prompt set is a frozen dataclass with `load(cache) -> PromptSet`, and `references`: a folder or a
pairing file (evalkit.references), a model that renders them, or None.
"""

from __future__ import annotations

import ast
import difflib
import itertools
import json
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.assets import Asset
from evalkit.audioset import classes
from evalkit.errors import EvalkitError, unknown
from evalkit.references import check_options
from evalkit.store import Cache, digest, sha256_file
from evalkit.tables import Row, find_column, read_rows
from evalkit.types import Prompt, PromptSet
from evalkit.voices import is_instrumental

GIVEN = ("melody", "continuation")  # audio that a model may be given beside the caption
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
        dataset: the name that published numbers are joined on.
        subset: all, balanced (1,000 prompts with genres in balance), audioset_eval (2,858 prompts
            from AudioSet's evaluation split) or instrumental (see evalkit.voices).
        aspects, ids, random, random_seed, first: narrow the subset further; see `narrow`.
        references: the clips that the captions describe.
        cut, max_seconds: how references are cut, and when they are refused; see evalkit.references.
    """

    source: Asset | None = None
    path: str | None = None
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
        if self.subset not in SUBSETS:
            raise unknown("subset", self.subset, SUBSETS)
        check_narrowing(self)
        check_options(self)

    def load(self, cache: Cache) -> PromptSet:
        """Read and narrow the prompts, in file order.

        Raises EvalkitError, with the line, for a file that is not as published, and for a selection
        that is empty or larger than what there is.
        """
        path = self.source.locate(cache) if self.source else Path(str(self.path)).expanduser().absolute()
        if path.is_dir():
            path /= "musiccaps-public.csv"
        rows = read_rows(path)
        for column in ("ytid", "caption", "aspect_list", "start_s", "end_s", FLAGS.get(self.subset, "ytid")):
            find_column(path, rows, column)
        prompts = read_prompts(rows, "ytid", "caption", _of_musiccaps)
        keep = SUBSETS[self.subset]
        chosen = [prompt for prompt, row in zip(prompts, rows, strict=True) if keep(prompt, row)]
        words = [self.subset] if self.subset != "all" else []
        return prompt_set(self, self.dataset, path, chosen, words, total=len(rows))


@dataclass(frozen=True)
class Table:
    """Prompts from a CSV, TSV or JSONL file of one's own.

    Columns: `id` (or `ytid`), `text` (or `caption`), and if wanted `reference`, `melody` and
    `continuation` (audio files, relative to the table's folder) and `tags` (a JSON list, or words
    separated by `;`).

    Attributes:
        path: the file.
        dataset: a name for it; the file's name without its suffix where None.
        aspects, ids, random, random_seed, first: keep only some prompts; see `narrow`.
        references: the clips that the captions describe, where they are not in the table; goes
            before its `reference` column.
        cut, max_seconds: how references are cut, and when they are refused; see evalkit.references.
    """

    path: str | None = None
    dataset: str | None = None
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

    def load(self, cache: Cache) -> PromptSet:
        """Read and narrow the prompts, in file order.

        Raises EvalkitError, with the line, for a bad entry, for a melody or continuation that does
        not exist, and for a selection that is empty or larger than what there is.
        """
        path = Path(str(self.path)).expanduser().absolute()
        rows = read_rows(path)

        def more(row: Row) -> dict[str, Any]:
            files = {name: path.parent / row.text(name) for name in ("reference", *GIVEN) if row.text(name)}
            return {**files, "tags": _tags(row)}

        prompts = read_prompts(
            rows, find_column(path, rows, "id", "ytid"), find_column(path, rows, "text", "caption"), more
        )
        result = prompt_set(self, self.dataset or path.stem, path, prompts, [], total=len(rows))
        for prompt, name in itertools.product(result.prompts, GIVEN):
            file = getattr(prompt, name)
            if file and not os.path.isfile(file):
                raise EvalkitError(f"'{path}': the {name} of '{prompt.id}' does not exist: '{file}'")
        return result


@dataclass(frozen=True)
class Demo(MusicCaps):
    """The captions that come with evalkit, for trying it without any other file."""

    path: str | None = str(Path(__file__).parent / "data" / "demo.csv")
    dataset: str = "demo"


def read_prompts(
    rows: Sequence[Row], id_column: str, text_column: str, more: Callable[[Row], dict[str, Any]]
) -> list[Prompt]:
    """Make one prompt per row; `more` gives the fields besides id and text.

    Raises EvalkitError for an id that is empty, repeated, or could be taken for a path, and for an
    empty caption.
    """
    places: dict[str, str] = {}
    prompts = []
    for row in rows:
        name, text = row.text(id_column), row.text(text_column)
        problem = _problem_of_id(name)
        if problem:
            raise row.error(f"{id_column} {name!r:.40} {problem}")
        if name in places:
            raise row.error(f"{id_column} '{name}' is also in {places[name]}: ids must be unique")
        # what a missing value becomes when a table is written carelessly
        if text.casefold() in ("", "nan", "none", "null", "<na>"):
            raise row.error(f"{text_column} is {repr(text) if text else 'empty'}: every prompt needs a caption")
        places[name] = row.place
        prompts.append(Prompt(name, text, **more(row)))
    return prompts


def _problem_of_id(name: str) -> str:
    """Why a text cannot be an id. Ids are shown and looked up; this keeps them harmless as file names too."""
    if not name:
        return "is empty"
    if name in (".", ".."):
        return "is a folder's name"
    if len(name) > 128:
        return f"has {len(name)} characters: 128 are the most"
    if "/" in name or "\\" in name:
        return "holds a slash: ids must not look like paths"
    if any(unicodedata.category(c).startswith("C") for c in name):
        return "holds a control character"
    return ""


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


def _tags(row: Row) -> tuple[str, ...]:
    value = row.values.get("tags")
    if not isinstance(value, list):
        text = row.text("tags")
        if not text.startswith("["):
            return tuple(tag.strip() for tag in text.split(";") if tag.strip())
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
    if not (isinstance(value, list) and all(isinstance(tag, str) for tag in value)):
        raise row.error("tags is neither a JSON list of words nor words separated by ';'")
    return tuple(value)


def check_narrowing(component: Any) -> None:
    """Raise EvalkitError for values of `random`, `random_seed` and `first` that no file can meet."""
    for name, least in (("random", 1), ("first", 1), ("random_seed", None)):
        value = getattr(component, name)
        if value is None and least is not None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise EvalkitError(f"prompts.{name}={value}: must be a whole number")
        if least is not None and value < least:
            raise EvalkitError(f"prompts.{name}={value}: must be at least {least}")


def narrow(
    prompts: Sequence[Prompt],
    *,
    aspects: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    random: int | None = None,
    random_seed: int = 0,
    first: int | None = None,
) -> tuple[list[Prompt], list[str]]:
    """Keep some prompts, in their order, and say which in words.

    Each step narrows what the one before has left: prompts with a tag that holds one of the words
    `aspects` (whole words, in any case), those with the given `ids`, `random` many, the `first`
    few. The random choice is that of the smallest SHA-256 of seed and id: the same on every machine,
    and a larger choice contains a smaller one. Raises EvalkitError where an id is not there, or
    fewer prompts are left than asked for.
    """
    kept, words = list(prompts), []
    wanted_words = _listed(aspects)
    if wanted_words:
        pattern = re.compile("|".join(rf"(?<!\w){re.escape(w.strip())}(?!\w)" for w in wanted_words), re.IGNORECASE)
        if not all(w.strip() for w in wanted_words):
            raise EvalkitError("prompts.aspects: one of the words is empty")
        kept = [p for p in kept if any(pattern.search(tag) for tag in p.tags)]
        words.append(f"with {' or '.join(wanted_words)}")
        if not kept:
            raise EvalkitError(f"no prompt is {words[-1]}: choose other prompts.aspects")
    wanted_ids = dict.fromkeys(_listed(ids))
    if wanted_ids:
        there = {p.id for p in kept}
        for name in wanted_ids:
            if name not in there:
                near = difflib.get_close_matches(name, there, n=1)
                hint = f": did you mean '{near[0]}'?" if near else ""
                raise EvalkitError(f"prompts.ids: '{name}' is not among the {len(kept):,} prompts to choose from{hint}")
        kept = [p for p in kept if p.id in wanted_ids]
        words.append(f"{len(kept):,} by id")
    for name, count in (("random", random), ("first", first)):
        if count is None:
            continue
        if not 1 <= count <= len(kept):
            raise EvalkitError(f"prompts.{name}={count}: must be between 1 and {len(kept):,}, the prompts there are")
        if name == "random":
            drawn = set(sorted((p.id for p in kept), key=lambda i: digest([random_seed, i]))[:count])
            kept = [p for p in kept if p.id in drawn]
            words.append(f"random {count:,} (seed {random_seed})")
        else:
            kept = kept[:count]
            words.append(f"first {count:,}")
    return kept, words


def _listed(value: Any) -> list[str]:
    """A list of text, from what can be typed for one: nothing, one value, several, numbers too."""
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, (list, tuple)) else [str(value)]


def prompt_set(
    component: Any, dataset: str, path: Path, prompts: Sequence[Prompt], words: list[str], total: int
) -> PromptSet:
    """Narrow prompts as a component says, and describe the outcome. Raises EvalkitError if none are left."""
    if not prompts:
        raise EvalkitError(f"'{path}': no prompt is in the subset {', '.join(words)}")
    options = {name: getattr(component, name) for name in ("aspects", "ids", "random", "random_seed", "first")}
    kept, more = narrow(prompts, **options)
    return PromptSet(str(dataset), ", ".join([*words, *more]) or "all", total, tuple(kept), sha256_file(path))


def sampled(prompts: Sequence[Prompt], samples: int) -> list[Prompt]:
    """Ask for several clips of each prompt: all prompts once, then all again with ids "x#2", then "x#3", …

    Raises EvalkitError for a prompt that has such an id itself.
    """
    ids = {prompt.id for prompt in prompts}
    asked = list(prompts)
    for sample in range(2, samples + 1):
        more = [replace(prompt, id=f"{prompt.id}#{sample}") for prompt in prompts]
        if taken := next((prompt.id for prompt in more if prompt.id in ids), None):
            raise EvalkitError(
                f"sampling.samples_per_prompt={samples}: '{taken}' is both a prompt of its own and clip {sample} of "
                f"'{taken.rpartition('#')[0]}': rename one of the two prompts"
            )
        asked += more
    return asked
