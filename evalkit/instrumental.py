"""Which MusicCaps prompts are instrumental, by their aspects."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.types import Prompt

# Words that mean somebody sings, speaks, or makes music with the mouth. Whole words: "trap" is no "rap".
_VOICE = re.compile(
    r"""\b(?:
    \w*vocal\w* | voclaist | vocables? | vocoder | voices? | voice-?\s?overs?
    | sing | sings | singing | sung | singers? | choirs? | choral\w* | a\s?cappella | acapp?ella | falsetto
    | croon\w* | scat | scatting | rap | raps | rapping | rapp?ers? | ad-?\s?libs? | chant | chants | chanting
    | mantras? | yodel\w* | beat-?\s?box\w* | humming | hums | lyrics? | languages?
    | spoken | speech\w* | speak | speaks | speaking | talk | talks | talking | chatter\w* | chatting
    | narrat(?:es|ing|ion|or|ors) | monologues? | dialogues? | conversations? | interviews? | preach\w*
    | recit(?:es|ing|ation) | whisper\w* | mumbl\w* | mutter\w*
    | shout\w* | scream | screams | screaming | yell\w* | holler\w*
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)


# "no voices", "without any singing": nothing after it counts
_NEGATED = re.compile(r"\b(?:no|not|non|without)\b[^/,;]*", re.IGNORECASE)


# instruments and noises with a voice's name
_FALSE_FRIENDS = re.compile(
    r"\bsinging (?:bowl|bell)s?\b|\bbowl singing\b|\bbirds? singing\b"
    r"|\bhumming (?:noise|sound|tone|instrument)s?\b",
    re.IGNORECASE,
)


def is_instrumental(aspects: Sequence[str]) -> bool:
    """Whether no aspect of a MusicCaps prompt mentions a voice.

    A voice is singing, rap, chant, humming, beatboxing, speech, whispering, shouting or screaming,
    in front or in the background, sampled or through a vocoder; also lyrics and a language. An aspect
    that says there is none ("no voices") does not mention one, nor do singing bowls, birds and
    humming noises. Wordless sounds of people and crowds (cheering, laughter, breathing, grunts) are
    not voices here, nor are genres that are mostly sung (opera, gospel, lullaby), nor "soprano" to
    "baritone", which instruments are as well.

    The aspect "instrumental" counts for nothing: of the 907 prompts that have it, 116 have a voice
    as well. In about 40 of the 2,669 prompts without a voice the caption speaks of one.
    """
    return not any(_VOICE.search(_FALSE_FRIENDS.sub(" ", _NEGATED.sub(" ", aspect))) for aspect in aspects)


def asks_for_no_voice(prompt: Prompt) -> bool:
    """Whether no aspect of a prompt mentions a voice; where it has no aspects, no part of a sentence of its caption.

    The rule is made for aspects: of captions it is a rougher reading.
    """
    return is_instrumental(prompt.tags or re.split("[.,;:!?]", prompt.text))
