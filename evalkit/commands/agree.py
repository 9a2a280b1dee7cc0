"""Say how metrics agree with what people said of the same systems: rank correlations, and which metric agrees better.

evalkit agree RECORD ... RATINGS [--score NAME] [--layout NAME] [--systems FILE] [--called WHAT=NAME ...]
                [--format NAME] [--json] [--quiet]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit import commands
from evalkit.agreeing import layouts
from evalkit.commands import INCOMPLETE, OneOf, parse, parser_for
from evalkit.errors import EvalkitError

STATUSES = f"exit status: {INCOMPLETE} where fewer than five systems match, of which nothing is claimed"
CALLED = """what RATINGS call a column, as in rater=annotator, or of MusicPrefs an answer, as in tie=equal; may be given
several times"""


def main(arguments: list[str]) -> None:
    """Run `evalkit agree`."""
    parsed = parse(parser(), arguments)
    *records, ratings = parsed.given
    if not records:
        raise EvalkitError("give at least one RECORD, and RATINGS behind it: see 'evalkit agree --help'")
    called = dict(_pair(text) for text in parsed.called)
    from evalkit.agreeing.agree import Wanted, agree  # here, because pandas takes a second
    from evalkit.agreeing.text import document

    systems = Path(parsed.systems).expanduser() if parsed.systems is not None else None
    found = agree(records, Path(ratings).expanduser(), Wanted(parsed.layout, parsed.score, called, systems))
    commands.show(document(found), parsed.format)
    if not found.claimed:
        raise SystemExit(INCOMPLETE)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("agree", __doc__)
    found.epilog = STATUSES
    found.add_argument(
        "given",
        nargs="+",
        metavar="RECORD ... RATINGS",
        help="results (RESULT::ROW for one row), or folders of them; then a file or folder of what people said",
    )
    found.add_argument("--score", metavar="NAME", help="which of several scores that RATINGS have, such as fidelity")
    names = layouts.names()
    about = f"how RATINGS are laid out, where their content does not say: {', '.join(names)}"
    found.add_argument("--layout", metavar="NAME", type=OneOf("layout", tuple(names)), help=about)
    found.add_argument(
        "--systems", metavar="FILE", help="a CSV with columns system and row: which row is which, where names differ"
    )
    found.add_argument("--called", action="append", default=[], metavar="WHAT=NAME", help=CALLED)
    commands.prints_table(found)
    commands.shows_progress(found)
    return found


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name.strip() and value.strip()):
        raise EvalkitError(f"--called {text}: give WHAT=NAME, as in rater=annotator")
    return name.strip(), value.strip()
