"""A table of one's own, as CSV or TSV: ratings of systems, or choices between two of them.

Ratings: columns `system`, and if wanted `prompt`, `rater` and `clip`; every other column is a score. Choices: columns
`system_a`, `system_b` and `winner` (`a`, `b`, `tie`, or a system's name), and if wanted `prompt`, `rater`, `clip_a`
and `clip_b`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.agreeing.layouts import Asked
from evalkit.agreeing.lines import Head, Line, Once, chosen_score, first_line, lines, said, separator_of
from evalkit.agreeing.opinions import Opinions, framed
from evalkit.errors import EvalkitError

RATED = ("system", "prompt", "rater", "clip")
CHOSEN = ("system_a", "system_b", "winner", "prompt", "rater", "clip_a", "clip_b")
CALLED = tuple(dict.fromkeys((*RATED, *CHOSEN)))
MISSING = {
    "rater": "the table names no raters, who cannot be resampled",
    "prompt": "the table names no prompts, which cannot be resampled",
}
TIES = ("tie", "draw", "both_bad")


def recognised(path: Path) -> bool:
    """Whether the first line names a system, or two and a winner."""
    head = first_line(path) if path.is_file() else ""
    names = {name.strip().strip('"').lower() for name in head.split(separator_of(head))}
    return "system" in names or names >= {"system_a", "system_b", "winner"}


def read(path: Path, asked: Asked) -> Opinions:
    """Read ratings or choices, whichever the columns say."""
    first, *others = lines(path, separator_of(first_line(path)))
    head = Head(first, asked.called)
    if not others:
        raise EvalkitError(f"'{path}' has a first line and nothing below it")
    if head.place("system") is not None:
        return _ratings(path, head, others, asked)
    if all(head.place(name) is not None for name in CHOSEN[:3]):
        return _choices(path, head, others, asked)
    raise EvalkitError(
        f"'{path}' has neither a column system, nor system_a, system_b and winner: say what they are called, "
        "as in --called system=model"
    )


def _ratings(path: Path, head: Head, others: Sequence[Line], asked: Asked) -> Opinions:
    known = [head.called.get(name, name) for name in RATED]
    score = chosen_score(path, asked.score, [name for name in head.names if name and name not in known])
    once, rows, blank = Once(), [], 0
    for line in map(head.checked, others):
        about = {name: head.cell(line, name) for name in RATED}
        if not about["system"]:
            raise line.wrong("no system")
        once.take(line, tuple(about.values()), _hint(head))
        if not (text := line.cells[head.names.index(score)]):
            blank += 1
            continue
        rows.append({**about, "rating": line.number_of(text, score)})
    return Opinions("table", score, "rating", framed(rows), _remarks(head, blank, len(others)))


def _choices(path: Path, head: Head, others: Sequence[Line], asked: Asked) -> Opinions:
    once, blank = Once(), 0
    rows: list[dict[str, Any]] = []
    for line in map(head.checked, others):
        about = {name: head.cell(line, name) for name in CHOSEN}
        one, other, winner = about["system_a"], about["system_b"], about["winner"]
        if not one or not other or one == other:
            raise line.wrong("must name two different systems")
        (first, clip), (second, other_clip) = sorted(((one, about["clip_a"]), (other, about["clip_b"])))
        once.take(line, (first, second, about["prompt"], about["rater"], clip, other_clip), _hint(head))
        if not winner:
            blank += 1
            continue
        rows.append(
            {
                **{"system": one, "second_system": other, "prompt": about["prompt"], "rater": about["rater"]},
                **{
                    "clip": about["clip_a"],
                    "second_clip": about["clip_b"],
                    "choice": _choice(line, one, other, winner),
                },
            }
        )
    score = asked.score or "choice"
    return Opinions("table", score, "pairs", framed(rows), _remarks(head, blank, len(others)))


def _choice(line: Line, one: str, other: str, winner: str) -> str:
    if winner in (one, other):
        return "first" if winner == one else "second"
    word = winner.lower()
    if word in ("a", "b"):
        return "first" if word == "a" else "second"
    if word in TIES:
        return "both_bad" if word == "both_bad" else "tie"
    raise line.wrong(f"winner {said(winner)} is neither a, b, tie, {one} nor {other}")


def _hint(head: Head) -> str:
    absent = [name for name in ("rater", "prompt") if head.place(name) is None]
    return f": where these differ by {' or '.join(absent)}, add that column" if absent else ""


def _remarks(head: Head, blank: int, total: int) -> list[str]:
    said = [text for name, text in MISSING.items() if head.place(name) is None]
    return [*said, *([f"{blank:,} of {total:,} lines have no answer, and do not count"] if blank else [])]
