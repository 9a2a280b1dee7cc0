"""Captions that are made up of instruments, moods, tempi and keys, as many as are wanted.

Twelve captions show how evalkit works, and a decision takes hundreds. These say what the synthesizer can play, and
nothing else is to be measured on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.prompts.references import check_options
from evalkit.prompts.selection import check_narrowing, narrowed
from evalkit.store.cache import Cache
from evalkit.store.digests import digest
from evalkit.store.seeds import keyed
from evalkit.types import Prompt, PromptSet

MOST = 10_000
INSTRUMENTS = (
    *("piano", "acoustic guitar", "electric guitar", "organ", "strings", "flute", "brass", "synth lead", "bells"),
    *("choir", "pad", "bass", "drums", "percussion"),
)
MOODS = ("gentle", "cheerful", "dark", "energetic", "relaxing", "dramatic", "playful", "sad")
KEYS = ("C", "D", "E flat", "F", "G", "A", "B flat", "F sharp")
ENDS = (
    "",
    " It could be playing in the background of a documentary.",
    " The recording is clear, and nothing else is heard besides. It would suit the closing scene of a film.",
)


@dataclass(frozen=True)
class Synthetic:
    """Captions of pieces for one to three instruments.

    The k-th caption depends on k alone, so that fewer are the beginning of more.

    Attributes:
        count: how many there are.
        dataset: a name for them.
        aspects, ids, random, random_seed, first: keep only some; see `evalkit.prompts.selection.narrow`. Tags are the
            instruments and the mood.
        references: the clips that the captions describe, or the model that renders them.
        cut, max_seconds: how references are cut, and when they are refused; see evalkit.prompts.references.
    """

    count: int = 200
    dataset: str = "synthetic"
    aspects: list[str] | None = None
    ids: list[str] | None = None
    random: int | None = None
    random_seed: int = 0
    first: int | None = None
    references: Any = None
    cut: str = "start"
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if type(self.count) is not int or not 1 <= self.count <= MOST:
            raise EvalkitError(f"prompts.count={self.count}: must be a whole number from 1 to {MOST:,}")
        check_narrowing(self)
        check_options(self)

    def load(self, cache: Cache) -> PromptSet:
        """Make the prompts up. Raises EvalkitError for a selection that is empty or larger than what there is."""
        every = [made_up(number) for number in range(1, self.count + 1)]
        kept, words = narrowed(self, every)
        sha256 = digest([[prompt.id, prompt.text] for prompt in every])
        return PromptSet(self.dataset, ", ".join(words) or "all", len(every), tuple(kept), sha256)


def made_up(number: int) -> Prompt:
    """Make one prompt up, which depends on its number alone."""
    rng = keyed("synthetic prompt", number)
    chosen = [INSTRUMENTS[i] for i in rng.permutation(len(INSTRUMENTS))[: int(rng.integers(1, 4))]]
    mood, key = MOODS[rng.integers(len(MOODS))], KEYS[rng.integers(len(KEYS))]
    mode = "minor" if mood in ("dark", "dramatic", "sad") else "major"
    article = "An" if mood[0] in "aeiou" else "A"
    rest = f", with {' and '.join(chosen[1:])}" if chosen[1:] else " and no other instrument"
    text = f"{article} {mood} piece at {rng.integers(12, 32) * 5} bpm in {key} {mode}, played by {chosen[0]}{rest}."
    return Prompt(f"synthetic-{number:05d}", text + ENDS[rng.integers(len(ENDS))], tags=(*chosen, mood))
