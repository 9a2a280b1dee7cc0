"""Slices by what captions are: lists of tags, one sentence or several."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evalkit.types import Prompt

_SENTENCE = re.compile(r"[.!?]+(?:\s+|$)")
_PIECE = re.compile(r"[,;|/\n]|[.!?:](?:\s|$)")

LIST, ONE, SEVERAL = "list of tags", "one sentence", "several sentences"


@dataclass(frozen=True)
class CaptionKind:
    """Groups prompts by whether their caption lists tags, or is one sentence (or phrase) or several.

    Punctuation divides a caption into pieces. It is a list where it has two pieces or more, none is long and they are
    short on average; else what ends in ".", "!" or "?" is a sentence. Of MusicCaps' 5,521 captions 4 are taken for
    lists; of its lists of aspects, joined by commas, 5,483 are.

    Attributes:
        longest: the most words of a piece of a list.
        average: the most words of a list's pieces on average.
    """

    longest: int = 6
    average: float = 4.0
    named: ClassVar[bool] = False

    def groups_of(self, prompt: Prompt) -> Sequence[str]:
        words = [len(piece.split()) for piece in _PIECE.split(prompt.text) if piece.strip()]
        if len(words) > 1 and max(words) <= self.longest and sum(words) <= self.average * len(words):
            return [LIST]
        sentences = [sentence for sentence in _SENTENCE.split(prompt.text) if sentence.strip()]
        return [SEVERAL if len(sentences) > 1 else ONE]

    def order(self, sizes: Mapping[str, int]) -> Sequence[str]:
        return [LIST, ONE, SEVERAL]
