"""Names that tell things apart."""

from __future__ import annotations

from collections.abc import Sequence


def told_apart(alternatives: Sequence[Sequence[str]]) -> list[str]:
    """Name things so that no two have the same name.

    Args:
        alternatives: names of each, the shortest first, of which the first that tells it from all others is taken; of
            those that none tells apart, all but the first have a number behind their last one.
    """
    levels = [0] * len(alternatives)
    while True:
        names = [each[level] for each, level in zip(alternatives, levels, strict=True)]
        longer = [
            number
            for number, name in enumerate(names)
            if names.count(name) > 1 and levels[number] + 1 < len(alternatives[number])
        ]
        if not longer:
            break
        for number in longer:
            levels[number] += 1
    found: list[str] = []
    for name in names:
        free, number = name, 2
        while free in found or (free != name and free in names):
            free, number = f"{name} ({number})", number + 1
        found.append(free)
    return found
