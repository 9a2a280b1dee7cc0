"""Slices by the region of the world whose music a prompt's labels, or its words, name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evalkit.types import Prompt

NONE = "no region named"

# The classes of AudioSet that are the music of a region or one of its traditions. Instruments (sitar, didgeridoo,
# steelpan, …) say nothing of the music that they play, nor do genres that are played everywhere (reggae, ska, blues).
LABELS = {
    "Music of Africa": "Africa",
    "Afrobeat": "Africa",
    "Music of Asia": "Asia",
    "Carnatic music": "Asia",
    "Music of Bollywood": "Asia",
    "Flamenco": "Europe",
    "Music of Latin America": "Latin America",
    "Salsa music": "Latin America",
    "Middle Eastern music": "Middle East",
}

# Whole words for a region, a country, a people, a language that is sung, or a tradition. Left out because they say
# several things: oriental, eastern, Spanish, French, Italian, German, American, Western, native, ethnic, tribal.
_WORDS = {
    "Africa": r"""africa | african | afro-?beats? | afro-?pop | algerian | cameroonian | congolese | ethiopian
        | ghanaian | kenyan | malian | nigerian | senegalese | south-african | zulu | amapiano | gnawa | highlife
        | kwaito | soukous""",
    "Asia": r"""asia | asian | afghan | balinese | bengali | chinese | filipino | hindi | hindustani | india | indian
        | indonesian | japanese | javanese | korean | mongolian | nepali | pakistani | punjabi | tamil | thai | tibetan
        | urdu | vietnamese | bhangra | bollywood | carnatic | gamelan | [kj]-?pop | qawwali | ragas?""",
    "Europe": r"""eastern\ european | balkan | bulgarian | celtic | greek | gypsy | irish | romani | romanian
        | russian | scottish | ukrainian | fado | flamenco | klezmer | polkas?""",
    "Latin America": r"""latin | latin[oa] | andean | argentin(?:e|ian) | brazilian | caribbean | chilean | colombian
        | cuban | dominican | jamaican | mexican | peruvian | puerto\ rican | trinidadian | venezuelan | bachata
        | bossa\ nova | calypso | cumbia | mariachi | merengue | reggaeton | rumba | salsa | samba | soca | tango""",
    "Middle East": r"""middle[-\ ]eastern | arab | arabi[ac]n? | armenian | azerbaijani | egyptian | hebrew | iranian
        | israeli | jewish | kurdish | lebanese | moroccan | persian | syrian | turkish | arabesque | maqam | makam""",
    "Oceania": r"""aboriginal | hawaiian | maori | polynesian""",
}

# what has a region's name and is not its music: instruments of any drum kit, guitars, bowls; speech; the language Latin
_FALSE_FRIENDS = re.compile(
    r"""\b(?: latin\ (?:percussions?|drums?) | china\ cymbals? | tibetan\ (?:singing\ )?bowls? | hawaiian\ guitars?
    | in\ latin(?!\ america)
    | \w+\ (?:accent|speech|speaking|speaker|dialogue|narration)s?
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE | re.VERBOSE)


_NAMED = {region: _pattern(words) for region, words in _WORDS.items()}


@dataclass(frozen=True)
class Region:
    """Groups prompts by the regions that are named: by labels of AudioSet, and by tags, or by the
    caption where there are none.

    A prompt that names several regions is in the group of each; one that names none is in a group too. "Europe" is
    its regional traditions alone; Latin America is counted with the Caribbean, as the United Nations do, and Arab
    North Africa with the Middle East.
    """

    named: ClassVar[bool] = True

    def groups_of(self, prompt: Prompt) -> Sequence[str]:
        texts = [_FALSE_FRIENDS.sub(" ", text) for text in prompt.tags or (prompt.text,)]
        found = {LABELS[label] for label in prompt.labels if label in LABELS}
        found |= {region for region, words in _NAMED.items() if any(words.search(text) for text in texts)}
        return sorted(found) or [NONE]

    def order(self, sizes: Mapping[str, int]) -> Sequence[str]:
        return [*sorted(_NAMED), NONE]
