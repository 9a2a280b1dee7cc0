"""Text of unknown origin, such as a tag or a caption, made safe to show."""

from __future__ import annotations

import json
import re
import unicodedata

JOINERS = "\u200c\u200d"  # part of how Persian, Hindi and emoji are written


def literal(text: object) -> str:
    """Put a text on one line, with a visible escape such as \\x1b for each character that would act instead of show.

    These are control characters, which a terminal obeys, format characters, which among other things
    reverse what stands beside them, and halves of surrogate pairs, which no file can hold.
    """
    line = " ".join(str(text).split())
    return line if line.isprintable() else "".join(map(_shown, line))  # most are, and then none of theirs acts


def escaped(text: str) -> str:
    """Write the same characters as JSON's own escapes in a text that is JSON, where only strings can hold them."""
    return re.sub(r"[^\n -~]", lambda match: json.dumps(match[0])[1:-1] if _acts(match[0]) else match[0], text)


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in JOINERS


def _shown(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii") if _acts(character) else character
