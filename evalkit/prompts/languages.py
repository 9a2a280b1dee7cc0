"""Captions in nine languages, which come with evalkit.

data/languages.csv was written for evalkit and is in the public domain (CC0 1.0): 60 captions in English, and of each a
translation into German, French, Spanish, Portuguese, Russian, Chinese, Japanese and Hindi.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.prompts.selection import listed, narrow
from evalkit.prompts.table import Table
from evalkit.store.cache import Cache
from evalkit.types import Prompt, PromptSet


@dataclass(frozen=True)
class Languages(Table):
    """The captions that come with evalkit in English and eight translations, for what models make of other languages.

    Models are given the translation, and clips are scored against the English caption. The nine rows of a caption are
    a cluster, whose name is that of their recording where references are given as a folder.

    Attributes:
        ids: of rows, such as "piano_ballad.de", or names of captions, such as "piano_ballad", for all their rows.
        random, first: how many captions are kept, each in all languages that are.
    """

    path: str | None = str(Path(__file__).parent.parent / "data" / "languages.csv")
    dataset: str | None = "languages"

    def load(self, cache: Cache) -> PromptSet:
        """Read and narrow the prompts; the rows of a caption follow one another.

        Raises EvalkitError for a selection that is empty or larger than what there is.
        """
        whole = replace(self, languages=None, aspects=None, ids=None, random=None, first=None)
        found = super(Languages, whole).load(cache)
        spoken, words = narrow(found.prompts, languages=self.languages)
        rows, more = narrow(spoken, aspects=self.aspects, ids=self._rows(spoken))
        captions = {prompt.cluster: replace(prompt, id=prompt.cluster) for prompt in rows}
        kept, most = narrow(list(captions.values()), random=self.random, random_seed=self.random_seed, first=self.first)
        words += [*more, *(f"{word} of the captions" for word in most)]
        names = {prompt.cluster for prompt in kept}
        prompts = tuple(prompt for prompt in rows if prompt.cluster in names)
        return replace(found, subset=", ".join(words) or "all", prompts=prompts)

    def _rows(self, prompts: list[Prompt]) -> list[str]:
        """The wanted ids, with those of its rows for the name of a caption."""
        rows: dict[str, list[str]] = {}
        for prompt in prompts:
            rows.setdefault(prompt.cluster, []).append(prompt.id)
        return [row for name in listed(self.ids) for row in rows.get(name, [name])]
