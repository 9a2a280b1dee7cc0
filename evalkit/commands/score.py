"""Compare two folders of clips, which need no captions and no common names, and print the table.

evalkit score GENERATED REFERENCES [OPTION=VALUE ...] [--config-dir DIR]
              [--format NAME] [--json] [--quiet]

Options are those of `evalkit run`, such as 'metric=[fad,kad]' or protocol=fadtk. A file list (CSV or JSONL with
columns id and path) may stand for either folder.
"""

from __future__ import annotations

import argparse

from evalkit import commands
from evalkit.commands import INCOMPLETE, fail, lacking, parse, parser_for, show, tell_where


def main(arguments: list[str]) -> None:
    """Run `evalkit score`."""
    parsed = parse(parser(), arguments)
    from evalkit.pipeline import compare  # here, because importing torch takes seconds that help need not wait for

    result = compare(parsed.generated, parsed.references, parsed.options, parsed.config_dir)
    show(result.document(), parsed.format)
    tell_where("result", result)
    if absent := lacking(result):
        fail("; ".join(absent), INCOMPLETE)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("score", __doc__)
    found.add_argument("generated", metavar="GENERATED", help="a folder of clips, or a list of them")
    found.add_argument("references", metavar="REFERENCES", help="a folder of recordings, or a list of them")
    commands.takes_options(found)
    commands.prints_table(found)
    commands.shows_progress(found)
    return found
