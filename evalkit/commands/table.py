"""Print the table of a result, of several results in one, of a comparison, a sweep, or a listening test.

evalkit table RESULT ... [--format NAME] [--json] [--markdown] [--across-protocols]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from evalkit import commands
from evalkit.commands import parse, parser_for
from evalkit.errors import EvalkitError


def main(arguments: list[str]) -> None:
    """Run `evalkit table`."""
    parsed = parse(parser(), arguments)
    show([Path(folder) for folder in parsed.results], parsed.across_protocols, parsed.format)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("table", __doc__)
    found.add_argument("results", nargs="+", metavar="RESULT", help="a folder that evalkit made")
    found.add_argument("--across-protocols", action="store_true", help="also results of different protocols")
    commands.prints_table(found)
    found.add_argument("--markdown", action="store_const", const="markdown", dest="format", help="--format markdown")
    return found


def show(folders: Sequence[Path], across_protocols: bool = False, form: str = "terminal") -> None:
    """Print the results in these folders as one table, or any other record by itself.

    Raises EvalkitError for results that cannot be joined.
    """
    from evalkit.results.joined import join  # here, because pandas takes a second that no single run should wait for
    from evalkit.results.loading import load
    from evalkit.results.record import Record

    records = [load(folder) for folder in folders]
    results = [record for record in records if isinstance(record, Record)]
    if len(records) == 1:
        commands.show(records[0].document(), form)
    elif len(results) < len(records):
        raise EvalkitError("a comparison, a sweep or a listening test is a table by itself: give it alone")
    else:
        commands.show(join(results, across_protocols), form)
