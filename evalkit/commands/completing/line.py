"""The words of a command line that is not finished, as a shell reads them, and words as a shell wants them."""

from __future__ import annotations

from typing import NamedTuple

SPECIAL = frozenset(" \t\"'\\$`()&;|<>*?#!")  # what bash does not take literally in a word without quotes
PATTERN = SPECIAL | {"[", "]"}
LIST = "=["  # what begins a list of names, which is easier to go on with as it is and matches no file


class Words(NamedTuple):
    """The words of a line up to the cursor.

    Attributes:
        before: those that are finished.
        last: the one at the cursor; empty where it has not begun.
        quote: the quotation mark that is open at the cursor, if one is.
    """

    before: list[str]
    last: str
    quote: str


def read(line: str) -> Words:
    """Split a line as a POSIX shell does, with whatever is open at its end."""
    words, quote, begun = [""], "", False
    characters = iter(line)
    for character in characters:
        if quote == "'" and character != "'":
            words[-1] += character
        elif character == "\\" and quote != "'":
            following = next(characters, "")
            words[-1] += following if not quote or following in '"\\$`' else character + following
            begun = True
        elif quote and character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote, begun = character, True
        elif not quote and character in " \t\n":
            if begun:
                words.append("")
            begun = False
        else:
            words[-1] += character
            begun = True
    return Words(words[:-1], words[-1], quote)


def for_bash(candidate: str, words: Words, replaced: str) -> str:
    """What bash puts in place of what it replaces: it breaks words at = and :, and wants the rest quoted.

    Args:
        replaced: the part of the last word that bash replaces, as it was typed.
    """
    kept = len(words.last) - len(read(replaced).last)
    rest = candidate[max(0, kept) :]
    if words.quote == "'":
        return rest.replace("'", "'\\''")
    special = frozenset('"\\$`') if words.quote else SPECIAL if LIST in candidate else PATTERN
    return "".join(f"\\{character}" if character in special else character for character in rest)
