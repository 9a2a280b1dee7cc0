"""Reading prompts from rows of a file, and narrowing them to some."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError, unknown
from evalkit.prompts.user_files import Row
from evalkit.store.digests import digest, sha256_file
from evalkit.types import Prompt, PromptSet

GIVEN = ("melody", "continuation")  # audio that a model may be given beside the caption
MISSING = ("nan", "none", "null", "<na>")  # what a missing value becomes when a table is written carelessly
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")  # a tag of BCP 47, as far as its form goes


def read_prompts(
    rows: Sequence[Row], id_column: str, text_column: str, more: Callable[[Row], dict[str, Any]]
) -> list[Prompt]:
    """Make one prompt per row; `more` gives the fields besides id and text.

    Raises EvalkitError for an id that is empty, repeated, or could be taken for a path, for an empty caption, and
    for control characters, such as those that clear a terminal, in a caption, translation or tag.
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
        if not text or text.casefold() in MISSING:
            raise row.error(f"{text_column} is {repr(text) if text else 'empty'}: every prompt needs a caption")
        fields = more(row)
        said = [(text_column, text), *(("tags", tag) for tag in fields.get("tags", ()))]
        for column, value in (*said, ("translation", fields.get("translation", ""))):
            if control := next((c for c in value if unicodedata.category(c) == "Cc" and c not in "\t\n\r"), ""):
                raise row.error(f"{column} holds the control character {control!r}: remove it")
        places[name] = row.place
        prompts.append(Prompt(name, text, **fields))
    return prompts


def together(row: Row, columns: Mapping[str, str] | None = None) -> dict[str, str]:
    """The cluster, translation and language of a row, each empty where it has none.

    Args:
        columns: the names of these columns, where they are others.

    Raises EvalkitError for a cluster that could not be an id, for what stands for a missing translation, and for a
    language that is no tag such as "de" or "pt-BR".
    """
    names = {name: (columns or {}).get(name, name) for name in ("cluster", "translation", "language")}
    found = {name: row.text(column) for name, column in names.items()}
    if found["cluster"] and (problem := _problem_of_id(found["cluster"])):
        raise row.error(f"{names['cluster']} {found['cluster']!r:.40} {problem}")
    if found["translation"].casefold() in MISSING:
        raise row.error(f"{names['translation']} is '{found['translation']}': leave it empty for the caption itself")
    check_language(found["language"], f"{row.place}: {names['language']}")
    first, *rest = found["language"].split("-")
    return {**found, "language": "-".join([first.lower(), *rest])}


def check_language(tag: str, what: str) -> None:
    """Raise EvalkitError for what is no tag of a language; nothing stands for a language that is not known."""
    if tag and not LANGUAGE.fullmatch(tag):
        raise EvalkitError(f"{what} is '{tag:.40}', not a tag such as de or pt-BR")


def words_of(row: Row, column: str) -> tuple[str, ...]:
    """The words in a column, such as tags: a list, a JSON list, or words with ";" between them.

    Raises EvalkitError for a list of anything else.
    """
    value = row.values.get(column)
    if not isinstance(value, list):
        text = row.text(column)
        if not text.startswith("["):
            return tuple(tag.strip() for tag in text.split(";") if tag.strip())
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
    if not (isinstance(value, list) and all(isinstance(tag, str) for tag in value)):
        raise row.error(f"{column} is neither a JSON list of words nor words separated by ';'")
    return tuple(value)


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
    languages: Sequence[str] | None = None,
    aspects: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    random: int | None = None,
    random_seed: int = 0,
    first: int | None = None,
) -> tuple[list[Prompt], list[str]]:
    """Keep some prompts, in their order, and say which in words.

    Each step narrows what the one before has left: prompts in one of the `languages` ("pt" takes "pt-BR" too), those
    with a tag that holds one of the words `aspects` (whole words, in any case), those with the given `ids`,
    `random` many, the `first` few. The random choice is that of the smallest SHA-256 of seed and id: the same on
    every machine, and a larger choice contains a smaller one. Raises EvalkitError where a language or an id is not
    there, or fewer prompts are left than asked for.
    """
    kept, words = list(prompts), []
    wanted_languages = listed(languages)
    if wanted_languages:
        there = sorted({p.language for p in kept if p.language})
        for tag in wanted_languages:
            if not any(_speaks(language, tag) for language in there):
                if not there:
                    raise EvalkitError(f"prompts.languages: '{tag}': no prompt says which language it is in")
                raise unknown("language", tag, there)
        kept = [p for p in kept if any(_speaks(p.language, tag) for tag in wanted_languages)]
        words.append(f"in {' or '.join(wanted_languages)}")
    wanted_words = listed(aspects)
    if wanted_words:
        pattern = re.compile("|".join(rf"(?<!\w){re.escape(w.strip())}(?!\w)" for w in wanted_words), re.IGNORECASE)
        if not all(w.strip() for w in wanted_words):
            raise EvalkitError("prompts.aspects: one of the words is empty")
        kept = [p for p in kept if any(pattern.search(tag) for tag in p.tags)]
        words.append(f"with {' or '.join(wanted_words)}")
        if not kept:
            raise EvalkitError(f"no prompt is {words[-1]}: choose other prompts.aspects")
    wanted_ids = dict.fromkeys(listed(ids))
    if wanted_ids:
        present = {p.id for p in kept}
        for name in wanted_ids:
            if name not in present:
                near = difflib.get_close_matches(name, present, n=1)
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


def _speaks(language: str, wanted: str) -> bool:
    """Whether a language is one of those that a tag means (RFC 4647, basic filtering)."""
    return f"{language}-".casefold().startswith(f"{wanted}-".casefold())


def listed(value: Any) -> list[str]:
    """Make a list of text of what can be typed for one: nothing, one value, several, numbers too."""
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, (list, tuple)) else [str(value)]


def narrowed(component: Any, prompts: Sequence[Prompt]) -> tuple[list[Prompt], list[str]]:
    """Narrow prompts as a component's own options say; see `narrow`."""
    options = {name: getattr(component, name) for name in ("aspects", "ids", "random", "random_seed", "first")}
    return narrow(prompts, languages=getattr(component, "languages", None), **options)


def prompt_set(
    component: Any, dataset: str, path: Path, prompts: Sequence[Prompt], words: list[str], total: int
) -> PromptSet:
    """Narrow prompts as a component says, and describe the outcome. Raises EvalkitError if none are left."""
    if not prompts:
        raise EvalkitError(f"'{path}': no prompt is in the subset {', '.join(words)}")
    kept, more = narrowed(component, prompts)
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
