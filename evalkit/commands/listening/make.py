"""Make a listening test: a page for each rater, with the clips of some systems and what is hidden among them.

evalkit listen make RECORD ... --axis quality|relevance|melody [--method rating|pairs]
                    [--raters N] [--prompts N] [--minutes M] [--output FOLDER] [--quiet]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from evalkit import commands
from evalkit.commands import parse, parser_for
from evalkit.errors import EvalkitError
from evalkit.listening.study import AXES, METHODS

FOLDER = "listening"
MOST = {"raters": 1000}  # each of whom has a page of their own


def parser() -> argparse.ArgumentParser:
    """Make the parser of the action."""
    found = parser_for("listen make", __doc__)
    add, axis, method = found.add_argument, commands.OneOf("axis", AXES), commands.OneOf("method", METHODS)
    add("records", nargs="+", metavar="RECORD", help="a folder that evalkit made; RESULT::ROW for one of its models")
    add("--axis", required=True, type=axis, metavar="AXIS", help=f"what is asked about: {', '.join(AXES)}")
    add("--method", default="rating", type=method, metavar="METHOD", help="rating: each clip, from 1 to 100 (default); "
        "pairs: the better of two")  # fmt: skip
    add("--raters", type=int, metavar="N", help="how many; as many as are needed by default")
    add("--prompts", type=int, metavar="N", help="how many; 20, or what --raters have time for")
    add("--minutes", type=float, default=25.0, metavar="M", help="that a session may last (25)")
    add("--votes", type=int, default=5, metavar="N", help="how often each clip is heard at least (5)")
    add("--seconds", type=float, default=10.0, metavar="S", help="clips are cut to at most that (10)")
    add("--level", type=float, default=-14.0, metavar="LUFS", help="how loud all clips are (-14)")
    add("--on-a-page", type=int, default=8, metavar="N", help="clips rated on one page at most (8)")
    add("--seed", type=int, default=0, metavar="S", help="of which prompts are asked, and who hears what (0)")
    add("--no-reference", action="store_true", help="hide no references among the clips")
    add("--no-control", action="store_true", help="hide no bad clips among the clips")
    add("--output", metavar="FOLDER", help=f"a new folder; {FOLDER}-AXIS in the first record's by default")
    commands.shows_progress(found)
    return found


def main(arguments: list[str]) -> None:
    """Run `evalkit listen make`."""
    parsed = parse(parser(), arguments)
    for name in ("raters", "prompts", "votes", "on_a_page", "minutes", "seconds"):
        value = getattr(parsed, name)
        most = MOST.get(name, 10**6)
        if value is not None and not 0 < value <= most:
            raise EvalkitError(f"--{name.replace('_', '-')} {value}: must be more than 0, and at most {most:,}")
    if not -40 <= parsed.level <= -5:
        raise EvalkitError(f"--level {parsed.level:g}: give a loudness between -40 and -5 LUFS")
    from evalkit.listening.making import Asked, make  # here, because pandas takes a second
    from evalkit.results.loading import with_row

    first = Path(with_row(parsed.records[0])[0])
    asked = Asked(
        axis=parsed.axis, method=parsed.method, raters=parsed.raters, prompts=parsed.prompts, minutes=parsed.minutes,
        votes=parsed.votes, seed=parsed.seed, level=parsed.level, seconds=parsed.seconds, on_a_page=parsed.on_a_page,
        reference=not parsed.no_reference, control=not parsed.no_control,
    )  # fmt: skip
    made = make(parsed.records, asked, Path(parsed.output) if parsed.output else first / f"{FOLDER}-{parsed.axis}")
    for note in [] if parsed.quiet else made.notes:
        print(f"evalkit: {note}", file=sys.stderr)
    facts, many = made.study.facts, len(made.study.facts["prompts"])
    pages = [len(session["pages"]) for session in facts["sessions"].values()]
    print(
        f"{many} prompt{'s' if many != 1 else ''} × {len(facts['systems'])} systems ({'; '.join(facts['systems'])}), "
        f"each heard at least {facts['votes']} times by {len(pages)} raters, {max(pages)} pages each"
    )
    print(f"study: {made.study.folder}")
